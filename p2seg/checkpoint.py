"""Checkpoints: written whole, read without running code from them, the last ones kept."""

from __future__ import annotations

import errno
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import torch

from p2seg.archives import oversized
from p2seg.data.schema import storable
from p2seg.errors import UserError, shown
from p2seg.files import atomic_path, read_json, write_json

FORMAT = 1
_OF_THE_SYSTEM = (errno.EIO, errno.EACCES, errno.EPERM, getattr(errno, "ESTALE", errno.EIO))
"""Errors that say nothing of the file's content."""
_EARLIER = re.compile(r"step_\d{8}\.pt\Z")


class Damaged(UserError):
    """A checkpoint that cannot be read to its end, or whose bytes have changed."""


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Writes a checkpoint atomically.

    Args:
        path: the file.
        content: tensors, numbers, strings, and lists and dicts of them; `kind` says whose it is.
    """
    with atomic_path(path) as temporary:
        torch.save({"format": FORMAT, **content}, temporary)


def load_checkpoint(path: Path, kind: str) -> dict[str, Any]:
    """Reads a checkpoint onto the CPU, refusing files that hold more than data.

    Args:
        path: the file.
        kind: what the checkpoint must be of, `network` or `segmentor`.

    Raises:
        Damaged: cut short, changed on the disk, or no checkpoint at all.
        UserError: missing, of another kind, or holding code.
    """
    if not path.is_file():
        raise UserError(f"no checkpoint at {path}: give the path of one that p2seg has written")
    if path.suffix == ".safetensors":
        raise UserError(
            f"{path} is a .safetensors file, which holds weights alone and not their settings; "
            f"give a checkpoint of a {kind} that p2seg has written, such as last.pt"
        )
    _check_bytes(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _OF_THE_SYSTEM:
            raise
        raise Damaged(
            f"{path} is not a checkpoint of p2seg: it is cut short, of another format, or holds "
            f"objects that could run code ({type(error).__name__}); give one that p2seg has written"
        ) from error
    if not isinstance(content, dict) or "format" not in content:
        raise UserError(
            f"{path} is not a checkpoint of p2seg but a file of another program, such as weights "
            f"alone; give a checkpoint of a {kind} that p2seg has written, such as last.pt"
        )
    if type(content["format"]) is not int or content["format"] != FORMAT:
        raise UserError(f"{path} is not a checkpoint of this version of p2seg; train again")
    given = content.get("kind")
    if not isinstance(given, str) or given != kind:
        theirs = given if isinstance(given, str) else shown(given)
        raise UserError(f"{path} is a checkpoint of a {theirs}, but a {kind} is needed here")
    if not _well_formed(content):
        raise UserError(f"{path} is a checkpoint of p2seg that was changed since; train again")
    return content


def _well_formed(content: dict[str, Any]) -> bool:
    """Whether what every checkpoint has is of the type that it must have, where it is there."""
    categories = content.get("categories", [])
    return (
        all(isinstance(content.get(key, {}), dict) for key in ("model", "config"))
        and isinstance(content.get("average"), (dict, type(None)))
        and storable(content.get("config"))
        and isinstance(categories, list)
        and all(isinstance(each, dict) for each in categories)
        and all(type(each.get("id")) is int for each in categories)
        and all(isinstance(each.get("name"), str) for each in categories)
        and isinstance(content.get("step", 0), int)
    )


def _check_bytes(path: Path) -> None:
    """Compares every part of the file with its checksum, which torch writes but does not read."""
    reason = oversized(path)
    if reason is not None:
        raise Damaged(
            f"{path} is not a checkpoint of p2seg: {reason}; give one that p2seg has written"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            changed = archive.testzip()
    except Exception:  # whatever zipfile comes to, a seek before the file's start too
        return  # no archive, or half of one: torch.load says what it is
    if changed is not None:
        raise Damaged(
            f"{path} is not the checkpoint that was written: its part {changed} has changed on "
            "the disk; give another one"
        )


class CheckpointFolder:
    """The checkpoints of a training: `last.pt`, and in `earlier/` those that were last before it.

    Args:
        folder: of the training.
        kind: what they are of, `network` or `segmentor`.
        keep: how many are kept, the last one among them.
    """

    def __init__(self, folder: Path, kind: str, keep: int) -> None:
        self.last = folder / "last.pt"
        self.validated = folder / "validated.json"
        self.folder = folder / "earlier"
        self.kind = kind
        self.keep = keep
        self._step: int | None = None  # of last.pt, where it is whole and of this training
        self._goes_on = False

    def newest(self) -> tuple[Path, dict[str, Any], Damaged | None] | None:
        """The newest checkpoint that can be read.

        Returns:
            Its path and content, and what is wrong with `last.pt` where that is not it; None where
            nothing was written yet.

        Raises:
            UserError: there is a `last.pt`, but it is of something else, or it is damaged and so
                are all before it.
        """
        if not self.last.exists() and not self._earlier():
            return None
        try:
            if not self.last.is_file():
                raise Damaged(f"there is no checkpoint {self.last}")
            content = load_checkpoint(self.last, self.kind)
            content |= self._validated(content)
        except Damaged as error:
            for path in reversed(self._earlier()):
                try:
                    content = load_checkpoint(path, self.kind)
                except Damaged:
                    continue
                self._goes_on = True
                return path, content, error
            raise
        self._goes_on, self._step = True, int(content["step"])
        return self.last, content, None

    def write(self, content: dict[str, Any]) -> None:
        """Writes `last.pt`; the one before moves to `earlier/`, and the oldest goes."""
        step = int(content["step"])
        if self._step is not None and self._step < step and self.keep > 1:
            self._link(self.folder / f"step_{self._step:08d}.pt")
        self.validated.unlink(missing_ok=True)
        save_checkpoint(self.last, content)
        # those of a training before this one, or of steps that are done again, are not its own
        own = [path for path in self._earlier() if self._goes_on and _step_of(path) < step]
        for path in set(self._earlier()) - set(own[max(0, len(own) - self.keep + 1) :]):
            path.unlink(missing_ok=True)
        self._goes_on, self._step = True, step

    def note_validation(self, step: int, best: float, *, is_best: bool) -> None:
        """Records that `last.pt` was validated, in a small file next to it.

        Args:
            step: of `last.pt`.
            best: the best score so far.
            is_best: `last.pt` has this score, so it becomes `best.pt` as well.
        """
        if is_best:
            self._link(self.last.with_name("best.pt"))
        write_json(self.validated, {"step": step, "best": best})

    def _validated(self, content: dict[str, Any]) -> dict[str, Any]:
        """What the validation of a checkpoint changes in it; nothing if there was none."""
        try:
            noted = read_json(self.validated, "record of a validation")
            if noted["step"] == content["step"]:
                return {"best": float(noted["best"]), "unvalidated": False}
        except (OSError, UserError, LookupError, TypeError, ValueError):
            pass  # the validation is repeated
        return {}

    def _link(self, path: Path) -> None:
        """Gives `last.pt` a second name, or copies it if the file system has no links."""
        with atomic_path(path) as temporary:
            try:
                temporary.hardlink_to(self.last)
            except OSError:
                shutil.copyfile(self.last, temporary)

    def _earlier(self) -> list[Path]:
        """From the oldest to the newest."""
        return sorted(each for each in self.folder.glob("step_*.pt") if _EARLIER.match(each.name))


def _step_of(path: Path) -> int:
    return int(path.stem.removeprefix("step_"))
