"""Writes instance files of COCO 2017, or of any set with a COCO-style JSON file.

p2seg prepare_coco --root coco
p2seg prepare_coco --root nuclei --out data/nuclei
p2seg prepare_coco --json my.json --images my_images --split train --out data/my_set

The first form needs `annotations/instances_{train2017,val2017}.json` and the two folders of images
below the root. The second form needs `instances_{train,val}.json` and the folders `train` and
`val`. Polygons, run-length codes and crowds are checked, and written as run-length codes to
`instances_<split>.json` in the output folder, with a link `<split>` to the images. `--every 3`
keeps every third training image.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from p2seg.cli.arguments import CONSOLE, Parser, command, path
from p2seg.cli.prepare import every_nth, link, summary
from p2seg.data.coco import read_instances, write_instances
from p2seg.errors import UserError
from p2seg.runtime.files import sha256

SPLITS = {"annotations": ("train2017", "val2017"), ".": ("train", "val")}
"""The subfolder of the JSON files, and the splits."""


def parser() -> Parser:
    """The parser of the command line."""
    words = Parser(
        prog="p2seg prepare_coco",
        description="Makes instance files of COCO, or of a COCO-style set.",
        allow_abbrev=False,
    )
    words.add_argument(
        "--root", type=path, metavar="DIR", help="COCO 2017's folder, or one like it"
    )
    words.add_argument("--json", type=path, metavar="FILE", help="another COCO-style json ...")
    words.add_argument("--images", type=path, metavar="DIR", help="... and its images")
    words.add_argument("--split", default="train", help="the name of that set (default: train)")
    words.add_argument(
        "--every", type=int, default=1, metavar="N", help="keep every N-th image, except of val"
    )
    words.add_argument(
        "--out", type=path, metavar="DIR", default=Path("data/coco"), help="default: data/coco"
    )
    return words


def prepare(source: Path, images: Path, split: str, out: Path, every: int) -> None:
    """Checks a JSON file and writes its instances file."""
    with CONSOLE.status(f"reading {source}"):
        instances = read_instances(source).rasterized()
    instances = every_nth(instances, 1 if split.startswith("val") else every)
    info = {
        **instances.info,
        "split": split,
        "source": str(source),
        "source_sha256": sha256(source),
    }
    link(out / split, images, instances.images)
    with CONSOLE.status(f"writing instances_{split}.json"):
        write_instances(out / f"instances_{split}.json", replace(instances, info=info))
    summary(out / f"instances_{split}.json", instances)


@command
def main(words: list[str]) -> None:
    """Runs the command with the arguments `words`."""
    args = parser().parse_args(words)
    if args.root is not None and args.json is None and args.images is None:
        folder = "." if (args.root / "instances_train.json").is_file() else "annotations"
        for split in SPLITS[folder]:
            source = args.root / folder / f"instances_{split}.json"
            prepare(source, args.root / split, split, args.out, args.every)
    elif args.root is None and args.json is not None and args.images is not None:
        prepare(args.json, args.images, args.split, args.out, args.every)
    else:
        raise UserError(
            "give either --root DIR (COCO 2017, or a set like it), or --json FILE and --images DIR"
        )
