"""Scores instance labels made without a network: four ways to split regions with several clicks.

    python scripts/compare_seeds.py --gt instances_train2017.json --images train2017
    python scripts/compare_seeds.py ... --sampler inner --missing .3 --noise 4 --erode 2

For every random seed, clicks and initial semantic maps are made from the ground truth. `--missing`,
`--noise`, `--erode` and `--dilate` degrade the maps. Row `control` is Eq. 1. Row `watershed` floods
the regions of the control from the clicks over the edge strength of the image (scikit-image's
compact watershed). `geodesic distance` and `mixture` are values of `mdm.split`. A cell shows the
mean and half the range over the seeds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from watershed import Watershed

from p2seg.cli.arguments import Parser, command, path, progress
from p2seg.data.coco import Instance, InstanceSet, read_instances
from p2seg.data.images import read_image
from p2seg.data.points import make_points
from p2seg.errors import UserError
from p2seg.evaluation.quality import quality
from p2seg.evaluation.semantic import masks_miou
from p2seg.method.seed import Seeder
from p2seg.method.split import Split
from p2seg.pseudo.export import MaskRules, masks_of
from p2seg.pseudo.labeler import Labeled
from p2seg.pseudo.seeds import SeedLabeler
from p2seg.semantic.degrade import Degrade
from p2seg.semantic.oracle import paint
from p2seg.structures import Points

COLUMNS = {"mean IoU": "mean_iou", "multi mean IoU": "multi_mean_iou", "IoU > .5": "iou50"}
COLUMNS |= {"classes' mIoU": "miou"}
Labeling = Callable[[torch.Tensor, Points, torch.Tensor], Labeled]


def parser() -> Parser:
    """Returns the parser of the command line."""
    words = Parser(description="Instance labels without a network.", allow_abbrev=False)
    words.add_argument("--gt", type=path, required=True)
    words.add_argument("--images", type=path, required=True)
    words.add_argument("--sampler", default="random")
    words.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    words.add_argument("--color-weight", type=float, default=3.0, help="as mdm.color_weight")
    words.add_argument("--edges", type=int, default=0, help="add a row with export.edges=N")
    words.add_argument(
        "--foreground", type=float, default=1.0, help="export.foreground of that row"
    )
    words.add_argument(
        "--compactness", type=float, default=1.0, help="compactness of the watershed"
    )
    for name, kind in {"missing": float, "noise": float, "erode": int, "dilate": int}.items():
        words.add_argument(f"--{name}", type=kind, default=0, help="see semantic.degrade")
    return words


@command
def main(words: list[str]) -> None:
    """Prints the table as Markdown."""
    asked = parser().parse_args(words)
    for name, least in {"edges": 0, "compactness": 0, "color_weight": 0, "seeds": 0}.items():
        value = getattr(asked, name)
        if min(value if isinstance(value, list) else [value]) < least:
            raise UserError(f"--{name.replace('_', '-')} {value}: must be at least {least}")
    if asked.foreground <= 0:
        raise UserError(f"--foreground {asked.foreground}: must be above 0")
    truth = read_instances(asked.gt)
    control = SeedLabeler(Seeder())
    geodesic = SeedLabeler(Seeder(split=Split("geodesic", asked.color_weight)))
    splits: dict[str, Labeling] = {
        "control": control,
        "watershed": Watershed(asked.compactness),
        "geodesic distance": geodesic,
        "mixture": SeedLabeler(Seeder(split=Split("mixture"))),
    }
    if asked.edges:
        refinement = {"foreground": asked.foreground, "edges": asked.edges}
        splits["geodesic distance, refined maps"] = replace(geodesic, **refinement)
    scores: dict[str, list[dict[str, float]]] = {name: [] for name in splits}
    for seed in asked.seeds:
        worse = Degrade(asked.missing, 0.3, asked.noise, asked.erode, asked.dilate, seed)
        labels = _masks(truth, asked.images, splits, asked.sampler, worse)
        for name, instances in labels.items():
            masks = replace(truth, instances=instances)
            scores[name].append({**quality(truth, masks), "miou": masks_miou(truth, masks)})
    lines = [f"| labels | {' | '.join(COLUMNS)} |", "| --- " * (len(COLUMNS) + 1) + "|"]
    for name, each in scores.items():
        cells = [_cell([one[key] for one in each]) for key in COLUMNS.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
        if name != "control":
            pairs = zip(each, scores["control"], strict=True)
            gain = [one["multi_mean_iou"] - base["multi_mean_iou"] for one, base in pairs]
            lines.append(f"| {name} - control | | {_cell(gain)} | | |")
    sys.stdout.write("\n".join(lines) + "\n")


def _masks(
    truth: InstanceSet, images: Path, splits: dict[str, Labeling], sampler: str, worse: Degrade
) -> dict[str, list[list[Instance]]]:
    clicks = make_points(truth, sampler, worse.seed)
    points_of = {
        record.file_name: own for record, own in zip(clicks.images, clicks.points, strict=True)
    }
    own_of = {
        record.file_name: own for record, own in zip(truth.images, truth.instances, strict=True)
    }
    record_of = {record.file_name: record for record in truth.images}
    masks: dict[str, list[list[Instance]]] = {name: [] for name in splits}
    for file in progress(f"seed {worse.seed}")(list(record_of)):
        points = points_of[file]
        size = (record_of[file].height, record_of[file].width)
        image = torch.from_numpy(read_image(images / file, size)).permute(2, 0, 1)
        first = torch.from_numpy(worse(paint(own_of[file], size), file)).long()
        for name, split in splits.items():
            masks[name].append(masks_of(split(image, points, first), points, MaskRules()))
    return masks


def _cell(values: list[float]) -> str:
    mean, spread = sum(values) / len(values), (max(values) - min(values)) / 2
    form = ".0f" if abs(mean) > 2 else ".3f"
    return f"{mean:{form}} ± {spread:{form}}"


if __name__ == "__main__":
    raise SystemExit(main())
