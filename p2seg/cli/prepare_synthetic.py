"""Writes the drawn set in VOC's layout, and its instance files.

p2seg prepare_synthetic --out data/drawn --seed 0

The set is in `<out>/voc`, which `p2seg prepare_voc --devkit <out>/voc --classes ...` reads, too.
Next to it are `instances_train.json`, `instances_val.json` and the link `images`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from p2seg.cli.arguments import Parser, command, path, progress
from p2seg.cli.prepare import link, summary
from p2seg.data.coco import write_instances
from p2seg.data.sets.synthetic import write_synthetic
from p2seg.data.sets.synthetic_shapes import CLASSES
from p2seg.data.sets.voc import read_voc
from p2seg.errors import UserError


def parser() -> Parser:
    """The parser of the command line."""
    words = Parser(
        prog="p2seg prepare_synthetic", description="Writes the drawn set.", allow_abbrev=False
    )
    words.add_argument(
        "--out", type=path, metavar="DIR", default=Path("data/drawn"), help="default: data/drawn"
    )
    words.add_argument("--seed", type=int, default=0, help="of all pictures (default: 0)")
    words.add_argument("--train", type=int, default=240, help="training images (default: 240)")
    words.add_argument("--val", type=int, default=60, help="validation images (default: 60)")
    words.add_argument("--size", type=int, default=128, help="about their side (default: 128)")
    return words


@command
def main(words: list[str]) -> None:
    """Runs the command with the arguments `words`."""
    args = parser().parse_args(words)
    if args.seed < 0 or min(args.train, args.val) < 1 or args.size < 64:
        raise UserError("--seed must be >= 0, --train and --val >= 1, and --size >= 64")
    root = args.out / "voc"
    write_synthetic(root, args.seed, args.train, args.val, args.size, progress("drawing"))
    for split in ("train", "val"):
        instances = read_voc(root, split, CLASSES)
        info = {**instances.info, "dataset": "synthetic", "seed": args.seed, "size": args.size}
        file = args.out / f"instances_{split}.json"
        link(args.out / "images", root / "JPEGImages", instances.images)
        write_instances(file, replace(instances, info=info))
        summary(file, instances)
