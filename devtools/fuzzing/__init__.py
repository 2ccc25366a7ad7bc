"""Makes damaged inputs for every reader of external files, and judges the results."""
