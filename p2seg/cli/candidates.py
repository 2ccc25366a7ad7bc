"""Mask candidates of a promptable model: prompting, choice, and use in the export."""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from omegaconf import DictConfig

from p2seg.cli.build import build, plain
from p2seg.cli.checks import check_values
from p2seg.cli.inputs import clicks_sha256
from p2seg.cli.labeler import PSEUDO, labeler_of
from p2seg.cli.outputs import candidates_of, inputs_read
from p2seg.cli.paths import path_of
from p2seg.data.maps import SemanticMap
from p2seg.data.points import PointSet
from p2seg.errors import UserError
from p2seg.pseudo.labeler import Labeler
from p2seg.pseudo.network import NetworkLabeler
from p2seg.pseudo.seeds import SeedFallback
from p2seg.runtime.claims import claim
from p2seg.runtime.devices import device_of
from p2seg.runtime.outputs import refuse_inputs, replacing
from p2seg.runtime.progress import console, track
from p2seg.runtime.rank_env import is_first
from p2seg.runtime.ranks import Ranks
from p2seg.sam.candidates import CANDIDATES, CandidateFolder
from p2seg.sam.choose import Chooser, Costs, Image, sizes_of
from p2seg.sam.evidence import Evidence
from p2seg.sam.options import Options
from p2seg.sam.prompts import Prompting
from p2seg.sam.selected import ChosenLabeler, ChosenMaps, Selection, Snapped
from p2seg.semantic.auto import Auto
from p2seg.semantic.generate import generate
from p2seg.semantic.manifest import MANIFEST, read_manifest
from p2seg.semantic.source import MapTask, Source

SAMPLE = 4000
"""Maximum number of images from which the sizes of classes are estimated."""


def is_prompted(cfg: DictConfig) -> bool:
    """Whether initial semantic maps are made from candidates of a promptable model."""
    return "prompter" in cfg.semantic


def make_candidates(cfg: DictConfig, points: PointSet, images: Path, ranks: Ranks) -> None:
    """Generates the missing candidates of all points, in `data.candidates`."""
    folder, clicks = path_of(cfg, "data.candidates"), clicks_sha256(cfg)
    _check_settings(cfg, points)
    if (folder / MANIFEST).is_file():
        manifest = read_manifest(folder)
        _check_source(cfg, folder, manifest.source)
        no_checkpoint = "sam" in cfg.semantic and cfg.semantic.sam.checkpoint is None
        if no_checkpoint and manifest.points_sha256 == clicks:
            if ranks.first:
                message = f"{folder}: candidates as they are, no checkpoint given"
                console.print(message, markup=False)
            return
    output, inputs = candidates_of(folder), inputs_read(cfg, "gen_semantic")
    refuse_inputs(output, (each for each in inputs if each[0] != "data.candidates"))
    with claim(folder, folder=True), replacing(output, overwrite=cfg.overwrite):
        manifest, count = generate(
            Prompting(build(cfg.semantic.prompter), cfg.semantic.negatives),
            points,
            images,
            folder,
            CANDIDATES,
            points_sha256=clicks,
            workers=0 if ranks.world > 1 else cfg.semantic.workers,
            on_error=cfg.data.on_error,
            overwrite=cfg.overwrite,
            progress=partial(
                track, what="candidates", total=len(ranks.share(points.images)), shown=ranks.first
            ),
            ranks=ranks,
        )
    if not ranks.first:
        return
    kept = len(manifest.files) - count
    there = f", {kept} were there already" if kept else ""
    message = f"{folder}: candidates of {count} images by {manifest.source} made{there}"
    console.print(message, markup=False)
    for name, reason in manifest.skipped.items():
        console.print(f"no candidates of {name}: {reason}", markup=False)


def folder_of(cfg: DictConfig, points: PointSet) -> CandidateFolder:
    """The candidates of the points, read on demand."""
    return CandidateFolder.of(path_of(cfg, "data.candidates"), points, clicks_sha256(cfg))


def selection_of(cfg: DictConfig, points: PointSet) -> Selection:
    """The choice among existing candidates that the config describes."""
    if not is_prompted(cfg):
        raise UserError(
            "the config does not describe how to choose among candidates; set semantic=sam, or the "
            "semantic=NAME that made the candidates"
        )
    _check_checkpoint(cfg)
    folder, select = folder_of(cfg, points), cfg.semantic.select
    _check_source(cfg, folder.folder, read_manifest(folder.folder).source)
    if select in ("score", "largest", "smallest"):
        return Selection(folder, Chooser(select), overlap=cfg.semantic.overlap)
    evidence = _evidence(cfg, points) if select == "network" else None
    costs: Costs = build(cfg.semantic.costs)
    sizes = sizes_of(_images(points, folder), costs, len(points.categories))
    return Selection(folder, Chooser(select, costs, sizes), evidence, cfg.semantic.overlap)


def maps_of(cfg: DictConfig, points: PointSet) -> Source[SemanticMap]:
    """The source of initial semantic maps, which may be the chosen candidates."""
    if not is_prompted(cfg):
        source = build(cfg.semantic.source)
        return _chosen(cfg, source, points) if isinstance(source, Auto) else source
    selection = selection_of(cfg, points)
    manifest = read_manifest(selection.candidates.folder)
    return ChosenMaps(selection, manifest.source, manifest.parameters)


def _chosen(cfg: DictConfig, auto: Auto, points: PointSet) -> Source[SemanticMap]:
    """The source that `semantic=auto` chooses for the images."""
    folder, classes = path_of(cfg, "data.images"), tuple(c.name for c in points.categories)
    pairs = zip(points.images, points.points, strict=True)
    choice = auto.choose([MapTask.of(record, own, folder, classes) for record, own in pairs])
    if is_first():
        console.print(str(choice), markup=False)
    return choice.source


def masks_of(
    cfg: DictConfig, points: PointSet, device: torch.device
) -> tuple[Labeler, dict[str, Any]]:
    """The labeler for `export.masks` and `export.snap`, and its description for the result."""
    if cfg.export.masks == "mdm":
        labeler, info = labeler_of(cfg, points, device)
        if cfg.export.unclaimed == "seed" and isinstance(labeler, NetworkLabeler):
            labeler = SeedFallback(labeler, build(cfg.seeder), cfg.export.min_pixels)
    else:
        selection = selection_of(cfg, points)
        labeler = ChosenLabeler(selection)
        rules = {key: cfg.export[key] for key in ("min_pixels", "default_box")}
        info = {"description": PSEUDO, "source": "candidates", "export": rules}
        info |= {"candidates": selection.candidates.provenance, "choice": selection.parameters}
    if cfg.export.snap == "sam":
        check_values(Snapped, {"iou": ("export.snap_iou", cfg.export.snap_iou)})
        labeler = Snapped(labeler, _for_borders(cfg, points), cfg.export.snap_iou)
        info["snap"] = labeler.parameters
    return labeler, info


def _for_borders(cfg: DictConfig, points: PointSet) -> Selection:
    """The choice among candidates for `export.snap`, which needs no network."""
    if not is_prompted(cfg):
        raise UserError(
            "export.snap=sam needs candidates; set semantic=sam, or the semantic=NAME that they "
            "were made with"
        )
    changed = deepcopy(cfg)
    changed.semantic.select = "consistent"
    return selection_of(changed, points)


def _check_checkpoint(cfg: DictConfig) -> None:
    if cfg.semantic.select == "network" and cfg.ckpt in (None, "none"):
        raise UserError("semantic.select=network needs a trained network; add ckpt=FILE.pt")


def _check_settings(cfg: DictConfig, points: PointSet) -> None:
    """Checks the settings of the choice before the candidates are generated."""
    _check_checkpoint(cfg)
    if not isinstance(cfg.semantic.costs, DictConfig):
        raise UserError(
            f"semantic.costs={cfg.semantic.costs}: must be a group of settings; set one of "
            "its costs, as in semantic.costs.part=1"
        )
    build(cfg.semantic.costs)
    if cfg.semantic.select == "network":
        _evidence(cfg, points)


def _check_source(cfg: DictConfig, folder: Path, source: str) -> None:
    if source != cfg.semantic.segmenter:
        raise UserError(
            f"the candidates in {folder} are of {source}, but semantic={cfg.semantic.segmenter} "
            f"is set; set semantic={source}, or another data.candidates=DIR"
        )


def _evidence(cfg: DictConfig, points: PointSet) -> Evidence:
    labeler, info = labeler_of(cfg, points, device_of(cfg.trainer.accelerator))
    export = {key: plain(cfg.export)[key] for key in ("flip", "scales", "ema")}
    inputs = {key: info[key] for key in ("checkpoint", "network_input")}
    return Evidence(cast(NetworkLabeler, labeler), {**inputs, "export": export})


def _images(points: PointSet, folder: CandidateFolder) -> list[Image]:
    """A sample of usable images, from which the sizes of classes are estimated."""
    pairs = [pair for pair in zip(points.images, points.points, strict=True) if len(pair[1])]
    count = min(SAMPLE, len(pairs))
    images = []
    sample = [pairs[n * len(pairs) // count] for n in range(count)]
    for record, own in track(sample, "sizes of classes", count):
        try:
            offered = folder(own.ids.tolist())
        except UserError:
            continue  # reported when the image is used
        options = Options.of(offered, own.pixels.numpy(), unions=False)
        images.append(Image(options, own.labels.numpy(), record.height * record.width))
    return images
