"""Generates a points file with one point per instance of a ground-truth file.

p2seg make_points gt=data/voc2012/instances_trainaug.json sampler=inner seed=0 \
    out=data/voc2012/points_trainaug.json
images=DIR   corrects absolute image paths of another computer to paths below DIR
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from p2seg.cli.claims import writes
from p2seg.cli.paths import check_file, given_file, path_of
from p2seg.cli.provenance import record_run
from p2seg.data.coco import read_instances
from p2seg.data.points import make_points, write_points
from p2seg.errors import UserError
from p2seg.formats.points import Images
from p2seg.runtime.files import sha256
from p2seg.runtime.terminal import Terminal


@writes("make_points", given_file)
def run(cfg: DictConfig) -> Path:
    """Samples points of the instances of `gt`, and returns the path `out`."""
    if cfg.out is None:
        raise UserError("out is not set; add out=FILE.json")
    gt, out = Path(cfg.gt).expanduser(), check_file(Path(cfg.out).expanduser())
    console = Terminal(stderr=True, soft_wrap=True, highlight=False, markup=False)
    with console.status(f"points of {gt}"):
        instances = read_instances(gt, name_of=_names(cfg))
        points = make_points(instances, str(cfg.sampler), cfg.seed, cfg.jitter)
        count = sum(map(len, points.points))
        left_out = points.info.get("left_out", {})
        if not count:
            reasons = "; ".join(f"{n} {kind}" for kind, n in left_out.items()) or "no annotations"
            raise UserError(
                f"{gt} has no instance for a point ({reasons}); use a file with instances"
            )
        source = {"source": str(gt), "source_sha256": sha256(gt)}
        record_run(cfg, "make_points", out)
        write_points(out, replace(points, info={**points.info, **source}))
    console.print(f"{out}: {count} points on {len(points.images)} images")
    for kind, n in left_out.items():
        console.print(f"left out: {n} {kind}")
    return out


def _names(cfg: DictConfig) -> Callable[[str], str]:
    """A function from a file name of the ground truth to a path below the image folder."""
    if cfg.images is None:
        return lambda name: name.replace("\\", "/")  # Windows; a drive or `..` is rejected later
    images = Images(path_of(cfg, "images"))
    return lambda name: images.match([name])
