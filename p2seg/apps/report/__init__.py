"""The report of an experiment: its page, its pictures and its figures."""
