"""What a command may replace: never an input, and without `overwrite` only what it wrote itself.

`run.json` says what that is. A single file is a command's own if it has the bytes that the command
wrote. Their SHA-256 is recorded before the file is put in its place, so a kill between the two
leaves no file that the command does not know. Files that come in large numbers are a command's own
if the command has written files of the same pattern there before. Of those that are made to be
edited, a hidden file next to the record has the SHA-256 of each, one more line per file.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from p2seg.data.images import SUFFIXES
from p2seg.data.video import VIDEO_SUFFIXES
from p2seg.errors import UserError
from p2seg.runtime.content_fingerprint import hashes_of
from p2seg.runtime.files import (
    append_line,
    files_below,
    read_json,
    sha256,
    watching,
    write_bytes,
    write_json,
)
from p2seg.runtime.rank_env import is_first

KEPT = 200
"""Starts that a record remembers."""

OF_IMAGES = frozenset({"images", "data.images", "data.val_images"})
"""Settings that name a folder in which only images and videos are read."""

_CHANGING = threading.RLock()
"""Held while a record is read and written anew."""


def _nothing(_: Path) -> bool:
    return False


@dataclass(frozen=True)
class Output:
    """What a command writes.

    A pattern is one of `fnmatch`, for paths below `home`; its `*` also stands for slashes.

    Attributes:
        command: its name.
        out: the file or folder that the command is given.
        home: the folder that everything is written below.
        record: the file that remembers it, `run.json` or `NAME.run.json`.
        files: single files.
        unhashed: those of `files` that may have changed since the command wrote them.
        groups: patterns of files that come in large numbers.
        edited: patterns of files that are made to be edited. They are the command's own as long as
            none of them has changed since the command wrote it.
        keyed: patterns of files that the command looks at one by one before it replaces them.
        continues: other commands whose single files this command may continue.
        is_own: whether a file that no record names is the command's own.
        setting: what sets `out`, for messages.
    """

    command: str
    out: Path
    home: Path
    record: Path
    files: tuple[Path, ...] = ()
    unhashed: frozenset[Path] = frozenset()
    groups: tuple[str, ...] = ()
    edited: tuple[str, ...] = ()
    keyed: tuple[str, ...] = ()
    continues: frozenset[str] = frozenset()
    is_own: Callable[[Path], bool] = _nothing
    setting: str = "out=PATH"


def refuse_inputs(output: Output, inputs: Iterable[tuple[str, Path]]) -> None:
    """Refuses an output that would replace an input of the same command.

    Args:
        output: of the command.
        inputs: settings, each with a file or folder that it names. Of a pattern such as
            `photos/*.jpg` the folder counts. A path where nothing lies is left out.

    Raises:
        UserError: a file that would be replaced is an input, by another name or link as well, or it
            is one of the files of a folder that is read.
    """
    state = _State(output)
    for key, given in inputs:
        source = _existing(given)
        made = None if source is None else state.replaced(key, source)
        if made is not None:
            raise UserError(
                f"{made} would be replaced, but {key}={given} is an input of this command; set "
                f"another {output.setting}"
            )


@contextmanager
def replacing(output: Output, *, overwrite: bool) -> Iterator[None]:
    """Refuses to replace files of others, and records what the command writes in the block.

    Only the first process of a run does so.

    Args:
        output: of the command.
        overwrite: whether files of others may be replaced.

    Raises:
        UserError: a file that would be replaced was not written by the command, or was changed
            since.
    """
    if not is_first():
        yield
        return
    state = _State(output)
    state.begin(overwrite=overwrite)
    with watching(state.note):
        yield
    state.end()


def note_start(path: Path, start: dict[str, Any]) -> None:
    """Adds a start of a command to a record.

    Args:
        path: of the record.
        start: what is remembered; `tool` is the command's name.
    """
    with _CHANGING:
        record = _Record.read(path)
        record.starts.append(start)
        record.commands.add(start["tool"])
        record.write(path)


@dataclass
class _Record:
    """The content of `run.json`.

    Attributes:
        starts: what is remembered of each start, the last one last.
        commands: that have written something.
        files: by path from the record's folder, or by pattern: the command, and the SHA-256 of what
            it wrote last and before, or None for any content. None in a record of a version of
            p2seg that remembered starts alone.
    """

    starts: list[dict[str, Any]] = field(default_factory=list)
    commands: set[str] = field(default_factory=set)
    files: dict[str, dict[str, Any]] | None = field(default_factory=dict)

    @staticmethod
    def read(path: Path) -> _Record:
        """The record of a file; an empty one if the file is none."""
        content = _content(path)
        if content is None:
            return _Record()
        starts = [each for each in content["starts"] if isinstance(each, dict)]
        given, files = content.get("commands"), content.get("files")
        named = given if isinstance(given, list) else [each.get("tool") for each in starts]
        known = files if isinstance(files, dict) else None
        if known is not None:
            known = {name: each for name, each in known.items() if isinstance(each, dict)}
        return _Record(starts, {each for each in named if isinstance(each, str)}, known)

    def write(self, path: Path) -> None:
        files = {} if self.files is None else {"files": self.files}
        content = {"starts": self.starts[-KEPT:], "commands": sorted(self.commands), **files}
        write_json(path, content, indent=1)


class _State:
    """An output, with what its record says before the command begins."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.record = _Record.read(output.record)
        self.home = _real(output.home)
        names = {file: self._name(file) for file in output.files}
        self.names = names | {_real(file): name for file, name in names.items()}
        self.unhashed = {names[file] for file in output.unhashed}
        self.hashes: dict[str, list[str] | None] = {}
        self.noted: set[str] = set()
        self.list = output.record.with_name(f".{output.record.stem}.files.jsonl")

    def replaced(self, key: str, source: Path) -> Path | None:
        """The file or folder of the output that an input is, or that it lies in."""
        output = self.output
        patterns = (*output.groups, *output.edited, *output.keyed)
        if not source.is_dir():
            single = (output.out, output.record, *output.files)
            same = (made for made in single if made.exists() and made.samefile(source))
            return next(same, source if self._pattern(_real(source), patterns) else None)
        folder, images = _real(source), key in OF_IMAGES
        for pattern in patterns:
            base = self.home / _base(pattern)
            if base != self.home and (folder == base or base in folder.parents):
                return base
            if folder == base and not images:
                return base
        made = [file for file in output.files if file.is_file()]
        if folder == self.home or folder in self.home.parents:
            for pattern in (*output.groups, *output.edited):
                made += [] if self._is_own_group(pattern) else self._group(pattern)
        if folder == self.home:
            made += [file for pattern in output.keyed for file in self._group(pattern)]
        for file in made:
            read = not images or file.suffix.lower() in SUFFIXES | VIDEO_SUFFIXES
            if read and folder in _real(file).parents and not self._is_own(file):
                return file
        return None

    def begin(self, *, overwrite: bool) -> None:
        """Compares what lies there with the record."""
        output = self.output
        if output.record.exists() and _content(output.record) is None and not overwrite:
            raise self._refusal(output.record, "is not a record of p2seg")
        for file in filter(Path.is_file, output.files):
            name = self.names[file]
            if self._is_own(file):
                self.hashes[name] = None if name in self.unhashed else [sha256(file)]
            elif not overwrite:
                raise self._refusal(file, self._reason(name))
        for pattern in (*output.groups, *output.edited):
            found = next(self._group(pattern), None)
            if found is not None and self._is_own_group(pattern):
                self.hashes[pattern] = None
            elif found is not None and not overwrite:
                raise self._refusal(found, self._reason(pattern))

    def note(self, temporary: Path, path: Path) -> None:
        """Records what a file is about to be replaced by."""
        name = self.names.get(path)
        if name is not None and name not in self.unhashed:
            before = self.hashes.get(name) or []
            self.hashes[name] = [*before[-1:], sha256(temporary)]
            self._write(name, self.hashes[name])
            return
        name = name or self._pattern(path, (*self.output.groups, *self.output.edited))
        if name in self.output.edited:
            append_line(self.list, self._line(path, sha256(temporary)))
        if name is not None and name not in self.noted:
            self.noted.add(name)
            self._write(name, None)

    def end(self) -> None:
        """Records files that are made to be edited once each, also those of others next to them."""
        if self.noted.intersection(self.output.edited):
            lines = (self._line(*each) for each in self._edited().items())
            write_bytes(self.list, b"\n".join(lines))

    def _refusal(self, path: Path, reason: str) -> UserError:
        return UserError(
            f"{path} exists and {reason}; set another {self.output.setting}, or overwrite=true to "
            "replace it"
        )

    def _reason(self, name: str) -> str:
        """Why a file, or files of a pattern, are not replaced."""
        tool = f"p2seg {self.output.command}"
        entry = (self.record.files or {}).get(name, {})
        if entry.get("command") != self.output.command:
            return f"was not written by {tool}"
        what = "or a file of its kind was" if name in self.output.edited else "was"
        return f"{what} changed after {tool} wrote it"

    def _write(self, name: str, hashes: list[str] | None) -> None:
        command, path = self.output.command, self.output.record
        with _CHANGING:
            record = _Record.read(path)
            if record.files is None:
                record.files = {
                    own: {"command": command, "sha256": known} for own, known in self.hashes.items()
                }
            record.files[name] = {"command": command, "sha256": hashes}
            record.commands.add(command)
            record.write(path)

    def _name(self, file: Path) -> str:
        """What the record calls a file: one name for all links to it."""
        return os.path.relpath(_real(file), _real(self.output.record.parent))

    def _is_own(self, file: Path) -> bool:
        output, record = self.output, self.record
        if record.files is None:
            last = record.starts[-1].get("tool") if record.starts else None
            shared = output.record.name == "run.json"
            commands = record.commands if shared else {last}
            if commands & {output.command, *output.continues}:
                return True
        name = self._name(file)
        entry = (record.files or {}).get(name)
        if entry is None:
            return output.is_own(file)
        command, hashes = entry.get("command"), entry.get("sha256")
        if command != output.command:
            return command in output.continues
        return name in self.unhashed or not isinstance(hashes, list) or sha256(file) in hashes

    def _is_own_group(self, pattern: str) -> bool:
        if self.record.files is None:
            made_for_editing = pattern in self.output.edited
            return not made_for_editing and self.output.command in self.record.commands
        entry = self.record.files.get(pattern, {})
        if entry.get("command") != self.output.command:
            return False
        if pattern not in self.output.edited:
            return True
        try:
            known = set(self.list.read_bytes().splitlines())
        except OSError:
            return False
        return known.issuperset(self._line(*each) for each in self._edited().items())

    def _edited(self) -> dict[Path, str | None]:
        """The files that are made to be edited, with the SHA-256 of each."""
        files = [file for pattern in self.output.edited for file in self._group(pattern)]
        return hashes_of(files, self.output.home, None)

    def _line(self, file: Path, content: str | None) -> bytes:
        """What is remembered of a file that is made to be edited."""
        return json.dumps([os.path.relpath(_real(file), self.home), content]).encode()

    def _group(self, pattern: str) -> Iterator[Path]:
        """The files of a pattern."""
        base = self.output.home / _base(pattern)
        for file in files_below(base) if base.is_dir() else ():
            name = file.relative_to(self.output.home).as_posix()
            if fnmatch(name, pattern) and file.name[0] != "." and file != self.output.record:
                yield file

    def _pattern(self, file: Path, patterns: Iterable[str]) -> str | None:
        """The pattern that a path fits; None if it fits none."""
        for home in (self.output.home, self.home):
            if file.is_relative_to(home):
                name = file.relative_to(home).as_posix()
                return next((each for each in patterns if fnmatch(name, each)), None)
        return None


def _content(path: Path) -> dict[str, Any] | None:
    """What a record holds; None if it is no record of p2seg."""
    try:
        content = read_json(path, "record of runs") if path.is_file() else None
    except UserError:
        return None
    whole = isinstance(content, dict) and isinstance(content.get("starts"), list)
    return content if whole else None


def _existing(path: Path) -> Path | None:
    """A path where something lies; of a pattern its folder; None if nothing is there."""
    while not path.exists() and any(each in path.name for each in "*?["):
        path = path.parent
    return path if path.exists() else None


def _real(path: Path) -> Path:
    """A path without links; unlike `resolve` also of links that lead in a circle."""
    return Path(os.path.realpath(path))


def _base(pattern: str) -> Path:
    """The folder that a pattern begins with."""
    fixed = pattern[: next(k for k, each in enumerate(pattern) if each in "*?[")]
    return Path(fixed.rpartition("/")[0])
