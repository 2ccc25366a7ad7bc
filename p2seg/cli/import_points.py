"""Imports points of LabelMe, CVAT, Datumaro, Label Studio, COCO, VIA, BESTIE or a CSV file.

p2seg import_points in=FILE_OR_FOLDER images=DIR out=points.json
format=cvat         if the format is not recognized
classes=[cat,dog]   imports only these classes, in this order
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from p2seg.cli.claims import writes
from p2seg.cli.click_files import format_of, found_at, rules_of, source_of, summary_of, tell_some
from p2seg.cli.paths import check_file, given_file, path_of
from p2seg.cli.provenance import record_run
from p2seg.data.coco_variants import sentences_of
from p2seg.data.points import write_points
from p2seg.errors import UserError
from p2seg.formats.points import Images, gather
from p2seg.runtime.progress import console


@writes("import_points", given_file)
def run(cfg: DictConfig) -> Path:
    """Imports the points of `in`, and returns the path `out`."""
    if cfg.out is None:
        raise UserError("out is not set; add out=FILE.json")
    source, out = path_of(cfg, "in"), check_file(Path(cfg.out).expanduser())
    images = Images(path_of(cfg, "images"))
    with console.status(f"clicks of {source}"):
        name = format_of(cfg, source)
        rules = rules_of(cfg, name)
        found = found_at(cfg, name, source)
        points, report = gather(found, images, rules)
        info = source_of(name, source, rules, report)
        record_run(cfg, "import_points", out)
        write_points(out, replace(points, info=info))
    guessed = " (recognized)" if cfg.format == "auto" else ""
    tell_some(report.problems)
    console.print(summary_of(report, f"{out}: clicks of {name}{guessed}"))
    for note in sentences_of(found.notes):
        console.print(f"note: {note}", markup=False)
    return out
