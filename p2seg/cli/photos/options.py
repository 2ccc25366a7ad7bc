"""The plain commands, declared once: their options, what they read and what they write."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from p2seg.cli.photos.plain import Option, Plain


def _expanded(text: str) -> Path:
    return Path(text).expanduser()


def _path(name: str, help: str, setting: str = "", **arguments: Any) -> Option:
    arguments = {"type": _expanded, "metavar": name.strip("-").upper()} | arguments
    return Option(name, help, arguments, setting)


PHOTOS = _path("photos", "folder of the photographs")
MASKS = _path("masks", "folder that `p2seg masks` wrote, as photos_masks")
OVERWRITE = Option(
    "--overwrite",
    "replace files that this command did not write or that were edited since",
    {"action": "store_true"},
    "overwrite",
)
PORT = Option("--port", "of the page; 0: any free port", {"type": int, "default": 8765}, "port")
NO_BROWSER = Option("--no-browser", "only print the address", {"action": "store_true"}, "browser")
CHECKPOINT = _path(
    "--checkpoint",
    "weights of SAM or SAM 2, if they are not in the usual cache",
    "semantic.sam.checkpoint",
)
PREVIEWS = ("grabcut", "sam", "sam2", "none")
METHODS = ("auto", "threshold", "clusters", "grabcut", "sam", "sam2")
FORMATS = ("yolo", "coco", "labelme", "cvat", "labelstudio", "png")

COMMANDS = {
    "annotate": Plain(
        "click objects in photographs, in the browser",
        (
            PHOTOS,
            Option(
                "--classes",
                "names, separated by commas, as apple,leaf",
                {"metavar": "NAMES"},
                "classes",
            ),
            Option(
                "--preview",
                "what makes masks while you click",
                {"choices": PREVIEWS, "default": "grabcut"},
                "preview",
            ),
            CHECKPOINT,
            PORT,
            NO_BROWSER,
        ),
        "PHOTOS",
        "PHOTOS/points.json",
        ("annotate",),
    ),
    "import": Plain(
        "read clicks, boxes or polygons of other tools",
        (
            _path("file", "a file, or a folder of files", "in"),
            _path("--images", "folder of the photographs", "images", required=True),
            _path(
                "--out",
                "the points file (default: points.json in the folder of photographs)",
                "out",
            ),
            OVERWRITE,
        ),
        "files of LabelMe, CVAT, Label Studio, COCO, VIA, Datumaro, CSV",
        "PHOTOS/points.json",
        ("import_points",),
    ),
    "masks": Plain(
        "make one mask per click, and a page to review them",
        (
            PHOTOS,
            _path("points", "the points file (default: PHOTOS/points.json)", nargs="?"),
            Option(
                "--method",
                "source of the initial semantic maps",
                {"choices": METHODS, "default": "auto"},
                "semantic",
            ),
            CHECKPOINT,
            Option(
                "--network",
                "train a network on all photographs; auto: if it is likely to help",
                {"choices": ("auto", "yes", "no"), "default": "auto"},
            ),
            _path("--out", "folder of the results (default: PHOTOS_masks)"),
            OVERWRITE,
        ),
        "PHOTOS, PHOTOS/points.json",
        "PHOTOS_masks/: masks.json, page/, contact_sheet.png, counts.csv, check_first.csv",
        ("validate", "gen_semantic", "gen_pseudo", "gallery"),
    ),
    "review": Plain(
        "judge the masks in the browser",
        (MASKS, PORT, NO_BROWSER),
        "PHOTOS_masks",
        "PHOTOS_masks/review.json",
    ),
    "export": Plain(
        "write the masks for other tools",
        (
            MASKS,
            Option("--format", "of the files", {"choices": FORMATS, "required": True}, "formats"),
            Option(
                "--val",
                "share of the photographs for validation (yolo, coco)",
                {"type": float, "default": 0.0, "metavar": "SHARE"},
                "val",
            ),
            _path("--out", "folder of the files (default: PHOTOS_FORMAT)", "out"),
            OVERWRITE,
        ),
        "PHOTOS_masks",
        "PHOTOS_yolo/, ...",
        ("export_masks",),
    ),
    "train": Plain(
        "train a segmentation model, which needs no clicks, on the masks",
        (
            MASKS,
            Option(
                "--model",
                "small: Mask R-CNN with MobileNetV2, for a CPU; r50: with ResNet-50, for a GPU",
                {"choices": ("small", "r50"), "default": "small"},
            ),
            Option(
                "--epochs",
                "passes over the photographs",
                {"type": float, "default": 24.0},
                "segmentor.schedule.epochs",
            ),
            _path("--out", "folder of the model (default: PHOTOS_model)", "out"),
            replace(OVERWRITE, help="start over, and replace the files of an earlier training"),
        ),
        "PHOTOS_masks",
        "PHOTOS_model/last.pt",
        ("train_segmentor",),
    ),
    "predict": Plain(
        "find objects with a trained segmentation model",
        (
            _path("model", "folder that `p2seg train` wrote, or its last.pt"),
            _path("source", "a photograph, a folder of photographs, or a video"),
            Option("--conf", "smallest score of an object", {"type": float, "default": 0.5}),
            _path(
                "--out",
                "folder of the results (default: SOURCE_predictions, outside of PHOTOS)",
                "out",
            ),
            OVERWRITE,
        ),
        "PHOTOS_model/last.pt, photographs or a video",
        "SOURCE_predictions/: predictions.json, overlays/",
        ("predict",),
    ),
    "propose": Plain(
        "propose clicks on photographs without clicks, by a trained model",
        (
            _path("model", "folder that `p2seg train` wrote, or its last.pt"),
            PHOTOS,
            Option("--conf", "smallest score of an object", {"type": float, "default": 0.3}),
        ),
        "PHOTOS_model/last.pt, PHOTOS",
        "PHOTOS/points.proposed.json",
    ),
}
"""By name. `annotate`, `export`, `train` and `predict` are also commands of settings."""

ALONE = frozenset(("import", "masks", "propose", "review"))
"""Those that are no commands of settings."""


def table() -> str:
    """The table of the plain commands in Markdown."""
    rows = ["| command | options | reads | writes |", "| --- | --- | --- | --- |"]
    for name, own in COMMANDS.items():
        places = [each for each in own.options if not each.name.startswith("--")]
        words = " ".join(
            f"[{each.name.upper()}]" if each.arguments.get("nargs") == "?" else each.name.upper()
            for each in places
        )
        options = ", ".join(f"`{each.name}`" for each in own.options if each not in places)
        rows.append(f"| `p2seg {name} {words}` | {options} | {own.reads} | {own.writes} |")
    return "\n".join(rows) + "\n"
