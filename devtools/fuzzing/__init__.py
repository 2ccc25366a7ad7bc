"""Damaged inputs for every reader of files from outside, and how they are judged."""
