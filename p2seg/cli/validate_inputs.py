"""Inputs of `p2seg validate`, and its output on the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from p2seg.apps.validate.inspect import Inputs, Inspection
from p2seg.apps.validate.kinds import NOTE
from p2seg.apps.validate.page import verdict
from p2seg.cli.paths import path_of
from p2seg.errors import UserError
from p2seg.runtime.progress import console, track


def inputs_of(cfg: DictConfig) -> Inputs:
    """The files of the data set; ground truth and validation files are optional.

    Raises:
        UserError: `pseudo` is not a file.
    """
    pseudo = path_of(cfg, "pseudo") if cfg.pseudo is not None else None
    if pseudo is not None and not pseudo.is_file():
        raise UserError(f"no pseudo masks at {pseudo}; make them with p2seg gen_pseudo")
    val_gt, val_images = _there(cfg, "data.val_gt"), _there(cfg, "data.val_images")
    return Inputs(
        images=path_of(cfg, "data.images"),
        points=path_of(cfg, "data.points"),
        semantic=None if cfg.data.semantic is None else path_of(cfg, "data.semantic"),
        gt=_there(cfg, "data.gt"),
        pseudo=pseudo,
        val_images=val_images,
        val_gt=val_gt,
    )


def _there(cfg: DictConfig, key: str) -> Path | None:
    """The path of a setting if it exists; most sets lack the files of the defaults."""
    value = OmegaConf.select(cfg, key)
    path = Path(str(value)).expanduser()
    return path if value and path.exists() else None


def shown_on(items: Iterable[Any], what: str, count: int) -> Iterable[Any]:
    """Iterates over items and shows their progress on the terminal."""
    return track(items, what, count)


def tell(inspection: Inspection, page: Path) -> None:
    """Prints one line per problem, the worst first; notes are only on the page."""
    facts = [f"{inspection.facts[key]} {key}" for key in ("images", "points", "classes")]
    console.print(f"{inspection.inputs.points}: {', '.join(facts)}", markup=False)
    for each in inspection.findings.worst_first:
        if each.severity == NOTE:
            continue
        first = f", such as {each.examples[0]}" if each.examples else ""
        console.print(f"{each.severity}: {each.text}{first}", markup=False)
        console.print(f"    {each.fix}", markup=False)
    notes = sum(each.severity == NOTE for each in inspection.findings.worst_first)
    more = f"; {notes} note{'s' * (notes > 1)}" if notes else ""
    console.print(f"{verdict(inspection)[1]}{more}: {page}", markup=False)
