"""The one exception that stands for a user's mistake."""

from __future__ import annotations

import re
from collections.abc import Sequence


class UserError(Exception):
    """A mistake in a command or a file, told in one sentence.

    The sentence says what was seen, where, and what would do. The tools print it and leave with
    exit code 2; every other exception is a defect of ours and keeps its traceback.
    """


def check_choice(key: str, value: object, choices: Sequence[str]) -> None:
    """Refuses a setting that is none of its choices.

    Args:
        key: the setting, as the command line names it.
        value: what it was set to.
        choices: what it may be.

    Raises:
        UserError: `value` is none of them.
    """
    if value not in choices:
        *others, last = choices
        known = f"{', '.join(others)} or {last}" if others else last
        raise UserError(f"{key}={value} is unknown; it is {known}")


def shown(value: object) -> str:
    """The value as an error shows it: short, on one line."""
    try:
        text = repr(value)
    except RecursionError:
        text = f"a {type(value).__name__} of many levels"
    return text if len(text) <= 60 else f"{text[:57]}..."


def when_skipped(error: UserError) -> str:
    """The sentence without the advice to skip, for where that is done already."""
    return re.sub(r",? or go on without [\w ]+ with data\.on_error=skip$", "", str(error))
