"""Feeds damaged and hostile files to every reader of external files.

    python devtools/fuzz.py --minutes 5               # all readers, an equal share of time each
    python devtools/fuzz.py --minutes 5 --target points --seed 1
    python devtools/fuzz.py --replay outputs/fuzz/points/1a2b3c4d.json

An input passes if it is read, or rejected with a `UserError`. Anything else is a finding: another
exception, a crash, more than `--megabytes` of memory, or more time than the target's limit. A
finding is written to `TARGET/HASH.ENDING` in `--out`, with a description in `HASH.txt`. Inputs are
mutations of the corpus in tests/hostile/corpus. With atheris (`pip install -e '.[fuzz]'`), inputs
are also selected by the code that they reach. The exit code is 1 if there are findings.
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
"""Seconds per target before the next target's turn."""


@dataclass
class Tally:
    """The results of a target.

    Attributes:
        inputs: number of inputs.
        read: number of inputs that were read; the others were rejected or are findings.
        findings: files that were neither read nor rejected.
    """

    inputs: int = 0
    read: int = 0
    findings: list[Path] = field(default_factory=list)


def parser() -> Parser:
    """Returns the parser of the command line."""
    words = Parser(
        description="Feeds damaged files to every reader.", allow_abbrev=False, prog="fuzz.py"
    )
    words.add_argument("--minutes", type=float, default=1.0, help="total time (default: 1)")
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--target", choices=TARGETS, action="append", help="default: all")
    words.add_argument("--replay", type=Path, help="a finding, or a file of the corpus")
    words.add_argument("--out", type=Path, default=Path("outputs/fuzz"), help="folder of findings")
    words.add_argument("--megabytes", type=int, default=1500, help="memory limit per input")
    words.add_argument("--engine", choices=("auto", "mutation", "atheris"), default="auto")
    return words


@command
def main(words: list[str]) -> None:
    """Feeds the readers and prints the counts; exits with 1 if there are findings."""
    args = parser().parse_args(words)
    if args.replay is not None:
        target = args.target[0] if args.target else args.replay.absolute().parent.name
        replay(args.replay, target, args.megabytes)
        return
    guided = importlib.util.find_spec("atheris") is not None
    if args.engine == "atheris" and not guided:
        raise UserError("atheris is not installed; pip install -e '.[fuzz]', or --engine mutation")
    engines = ["mutation", "atheris"] if guided else ["mutation"]
    engines = engines if args.engine == "auto" else [args.engine]
    names = args.target or list(TARGETS)
    tallies = {name: Tally() for name in names}
    end, number = time.monotonic() + 60 * args.minutes, 0
    slices = len(names) * len(engines)
    share = min(ROUND, 60 * args.minutes / slices)
    while time.monotonic() < end:
        name, engine = names[number // len(engines) % len(names)], engines[number % len(engines)]
        seconds = min(share, end - time.monotonic())
        feed = _feed_atheris if engine == "atheris" else _feed_mutations
        feed(name, args, f"{args.seed}.{number // slices}", seconds, tallies[name])
        number += 1
    _tell(tallies)
    if any(tally.findings for tally in tallies.values()):
        sys.exit(1)


def replay(file: Path, name: str, megabytes: int) -> None:
    """Feeds one file again.

    Args:
        file: a finding, or a file of the corpus.
        name: name of its target.
        megabytes: memory limit.

    Raises:
        UserError: the file does not exist, or belongs to no target.
    """
    if name not in TARGETS:
        raise UserError(f"{file} is not in the folder of a target; add --target NAME")
    if not file.is_file():
        raise UserError(f"no file at {file}; give a finding of this script")
    with tempfile.TemporaryDirectory() as folder:
        trouble, description = run_input(name, file.read_bytes(), Path(folder), megabytes)
    CONSOLE.print(description)
    if trouble:
        sys.exit(1)


def _feed_mutations(name: str, args: Namespace, seed: str, seconds: float, tally: Tally) -> None:
    """Feeds mutations of the corpus in a separate process, which may crash."""
    end = time.monotonic() + seconds
    part = 0
    while (left := end - time.monotonic()) > 0:
        with tempfile.TemporaryDirectory() as folder:
            outcome = run_mutations(
                name, CORPUS / name, f"{seed}.{part}", left, Path(folder), args.megabytes
            )
            tally.inputs += outcome.inputs
            tally.read += outcome.read
            if outcome.finding is not None:
                _keep(name, outcome.finding, outcome.description, args.out, tally)
        part += 1


def _feed_atheris(name: str, args: Namespace, seed: str, seconds: float, tally: Tally) -> None:
    """Feeds inputs that libFuzzer selects by the code they reach."""
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
            f"-rss_limit_mb={args.megabytes + 1500}",
            f"-artifact_prefix={folder / 'found'}/",
            *("-max_len=20000", "-len_control=0", "-verbosity=0", "-print_final_stats=1"),
        ]
        process = subprocess.run(
            words,
            capture_output=True,
            check=False,
            timeout=seconds * 3 + 120,
            errors="replace",
            cwd=ROOT,
        )
        for line in process.stderr.splitlines():
            if line.startswith("stat::number_of_executed_units:"):
                tally.inputs += int(line.split(":")[-1])
        for file in sorted((folder / "found").iterdir()):
            content = file.read_bytes()
            trouble, description = run_input(name, content, folder / "again", args.megabytes)
            if trouble:
                _keep(name, content, description, args.out, tally)
        if process.returncode and not any((folder / "found").iterdir()):
            CONSOLE.print(f"atheris ended with {process.returncode}: {process.stderr[-2000:]}")


def _keep(name: str, content: bytes, description: str, out: Path, tally: Tally) -> None:
    """Writes a finding, unless a finding with the same last code location exists."""
    place_of = [line for line in description.splitlines() if line.strip()][-2:]
    mark = hashlib.sha256("\n".join(place_of).encode()).hexdigest()[:8]
    file = out / name / f"{mark}{TARGETS[name].ending}"
    if file in tally.findings:
        return
    write_bytes(file, content)
    write_text(file.with_suffix(".txt"), f"{description}\n")
    tally.findings.append(file)
    CONSOLE.print(f"{name}: {file}: {place_of[-1] if place_of else 'no words'}")


def _tell(tallies: dict[str, Tally]) -> None:
    for name, tally in tallies.items():
        count = len(tally.findings)
        CONSOLE.print(f"{name}: {tally.inputs} inputs, {count} findings")
    total = sum(tally.inputs for tally in tallies.values())
    count = sum(len(tally.findings) for tally in tallies.values())
    CONSOLE.print(f"{len(tallies)} readers, {total} inputs, {count} findings")


if __name__ == "__main__":
    sys.exit(main())
