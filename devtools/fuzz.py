"""Feeds damaged and hostile files to every reader of files from outside.

python devtools/fuzz.py --minutes 5                   # all readers, a share of the time each
python devtools/fuzz.py --minutes 5 --target points --seed 1
python devtools/fuzz.py --replay outputs/fuzz/points/1a2b3c4d.json

An input does well when it is read, or refused with a `UserError`. Anything else is a finding: an
exception, a crash, more than `--megabytes` of memory, more than the target's seconds. A finding is
written to `--out`, `TARGET/HASH.ENDING` and beside it `HASH.txt` with what happened. Inputs are
mutations of the corpus in tests/hostile/corpus; with atheris (`pip install -e '.[fuzz]'`) they are
also chosen by the code that they reach. The exit code is 1 where there are findings.
"""

from __future__ import annotations

import hashlib
import importlib.util
import random
import shutil
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path

from devtools.fuzzing.child import run_input, run_mutations
from devtools.fuzzing.targets import TARGETS
from p2seg.cli.arguments import CONSOLE, Parser, command
from p2seg.errors import UserError
from p2seg.runtime.files import write_bytes, write_text

ROOT = Path(__file__).resolve().parent.parent
CORPUS = ROOT / "tests" / "hostile" / "corpus"
ROUND = 20.0
"""Seconds that one target is fed before the next one is."""


@dataclass
class Tally:
    """What came of a target.

    Attributes:
        inputs: that were tried.
        read: of them, were read; the others were refused.
        findings: files that were neither.
    """

    inputs: int = 0
    read: int = 0
    findings: list[Path] = field(default_factory=list)


def parser() -> Parser:
    """The command line."""
    words = Parser(
        description="Feeds damaged files to every reader.", allow_abbrev=False, prog="fuzz.py"
    )
    words.add_argument("--minutes", type=float, default=1.0, help="in all")
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--target", choices=TARGETS, action="append", help="default: all")
    words.add_argument("--replay", type=Path, help="a finding or a file of the corpus")
    words.add_argument("--out", type=Path, default=Path("outputs/fuzz"), help="for findings")
    words.add_argument("--megabytes", type=int, default=1500, help="that an input may cost")
    words.add_argument("--engine", choices=("auto", "mutation", "atheris"), default="auto")
    return words


@command
def main(words: list[str]) -> None:
    """Feeds, tells, and leaves with 1 where there are findings."""
    given = parser().parse_args(words)
    if given.replay is not None:
        target = given.target[0] if given.target else given.replay.absolute().parent.name
        replay(given.replay, target, given.megabytes)
        return
    guided = importlib.util.find_spec("atheris") is not None
    if given.engine == "atheris" and not guided:
        raise UserError("atheris is not installed; pip install -e '.[fuzz]', or --engine mutation")
    engines = ["mutation", "atheris"] if guided else ["mutation"]
    engines = engines if given.engine == "auto" else [given.engine]
    names = given.target or list(TARGETS)
    tallies = {name: Tally() for name in names}
    end, number = time.monotonic() + 60 * given.minutes, 0
    slices = len(names) * len(engines)
    share = min(ROUND, 60 * given.minutes / slices)
    while time.monotonic() < end:
        name, engine = names[number // len(engines) % len(names)], engines[number % len(engines)]
        seconds = min(share, end - time.monotonic())
        feed = _feed_atheris if engine == "atheris" else _feed_mutations
        feed(name, given, f"{given.seed}.{number // slices}", seconds, tallies[name])
        number += 1
    _tell(tallies)
    if any(tally.findings for tally in tallies.values()):
        sys.exit(1)


def replay(file: Path, name: str, megabytes: int) -> None:
    """Feeds one file again.

    Args:
        file: a finding, or a file of the corpus.
        name: of its target.
        megabytes: that it may cost.

    Raises:
        UserError: it is no file, or of no target.
    """
    if name not in TARGETS:
        raise UserError(f"{file} lies in no target's folder; name its target with --target")
    if not file.is_file():
        raise UserError(f"no file at {file}; give a finding of this script")
    with tempfile.TemporaryDirectory() as folder:
        trouble, told = run_input(name, file.read_bytes(), Path(folder), megabytes)
    CONSOLE.print(told)
    if trouble:
        sys.exit(1)


def _feed_mutations(name: str, given: Namespace, seed: str, seconds: float, tally: Tally) -> None:
    """Mutations of the corpus, in a process that may die."""
    end = time.monotonic() + seconds
    part = 0
    while (left := end - time.monotonic()) > 0:
        with tempfile.TemporaryDirectory() as folder:
            done = run_mutations(
                name, CORPUS / name, f"{seed}.{part}", left, Path(folder), given.megabytes
            )
            tally.inputs += done.inputs
            tally.read += done.read
            if done.finding is not None:
                _keep(name, done.finding, done.told, given.out, tally)
        part += 1


def _feed_atheris(name: str, given: Namespace, seed: str, seconds: float, tally: Tally) -> None:
    """Inputs that libFuzzer chooses by the code they reach."""
    with tempfile.TemporaryDirectory() as place_of:
        folder = Path(place_of)
        shutil.copytree(CORPUS / name, folder / "seeds")
        (folder / "found").mkdir()
        words = [
            *(sys.executable, "-m", "devtools.fuzzing.guided", name),
            *(str(folder / "work"), str(folder / "seeds")),
            f"-max_total_time={max(1, round(seconds))}",
            f"-seed={random.Random(seed).randrange(1, 2**31)}",
            f"-timeout={round(TARGETS[name].seconds)}",
            f"-rss_limit_mb={given.megabytes + 1500}",
            f"-artifact_prefix={folder / 'found'}/",
            *("-max_len=20000", "-len_control=0", "-verbosity=0", "-print_final_stats=1"),
        ]
        done = subprocess.run(
            words,
            capture_output=True,
            check=False,
            timeout=seconds * 3 + 120,
            errors="replace",
            cwd=ROOT,
        )
        for line in done.stderr.splitlines():
            if line.startswith("stat::number_of_executed_units:"):
                tally.inputs += int(line.split(":")[-1])
        for file in sorted((folder / "found").iterdir()):
            content = file.read_bytes()
            trouble, told = run_input(name, content, folder / "again", given.megabytes)
            if trouble:
                _keep(name, content, told, given.out, tally)
        if done.returncode and not any((folder / "found").iterdir()):
            CONSOLE.print(f"atheris ended with {done.returncode}: {done.stderr[-2000:]}")


def _keep(name: str, content: bytes, told: str, out: Path, tally: Tally) -> None:
    """Writes a finding, unless one that ended in the same place is there."""
    place_of = [line for line in told.splitlines() if line.strip()][-2:]
    mark = hashlib.sha256("\n".join(place_of).encode()).hexdigest()[:8]
    file = out / name / f"{mark}{TARGETS[name].ending}"
    if file in tally.findings:
        return
    write_bytes(file, content)
    write_text(file.with_suffix(".txt"), f"{told}\n")
    tally.findings.append(file)
    CONSOLE.print(f"{name}: {file}: {place_of[-1] if place_of else 'no words'}")


def _tell(tallies: dict[str, Tally]) -> None:
    for name, tally in tallies.items():
        found = len(tally.findings)
        CONSOLE.print(f"{name}: {tally.inputs} inputs, {found} findings")
    total = sum(tally.inputs for tally in tallies.values())
    found = sum(len(tally.findings) for tally in tallies.values())
    CONSOLE.print(f"{len(tallies)} readers, {total} inputs, {found} findings")


if __name__ == "__main__":
    sys.exit(main())
