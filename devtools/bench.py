"""Measures what things cost: parts next to a rival, or the stages of an experiment.

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
    "affinity": lambda device, given: affinity.suite(
        device, given.repeats, given.sides, given.channels
    ),
    "labels": lambda device, given: labels.suite(device, given.repeats),
    "step": lambda device, given: step.suite(device, given.repeats),
    "export": lambda device, given: export.suite(device, given.repeats),
    "evaluation": lambda device, given: evaluation.suite(device, given.repeats),
    "segmentors": lambda device, given: segmentors.suite(device, given.repeats),
}
"""The suites that measure something next to a rival: `all`."""
SUITES: dict[str, Suite] = {
    **RIVALS,
    "cost": lambda device, given: cost.suite(
        device, given.repeats, experiment.experiment_of(given.settings)
    ),
    "memory": lambda _, given: tools_memory.suite(
        given.images, given.index_images, given.pause, given.out
    ),
}
WIDTH = 170
"""Columns of text that a table needs."""


def parser() -> Parser:
    """The command line."""
    words = Parser(description="Measures what things cost.", allow_abbrev=False, prog="bench.py")
    words.add_argument("suite", choices=("all", *SUITES), help="all: those with a rival")
    words.add_argument("settings", nargs="*", help="of the experiment that cost measures")
    words.add_argument("--repeats", type=_positive, default=5, help="timed runs (default: 5)")
    words.add_argument("--accelerator", default="auto", help="auto, cpu or gpu (default: auto)")
    words.add_argument("--out", type=path, metavar="FILE", help="JSON of all rows")
    words.add_argument("--sides", type=_positive, nargs="+", default=affinity.SIDES, metavar="N")
    words.add_argument(
        "--channels", type=_positive, nargs="+", default=affinity.CHANNELS, metavar="N"
    )
    words.add_argument("--images", type=_positive, default=20_000, help="that memory works on")
    words.add_argument("--index-images", type=_positive, default=IMAGES, help="of its index")
    words.add_argument("--pause", type=float, default=1.0, help="seconds between two samples")
    return words


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} must be an integer >= 1")
    return int(text)


@command
def main(words: list[str]) -> None:
    """Prints one table per suite, and writes all rows to `--out`."""
    given = parser().parse_intermixed_args(words)
    if given.settings and given.suite != "cost":
        raise UserError(f"{given.settings[0]}: only the suite cost takes settings; remove it")
    device = device_of(given.accelerator, "--accelerator")
    console = Terminal()
    console.width = max(console.width, WIDTH)  # without a terminal, too
    rows: list[Row] = []
    for name in RIVALS if given.suite == "all" else [given.suite]:
        console.print(f"{name} on {device}, {torch.get_num_threads()} threads", highlight=False)
        rows += (own := list(SUITES[name](device, given)))
        console.print(table_of(own))
        if given.out is not None:  # after every suite, so that nothing is lost
            write_json(
                given.out, [{**asdict(row), "versions": versions()} for row in rows], indent=2
            )
            console.print(f"written: {given.out}", soft_wrap=True, highlight=False, markup=False)
    check_flat(rows)


if __name__ == "__main__":
    raise SystemExit(main())
