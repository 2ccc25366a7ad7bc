"""Generates initial semantic maps: one palette PNG per image, and manifest.json.

p2seg gen_semantic semantic=grabcut data.images=DIR data.points=FILE out=DIR
semantic=png semantic.maps=DIR      uses the maps of another method
semantic=oracle semantic.gt=FILE    uses the ground truth (an upper bound)
semantic=sam semantic.sam.checkpoint=FILE    prompts SAM with the points, and chooses masks
--check                             checks existing maps and their points
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from omegaconf import DictConfig

from p2seg.cli.build import ranks_of
from p2seg.cli.candidates import is_prompted, make_candidates, maps_of
from p2seg.cli.claims import writes
from p2seg.cli.inputs import clicks_of, clicks_sha256, report_inputs
from p2seg.cli.map_check import check
from p2seg.cli.paths import maps_folder, path_of
from p2seg.cli.provenance import record_run
from p2seg.errors import UserError
from p2seg.runtime.progress import console, track
from p2seg.semantic.generate import MAPS, generate


@writes("gen_semantic", maps_folder, folder=True)
def make(cfg: DictConfig) -> Path:
    """Generates the maps and returns their folder: `out`, or `data.semantic`."""
    images = path_of(cfg, "data.images")
    out = maps_folder(cfg)
    if out.is_file():
        raise UserError(f"out={out} is a file, but a folder is needed; set out=DIR")
    prompted = is_prompted(cfg)
    for key in ("maps", "gt"):
        if key in (cfg.semantic.prompter if prompted else cfg.semantic.source):
            path_of(cfg, f"semantic.{key}")
    points = clicks_of(cfg)
    if not images.is_dir():
        raise UserError(f"no image folder at {images}; set data.images=DIR")
    ranks = ranks_of(cfg)
    if prompted:
        make_candidates(cfg, points, images, ranks)
    source, total = maps_of(cfg, points), len(ranks.share(points.images))
    record_run(cfg, "gen_semantic", out)
    asks = prompted and cfg.semantic.select == "network"
    manifest, count = generate(
        source,
        points,
        images,
        out,
        MAPS,
        points_sha256=clicks_sha256(cfg),
        # a network is not copied to workers
        workers=0 if asks or ranks.world > 1 else cfg.semantic.workers,
        on_error=cfg.data.on_error,
        overwrite=cfg.overwrite,
        progress=partial(track, what="semantic maps", total=total, shown=ranks.first),
        ranks=ranks,
    )
    if not ranks.first:
        return out
    kept = len(manifest.files) - count
    there = f", {kept} were there already" if kept else ""
    console.print(f"{out}: {count} maps by {manifest.source} made{there}", markup=False)
    skipped = (f"{name}: {reason}" for name, reason in manifest.skipped.items())
    report_inputs(skipped, images, points.images)
    return out


def run(cfg: DictConfig) -> None:
    """Generates the maps; with `check=true`, checks existing maps instead."""
    (check if cfg.check else make)(cfg)
