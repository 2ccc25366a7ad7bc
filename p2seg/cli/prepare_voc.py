"""Writes instance files of PASCAL VOC 2007 or 2012, or of any set in VOC's layout.

p2seg prepare_voc --download
p2seg prepare_voc --devkit VOCdevkit --sbd benchmark_RELEASE
p2seg prepare_voc --devkit my_set --classes fruit,leaf --out data/my_set

The command writes `instances_<split>.json` and a link `images` to the images into the output
folder. VOC 2012 with SBD has the usual splits: trainaug (10,582 images) and val (1,449).
`--every 3` keeps every third image, except of val.
"""

from __future__ import annotations

from pathlib import Path

from p2seg.cli.arguments import CONSOLE, Parser, command, path, progress
from p2seg.cli.prepare import every_nth, fetched, link, summary
from p2seg.data.coco import ImageRecord, write_instances
from p2seg.data.sets.download import SBD, VOC2007, VOC2012, unpack
from p2seg.data.sets.voc import CLASSES, find_sbd, find_voc, read_trainaug, read_voc
from p2seg.errors import UserError


def parser() -> Parser:
    """The parser of the command line."""
    words = Parser(
        prog="p2seg prepare_voc",
        description="Makes instance files of VOC, or of a set in its layout.",
        allow_abbrev=False,
    )
    words.add_argument(
        "--devkit", type=path, metavar="DIR", help="holds VOCdevkit/VOC20xx or VOC20xx, or is it"
    )
    words.add_argument(
        "--download",
        action="store_true",
        help="fetch the official archives into --devkit (default: data/downloads); "
        "for 2012 without --sbd also SBD's",
    )
    words.add_argument(
        "--year", type=int, choices=(2007, 2012), help="where the devkit holds both; default 2012"
    )
    words.add_argument("--sbd", type=path, metavar="DIR", help="SBD's folder: adds trainaug")
    words.add_argument("--classes", metavar="A,B,C", help="the class names of another set")
    words.add_argument(
        "--splits", default="train,val", metavar="A,B", help="lists to read (default: train,val)"
    )
    words.add_argument(
        "--every", type=int, default=1, metavar="N", help="keep every N-th image, except of val"
    )
    words.add_argument(
        "--out", type=path, metavar="DIR", help="default: data/voc2012, or the set's own name"
    )
    return words


def downloaded(devkit: Path, year: int, sbd: Path | None) -> Path | None:
    """Downloads and unpacks missing archives; returns the folder of SBD."""
    archive = VOC2012 if year == 2012 else VOC2007
    if not (devkit / "VOCdevkit" / f"VOC{year}" / "ImageSets" / "Segmentation").is_dir():
        _unpacked(fetched(archive, devkit), devkit)
    if year == 2007 or sbd is not None:
        return sbd
    if not (devkit / "benchmark_RELEASE" / "dataset" / "inst").is_dir():
        _unpacked(fetched(SBD, devkit), devkit)
    return find_sbd(devkit)


def _unpacked(archive: Path, folder: Path) -> None:
    with CONSOLE.status(f"unpacking {archive.name}"):
        unpack(archive, folder)


@command
def main(words: list[str]) -> None:
    """Runs the command with the arguments `words`."""
    args = parser().parse_args(words)
    devkit, year, sbd = args.devkit, args.year, args.sbd
    if args.download:
        devkit, year = devkit or Path("data/downloads"), year or 2012
        sbd = downloaded(devkit, year, sbd)
    if devkit is None:
        raise UserError("the folder of VOC is not set; add --devkit DIR or --download")
    root = find_voc(devkit, year)
    if sbd is not None and args.classes:
        raise UserError("--sbd has the classes of VOC; remove --classes")
    classes = args.classes.split(",") if args.classes else CLASSES
    out = args.out or Path("data") / root.resolve().name.lower()
    sets = {
        split: read_voc(root, split, classes, progress(split)) for split in args.splits.split(",")
    }
    if sbd is not None:
        sets["trainaug"] = read_trainaug(root, sbd, progress("trainaug"))
    for split in sets.keys() - {"val"}:
        sets[split] = every_nth(sets[split], args.every)
    images: list[ImageRecord] = [image for each in sets.values() for image in each.images]
    link(out / "images", root / "JPEGImages", images)
    for split, instances in sets.items():
        write_instances(out / f"instances_{split}.json", instances)
        summary(out / f"instances_{split}.json", instances)
