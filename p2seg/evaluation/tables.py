"""Terminal tables of the scores in `metrics.json` and of a check of maps."""

from __future__ import annotations

import re
from typing import Any

from rich.markup import escape
from rich.table import Table

from p2seg.evaluation.coco import MAX_DETS
from p2seg.evaluation.quality import TOUCHING
from p2seg.semantic.check import MapCheck

COMMIT = "versions.commit"
KINDS = {"pseudo": "pseudo-label quality, points given", "model": "model, no points given"}
AP_COLUMNS = ("AP", "AP25", "AP50", "AP70", "AP75")


def score_tables(metrics: dict[str, Any]) -> list[Table]:
    """Tables of AP by every definition, of the quality of pseudo masks, and of the provenance.

    Args:
        metrics: result of `p2seg.evaluation.metrics.evaluate`.
    """
    tables = [_ap_table(metrics)]
    if "quality" in metrics:
        tables.append(_quality_table(metrics["quality"]))
    tables.append(_matching_table(metrics["matching"]))
    facts = flat(metrics["run"]["pred_info"], depth=2)
    facts = {k: v for k, v in facts.items() if k == COMMIT or not k.startswith("versions.")}
    if facts:
        tables.append(_facts_table(facts))
    return tables


def check_tables(check: MapCheck, scores: dict[str, Any] | None = None) -> list[Table]:
    """Tables of the maps' coverage, of the points on the maps, and of classes without points.

    Args:
        check: check of the maps.
        scores: result of `p2seg.evaluation.semantic.MapScores`, if there is ground truth.
    """
    facts = {
        "images with a map": f"{check.maps} of {check.images}",
        "pixels labeled": f"{percent(check.labeled)} %",
        "pixels background": f"{percent(check.background)} %",
        "pixels ignored": f"{percent(check.ignored)} %",
    }
    if scores is not None:
        facts["mean IoU"] = f"{percent(scores['miou'])} % on {scores['images']} images"
    cover = Table(title="initial semantic maps", show_header=False)
    for name, fact in facts.items():
        cover.add_row(name, fact)
    tables = [cover, _points_table(check)]
    if check.total.unclicked_images:
        tables.append(_unclicked_table(check))
    return tables


def title(metrics: dict[str, Any]) -> str:
    """The title of a table of scores: kind, split, and a warning about the use of masks."""
    run = metrics["run"]
    name = KINDS[run["kind"]]
    if "split" in run:
        name += f" on {run['split']} ({run['images']} images)"
    if run.get("mask_pretraining"):
        name = f"MASK PRETRAINING (the segmentor may have started from weights of masks): {name}"
    return f"ORACLE (semantic maps painted from ground truth): {name}" if run["oracle"] else name


def flat(info: dict[str, Any], depth: int = 99) -> dict[str, str]:
    """Provenance as text by dotted key: `{"semantic.source": "grabcut"}`.

    Args:
        info: nested objects.
        depth: number of levels to include.

    Returns:
        Text by dotted key, with hashes cut to twelve digits.
    """
    lines: dict[str, str] = {}
    for key, value in info.items():
        if isinstance(value, dict):
            below = flat(value, depth - 1) if depth > 1 else {}
            lines |= {f"{key}.{name}": text for name, text in below.items()}
        elif value is not None and value != []:
            text = str(value)
            lines[str(key)] = text[:12] if re.fullmatch("[0-9a-f]{40,64}", text) else text
    return lines


def percent(value: float | None) -> str:
    """A fraction as percent with one decimal, or a dash for None."""
    return "-" if value is None else f"{100 * value:.1f}"


def fraction(value: float | None) -> str:
    """A fraction with three decimals, or a dash for None."""
    return "-" if value is None else f"{value:.3f}"


def _ap_table(metrics: dict[str, Any]) -> Table:
    caption = "percent; AP is over IoU 0.50:0.05:0.95"
    coco_all = metrics.get("coco_all")
    if coco_all is not None:
        caption += (
            f"\ncoco uses the best {MAX_DETS} predictions per class and image. "
            f"{coco_all['images']} of {metrics['run']['images']} images have more predictions or "
            f"objects. coco_all uses all (max_dets={coco_all['max_dets']}). The other rows have no "
            "limit"
        )
    table = Table(title=escape(title(metrics)), caption=caption)
    table.add_column("definition")
    for column in AP_COLUMNS:
        table.add_column(column, justify="right")
    parts = [("", metrics), (", all scores 1", metrics["scores_one"])]
    if "void_ignored" in metrics:
        parts.append((", void ignored", metrics["void_ignored"]))
    for suffix, part in parts:
        for name in ("voc_area", "voc_11pt", "coco", "coco_all"):
            if name in part:
                # VOC's keys begin with m for the mean over classes: mAP50.
                cells = [part[name].get(c, part[name].get(f"m{c}")) for c in AP_COLUMNS]
                table.add_row(name + suffix, *map(percent, cells))
        table.add_section()
    return table


def _quality_table(quality: dict[str, Any]) -> Table:
    table = Table(
        title="pseudo masks compared with the clicked instances",
        caption="boxes: points without a mask. multi: another instance of the class in the image. "
        f"touching: another within {TOUCHING} pixels",
    )
    table.add_column("masks")
    for column in ("instances", "mean IoU", "> 0.5", "> 0.7", "> 0.9", "multi", "mean IoU"):
        table.add_column(column, justify="right")
    for name, part in (("all", quality), ("boxes as 0", quality["no_box"])):
        table.add_row(
            name,
            *_part(part),
            *(str(part[f"iou{level}"]) for level in (50, 70, 90)),
            str(part["multi_instances"]),
            fraction(part["multi_mean_iou"]),
        )
    table.add_section()
    touching = {key: quality[f"touching_{key}"] for key in ("instances", "mean_iou")}
    for name, part in {"touching": touching, **quality["per_size"]}.items():
        table.add_row(name, *_part(part))
    return table


def _matching_table(matching: dict[str, Any]) -> Table:
    least = matching["least_score"]
    table = Table(
        title="measures for cell nuclei, mean over images",
        caption="all masks" if least is None else f"masks with a score of at least {least:g}",
    )
    for name in ("images", "AJI", "PQ"):
        table.add_column(name, justify="right")
    table.add_row(str(matching["images"]), fraction(matching["AJI"]), fraction(matching["PQ"]))
    return table


def _part(part: dict[str, Any]) -> tuple[str, str]:
    return str(part["instances"]), fraction(part["mean_iou"])


def _facts_table(facts: dict[str, str]) -> Table:
    table = Table(title="provenance of the predictions", show_header=False)
    for key, value in facts.items():
        table.add_row(escape(key), escape(value))
    return table


def _points_table(check: MapCheck) -> Table:
    table = Table(
        title="points on their maps",
        caption=f"near: off, but within {check.snap_radius:g} pixels of the point's class",
    )
    table.add_column("class")
    for column in ("points", "off", "off %", "background", "other", "ignored", "near"):
        table.add_column(column, justify="right")
    for each in [*(each for each in check.classes if each.points), check.total]:
        table.add_row(
            escape(each.name),
            *(str(each.points), str(each.off)),
            percent(each.off / each.points if each.points else None),
            *map(str, (each.on_background, each.on_other, each.on_ignored, each.near)),
        )
    return table


def _unclicked_table(check: MapCheck) -> Table:
    table = Table(
        title="classes in maps of images without a point of the class",
        caption="these pixels are ignored in training; %: share of the class's pixels",
    )
    table.add_column("class")
    for column in ("images", "pixels", "%"):
        table.add_column(column, justify="right")
    for each in check.classes:
        if each.unclicked_images:
            table.add_row(
                escape(each.name),
                *(str(each.unclicked_images), str(each.unclicked_pixels)),
                percent(each.unclicked_pixels / each.pixels),
            )
    return table
