"""The command `p2seg`, which imports only the module of the requested command.

A command is a module of this folder. A command with settings has `run(cfg)` and a YAML file of its
name in `configs/`. A command with options has `main(arguments)`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from textwrap import wrap
from typing import Any

from p2seg.cli.photos.options import COMMANDS
from p2seg.cli.photos.run import is_plain, run_plain

SETTINGS = {
    "Points": {
        "annotate": "click objects in images, in a browser",
        "import_points": "read the clicks of LabelMe, CVAT, Label Studio and other tools",
        "export_points": "write a points file for these tools",
        "make_points": "draw one point per object of existing masks",
        "validate": "list what is wrong with a data set, and how to fix it",
    },
    "Masks": {
        "gen_semantic": "make the initial semantic maps",
        "train": "train the network on points and initial semantic maps",
        "gen_pseudo": "make pseudo masks, by a trained network or without one",
        "gallery": "make a page to judge masks on",
        "export_masks": "write masks for LabelMe, CVAT, Label Studio, YOLO and other tools",
    },
    "Segmentors": {
        "train_segmentor": "train a segmentor on pseudo masks",
        "predict": "find objects in images and videos with a trained segmentor",
        "export": "write a trained segmentor as ONNX or as a PyTorch program",
    },
    "Experiments": {
        "pipeline": "run an experiment from its data to its report",
        "eval": "score masks or predictions against ground truth",
        "visualize": "draw figures of masks, of a training or of a network",
    },
}
"""Commands with settings (`key=value`), by topic, with their line of help."""

OPTIONS = {
    "Start here": {"demo": "run the whole method on images that are part of p2seg"},
    "Data sets": {
        "prepare_voc": "make instance files of PASCAL VOC, or of a set in its layout",
        "prepare_coco": "make instance files of COCO, or of a set with a COCO-style json",
        "prepare_synthetic": "draw a set of simple objects",
        "prepare_demo": "write the images and masks of the demo into a folder",
    },
}
"""Commands with options (`--key value`)."""

ALIASES = {"pseudo": "gen_pseudo"}
"""Commands that also exist as `p2seg experiment NAME`."""

SWITCHES = {"gen_semantic": ("check",)}
"""Settings that can also be written as options: `--check` is `check=true`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments: name and arguments of the command; None: those of the process.

    Returns:
        The exit code, see `p2seg.cli.entry.entry`.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(_help())
        return 0
    if arguments[0] == "--version":
        sys.stdout.write(f"p2seg {_version()}\n")
        return 0
    if is_plain(arguments[0], arguments[1:]):
        return run_plain(arguments[0], arguments[1:])
    if arguments[0] == "experiment":
        return _experiment(arguments[1:])
    name = arguments[0].replace("-", "_")
    if any(name in group for group in OPTIONS.values()):
        code: int = import_module(f"p2seg.cli.{name}").main(arguments[1:])
        return code
    if any(name in group for group in SETTINGS.values()):
        return _of_settings(name)(arguments[1:])
    sys.stderr.write(f"{_unknown(arguments[0])}\n")
    return 2


def commands() -> list[str]:
    """The names of all commands, in the order of the help."""
    names = [name for group in (*OPTIONS.values(), *SETTINGS.values()) for name in group]
    return list(dict.fromkeys((*COMMANDS, "experiment", *names)))


def _experiment(arguments: list[str]) -> int:
    """Runs a command with settings, even if a command with options has the same name."""
    name = ALIASES.get(arguments[0], arguments[0].replace("-", "_")) if arguments else ""
    names = [each for group in SETTINGS.values() for each in group]
    if name in names:
        return _of_settings(name)(arguments[1:])
    if arguments and arguments[0] not in ("-h", "--help"):
        sys.stderr.write(f"there is no experiment command {arguments[0]!r}; {', '.join(names)}\n")
        return 2
    sys.stdout.write("\n".join(_listed(SETTINGS)).lstrip() + "\n")
    return 0


def _listed(groups: dict[str, dict[str, str]]) -> list[str]:
    width = max(len(name) for group in groups.values() for name in group)
    lines: list[str] = []
    for topic, group in groups.items():
        lines += ["", f"{topic}:", *(f"  {name:{width}}  {line}" for name, line in group.items())]
    return lines


def _of_settings(name: str) -> Callable[[list[str]], int]:
    from p2seg.cli.entry import entry

    def run(cfg: Any) -> Any:
        return import_module(f"p2seg.cli.{name}").run(cfg)

    return entry(name, switches=SWITCHES.get(name, ()))(run)


def _help() -> str:
    (start, demo), (data, sets) = OPTIONS.items()
    plain = {name: own.help for name, own in COMMANDS.items()}
    names = [name for group in SETTINGS.values() for name in group]
    lines = [
        "p2seg: instance segmentation from one click per object",
        "",
        "usage: p2seg COMMAND ...",
        *_listed({start: demo, "Your photographs": plain, data: sets}),
        "",
        "Experiments, with settings key=value (p2seg experiment --help):",
        "  p2seg experiment COMMAND [key=value ...]",
        *wrap(", ".join(names), 78, initial_indent="  ", subsequent_indent="  "),
        "",
        "p2seg COMMAND --help lists the options of a command.",
        "",
    ]
    return "\n".join(lines)


def _unknown(word: str) -> str:
    near = get_close_matches(word.replace("-", "_"), commands(), 1, 0.6)
    instead = f"did you mean {near[0]}?" if near else "p2seg --help lists the commands"
    return f"there is no command {word!r}; {instead}"


def _version() -> str:
    try:
        return version("p2seg")
    except PackageNotFoundError:  # a checkout without an installed package
        return "(not installed)"
