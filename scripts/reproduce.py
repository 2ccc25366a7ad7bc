"""The paper's tables, and ablations beside them: runs every row on several seeds.

    python scripts/reproduce.py 3 --data drawn      # or ./scripts/reproduce_table3.sh --data drawn
    python scripts/reproduce.py rounds --data real semantic=oracle --out outputs/oracle
    python scripts/reproduce.py 1 --data full --dry-run semantic.maps=DIR   # runs, time, memory

`--data drawn` is the drawn set, `real` a small part of VOC or COCO (`data.source=DIR
model.weights=FILE`), `full` the paper's own (`semantic.maps=DIR`, maps of any method). Words of the
form key=value go to every run; give runs with other words another `--out`. What is done is not done
again, and tables share their runs. The table goes to `table_<name>_<data>.md` and `.json` there.
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
from paper_tables import SEGMENTOR, TABLES, Row, Table

from p2seg.cli.arguments import CONSOLE, Parser, command, path
from p2seg.errors import UserError
from p2seg.runtime.files import atomic_path, read_json, write_json

ROOT = Path(__file__).resolve().parent.parent

# Hours of one run and GB. The full ones are counted, not measured: by `bench.py cost` a step
# of HRNet-48 takes 6.8 TFLOP (8 images), one of Mask R-CNN 0.73 an image.
GUESS = "counted at 30 TFLOP/s, not measured"
COST = {
    "drawn": (0.15, 2, "measured on 2 cores"),
    "real_voc": (0.14, 4, "measured on 1 core"),
    "real_coco": (0.45, 4, "measured on 1 core"),
    "real_nuclei": (0.5, 4, "guessed for 2 cores"),
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

PLACES = {
    "data.source=": "DIR",
    "semantic.maps=": "DIR",
    "semantic.sam.checkpoint=": "FILE",
    "model.weights=": "FILE",
    "segmentor.weights=": "FILE",
}
"""Words whose value is a place on this machine, and what a table shows instead."""

COUNTS = r"iou\d+|default_boxes|seed_masks"
"""Names of values that are counts; all others are fractions."""

Plan = dict[tuple[str, int], tuple[Path, list[str]]]
"""Folder and command of every run, by row and seed."""


OURS = ("seed=", "name=", "out=", "ckpt=", "data.points=", "data.semantic=", "data.root=")
"""Settings that the plan gives every run."""


def parser() -> Parser:
    """The command line."""
    words = common_parser("One table.")
    words.add_argument("table", choices=list(TABLES))
    words.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    return words


def common_parser(title: str) -> Parser:
    """The words of tables and figures."""
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
    """The command line; its settings of the form key=value are in `words`.

    Raises:
        UserError: the full data without first maps, a setting that is the plan's, or seeds that
            are none.
    """
    settings = [word for word in words if re.match(r"\+*[a-z].*=", word)]
    asked = words_of.parse_args([word for word in words if word not in settings])
    asked.words = settings
    for word in settings:
        if word.startswith(OURS):
            raise UserError(
                f"{word} cannot be given: every run has its own; --seeds and --out choose them"
            )
    if min(asked.seeds) < 0 or len(set(asked.seeds)) < len(asked.seeds):
        raise UserError(f"--seeds {asked.seeds} cannot be; they are different numbers from 0")
    if asked.data == "full" and not any(w.startswith("semantic") for w in settings):
        raise UserError(
            "the full data need first semantic maps: give semantic.maps=DIR, PNGs of any method, "
            "semantic=grabcut, or semantic.sam.checkpoint=FILE for SAM, after the other words"
        )
    return asked


def plan_of(table: Table, asked: Namespace) -> Plan:
    """The runs of a table's rows that the data have.

    Args:
        table: the table.
        asked: the command line, with `data`, `seeds`, `out` and `words`.
    """
    rows = {row.name: row for row in table.rows if _is_run(row, asked)}
    plan: Plan = {}
    for row in rows.values():
        for seed in asked.seeds:
            given = [word for word in asked.words if _fits(word, row, asked.data)]
            words = [*table.words, *row.words_of(asked.data), *row.more, *given]
            if row.network:
                trained = _folder(asked, rows[row.network], seed)
                words.append(f"ckpt={trained / 'network' / 'last.pt'}")
            plan[row.name, seed] = _run(asked, row, seed, words)
    return plan


def _is_run(row: Row, asked: Namespace) -> bool:
    """Whether a row is of the data, and what it needs is given."""
    there = asked.data in row.experiments
    needs = row.needs if asked.data == "full" else ""
    return there and (not needs or any(word.startswith(needs) for word in asked.words))


def _fits(word: str, row: Row, data: str) -> bool:
    """Whether a given setting is of a row; those of first maps are of some rows alone."""
    prompted = row.experiments[data].endswith(("_sam", "_sam_baseline", "_simulated"))
    if word.startswith("semantic.sam."):
        return prompted
    if any(own.startswith("semantic=") for own in row.words):
        return not word.startswith(("semantic=", "semantic."))
    return not (prompted and word.startswith(("semantic=", "semantic.maps=")))


def run_all(plan: Plan) -> dict[tuple[str, int], dict[str, Any]]:
    """Runs what is not done, and gives the reports by row and seed.

    Raises:
        UserError: a run failed.
    """
    for (name, seed), (_, words) in distinct(plan).items():
        CONSOLE.print(f"{name}, seed {seed}: {shlex.join(words[1:])}")
        if subprocess.run(words, check=False).returncode:
            raise UserError(
                f"the run of {name}, seed {seed}, failed; what is done is kept: mend what it says "
                "above and call this again"
            )
    return {key: read_json(folder / "report.json", "report") for key, (folder, _) in plan.items()}


def _run(asked: Namespace, row: Row, seed: int, more: list[str]) -> tuple[Path, list[str]]:
    """The folder of a run, and its command."""
    experiment, folder = row.experiments[asked.data], _folder(asked, row, seed)
    words = [f"+exp={experiment}", f"name={folder.name}", f"seed={seed}", f"out={folder}"]
    if row.own_clicks:
        words += [f"data.points={folder / 'points.json'}", f"data.semantic={folder / 'semantic'}"]
    else:
        words.append(f"data.points={asked.out / f'{experiment}_points_seed{seed}.json'}")
    if asked.data != "full":  # rows share what is drawn, clicked and mapped with one seed
        words.append(f"data.root={asked.out / f'{experiment}_data_seed{seed}'}")
    elif not row.own_clicks:  # the data stay where they are
        words.append(f"data.semantic={asked.out / f'{experiment}_semantic_seed{seed}'}")
    return folder, [sys.executable, str(ROOT / row.script), *words, *more]


def _folder(asked: Namespace, row: Row, seed: int) -> Path:
    """Named by what the row changes, so that rows of several tables are one run."""
    script = Path(row.script).stem
    words = [*([] if script == "pipeline" else [script]), *row.words_of(asked.data)]
    changed = "_".join(re.sub(r"[^\w.]+", "-", word).strip("-") for word in words)
    return asked.out / f"{row.experiments[asked.data]}_{changed or 'default'}_seed{seed}"


def show(table: Table, data: str, plan: Plan) -> None:
    """Prints the runs of a plan, their time and memory."""
    hours = 0.0
    lines = [table.title, ""]
    for (name, seed), (_, words) in distinct(plan).items():
        row = next(row for row in table.rows if row.name == name)
        each, memory, how = COST[row.experiments[data]]
        if row.network and table.words == SEGMENTOR:
            each, how = each / 3, "the segmentor alone"
        elif row.network or "pipeline.network=false" in (*table.words, *row.words):
            each, how = each / 10, "no training"
        hours += each
        lines.append(f"{name}, seed {seed}: about {each:g} h, {memory} GB ({how})")
        lines.append(f"  {shlex.join(words[1:])}")
    for row in table.rows:
        if all(name != row.name for name, _ in plan):
            lines.append(f"{row.name}: not run, {row.missing}")
    lines += ["", f"{len(distinct(plan))} runs, about {hours:.3g} hours one after the other"]
    sys.stdout.write("\n".join(lines) + "\n")


def distinct(plan: Plan) -> Plan:
    """Without rows that another row's run makes."""
    return {key: run for key, run in plan.items() if run is _first(plan, run)}


def _first(plan: Plan, run: tuple[Path, list[str]]) -> tuple[Path, list[str]]:
    return next(other for other in plan.values() if other == run)


def command_of(words: list[str], asked: Namespace) -> str:
    """The command of a table or of a row of it, without the places of this machine.

    Args:
        words: script below `scripts/reproduce_` and its own words.
        asked: the command line, with `seeds` and `words`.
    """
    given = [
        next((f"{k}{v}" for k, v in PLACES.items() if w.startswith(k)), w) for w in asked.words
    ]
    script, *more = words
    seeds = ["--seeds", *map(str, asked.seeds)]
    return shlex.join([f"./scripts/reproduce_{script}", *more, *seeds, *given])


def content_of(
    table: Table, asked: Namespace, reports: dict[tuple[str, int], dict[str, Any]]
) -> dict[str, Any]:
    """What the JSON of a table holds; a value that no report has is left out."""
    rows, data, seeds = [], asked.data, asked.seeds
    for row in table.rows:
        ours: dict[str, Any] = {}
        for column, keys in table.columns.items():
            own = [_of_stage(key, row.stage) for key in keys]
            found = [_at(reports[row.name, s], own) for s in seeds if (row.name, s) in reports]
            values = [value for value in found if value is not None]
            if values:
                spread = (max(values) - min(values)) / 2
                ours[column] = {"mean": sum(values) / len(values), "half_range": spread}
        paper = dict(zip(table.columns, row.paper, strict=False))
        rows.append({"row": row.name, "ours": ours, "paper": paper, "missing": row.missing})
    known = {column for row in rows for column in (*row["ours"], *row["paper"])}
    return {
        "title": table.title,
        "data": data,
        "seeds": seeds,
        "columns": [column for column in table.columns if column in known],
        "rows": rows,
        "note": table.note,
        "commits": sorted({str(each["run"]["versions"]["commit"]) for each in reports.values()}),
    }


def write_table(out: Path, content: dict[str, Any]) -> None:
    """Writes a table as `.json` and `.md`, and prints it."""
    write_json(out.with_suffix(".json"), content)
    text = "\n".join(markdown_of(content)) + "\n"
    with atomic_path(out.with_suffix(".md")) as temporary:
        temporary.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def _of_stage(key: str, stage: str) -> str:
    """Where a report has what `mdm` and `segmentor` are to the whole method."""
    if stage == "mdm":
        return key
    return {"mdm": stage, "segmentor": f"segmentor_{stage}"}.get(key, key)


def _at(report: dict[str, Any], keys: list[str]) -> float | None:
    """A value of a report, a count or a fraction as percent; None if the run has no such stage."""
    value: Any = report.get(keys[0])
    for key in keys[1:]:
        value = None if value is None else value[key]
    if value is None:
        return None
    return float(value) * (1 if re.fullmatch(COUNTS, keys[-1]) else 100)


if __name__ == "__main__":
    raise SystemExit(main())
