"""The user interfaces: the annotation page, the gallery, the data check and the report."""
