"""Measures time and memory: parts next to a reference, or the stages of an experiment.

python devtools/bench.py all --out FILE.json
python devtools/bench.py affinity --sides 52 104 --channels 64 --repeats 3
python devtools/bench.py cost +exp=voc_hrnet48 trainer.batch_size=1
python devtools/bench.py memory --out FILE.json    # and FILE.seen.json, FILE.png; Linux
"""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Iterable
from dataclasses import asdict

import torch

from devtools.benchmarks import (
    affinity,
    cost,
    evaluation,
    experiment,
    export,
    labels,
    segmentors,
    step,
    tools_memory,
)
from devtools.benchmarks.index import IMAGES
from devtools.benchmarks.measure import Row
from devtools.benchmarks.memory import check_flat
from devtools.benchmarks.tables import table_of
from p2seg.cli.arguments import Parser, command, path
from p2seg.errors import UserError
from p2seg.runtime.devices import device_of
from p2seg.runtime.files import write_json
from p2seg.runtime.provenance import versions
from p2seg.runtime.terminal import Terminal

Suite = Callable[[torch.device, Namespace], Iterable[Row]]
RIVALS: dict[str, Suite] = {
    "affinity": lambda device, args: affinity.suite(
        device, args.repeats, args.sides, args.channels
    ),
    "labels": lambda device, args: labels.suite(device, args.repeats),
    "step": lambda device, args: step.suite(device, args.repeats),
    "export": lambda device, args: export.suite(device, args.repeats),
    "evaluation": lambda device, args: evaluation.suite(device, args.repeats),
    "segmentors": lambda device, args: segmentors.suite(device, args.repeats),
}
"""The suites with a reference; `all` runs these."""
SUITES: dict[str, Suite] = {
    **RIVALS,
    "cost": lambda device, args: cost.suite(
        device, args.repeats, experiment.experiment_of(args.settings)
    ),
    "memory": lambda _, args: tools_memory.suite(
        args.images, args.index_images, args.pause, args.out
    ),
}
WIDTH = 170
"""Width of a table in characters."""


def parser() -> Parser:
    """Returns the parser of the command line."""
    words = Parser(description="Measures time and memory.", allow_abbrev=False, prog="bench.py")
    words.add_argument("suite", choices=("all", *SUITES), help="all: suites with a reference")
    words.add_argument("settings", nargs="*", help="settings of the experiment for cost")
    words.add_argument("--repeats", type=_positive, default=5, help="timed runs (default: 5)")
    words.add_argument("--accelerator", default="auto", help="auto, cpu or gpu (default: auto)")
    words.add_argument("--out", type=path, metavar="FILE", help="JSON of all rows")
    words.add_argument("--sides", type=_positive, nargs="+", default=affinity.SIDES, metavar="N")
    words.add_argument(
        "--channels", type=_positive, nargs="+", default=affinity.CHANNELS, metavar="N"
    )
    words.add_argument("--images", type=_positive, default=20_000, help="images for memory")
    words.add_argument("--index-images", type=_positive, default=IMAGES, help="size of its index")
    words.add_argument("--pause", type=float, default=1.0, help="seconds between two samples")
    return words


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} must be an integer >= 1")
    return int(text)


@command
def main(words: list[str]) -> None:
    """Prints one table per suite, and writes all rows to `--out`."""
    args = parser().parse_intermixed_args(words)
    if args.settings and args.suite != "cost":
        raise UserError(f"{args.settings[0]}: only the suite cost takes settings; remove it")
    device = device_of(args.accelerator, "--accelerator")
    console = Terminal()
    console.width = max(console.width, WIDTH)  # the default without a terminal is narrower
    rows: list[Row] = []
    for name in RIVALS if args.suite == "all" else [args.suite]:
        console.print(f"{name} on {device}, {torch.get_num_threads()} threads", highlight=False)
        rows += (own := list(SUITES[name](device, args)))
        console.print(table_of(own))
        if args.out is not None:  # written after every suite, so that an error loses nothing
            write_json(
                args.out, [{**asdict(row), "versions": versions()} for row in rows], indent=2
            )
            console.print(f"wrote {args.out}", soft_wrap=True, highlight=False, markup=False)
    check_flat(rows)


if __name__ == "__main__":
    raise SystemExit(main())
