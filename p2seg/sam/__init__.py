"""Promptable models such as SAM: their candidate masks for each point, and the choice of one."""
