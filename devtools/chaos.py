"""Disturbs every stage at random moments and compares what comes out with an undisturbed run.

python devtools/chaos.py                     # 32 kills, 4 requests, 5 dead ranks, 3 full disks
python devtools/chaos.py --short --seed 1    # 3 kills, 2 requests

Every stage (semantic maps, training, export, segmentor) is run once undisturbed. Then it is killed,
asked to stop, robbed of a rank or of its disk, and started again with the same command until it
is done: the result must be the same, bit for bit, what was finished must stay finished, and no
input may change. No process may outlive its command, and no temporary file the last run. The exit
code is 1 if a result was lost, an input was overwritten, or a process or a file is left.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from rich.table import Table

from devtools.chaos_faults import COUNTS, Disturbed, Row, undisturbed
from devtools.chaos_process import Disk
from devtools.chaos_stages import TOOLS, Inputs, stages_of
from p2seg.cli.arguments import CONSOLE, Parser, command, path

SCRIPTS = TOOLS.parent / "scripts"
RANKS = ("train", "semantic", "segmentor", "export", "train")
"""Stages that lose a rank, in turn."""
DISKS = ("train", "semantic", "export", "segmentor")
"""Stages that lose their disk, in turn."""
REQUESTS = (signal.SIGTERM, signal.SIGHUP)
"""What asks stages to stop, in turn."""


def parser() -> Parser:
    """The command line."""
    words = Parser(description="Disturbs every stage.", allow_abbrev=False, prog="chaos.py")
    words.add_argument("--seed", type=int, default=0, help="of all moments (default: 0)")
    words.add_argument("--kills", type=int, default=32, help="over all stages (default: 32)")
    words.add_argument("--requests", type=int, default=4, help="to stop (default: 4)")
    words.add_argument("--ranks", type=int, default=5, help="that die (default: 5)")
    words.add_argument("--disks", type=int, default=3, help="that are full (default: 3)")
    words.add_argument("--short", action="store_true", help="3 kills and 2 requests of a training")
    words.add_argument("--work", type=path, metavar="DIR", help="where (default: a temporary one)")
    return words


@command
def main(words: list[str]) -> None:
    """Runs the command line's words."""
    args = parser().parse_args(words)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="p2seg-chaos-", dir=args.work) as folder:
        home = Path(folder)
        os.environ["XDG_CACHE_HOME"] = str(home / "cache")  # the user's own is not disturbed
        make_set(home / "data", images=8 if args.short else 32)
        draw = random.Random(args.seed)
        inputs = Inputs(home / "data", home / "good")
        if args.short:
            rows = short(home, inputs, draw)
        else:
            rows = whole(home, inputs, draw, args.kills, args.requests, args.ranks, args.disks)
        made = []
        for row in rows:
            row.overwritten += [str(each.relative_to(home)) for each in inputs.changed()]
            made.append(row)
            found = [f"{title}: {'; '.join(told)}" for title, told in counted(row) if told]
            CONSOLE.print(f"{row.stage}: {row.times} times {row.fault}, {', '.join(found) or 'ok'}")
    CONSOLE.print(table(made))
    total = Row("all", "all")
    for row in made:
        total.add(row)
    counts = [f"{title}: {len(told) or 'none'}" for title, told in counted(total)]
    minutes = (time.monotonic() - began) / 60
    CONSOLE.print(f"faults: {total.times}, {', '.join(counts)}, {minutes:.1f} min")
    if any(told for _, told in counted(total)):
        raise SystemExit(1)


def counted(row: Row) -> list[tuple[str, list[str]]]:
    """The titles of all counts, and what was found for each."""
    return [(title, getattr(row, name)) for name, title in COUNTS.items()]


def make_set(folder: Path, images: int) -> None:
    """A small part of the drawn set, with one click per object."""
    drawn = ("--train", str(images), "--val", "4", "--size", "64")
    gt, points = folder / "instances_train.json", folder / "points.json"
    for script in (
        (SCRIPTS / "prepare_synthetic.py", "--out", str(folder), *drawn),
        (TOOLS / "make_points.py", f"gt={gt}", f"out={points}"),
    ):
        subprocess.run([sys.executable, *map(str, script)], check=True, stderr=subprocess.DEVNULL)


def short(home: Path, inputs: Inputs, draw: random.Random) -> Iterator[Row]:
    """A training alone, on maps made for it."""
    semantic, train, *_ = stages_of(home / "good", home / "data")
    undisturbed(semantic, home / "good")
    disturbed = undisturbed(train, home / "good")
    inputs.changed()
    yield disturbed.kills(home / "killed", 3, draw)
    yield disturbed.requests(home / "asked", 2, draw, REQUESTS)


def whole(
    home: Path,
    inputs: Inputs,
    draw: random.Random,
    kills: int,
    requests: int,
    ranks: int,
    disks: int,
) -> Iterator[Row]:
    """Everything, a stage after the other."""
    good: dict[str, Disturbed] = {}
    stages = stages_of(home / "good", home / "data")
    for place, stage in enumerate(stages):
        CONSOLE.print(f"{stage.name}: undisturbed")
        good[stage.name] = disturbed = undisturbed(stage, home / "good")
        inputs.changed()
        yield disturbed.kills(home / "killed", _share(kills, place, len(stages)), draw)
        in_turn = [REQUESTS[(place + k) % len(REQUESTS)] for k in range(len(REQUESTS))]
        yield disturbed.requests(
            home / "asked", _share(requests, place, len(stages)), draw, in_turn
        )
    alike: dict[str, Disturbed] = {}
    for number in range(ranks):
        name = RANKS[number % len(RANKS)]
        if name not in alike:
            CONSOLE.print(f"{name}: undisturbed, two ranks")
            alike[name] = undisturbed(good[name].stage, home / "two", 2)
        yield good[name].dead_rank(home / "ranks", alike[name], draw)
    for number in range(disks):
        with closing(Disk(home / f"disk_{number}")) as disk:
            yield good[DISKS[number % len(DISKS)]].full_disk(
                disk, home / "good", draw.uniform(0.4, 0.8)
            )


def _share(total: int, place: int, places: int) -> int:
    return total // places + (place < total % places)


def table(rows: list[Row]) -> Table:
    """A row a stage and fault."""
    made = Table("stage", "fault", "times", "while writing", *COUNTS.values())
    merged: dict[tuple[str, str], Row] = {}
    for row in rows:
        merged.setdefault((row.stage, row.fault), Row(row.stage, row.fault)).add(row)
    for row in merged.values():
        counts = (str(len(told) or "none") for _, told in counted(row))
        made.add_row(row.stage, row.fault, str(row.times), str(row.writing), *counts)
    return made


if __name__ == "__main__":
    raise SystemExit(main())
