"""The one exception that stands for a user's mistake."""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence


class UserError(Exception):
    """A mistake in a command or a file, told in one sentence.

    The sentence says what was seen, where, and what would do. The tools print it and leave with
    exit code 2; every other exception is a defect of ours and keeps its traceback.
    """


def check_choice(key: str, value: object, choices: Sequence[str]) -> None:
    """Rejects a value that is not one of the choices.

    Args:
        key: name of the setting.
        value: value of the setting.
        choices: allowed values.

    Raises:
        UserError: `value` is not one of `choices`.
    """
    if value not in choices:
        raise UserError(f"{key}={value} is unknown; choose {alternatives(choices)}")


def alternatives(names: Sequence[str]) -> str:
    """The names as `a, b or c`."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def shown(value: object) -> str:
    """The value as an error shows it: short, on one line."""
    try:
        text = repr(value)
    except RecursionError:
        text = f"a {type(value).__name__} of many levels"
    return text if len(text) <= 60 else f"{text[:57]}..."


def when_skipped(error: UserError) -> str:
    """The sentence without the advice to skip, for where that is done already."""
    advice = r",? or (go on without|skip) [\w ]+ with data\.on_error=skip$"
    return re.sub(advice, "", str(error))


_ELSEWHERE = "give another out=, or data.root=, on a disk that can be written"
_REFUSALS = {
    errno.ENOSPC: "the disk is full; make room there and start again",
    getattr(errno, "EDQUOT", -1): "your quota there is used up; make room and start again",
    errno.EROFS: f"this file system can only be read; {_ELSEWHERE}",
    errno.EACCES: "you have no permission; change the rights of the file or of its folder, or "
    "give another place",
    errno.EPERM: "you have no permission; change the rights of the file or of its folder, or "
    "give another place",
    errno.ENOTDIR: "a file lies where a folder is needed; move it away, or give another place",
    errno.EEXIST: "a file lies where a folder is needed; move it away, or give another place",
    errno.EISDIR: "a folder lies where a file is needed; move it away, or give another place",
    errno.ENAMETOOLONG: "this name is too long for the file system; give a shorter one",
    errno.ESTALE: "the disk is gone, perhaps unmounted; bring it back and start again",
    errno.ENODEV: "the disk is gone, perhaps unmounted; bring it back and start again",
    errno.ENXIO: "the disk is gone, perhaps unmounted; bring it back and start again",
    errno.ENOTCONN: "the disk is gone, perhaps unmounted; bring it back and start again",
    errno.EIO: "the disk cannot be read or written; see whether it is whole, and start again",
}


def refusal(error: OSError) -> str:
    """The sentence of what the system refused: which path, why, and what would do.

    Args:
        error: with `strerror`.
    """
    path = error.filename2 or error.filename  # of a rename, the name that was wanted
    where = f" {path}" if path else ""
    advice = _REFUSALS.get(error.errno or 0)
    return f"the system refused{where}: {error.strerror}" + (f": {advice}" if advice else "")
