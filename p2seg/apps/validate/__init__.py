"""Checks a data set and reports all problems with remedies, instead of stopping at the first one."""
