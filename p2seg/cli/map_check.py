"""`p2seg gen_semantic --check`: checks initial semantic maps before training."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from p2seg.cli.build import build
from p2seg.cli.claims import writes
from p2seg.cli.inputs import clicks_of
from p2seg.cli.paths import check_file, path_of
from p2seg.data.coco import read_instances
from p2seg.data.points import PointSet
from p2seg.errors import UserError
from p2seg.evaluation.semantic import MapScores
from p2seg.evaluation.tables import check_tables
from p2seg.runtime.files import write_json
from p2seg.runtime.progress import console, track
from p2seg.semantic.check import MapCheck, check_maps
from p2seg.semantic.png import PngMaps
from p2seg.semantic.source import MapTask

TOLD = 5
"""Maximum number of printed unreadable maps; `out=FILE.json` lists all."""


def _file_of(cfg: DictConfig) -> Path | None:
    """The path of the report, if `out` is a file; None if `out` is the folder of the maps."""
    out = None if cfg.out is None else path_of(cfg, "out")
    return out if out is not None and out.suffix == ".json" else None


@writes("check", _file_of)
def check(cfg: DictConfig) -> MapCheck:
    """Prints the coverage of the maps and the classes at the points; writes them as JSON."""
    source, out = _places(cfg)
    points = clicks_of(cfg)
    images = path_of(cfg, "data.images")
    classes = tuple(category.name for category in points.categories)
    tasks = [
        MapTask.of(record, own, images, classes)
        for record, own in zip(points.images, points.points, strict=True)
    ]
    truth = _truth(cfg, points)
    with closing(track(tasks, "semantic maps", len(tasks))) as tracked:
        result = check_maps(
            source,
            tracked,
            classes,
            cfg.mdm.snap_radius,
            seen=None if truth is None else truth.add,
        )
    scores = None if truth is None else truth.scores()
    console.print(f"{source.maps}:", markup=False)
    for table in check_tables(result, scores):
        console.print(table)
    _tell_unread(result)
    if out is not None:
        write_json(out, {"folder": source.maps, **asdict(result), "scores": scores}, indent=1)
        console.print(f"written: {out}", markup=False)
    return result


def _places(cfg: DictConfig) -> tuple[PngMaps, Path | None]:
    """The maps to check, and the path of the report."""
    out, file = None if cfg.out is None else path_of(cfg, "out"), _file_of(cfg)
    if file is not None:
        check_file(file)
    if OmegaConf.select(cfg, "semantic.maps") is not None:
        path_of(cfg, "semantic.maps")
        if out is not None and file is None:
            raise UserError(
                f"out={out} is not a .json file, and a check writes no maps; remove out, or set "
                "out=FILE.json"
            )
        return build(cfg.semantic.source), file
    folder = out if out is not None and file is None else path_of(cfg, "data.semantic")
    return PngMaps(str(folder)), file


def _truth(cfg: DictConfig, points: PointSet) -> MapScores | None:
    """The ground truth for the maps: `semantic.gt`, or `data.gt` if that file exists."""
    key = "semantic.gt" if OmegaConf.select(cfg, "semantic.gt") is not None else "data.gt"
    file = OmegaConf.select(cfg, key)
    path = Path(str(file)).expanduser()
    if file == cfg.data.gt and not path.is_file():  # the default path; the user did not set it
        console.print(f"no ground truth at {file}: no mean IoU", markup=False)
        return None
    gt = read_instances(path)
    names, theirs = ([c.name for c in each.categories] for each in (points, gt))
    if names != theirs:
        raise UserError(
            f"{path} has the classes {', '.join(theirs)}, but the points file has "
            f"{', '.join(names)}; set the instances file of these points with {key}=FILE"
        )
    return MapScores(gt)


def _tell_unread(result: MapCheck) -> None:
    for name, reason in list(result.unread.items())[:TOLD]:
        console.print(f"{name}: {reason}", markup=False)
    if len(result.unread) > TOLD:
        console.print(f"and {len(result.unread) - TOLD} more", markup=False)
