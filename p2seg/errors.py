"""The one exception that stands for a user's mistake."""

from __future__ import annotations


class UserError(Exception):
    """A mistake in a command or a file, told in one sentence.

    The sentence says what was seen, where, and what would do. The tools print it and leave with
    exit code 2; every other exception is a defect of ours and keeps its traceback.
    """
