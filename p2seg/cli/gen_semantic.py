"""Makes the first semantic maps: a palette PNG an image, and manifest.json beside them.

p2seg gen_semantic semantic=grabcut data.images=DIR data.points=FILE out=DIR
    semantic=png semantic.maps=DIR      takes the maps of any other method
    semantic=oracle semantic.gt=FILE    paints the ground truth (an upper bound)
    semantic=sam semantic.sam.checkpoint=FILE    asks SAM with the clicks, and chooses
    --check                             looks at the maps and the points on them, and makes none
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
    """Makes the maps and gives their folder: `out`, else `data.semantic`."""
    images = path_of(cfg, "data.images")
    out = maps_folder(cfg)
    if out.is_file():
        raise UserError(f"out={out} is a file, but the maps need a folder; give out=DIR")
    prompted = is_prompted(cfg)
    for key in ("maps", "gt"):
        if key in (cfg.semantic.prompter if prompted else cfg.semantic.source):
            path_of(cfg, f"semantic.{key}")
    points = clicks_of(cfg)
    if not images.is_dir():
        raise UserError(f"no image folder at {images}; give it with data.images=DIR")
    ranks = ranks_of(cfg)
    if prompted:
        make_candidates(cfg, points, images, ranks)
    source, total = maps_of(cfg, points), len(ranks.share(points.images))
    record_run(cfg, "gen_semantic", out)
    asks = prompted and cfg.semantic.select == "network"
    manifest, made = generate(
        source,
        points,
        images,
        out,
        MAPS,
        points_sha256=clicks_sha256(cfg),
        workers=0 if asks or ranks.world > 1 else cfg.semantic.workers,  # a network stays here
        on_error=cfg.data.on_error,
        overwrite=cfg.overwrite,
        progress=partial(track, what="semantic maps", total=total, shown=ranks.first),
        ranks=ranks,
    )
    if not ranks.first:
        return out
    kept = len(manifest.files) - made
    there = f", {kept} were there already" if kept else ""
    console.print(f"{out}: {made} maps by {manifest.source} made{there}", markup=False)
    skipped = (f"{name}: {reason}" for name, reason in manifest.skipped.items())
    report_inputs(skipped, images, points.images)
    return out


def run(cfg: DictConfig) -> None:
    """Makes the maps; with `check` it checks those that are there."""
    (check if cfg.check else make)(cfg)
