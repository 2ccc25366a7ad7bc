"""Disturbs every stage at random moments and compares the result with an undisturbed run.

python devtools/chaos.py                     # 32 kills, 4 requests, 5 dead ranks, 3 full disks
python devtools/chaos.py --short --seed 1    # 3 kills, 2 requests

Every stage (semantic maps, training, export, segmentor) first runs undisturbed. Then the script
kills it, asks it to stop, kills one of its ranks, or fills its disk. It repeats the same command
until the stage is done. The result must be equal bit for bit, finished work must be kept, and no
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
"""Stages of which a rank is killed, in turn."""
DISKS = ("train", "semantic", "export", "segmentor")
"""Stages whose disk is filled, in turn."""
REQUESTS = (signal.SIGTERM, signal.SIGHUP)
"""Signals that ask a stage to stop, in turn."""


def parser() -> Parser:
    """Returns the parser of the command line."""
    words = Parser(description="Disturbs every stage.", allow_abbrev=False, prog="chaos.py")
    words.add_argument("--seed", type=int, default=0, help="random seed of the moments")
    words.add_argument("--kills", type=int, default=32, help="over all stages (default: 32)")
    words.add_argument("--requests", type=int, default=4, help="requests to stop (default: 4)")
    words.add_argument("--ranks", type=int, default=5, help="killed ranks (default: 5)")
    words.add_argument("--disks", type=int, default=3, help="full disks (default: 3)")
    words.add_argument("--short", action="store_true", help="3 kills and 2 requests of a training")
    words.add_argument("--work", type=path, metavar="DIR", help="folder (default: temporary)")
    return words


@command
def main(words: list[str]) -> None:
    """Disturbs all stages and prints the table of faults."""
    args = parser().parse_args(words)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="p2seg-chaos-", dir=args.work) as folder:
        home = Path(folder)
        os.environ["XDG_CACHE_HOME"] = str(home / "cache")  # protects the user's own cache
        make_set(home / "data", images=8 if args.short else 32)
        draw = random.Random(args.seed)
        inputs = Inputs(home / "data", home / "good")
        if args.short:
            faults = short(home, inputs, draw)
        else:
            faults = whole(home, inputs, draw, args.kills, args.requests, args.ranks, args.disks)
        rows = []
        for row in faults:
            row.overwritten += [str(each.relative_to(home)) for each in inputs.changed()]
            rows.append(row)
            problems = [
                f"{title}: {'; '.join(sentences)}" for title, sentences in counted(row) if sentences
            ]
            CONSOLE.print(
                f"{row.stage}: {row.times} times {row.fault}, {', '.join(problems) or 'ok'}"
            )
    CONSOLE.print(table(rows))
    total = Row("all", "all")
    for row in rows:
        total.add(row)
    counts = [f"{title}: {len(sentences) or 'none'}" for title, sentences in counted(total)]
    minutes = (time.monotonic() - began) / 60
    CONSOLE.print(f"faults: {total.times}, {', '.join(counts)}, {minutes:.1f} min")
    if any(sentences for _, sentences in counted(total)):
        raise SystemExit(1)


def counted(row: Row) -> list[tuple[str, list[str]]]:
    """Returns the titles of all counts with their sentences."""
    return [(title, getattr(row, name)) for name, title in COUNTS.items()]


def make_set(folder: Path, images: int) -> None:
    """Makes a small part of the drawn set, with one click per object."""
    drawn = ("--train", str(images), "--val", "4", "--size", "64")
    gt, points = folder / "instances_train.json", folder / "points.json"
    for script in (
        (SCRIPTS / "prepare_synthetic.py", "--out", str(folder), *drawn),
        (TOOLS / "make_points.py", f"gt={gt}", f"out={points}"),
    ):
        subprocess.run([sys.executable, *map(str, script)], check=True, stderr=subprocess.DEVNULL)


def short(home: Path, inputs: Inputs, draw: random.Random) -> Iterator[Row]:
    """Disturbs one training, on maps made for it."""
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
    """Disturbs all stages in sequence."""
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
    """Returns a table with one row per stage and fault."""
    content = Table("stage", "fault", "times", "while writing", *COUNTS.values())
    merged: dict[tuple[str, str], Row] = {}
    for row in rows:
        merged.setdefault((row.stage, row.fault), Row(row.stage, row.fault)).add(row)
    for row in merged.values():
        counts = (str(len(sentences) or "none") for _, sentences in counted(row))
        content.add_row(row.stage, row.fault, str(row.times), str(row.writing), *counts)
    return content


if __name__ == "__main__":
    raise SystemExit(main())
