"""Links and second names of files, put in place atomically."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from p2seg.runtime.files import move_into_place, raise_for
from p2seg.runtime.temporary import temporary_name


def write_link(path: Path, target: Path) -> None:
    """Makes `path` a symbolic link to a file, or a copy if the system has no links."""
    if path.exists() and path.samefile(target):
        return  # a file must not be replaced by a link to itself
    try:
        write_symlink(path, target)
    except (OSError, NotImplementedError):  # the latter: Python has no links here
        _put(path, lambda temporary: shutil.copyfile(target, temporary))


def write_symlink(path: Path, target: Path) -> None:
    """Makes `path` a symbolic link to a file or folder, replacing a link or file.

    Raises:
        OSError: the link cannot be created.
        NotImplementedError: the system has no symbolic links.
    """
    folder = target.is_dir()
    _put(path, lambda temporary: temporary.symlink_to(target.resolve(), folder))


def write_second_name(path: Path, target: Path) -> None:
    """Makes `path` a hard link to a file, or a copy if the file system has no hard links."""
    try:
        _put(path, lambda temporary: temporary.hardlink_to(target.resolve()))
    except OSError:
        _put(path, lambda temporary: shutil.copyfile(target, temporary))


def _put(path: Path, make: Callable[[Path], object]) -> None:
    """Creates a file under a temporary name with `make` and renames it to `path`."""
    temporary = temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        make(temporary)
        move_into_place(temporary, path)
    except OSError as error:
        raise_for(path, error, temporary)
    finally:
        with suppress(OSError):
            temporary.unlink()
