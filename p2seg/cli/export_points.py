"""Exports a points file to other tools: LabelMe, CVAT, Label Studio, COCO keypoints, CSV.

p2seg export_points data.points=points.json images=DIR format=labelme out=DIR
p2seg export_points data.points=points.json images=DIR format=cvat out=clicks.xml
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from p2seg.cli.claims import writes
from p2seg.cli.click_files import check_images, order_of, target_of
from p2seg.cli.paths import given_file, path_of
from p2seg.cli.provenance import record_run
from p2seg.data.points import read_points
from p2seg.formats.masks import address_of
from p2seg.formats.points import Writing
from p2seg.runtime.progress import console


@writes("export_points", given_file)
def run(cfg: DictConfig) -> Path:
    """Converts `data.points`, and returns the path `out`."""
    images = path_of(cfg, "images")
    target, out = target_of(cfg)
    points = read_points(path_of(cfg, "data.points"))
    with console.status(f"clicks to {out}"):
        total = sum(map(len, points.points))
        points, left_out = check_images(points, images, cfg.data.on_error)
        record_run(cfg, "export_points", out)
        url = address_of(images) if cfg.url is None else str(cfg.url)
        advice = target(Writing(points, images, out, url))
    advice += order_of(cfg, points)
    count = sum(map(len, points.points))
    console.print(f"{out}: {count} points on {len(points.images)} images; {advice}", markup=False)
    if left_out:
        reasons = ", ".join(f"{n} {kind}" for kind, n in left_out.most_common())
        console.print(f"left out: {reasons}; {total - count} points are on them", markup=False)
    return out
