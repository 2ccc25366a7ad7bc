"""Protection of existing files: a command never replaces an input or, by default, a foreign file.

Without `overwrite=true` a command replaces only its own files, which `run.json` records:

- A single file is its own if its SHA-256 is the recorded one. The SHA-256 is recorded before the
  file is renamed to its path, so a killed command still knows its file.
- A group of many files is its own if the command has written files of the same pattern before.
- A group of files that users edit is its own if no file has changed. A hidden file next to
  `run.json` lists their SHA-256, one line per file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from p2seg.data.images import SUFFIXES
from p2seg.data.video import VIDEO_SUFFIXES
from p2seg.errors import UserError
from p2seg.runtime.content_fingerprint import files_below, hashes_of
from p2seg.runtime.files import append_line, sha256, watching, write_bytes
from p2seg.runtime.rank_env import is_first
from p2seg.runtime.run_record import LOCK, Record, record_content

OF_IMAGES = frozenset({"images", "data.images", "data.val_images"})
"""Settings that name a folder from which only images and videos are read."""


@dataclass(frozen=True)
class Output:
    """The files that a command writes.

    A pattern is an `fnmatch` pattern for paths relative to `home`; its `*` also matches slashes.

    Attributes:
        command: name of the command.
        out: the file or folder that the user set as output.
        home: the folder that contains all written files.
        record: the record file, `run.json` or `NAME.run.json`.
        files: single files.
        unhashed: those of `files` that users may change and the command may still replace.
        groups: patterns of groups of many files.
        edited: patterns of groups of files that users edit; replaced only if none has changed.
        keyed: patterns of files that the command checks one by one before it replaces them.
        continues: other commands whose single files this command may replace.
        is_own: whether the command may replace a file that is not in the record.
        setting: the setting of `out`, for messages.
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
    is_own: Callable[[Path], bool] = lambda _: False
    setting: str = "out=PATH"


def refuse_inputs(output: Output, inputs: Iterable[tuple[str, Path]]) -> None:
    """Refuses an output that would replace an input of the same command.

    Args:
        output: the files that the command writes.
        inputs: pairs of a setting and its file or folder. A pattern such as `photos/*.jpg` stands
            for its folder. A missing path is ignored.

    Raises:
        UserError: an output file is an input, also through a link, or lies in an input folder.
    """
    state = _State(output)
    for key, path in inputs:
        source = _existing(path)
        target = None if source is None else state.replaced(key, source)
        if target is not None:
            raise UserError(
                f"{target} would be replaced, but {key}={path} is an input of this command; set "
                f"another {output.setting}"
            )


@contextmanager
def replacing(output: Output, *, overwrite: bool) -> Iterator[None]:
    """Refuses to replace foreign files, and records the files written in the block.

    In a distributed run only rank 0 does so.

    Args:
        output: the files that the command writes.
        overwrite: whether foreign files may be replaced.

    Raises:
        UserError: an existing file was not written by the command, or was changed afterwards.
    """
    if not is_first():
        yield
        return
    state = _State(output)
    state.begin(overwrite=overwrite)
    with watching(state.note):
        yield
    state.end()


class _State:
    """An output, and its record as it was before the command started."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.record = Record.read(output.record)
        self.home = _real(output.home)
        names = {file: self._name(file) for file in output.files}
        self.names = names | {_real(file): name for file, name in names.items()}
        self.unhashed = {names[file] for file in output.unhashed}
        self.hashes: dict[str, list[str] | None] = {}
        self.noted: set[str] = set()
        self.list = output.record.with_name(f".{output.record.stem}.files.jsonl")

    def replaced(self, key: str, source: Path) -> Path | None:
        """The output file or folder that equals or contains an input, or lies in it; else None."""
        output = self.output
        patterns = (*output.groups, *output.edited, *output.keyed)
        if not source.is_dir():
            single = (output.out, output.record, *output.files)
            same = (file for file in single if file.exists() and file.samefile(source))
            return next(same, source if self._pattern(_real(source), patterns) else None)
        folder, images = _real(source), key in OF_IMAGES
        for pattern in patterns:
            base = self.home / _base(pattern)
            if base != self.home and (folder == base or base in folder.parents):
                return base
            if folder == base and not images:
                return base
        targets = [file for file in output.files if file.is_file()]
        if folder == self.home or folder in self.home.parents:
            for pattern in (*output.groups, *output.edited):
                targets += [] if self._is_own_group(pattern) else self._group(pattern)
        if folder == self.home:
            targets += [file for pattern in output.keyed for file in self._group(pattern)]
        for file in targets:
            read = not images or file.suffix.lower() in SUFFIXES | VIDEO_SUFFIXES
            if read and folder in _real(file).parents and not self._is_own(file):
                return file
        return None

    def begin(self, *, overwrite: bool) -> None:
        """Compares the existing files with the record; raises `UserError` for a foreign file."""
        output = self.output
        if output.record.exists() and record_content(output.record) is None and not overwrite:
            raise self._refusal(output.record, "is not a record of p2seg")
        for file in filter(Path.is_file, output.files):
            name = self.names[file]
            if self._is_own(file):
                self.hashes[name] = None if name in self.unhashed else [sha256(file)]
            elif not overwrite:
                raise self._refusal(file, self._reason(name))
        for pattern in (*output.groups, *output.edited):
            first = next(self._group(pattern), None)
            if first is not None and self._is_own_group(pattern):
                self.hashes[pattern] = None
            elif first is not None and not overwrite:
                raise self._refusal(self._changed() or first, self._reason(pattern))

    def note(self, temporary: Path, path: Path) -> None:
        """Records the SHA-256 of a finished temporary file before it gets its path."""
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
        """Rewrites the list of files that users edit, with one line per existing file."""
        if self.noted.intersection(self.output.edited):
            lines = (self._line(*each) for each in self._edited().items())
            write_bytes(self.list, b"\n".join(lines))

    def _refusal(self, path: Path, reason: str) -> UserError:
        return UserError(
            f"{path} exists and {reason}; set another {self.output.setting}, or overwrite=true to "
            "replace it"
        )

    def _reason(self, name: str) -> str:
        """Why a file, or a group of files, is not replaced."""
        tool = f"p2seg {self.output.command}"
        entry = (self.record.files or {}).get(name, {})
        if entry.get("command") != self.output.command:
            return f"was not written by {tool}"
        if name in self.output.edited:
            return f"is not as {tool} wrote it"
        return f"was changed after {tool} wrote it"

    def _write(self, name: str, hashes: list[str] | None) -> None:
        command, path = self.output.command, self.output.record
        with LOCK:
            record = Record.read(path)
            if record.files is None:
                record.files = {
                    own: {"command": command, "sha256": known} for own, known in self.hashes.items()
                }
            record.files[name] = {"command": command, "sha256": hashes}
            record.commands.add(command)
            record.write(path)

    def _name(self, file: Path) -> str:
        """The path of a file in the record; links to one file share it."""
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
            return pattern not in self.output.edited and self.output.command in self.record.commands
        entry = self.record.files.get(pattern, {})
        if entry.get("command") != self.output.command:
            return False
        if pattern not in self.output.edited:
            return True
        return self.list.is_file() and self._changed() is None

    def _changed(self) -> Path | None:
        """The first file of a group that users edit which is not as the command wrote it."""
        known = set(self.list.read_bytes().splitlines()) if self.list.is_file() else set()
        lines = ((file, self._line(file, content)) for file, content in self._edited().items())
        return next((file for file, line in lines if line not in known), None)

    def _edited(self) -> dict[Path, str | None]:
        """The files that users edit, with the SHA-256 of each."""
        files = [file for pattern in self.output.edited for file in self._group(pattern)]
        return hashes_of(files, self.output.home, None)

    def _line(self, file: Path, content: str | None) -> bytes:
        """The line of a file that users edit, for the list next to the record."""
        return json.dumps([os.path.relpath(_real(file), self.home), content]).encode()

    def _group(self, pattern: str) -> Iterator[Path]:
        """The files of a pattern."""
        base = self.output.home / _base(pattern)
        for file in files_below(base) if base.is_dir() else ():
            name = file.relative_to(self.output.home).as_posix()
            if fnmatch(name, pattern) and file.name[0] != "." and file != self.output.record:
                yield file

    def _pattern(self, file: Path, patterns: Iterable[str]) -> str | None:
        """The first pattern that matches a path; None if there is none."""
        for home in (self.output.home, self.home):
            if file.is_relative_to(home):
                name = file.relative_to(home).as_posix()
                return next((each for each in patterns if fnmatch(name, each)), None)
        return None


def _existing(path: Path) -> Path | None:
    """The path if it exists; the folder of a pattern; None if there is neither."""
    while not path.exists() and any(each in path.name for each in "*?["):
        path = path.parent
    return path if path.exists() else None


def _real(path: Path) -> Path:
    """A path without links; unlike `Path.resolve` it accepts circular links."""
    return Path(os.path.realpath(path))


def _base(pattern: str) -> Path:
    """The folder at the start of a pattern."""
    fixed = pattern[: next(k for k, each in enumerate(pattern) if each in "*?[")]
    return Path(fixed.rpartition("/")[0])
