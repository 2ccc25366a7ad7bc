"""The paper's tables: runs every row on several seeds and puts its numbers beside the paper's.

    python scripts/reproduce.py 3 --data demo      # or ./scripts/reproduce_table3.sh --data demo
    python scripts/reproduce.py 1 --data full --dry-run semantic.maps=DIR   # runs, time, memory

`--data demo` is the embedded set, `real` a small part of VOC or COCO (`data.source=DIR
model.weights=FILE`), `full` the paper's own (`semantic.maps=DIR`, maps of any method). Words of the
form key=value go to every run. What is done is not done again. The table goes to
`table<N>_<data>.md` and `.json` in `--out`.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _command import CONSOLE, Parser, command, path

from p2seg.errors import UserError
from p2seg.files import atomic_path, read_json, write_json

ROOT = Path(__file__).resolve().parent.parent

VOC = {"demo": "demo", "real": "real_voc", "full": "voc_hrnet48"}
COCO = {"demo": "demo", "real": "real_coco", "full": "coco_hrnet48"}
BESTIE = ("mdm=bestie",)
STRAIGHT = "mdm.ways.kind=straight"
NO_NETWORK = ("pipeline.network=false", "pipeline.segmentors=[]")
NO_SEGMENTOR = ("pipeline.segmentors=[]",)

# Hours of one run and GB. The full ones are counted, not measured: a step of HRNet-48 takes 4.5
# TFLOP (an image forward 0.125, its affinities 0.18), an image of Mask R-CNN about 1.5.
GUESS = "counted at 30 TFLOP/s, not measured"
COST = {
    "demo": (0.15, 2, "measured on 2 cores"),
    "real_voc": (0.14, 4, "measured on 1 core"),
    "real_coco": (0.45, 4, "measured on 1 core"),
    "voc_hrnet48": (5, 24, GUESS),
    "voc_resnet101": (5, 24, GUESS),
    "coco_hrnet48": (30, 24, GUESS),
}

Keys = tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One row: which experiment on which data, what it changes, and the paper's figures."""

    name: str
    experiments: dict[str, str]
    words: tuple[str, ...] = ()
    paper: tuple[float | None, ...] = ()
    missing: str = ""


@dataclass(frozen=True)
class Table:
    """One table: what its columns are in a run's report."""

    title: str
    columns: dict[str, Keys]
    rows: list[Row]
    note: str = ""
    words: tuple[str, ...] = field(default=("pipeline.segmentors=[mdm]",))


def model(*names: str, kind: str = "voc_area") -> dict[str, Keys]:
    """Columns of a segmentor's scores on val images."""
    return {name: ("segmentor", kind, name) for name in names}


SCORES = model("mAP25", "mAP50", "mAP70", "mAP75")
RATIOS = {0.1: 52.0, 0.2: 50.8, 0.4: 51.5, 0.8: 50.9}
TABLES = {
    1: Table(
        "Table 1: VOC 2012 val, a segmentor trained on the masks",
        SCORES,
        [
            Row("BESTIE, HRNet-48", VOC, BESTIE, (62.8, 52.8, None, 31.2)),
            Row(
                "P2Seg, ResNet-101",
                {"full": "voc_resnet101"},
                paper=(64.1, 53.9, 37.7, 32.0),
                missing="the other backbone is of the full data alone",
            ),
            Row("P2Seg, HRNet-48", VOC, paper=(65.8, 55.6, 40.2, 34.4)),
        ],
    ),
    2: Table(
        "Table 2: COCO 2017 val, a segmentor trained on the masks",
        model("AP", "AP50", "AP75", kind="coco"),
        [
            Row("BESTIE, HRNet-48", COCO, BESTIE, (14.2, 28.4, 22.5)),
            Row("P2Seg, HRNet-48", COCO, paper=(17.6, 33.6, 28.1)),
        ],
        note="The paper's AP75 cannot be right: AP leaves next to nothing for all above IoU .75.",
    ),
    3: Table(
        "Table 3: S2I and I2S against BESTIE, VOC 2012 val",
        {"mAP50": SCORES["mAP50"], "masks' mAP50": ("mdm", "voc_area", "mAP50")}
        | {"masks' mean IoU": ("mdm", "quality", "mean_iou")},
        [
            Row("BESTIE", VOC, BESTIE, (52.0,)),
            Row("S2I", VOC, ("mdm.rounds=0", "loss.affinity=0"), (53.2,)),
            Row("S2I + I2S", VOC, paper=(55.7,)),
            Row("S2I + I2S, straight ways", VOC, (STRAIGHT,)),
        ],
        note="Masks: pseudo masks on training images, the points given. Our S2I rows have ways "
        "along the image, which BESTIE and the paper have not.",
    ),
    4: Table(
        "Table 4: segmentors, VOC 2012 val",
        {"mAP50": SCORES["mAP50"]},
        [
            Row("BESTIE, Mask R-CNN", VOC, BESTIE, (52.8,)),
            Row("P2Seg, Mask R-CNN", VOC, paper=(55.6,)),
            Row("BESTIE, SOLOv2", {}, paper=(51.9,), missing="SOLOv2 is not here yet"),
            Row("P2Seg, SOLOv2", {}, paper=(54.1,), missing="SOLOv2 is not here yet"),
        ],
    ),
    5: Table(
        "Table 5: hard pixel ratio, without a segmentor",
        {"mAP50": ("mdm", "voc_area", "mAP50")},
        [Row(str(k), VOC, (f"loss.hard_pixel_ratio={k}",), (v,)) for k, v in RATIOS.items()],
        note="Pseudo masks on training images, the points given.",
        words=NO_SEGMENTOR,
    ),
    6: Table(
        "Table 6: semantics first against points first, no network",
        {f"IoU > .{n}": ("seed", "quality", f"iou{n}0") for n in (5, 7, 9)}
        | {"mean IoU": ("seed", "quality", "mean_iou")},
        [
            Row(
                "semantics first", VOC, ("mdm.conflict=semantic_first",), (5782, 4939, 2440, 58.49)
            ),
            Row("points first", VOC, (STRAIGHT,), (9544, 7417, 2558, 66.57)),
            Row("points first, ways along the image", VOC),
        ],
        note="Seeds on training images, the points given; the first three columns are counts.",
        words=NO_NETWORK,
    ),
}


def parser() -> Parser:
    """The command line."""
    words = Parser(description="One table of the paper.", allow_abbrev=False)
    words.add_argument("table", type=int, choices=sorted(TABLES))
    words.add_argument("--data", choices=["demo", "real", "full"], default="demo")
    words.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    words.add_argument("--dry-run", action="store_true", help="print the runs and do nothing")
    words.add_argument("--out", type=path, default=Path("outputs"), metavar="DIR")
    words.epilog = "words of the form key=value are settings of every run"
    return words


@command
def main(words: list[str]) -> None:
    """Runs the rows and writes the table, or prints the plan."""
    settings = [word for word in words if re.match(r"\+*[a-z].*=", word)]
    asked = parser().parse_args([word for word in words if word not in settings])
    asked.words = settings
    table: Table = TABLES[asked.table]
    if asked.data == "full" and not any(w.startswith("semantic") for w in asked.words):
        raise UserError(
            "the full data need first semantic maps: give semantic.maps=DIR, PNGs of any method, "
            "or semantic=grabcut, after the other words"
        )
    more = [*table.words, *asked.words]
    plan = {
        (row.name, seed): _run(asked, row, seed, more)
        for row in table.rows
        if asked.data in row.experiments
        for seed in asked.seeds
    }
    if asked.dry_run:
        _show(table, asked.data, plan)
        return
    reports: dict[str, list[dict[str, Any]]] = {}
    for (name, seed), (folder, run) in plan.items():
        CONSOLE.print(f"{name}, seed {seed}: {shlex.join(run[1:])}")
        if subprocess.run(run, check=False).returncode:
            raise UserError(
                f"the run of {name}, seed {seed}, failed; what is done is kept: mend what it says "
                "above and call this again"
            )
        reports.setdefault(name, []).append(read_json(folder / "report.json", "report"))
    out = asked.out / f"table{asked.table}_{asked.data}"
    content = _table(table, asked.data, asked.seeds, reports)
    write_json(out.with_suffix(".json"), {**content, "commands": _commands(plan)})
    lines = _markdown(table, content)
    with atomic_path(out.with_suffix(".md")) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    sys.stdout.write("\n".join(lines) + "\n")


Plan = dict[tuple[str, int], tuple[Path, list[str]]]


def _run(asked: Namespace, row: Row, seed: int, more: list[str]) -> tuple[Path, list[str]]:
    """The folder of a run, and its command."""
    experiment = row.experiments[asked.data]
    short = "_".join(re.findall("[a-z0-9]+", row.name.lower()))
    folder = asked.out / f"table{asked.table}_{asked.data}_{short}_seed{seed}"
    words = [f"+exp={experiment}", f"name={folder.name}", f"seed={seed}", f"out={folder}"]
    words.append(f"data.points={asked.out / f'{experiment}_points_seed{seed}.json'}")
    if asked.data != "full":  # rows share what is drawn, clicked and mapped with one seed
        words.append(f"data.root={asked.out / f'{experiment}_data_seed{seed}'}")
    return folder, [sys.executable, str(ROOT / "tools/pipeline.py"), *words, *row.words, *more]


def _show(table: Table, data: str, plan: Plan) -> None:
    hours = 0.0
    lines = [table.title, ""]
    for name, seed in plan:
        row = next(row for row in table.rows if row.name == name)
        each, memory, how = COST[row.experiments[data]]
        if table.words == NO_NETWORK:
            each, how = each / 10, "no network"
        hours += each
        lines.append(f"{name}, seed {seed}: about {each:g} h, {memory} GB ({how})")
        lines.append(f"  {shlex.join(plan[name, seed][1][1:])}")
    for row in table.rows:
        if data not in row.experiments:
            lines.append(f"{row.name}: not run, {row.missing}")
    lines += ["", f"{len(plan)} runs, about {hours:g} hours one after the other"]
    sys.stdout.write("\n".join(lines) + "\n")


def _commands(plan: Plan) -> dict[str, str]:
    return {folder.name: shlex.join(run[1:]) for folder, run in plan.values()}


def _table(
    table: Table, data: str, seeds: list[int], reports: dict[str, list[dict[str, Any]]]
) -> dict[str, Any]:
    rows = []
    for row in table.rows:
        ours: dict[str, Any] = {}
        for column, keys in table.columns.items():
            values = [_at(report, keys) for report in reports.get(row.name, [])]
            if values:
                spread = (max(values) - min(values)) / 2
                ours[column] = {"mean": sum(values) / len(values), "half_range": spread}
        paper = dict(zip(table.columns, row.paper, strict=False))
        rows.append({"row": row.name, "ours": ours, "paper": paper, "missing": row.missing})
    return {"title": table.title, "data": data, "seeds": seeds, "rows": rows, "note": table.note}


def _at(report: dict[str, Any], keys: Keys) -> float:
    value: Any = report
    for key in keys:
        value = value[key]
    return float(value) * (1 if re.fullmatch(r"iou\d+", keys[-1]) else 100)


def _markdown(table: Table, content: dict[str, Any]) -> list[str]:
    seeds = ", ".join(map(str, content["seeds"]))
    lines = [f"**{table.title}**; ours: `{content['data']}` data, seeds {seeds}", ""]
    head = [f"{c}, {whose}" for c in table.columns for whose in ("paper", "ours")]
    lines += ["| | " + " | ".join(head) + " |", "| --- " * (len(head) + 1) + "|"]
    for row in content["rows"]:
        cells = []
        for column in table.columns:
            paper, ours = row["paper"].get(column), row["ours"].get(column)
            cells.append("" if paper is None else f"{paper:g}")
            cells.append("" if ours is None else f"{ours['mean']:.1f} ± {ours['half_range']:.1f}")
        lines.append(f"| {row['row']} | " + " | ".join(cells) + " |")
    notes = [row["row"] + ": " + row["missing"] for row in content["rows"] if not row["ours"]]
    return [*lines, "", *filter(None, [table.note, "; ".join(notes)])]


if __name__ == "__main__":
    raise SystemExit(main())
