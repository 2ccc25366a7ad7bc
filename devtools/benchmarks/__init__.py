"""Benchmarks of p2seg, each next to a reference that does the same work in the same run."""
