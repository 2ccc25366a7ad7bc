"""The plain commands, declared once: their options, what they read and what they write."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from p2seg.cli.arguments import Parser


@dataclass(frozen=True)
class Option:
    """An option or an argument of a command.

    Attributes:
        name: `--name`, or the name of a positional argument.
        help: one line. Defaults are added to it.
        arguments: of `argparse.ArgumentParser.add_argument`.
        setting: the setting that it stands for in messages of the commands of settings.
    """

    name: str
    help: str
    arguments: dict[str, Any] = field(default_factory=dict)
    setting: str = ""

    def phrase(self, text: str) -> str:
        """Returns a message that names this option instead of its setting."""
        if not self.setting:
            return text
        key = rf"(?<![\w.=]){re.escape(self.setting)}="
        if self.arguments.get("action") == "store_true":
            return re.sub(rf"{key}(true|false)\b", self.name, text)
        own = f"{self.name} " if self.name.startswith("--") else ""
        text = re.sub(rf"{key}\[([^\]]*)\]", rf"{own}\1", text)
        return re.sub(key, own, text)


@dataclass(frozen=True)
class Plain:
    """A plain command.

    Attributes:
        help: one line.
        options: in the order of the help.
        reads: what it reads, for the table of the documentation.
        writes: what it writes.
        steps: names of the commands of settings that it runs. They take further words `key=value`.
    """

    help: str
    options: tuple[Option, ...]
    reads: str
    writes: str
    steps: tuple[str, ...] = ()

    def phrase(self, name: str, text: str) -> str:
        """Returns a message of one of its steps in the words of this command.

        Args:
            name: of this command.
            text: the message.
        """
        for option in self.options:
            text = option.phrase(text)
        for step in self.steps:
            text = re.sub(rf"\bp2seg {step}\b", f"p2seg {name}", text)
        # whoever gives no settings did not choose them
        return re.sub(r"^(method: \w+); departs from .*", r"\1", text)


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
            Option("--conf", "smallest score of an object", {"type": float, "default": 0.5}),
        ),
        "PHOTOS_model/last.pt, PHOTOS",
        "PHOTOS/points.proposed.json",
    ),
}
"""By name. `annotate`, `export`, `train` and `predict` are also commands of settings."""

ALONE = frozenset(("import", "masks", "propose", "review"))
"""Those that are no commands of settings."""

_SETTING = re.compile(r"^(~|\+|[\w@./-]+=)")
_HYDRA = re.compile(r"^(-m|-c|--multirun|--cfg|--help-all|--config-dir)$")


def is_plain(name: str, words: Sequence[str]) -> bool:
    """Returns whether the command line is a plain command; the first word decides.

    Args:
        name: of the command.
        words: after it.
    """
    if name not in COMMANDS or name in ALONE:
        return name in ALONE
    return not any(map(_is_setting, words[:1])) and not any(map(_HYDRA.match, words))


def _is_setting(word: str) -> bool:
    return bool(_SETTING.match(word)) and not Path(word).exists()


def parser_of(name: str) -> Parser:
    """The parser of a plain command."""
    from p2seg.cli.arguments import Parser  # imports rich

    own = COMMANDS[name]
    parser = Parser(prog=f"p2seg {name}", description=f"{own.help[0].upper()}{own.help[1:]}.")
    for option in own.options:
        default = option.arguments.get("default")
        told = f"{option.help} (default: {default})" if default is not None else option.help
        if option.arguments.get("action") == "store_true":
            told = option.help
        parser.add_argument(option.name, help=told.replace("%", "%%"), **option.arguments)
    parser.epilog = f"Reads: {own.reads}. Writes: {own.writes}."
    if own.steps:
        parser.epilog += (
            " Further words key=value are settings; p2seg experiment "
            f"{own.steps[-1]} --help lists them."
        )
    return parser


def run(name: str, words: list[str]) -> int:
    """Runs a plain command and returns its exit code."""
    from p2seg.cli.arguments import command
    from p2seg.errors import UserError
    from p2seg.runtime.terminal import phrased

    codes: list[int] = []

    @command
    def started(words: list[str]) -> None:
        settings = list(filter(_is_setting, words))
        if settings and not COMMANDS[name].steps:
            raise UserError(f"p2seg {name} takes no settings ({settings[0]}); see p2seg {name} -h")
        options = parser_of(name).parse_args([each for each in words if each not in settings])
        options.settings = settings
        module = name if name in ("masks", "propose", "review") else "commands"
        function = getattr(import_module(f"p2seg.cli.photos.{module}"), f"{name}_")
        codes.append(function(options))

    with phrased(partial(COMMANDS[name].phrase, name)):
        code = started(words)
    return code or codes[0]


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
