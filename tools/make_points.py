"""Makes a points file, one click an instance, of a ground-truth file.

python tools/make_points.py gt=data/voc2012/instances_trainaug.json sampler=inner seed=0 \
    out=data/voc2012/points_trainaug.json
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from _claims import given_file, writes
from _common import check_file
from _entry import entry
from _record import record_run
from omegaconf import DictConfig

from p2seg.data.coco import read_instances
from p2seg.data.points import make_points, write_points
from p2seg.errors import UserError
from p2seg.files import sha256
from p2seg.terminal import Terminal


@writes(given_file)
def run(cfg: DictConfig) -> Path:
    """Reads `gt`, writes `out` and gives its path."""
    if cfg.out is None:
        raise UserError("out is not given; say where to write the points: out=FILE.json")
    gt, out = Path(cfg.gt).expanduser(), check_file(Path(cfg.out).expanduser())
    console = Terminal(stderr=True, soft_wrap=True, highlight=False, markup=False)
    with console.status(f"points of {gt}"):
        points = make_points(read_instances(gt), str(cfg.sampler), cfg.seed, cfg.jitter)
        count = sum(map(len, points.points))
        if not count:
            raise UserError(f"{gt} has no instance to make a point of; give a file that has some")
        source = {"source": str(gt), "source_sha256": sha256(gt)}
        record_run(cfg, "make_points", out)
        write_points(out, replace(points, info={**points.info, **source}))
    console.print(f"{out}: {count} points on {len(points.images)} images")
    return out


main = entry("make_points")(run)


if __name__ == "__main__":
    raise SystemExit(main())
