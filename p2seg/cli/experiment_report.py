"""The report of an experiment: scores of every stage, and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from p2seg.apps.report.page import SHOWN_SCORE, ReportRow, write_report
from p2seg.apps.report.pictures import Picture
from p2seg.apps.report.rows import MaskColumn, crowded, report_rows, unseen_rows
from p2seg.cli.build import plain
from p2seg.cli.figures import Figures
from p2seg.cli.inputs import reader_of
from p2seg.cli.paths import path_of
from p2seg.cli.trained import METHODS, method_summary
from p2seg.data.coco import read_instances
from p2seg.data.points import read_points
from p2seg.evaluation.metrics import evaluate_files
from p2seg.evaluation.readers import read_predictions
from p2seg.evaluation.semantic import semantic_scores
from p2seg.runtime.provenance import versions

if TYPE_CHECKING:
    from p2seg.cli.experiment import Experiment

PSEUDO_TITLES = {
    "seed": "seed",
    "control": "control",
    "geodesic": "geodesic distance",
    "mixture": "mixture of Gaussians",
    "sam": "chosen masks",
    "sam_network": "chosen by the network",
    "untrained": "untrained network",
}


def write_experiment(run: Experiment) -> Path:
    """Scores every stage, writes the report, and returns its path."""
    scores: dict[str, dict[str, Any]] = {
        "semantic": semantic_scores(run.maps, read_instances(run.gt))
    }
    for stage in run.masks:
        scores[stage] = evaluate_files(run.gt, run.masks_file(stage), "pseudo")
    for name in run.segmentors:
        scores[name] = evaluate_files(run.val_gt, run.predictions_file(name), "model")
    points = read_points(run.clicks)
    reader = reader_of(run.cfg, points)
    name, _ = METHODS.get(str(run.cfg.method._target_), ("trained network", ""))
    titles = {**PSEUDO_TITLES, "mdm": name}
    columns = [
        MaskColumn(titles.get(stage, stage), read_instances(run.masks_file(stage)))
        for stage in run.masks
    ]
    columns.append(MaskColumn("ground truth", read_instances(run.gt)))
    labels = [own.labels.tolist() for own in points.points]
    chosen = crowded(points.images, labels, run.cfg.pipeline.rows)
    rows = report_rows(points, reader, columns, chosen)
    figures = _figures(run, [points.images[i].file_name for i in chosen[:2]])
    settings = {key: value for key, value in plain(run.cfg).items() if key != "out"}
    settings["versions"] = versions()
    method = method_summary(run.cfg, network=run.cfg.pipeline.network)
    seconds, unseen = run.stages.seconds, _unseen(run)
    write_report(run.home, rows, scores, settings, seconds, figures, method, unseen)
    return run.home / "report.html"


def _figures(run: Experiment, names: list[str]) -> dict[str, Picture]:
    """Figures of the network's outputs on some images, and of its training."""
    if "mdm" not in run.masks or not names:
        return {}
    layout = {
        "figure": "rounds",
        "masks": [],
        "titles": [],
        "count": 2,
        "clicks": 2,
        "cell": 240,
    }
    inputs = {"truth": True, "ckpt": run.network, "runs": run.network.parent}
    drawer = Figures(run.changed(**layout, **inputs, names=names))
    figures = {"One image through the rounds": drawer.rounds(), "Offsets": drawer.offset()}
    if OmegaConf.select(run.cfg, "model.network.embedding"):
        figures["Affinities of clicked pixels"] = drawer.affinity()
    if any(run.network.parent.glob("snapshots/*.pt")):
        figures["Instances, step by step"] = drawer.progress()
    return figures


def _unseen(run: Experiment) -> list[ReportRow]:
    """Predictions of the segmentation models on validation images."""
    if not run.segmentors:
        return []
    truth = read_instances(run.val_gt)
    columns = [MaskColumn("ground truth", truth)]
    for name in run.segmentors:
        predictions = read_predictions(run.predictions_file(name), truth)
        columns.append(MaskColumn(name.replace("_", " "), predictions, SHOWN_SCORE))
    labels = [[each.label for each in own if not each.crowd] for own in truth.instances]
    chosen = crowded(truth.images, labels, run.cfg.pipeline.rows)
    return unseen_rows(truth.images, path_of(run.cfg, "data.val_images"), columns, chosen)
