"""The files that each command writes and may replace, see `p2seg.runtime.outputs`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from p2seg.cli.fingerprints import inputs_of
from p2seg.data.journal import is_journal
from p2seg.engine.checkpoint import Ruined, load_checkpoint
from p2seg.errors import UserError
from p2seg.formats.masks import FORMATS
from p2seg.runtime.files import read_json
from p2seg.runtime.outputs import Output
from p2seg.sam.candidates import ENDING
from p2seg.semantic.manifest import MANIFEST, read_manifest
from p2seg.semantic.maps import read_key

OF_A_FILE = frozenset(
    (
        *("make_points", "import_points", "export_points", "annotate"),
        *("gen_pseudo", "export", "visualize", "check"),
    )
)
"""Commands that write one file, not a folder; `check` is `gen_semantic --check`."""

TRAINED = ("last.pt", "best.pt", "validated.json")
"""Files that a training writes, or removes if they are from an earlier training."""

FILES: dict[str, tuple[str, ...]] = {
    "gen_semantic": (MANIFEST,),
    "train": (*TRAINED, "readable.json"),
    "train_segmentor": (*TRAINED, "readable.json", "readable_val.json"),
    "predict": ("predictions.json", "images.json"),
    "eval": ("metrics.json",),
    "validate": ("validate.html", "validate.json"),
    "pipeline": ("report.html", "report.json"),
}
"""Single files below `out`."""

BESIDE: dict[str, dict[str | None, tuple[str, ...]]] = {
    "annotate": {None: (".history.json", ".journal.jsonl")},
    "export_points": {"cvat": (".labels.json",), "labelstudio": (".config.xml",)},
}
"""Endings of files that a command writes next to its output, by format (None: any format)."""

CHECKPOINTS = ("earlier/step_*.pt", "snapshots/step_*.pt")
GROUPS: dict[str, tuple[str, ...]] = {
    "train": CHECKPOINTS,
    "train_segmentor": CHECKPOINTS,
    "gallery": ("images/[0-9]*/*", "data/*.js"),
    "pipeline": ("report/*", "stages/*.json"),
}
"""Patterns of groups of many files."""

ALSO_READ = {
    "check": ("data.semantic", "data.gt"),
    "gen_semantic": ("data.candidates",),
    "train_segmentor": ("segmentor.model.checkpoint",),
    "visualize": ("masks", "runs"),
}
"""Settings of inputs in addition to those of `p2seg.runtime.settings`."""


def record_of(command: str, out: Path) -> Path:
    """The path of the record of the written files: in the folder, or next to the file."""
    return _beside(out, ".run.json") if command in OF_A_FILE else out / "run.json"


def _beside(out: Path, ending: str) -> Path:
    return out.with_name(f"{out.stem}{ending}") if out.name else out / ending


def output_of(cfg: DictConfig, command: str, out: Path) -> Output:
    """The files that a command writes.

    Args:
        cfg: configuration of the command.
        command: name of the command.
        out: the file or folder that the command writes; for `eval`, its file.
    """
    if command == "eval":
        out = out.parent
    record = record_of(command, out)
    if command == "export_points" and cfg.format == "labelme":
        return Output(command, out, out, record, (out / "labels.txt",), edited=("*.json",))
    if command in OF_A_FILE:
        kind_of_file = cfg.get("format" if command == "export_points" else "")
        beside = BESIDE.get(command, {}).items()
        endings = next((own for name, own in beside if name == kind_of_file), ())
        files = tuple(dict.fromkeys((out, *(_beside(out, each) for each in endings))))
        clicked = command == "annotate"
        return Output(
            command,
            out,
            out.parent,
            record,
            files,
            unhashed=frozenset(files if clicked else ()),
            continues=frozenset(("make_points", "import_points") if clicked else ()),
            is_own=lambda file: clicked and (file == out or is_journal(file) or _is_history(file)),
        )
    kind = {"train": "network", "train_segmentor": "segmentor"}.get(command)
    names, groups = FILES.get(command, ()), GROUPS.get(command, ())
    if command == "gallery":
        static = (resources("p2seg.apps.gallery") / "static").iterdir()
        names = tuple(each.name for each in static if each.name.endswith((".html", ".css", ".js")))
    edited = _folders_of(cfg.formats) if command == "export_masks" else ()
    if command == "predict":
        overlays = () if cfg.predict.overlays is False else ("overlays/*",)
        groups = (*overlays, *_folders_of(cfg.predict.formats, without="coco"))

    def is_own(file: Path) -> bool:
        if command == "gen_semantic":
            return _is_map(file) if file.suffix == ".png" else _is_manifest(file)
        if file.name.startswith("readable"):
            return _is_readable(file)
        return kind is not None and file.suffix == ".pt" and _is_checkpoint(file, kind)

    return Output(
        command,
        out,
        out,
        record,
        tuple(out / name for name in names),
        unhashed=frozenset(
            out / name for name in names if name.endswith(".pt") or name.startswith("readable")
        ),
        groups=groups,
        edited=edited,
        keyed=("*.png",) if command == "gen_semantic" else (),
        is_own=is_own,
    )


def candidates_of(folder: Path) -> Output:
    """The files that `gen_semantic` writes for the candidates of a promptable model.

    The record is next to the folder, because the candidates of run.png are in run.json.
    """
    real = Path(os.path.realpath(folder))
    record = real.with_name(f"{real.name}.run.json")
    return Output(
        "gen_semantic",
        folder,
        folder,
        record,
        (folder / MANIFEST,),
        keyed=("*.json",),
        is_own=_is_of_candidates,
        setting="data.candidates=DIR",
    )


def inputs_read(cfg: DictConfig, command: str) -> Iterator[tuple[str, Path]]:
    """The paths of the inputs of a command, each with its setting."""
    yield from inputs_of(cfg, "gen_semantic" if command == "check" else command).items()
    for key in ALSO_READ.get(command, ()):
        value = OmegaConf.select(cfg, key)
        for each in value if isinstance(value, ListConfig) else [value]:
            if isinstance(each, str) and each:
                yield key, Path(each).expanduser()
    pred = OmegaConf.select(cfg, "pred")
    if command in ("export_masks", "gallery") and isinstance(pred, str):
        yield "pred", Path(pred).expanduser().with_name("images.json")


def check_folders(cfg: DictConfig, out: Path, formats: list[str]) -> None:
    """Rejects folders of formats that contain files, unless `overwrite=true`.

    Raises:
        UserError: a folder has files of a finished earlier run, which users may have edited.
    """
    for each in formats:
        folder = out / each
        if folder.is_dir() and any(folder.iterdir()) and not cfg.overwrite:
            raise UserError(
                f"{folder} has files of an earlier run, possibly edited; set another "
                "out=DIR, remove that folder, or overwrite=true to replace its files"
            )


def _folders_of(formats: Any, without: str = "") -> tuple[str, ...]:
    """File patterns of formats; each format has its own folder."""
    names = formats if isinstance(formats, ListConfig) else [formats]
    return tuple(f"{each}/*" for each in FORMATS if each in names and each != without)


def _is_map(file: Path) -> bool:
    return read_key(file) is not None


def _is_history(file: Path) -> bool:
    try:
        content = read_json(file, "undo history")
    except UserError:
        return False
    states = content.values() if isinstance(content, dict) else [None]
    return all(isinstance(each, dict) and "actions" in each for each in states)


def _is_readable(file: Path) -> bool:
    """Whether a file lists readable images; ranks may write it before the run has a record."""
    try:
        content = read_json(file, "list of readable images")
    except UserError:
        return False
    return isinstance(content, dict) and content.keys() == {"readable"}


def _is_manifest(file: Path) -> bool:
    try:
        read_manifest(file.parent)
    except UserError:
        return False
    return True


def _is_of_candidates(file: Path) -> bool:
    """Whether a file is a manifest of candidates, not of maps."""
    return _is_manifest(file) and all(
        each.endswith(ENDING) for each in read_manifest(file.parent).files
    )


def _is_checkpoint(file: Path, kind: str) -> bool:
    try:
        load_checkpoint(file, kind)
    except Ruined:
        return True
    except UserError:
        return False
    return True
