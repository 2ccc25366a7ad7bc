"""SAM and its like: the masks they offer for a point, and the choice among these."""
