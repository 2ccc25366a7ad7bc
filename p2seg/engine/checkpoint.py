"""Checkpoints: atomic writing, safe reading, and a folder with the latest ones."""

from __future__ import annotations

import errno
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from p2seg.data.schema import storable
from p2seg.engine.finite import not_finite
from p2seg.errors import UserError, shown
from p2seg.runtime.archives import oversized
from p2seg.runtime.files import atomic_path, read_json, write_json
from p2seg.runtime.links import write_second_name

FORMAT = 1
_OF_THE_SYSTEM = (errno.EIO, errno.EACCES, errno.EPERM, getattr(errno, "ESTALE", errno.EIO))
"""Errors of the file system, which do not mean that the file is damaged."""
_EARLIER = re.compile(r"step_\d{8}\.pt\Z")
_WEIGHTS = ("model", "average")
"""Entries of a checkpoint with weights."""
_SETTINGS = ("config", "settings", "method", "export")
"""Entries of a checkpoint with settings."""


class Damaged(UserError):
    """A checkpoint is truncated or changed, or contains NaN or infinity."""


class Ruined(Damaged):
    """A checkpoint contains NaN or infinity."""


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Writes a checkpoint atomically.

    Args:
        path: the file.
        content: tensors, numbers, strings, and lists and dicts of these; `kind` is the kind of
            the model.

    Raises:
        UserError: weights, averaged weights or the optimizer state contain NaN or infinity.
    """
    _check_writable(path, content)
    _save(path, content)


def _check_writable(path: Path, content: dict[str, Any]) -> None:
    name = not_finite({key: content.get(key) for key in (*_WEIGHTS, "optimizer")})
    if name is not None:
        raise UserError(
            f"{path} is not written: after step {content.get('step', 0)} {name} is not finite (NaN "
            "or infinity); lower the learning rate and add resume=changed to continue from the "
            "previous checkpoint"
        )


def _save(path: Path, content: dict[str, Any]) -> None:
    with atomic_path(path) as temporary:
        torch.save({"format": FORMAT, **content}, temporary)


def load_checkpoint(path: Path, kind: str) -> dict[str, Any]:
    """Reads a checkpoint onto the CPU without running code from it.

    Args:
        path: the file.
        kind: required kind, `network` or `segmentor`.

    Returns:
        The content of the checkpoint.

    Raises:
        Ruined: weights contain NaN or infinity.
        Damaged: the file is truncated, was changed on disk, or is not a checkpoint.
        UserError: the file is missing, of another kind, or contains code.
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
    _check_read(path, content, _WEIGHTS)
    return content


def _check_read(path: Path, content: dict[str, Any], keys: tuple[str, ...]) -> None:
    name = not_finite({key: content.get(key) for key in keys})
    if name is not None:
        raise Ruined(
            f"{path} is not usable: {shown(name)} is not finite (NaN or infinity); give an earlier "
            "checkpoint, or train again with a lower learning rate"
        )


def _well_formed(content: dict[str, Any]) -> bool:
    """Whether all known entries of a checkpoint have the right type."""
    categories = content.get("categories", [])
    return (
        all(isinstance(content.get(key, {}), dict) for key in ("model", *_SETTINGS))
        and isinstance(content.get("average"), (dict, type(None)))
        and all(storable(content.get(key)) for key in _SETTINGS)
        and isinstance(categories, list)
        and all(isinstance(each, dict) for each in categories)
        and all(type(each.get("id")) is int for each in categories)
        and all(isinstance(each.get("name"), str) for each in categories)
        and isinstance(content.get("step", 0), int)
    )


def _check_bytes(path: Path) -> None:
    """Checks the CRC-32 of each part of the file, which torch writes but does not check."""
    reason = oversized(path)
    if reason is not None:
        raise Damaged(
            f"{path} is not a checkpoint of p2seg: {reason}; give one that p2seg has written"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            changed = archive.testzip()
    except Exception:  # zipfile raises many types of errors for damaged files
        return  # not a complete archive; torch.load reports it
    if changed is not None:
        raise Damaged(
            f"{path} is not the checkpoint that was written: its part {changed} has changed on "
            "the disk; give another one"
        )


class CheckpointFolder:
    """The checkpoints of a training: `last.pt`, and the previous ones in `earlier/`.

    Args:
        folder: folder of the training.
        kind: kind of the model, `network` or `segmentor`.
        keep: number of checkpoints to keep, including `last.pt`.
    """

    def __init__(self, folder: Path, kind: str, keep: int) -> None:
        self.last = folder / "last.pt"
        self.validated = folder / "validated.json"
        self.folder = folder / "earlier"
        self.kind = kind
        self.keep = keep
        self._step: int | None = None  # step of last.pt if it is valid and of this training
        self._goes_on = False

    def newest(self) -> tuple[Path, dict[str, Any], Damaged | None] | None:
        """The newest valid checkpoint.

        Returns:
            Path, content, and the error of `last.pt` if an earlier checkpoint is returned; None if
            there is no checkpoint.

        Raises:
            UserError: `last.pt` is of another kind.
            Damaged: all checkpoints are damaged.
        """
        if not self.last.exists() and not self._earlier():
            return None
        try:
            if not self.last.is_file():
                raise Damaged(f"there is no checkpoint {self.last}")
            content = self._read(self.last)
            content |= self._validated(content)
        except Damaged as error:
            for path in reversed(self._earlier()):
                try:
                    content = self._read(path)
                except Damaged:
                    continue
                self._goes_on = True
                return path, content, error
            raise Damaged(
                f"no checkpoint of this training is usable ({error}); add resume=never to start "
                "over"
            ) from error
        self._goes_on, self._step = True, int(content["step"])
        return self.last, content, None

    def _read(self, path: Path) -> dict[str, Any]:
        """Reads a checkpoint to resume from, whose optimizer state must be finite too."""
        content = load_checkpoint(path, self.kind)
        _check_read(path, content, ("optimizer",))
        return content

    def write(self, content: dict[str, Any]) -> None:
        """Writes `last.pt`, moves the previous one to `earlier/`, and removes the oldest one.

        Raises:
            UserError: see `save_checkpoint`; no file is then changed.
        """
        _check_writable(self.last, content)
        step = int(content["step"])
        if self._step is not None and self._step < step and self.keep > 1:
            write_second_name(self.folder / f"step_{self._step:08d}.pt", self.last)
        self.validated.unlink(missing_ok=True)
        _save(self.last, content)
        # remove checkpoints of another training, and of steps that are repeated
        own = [path for path in self._earlier() if self._goes_on and _step_of(path) < step]
        for path in set(self._earlier()) - set(own[max(0, len(own) - self.keep + 1) :]):
            path.unlink(missing_ok=True)
        self._goes_on, self._step = True, step

    def note_validation(self, step: int, best: float | None, *, is_best: bool) -> None:
        """Records that `last.pt` was validated, in a small file next to it.

        Args:
            step: step of `last.pt`.
            best: best score so far; None if no score was finite.
            is_best: whether `last.pt` has the best score, so that it also becomes `best.pt`.
        """
        if is_best:
            write_second_name(self.last.with_name("best.pt"), self.last)
        write_json(self.validated, {"step": step, "best": best})

    def _validated(self, content: dict[str, Any]) -> dict[str, Any]:
        """The entries of a checkpoint that its validation has changed; empty without validation."""
        try:
            record = read_json(self.validated, "record of a validation")
            if record["step"] == content["step"]:
                best = record["best"]
                return {"best": None if best is None else float(best), "unvalidated": False}
        except (OSError, UserError, LookupError, TypeError, ValueError):
            pass  # the validation is repeated
        return {}

    def _earlier(self) -> list[Path]:
        """The checkpoints in `earlier/`, oldest first."""
        return sorted(each for each in self.folder.glob("step_*.pt") if _EARLIER.match(each.name))


def _step_of(path: Path) -> int:
    return int(path.stem.removeprefix("step_"))
