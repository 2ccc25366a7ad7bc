"""Runs every row of a table of the paper, or of an ablation, with several random seeds.

    python scripts/reproduce.py 3 --data drawn      # or ./scripts/reproduce_table3.sh --data drawn
    python scripts/reproduce.py rounds --data real semantic=oracle --out outputs/oracle
    python scripts/reproduce.py 1 --data full --dry-run semantic.maps=DIR   # runs, time, memory

`--data drawn` is the drawn set. `real` is a small part of VOC or COCO and needs `data.source=DIR
model.weights=FILE`. `full` is the paper's data and needs `semantic.maps=DIR`, maps of any method.
Settings of the form key=value go to every run; use another `--out` for other settings. Finished
runs are reused, and tables share runs. The table is written to `table_<name>_<data>.md` and
`.json` in `--out`.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from markdown_table import markdown_of
from paper_tables import TABLES
from table_content import command_of, content_of
from table_rows import SEGMENTOR, Row, Table

from p2seg.cli.arguments import CONSOLE, Parser, command, path
from p2seg.errors import UserError
from p2seg.runtime.files import atomic_path, read_json, write_json

ROOT = Path(__file__).resolve().parent.parent

# Hours and GB of one run. Those on the full data are computed, not measured: by `bench.py cost`,
# a step of HRNet-48 takes 6.8 TFLOP (8 images), and one of Mask R-CNN 0.73 TFLOP per image.
GUESS = "computed for 30 TFLOP/s, not measured"
COST = {
    "drawn": (0.15, 2, "measured on 2 cores"),
    "real_voc": (0.14, 4, "measured on 1 core"),
    "real_coco": (0.45, 4, "measured on 1 core"),
    "real_nuclei": (0.5, 4, "estimated for 2 cores"),
    "voc_hrnet48": (5, 24, GUESS),
    "voc_hrnet48_best": (5, 24, GUESS),
    "voc_resnet101": (5, 24, GUESS),
    "coco_hrnet48": (30, 24, GUESS),
    "drawn_simulated": (0.15, 2, "measured on 2 cores"),
    "real_coco_simulated": (0.3, 4, "measured on 1 core"),
    "voc_hrnet48_sam": (6, 24, GUESS),
    "voc_sam_baseline": (2, 12, GUESS),
    "coco_sam_baseline": (20, 12, GUESS),
}

Plan = dict[tuple[str, int], tuple[Path, list[str]]]
"""Folder and command of every run, by row and seed."""

OURS = ("seed=", "name=", "out=", "ckpt=", "data.points=", "data.semantic=", "data.root=")
"""Prefixes of the settings that the plan sets for every run."""


def parser() -> Parser:
    """Returns the parser of the command line."""
    words = common_parser("One table.")
    words.add_argument("table", choices=list(TABLES))
    words.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    return words


def common_parser(title: str) -> Parser:
    """Returns a parser with the options of tables and figures."""
    words = Parser(description=title, allow_abbrev=False)
    words.add_argument("--data", choices=["drawn", "real", "full"], default="drawn")
    words.add_argument("--dry-run", action="store_true", help="print the runs and do nothing")
    words.add_argument("--out", type=path, default=Path("outputs"), metavar="DIR")
    words.epilog = "words of the form key=value are settings of every run"
    return words


@command
def main(words: list[str]) -> None:
    """Runs the rows and writes the table, or prints the plan."""
    asked = read_words(parser(), words)
    table = TABLES[asked.table]
    plan = plan_of(table, asked)
    if asked.dry_run:
        show(table, asked.data, plan)
        return
    reports = run_all(plan)
    content = content_of(table, asked, reports)
    name = asked.table
    script = [f"table{name}.sh"] if name.isdigit() else ["ablation.sh", name]
    command = command_of([*script, "--data", asked.data], asked)
    for row in content["rows"]:
        row["command"] = command
    write_table(asked.out / f"table_{asked.table}_{asked.data}", content)


def read_words(words_of: Parser, words: list[str]) -> Namespace:
    """Parses the command line; settings of the form key=value go to the attribute `words`.

    Raises:
        UserError: the initial semantic maps of the full data are missing, a setting belongs to
            the plan, or the seeds are negative or repeated.
    """
    settings = [word for word in words if re.match(r"\+*[a-z].*=", word)]
    asked = words_of.parse_args([word for word in words if word not in settings])
    asked.words = settings
    for word in settings:
        if word.startswith(OURS):
            raise UserError(
                f"{word} is set for each run by the plan; use --seeds and --out instead"
            )
    if min(asked.seeds) < 0 or len(set(asked.seeds)) < len(asked.seeds):
        raise UserError(f"--seeds {asked.seeds}: must be different integers >= 0")
    if asked.data == "full" and not any(w.startswith("semantic") for w in settings):
        raise UserError(
            "the full data need initial semantic maps; add semantic.maps=DIR with PNG files of any "
            "method, semantic=grabcut, or semantic.sam.checkpoint=FILE for SAM"
        )
    return asked


def plan_of(table: Table, asked: Namespace) -> Plan:
    """Returns the runs of the rows that exist for the data set.

    Args:
        table: the table.
        asked: the command line, with `data`, `seeds`, `out` and `words`.
    """
    rows = {row.name: row for row in table.rows if _is_run(row, asked)}
    plan: Plan = {}
    for row in rows.values():
        for seed in asked.seeds:
            settings = [word for word in asked.words if _fits(word, row, asked.data)]
            words = [*table.words, *row.words_of(asked.data), *row.more, *settings]
            if row.network:
                trained = _folder(asked, rows[row.network], seed)
                words.append(f"ckpt={trained / 'network' / 'last.pt'}")
            plan[row.name, seed] = _run(asked, row, seed, words)
    return plan


def _is_run(row: Row, asked: Namespace) -> bool:
    """Returns whether a row exists for the data set and its required setting is given."""
    needs = row.needs if asked.data == "full" else ""
    fits = not needs or any(word.startswith(needs) for word in asked.words)
    return fits and asked.data in row.experiments


def _fits(word: str, row: Row, data: str) -> bool:
    """Returns whether a setting applies to a row; those of initial maps apply to some rows only."""
    prompted = row.experiments[data].endswith(("_sam", "_sam_baseline", "_simulated"))
    if word.startswith("semantic.sam."):
        return prompted
    if any(own.startswith("semantic=") for own in row.words):
        return not word.startswith(("semantic=", "semantic."))
    return not (prompted and word.startswith(("semantic=", "semantic.maps=")))


def run_all(plan: Plan) -> dict[tuple[str, int], dict[str, Any]]:
    """Runs the unfinished runs and returns the reports by row and seed.

    Raises:
        UserError: a run failed.
    """
    for (name, seed), (_, words) in distinct(plan).items():
        CONSOLE.print(f"{name}, seed {seed}: {shlex.join(words[1:])}")
        if subprocess.run(words, check=False).returncode:
            raise UserError(
                f"the run of {name}, seed {seed}, failed; fix the error above and repeat the "
                "command, which keeps finished runs"
            )
    return {key: read_json(folder / "report.json", "report") for key, (folder, _) in plan.items()}


def _run(asked: Namespace, row: Row, seed: int, more: list[str]) -> tuple[Path, list[str]]:
    """Returns the folder and the command of a run."""
    experiment, folder = row.experiments[asked.data], _folder(asked, row, seed)
    words = [f"+exp={experiment}", f"name={folder.name}", f"seed={seed}", f"out={folder}"]
    if row.own_clicks:
        words += [f"data.points={folder / 'points.json'}", f"data.semantic={folder / 'semantic'}"]
    else:
        words.append(f"data.points={asked.out / f'{experiment}_points_seed{seed}.json'}")
    if asked.data != "full":  # rows with the same seed share images, clicks and maps
        words.append(f"data.root={asked.out / f'{experiment}_data_seed{seed}'}")
    elif not row.own_clicks:  # the images are not copied
        words.append(f"data.semantic={asked.out / f'{experiment}_semantic_seed{seed}'}")
    return folder, [sys.executable, str(ROOT / row.script), *words, *more]


def _folder(asked: Namespace, row: Row, seed: int) -> Path:
    """Returns a folder named after the settings, so that equal rows of tables share a run."""
    script = Path(row.script).stem
    words = [*([] if script == "pipeline" else [script]), *row.words_of(asked.data)]
    changed = "_".join(re.sub(r"[^\w.]+", "-", word).strip("-") for word in words)
    return asked.out / f"{row.experiments[asked.data]}_{changed or 'default'}_seed{seed}"


def show(table: Table, data: str, plan: Plan) -> None:
    """Prints the runs of a plan with their time and memory."""
    hours = 0.0
    lines = [table.title, ""]
    for (name, seed), (_, words) in distinct(plan).items():
        row = next(row for row in table.rows if row.name == name)
        each, memory, how = COST[row.experiments[data]]
        if row.network and table.words == SEGMENTOR:
            each, how = each / 3, "only the segmentor"
        elif row.network or "pipeline.network=false" in (*table.words, *row.words):
            each, how = each / 10, "no training"
        hours += each
        lines.append(f"{name}, seed {seed}: about {each:g} h, {memory} GB ({how})")
        lines.append(f"  {shlex.join(words[1:])}")
    for row in table.rows:
        if all(name != row.name for name, _ in plan):
            lines.append(f"{row.name}: not run, {row.missing}")
    lines += ["", f"{len(distinct(plan))} runs, about {hours:.3g} hours in sequence"]
    sys.stdout.write("\n".join(lines) + "\n")


def distinct(plan: Plan) -> Plan:
    """Returns the plan without rows that share the run of an earlier row."""
    return {key: run for key, run in plan.items() if run is _first(plan, run)}


def _first(plan: Plan, run: tuple[Path, list[str]]) -> tuple[Path, list[str]]:
    return next(other for other in plan.values() if other == run)


def write_table(out: Path, content: dict[str, Any]) -> None:
    """Writes a table to `.json` and `.md`, and prints it."""
    write_json(out.with_suffix(".json"), content)
    text = "\n".join(markdown_of(content)) + "\n"
    with atomic_path(out.with_suffix(".md")) as temporary:
        temporary.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    raise SystemExit(main())
