"""What people look at: the annotate page, the gallery, the data check and the report."""
