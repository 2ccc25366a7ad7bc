"""Checks a data set and reports all problems with remedies, not only the first one."""
