"""Writes the images and ground truth of the demo, which are part of the package, into a folder.

p2seg prepare_demo --out data/demo

The result is `instances_train.json`, `instances_val.json` and the link `images`. The source of the
images and their license are in p2seg/demo/nuclei/README.md.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from p2seg.cli.arguments import Parser, command, path
from p2seg.cli.prepare import link, summary
from p2seg.data.coco import read_instances, write_instances


def parser() -> Parser:
    """The parser of the command line."""
    words = Parser(
        prog="p2seg prepare_demo",
        description="Writes the demo's images and true masks.",
        allow_abbrev=False,
    )
    words.add_argument(
        "--out", type=path, metavar="DIR", default=Path("data/demo"), help="default: data/demo"
    )
    return words


@command
def main(words: list[str]) -> None:
    """Runs the command with the arguments `words`."""
    args = parser().parse_args(words)
    shipped = Path(str(files("p2seg") / "demo" / "nuclei"))
    for split in ("train", "val"):
        instances = read_instances(shipped / f"instances_{split}.json")
        link(args.out / "images", shipped / "images", instances.images)
        file = args.out / f"instances_{split}.json"
        write_instances(file, instances)
        summary(file, instances)
