"""Makes one table on real images: labels without a network, baselines, P2Seg, and true masks.

    python scripts/reproduce_real.py nuclei data.source=DIR      # or ./scripts/reproduce_real.sh
    python scripts/reproduce_real.py coco data.source=DIR model.weights=FILE --rows control best
    python scripts/reproduce_real.py nuclei data.source=DIR --segmentors

Every row is scored by its pseudo masks on the training images. With `--segmentors`, the same
segmentation model is also trained on the masks of each row and on the true masks, and scored on
the val images. Settings of the form key=value go to every run; use another `--out` for other
settings. Finished runs are skipped, so the same command resumes. The table is written to
`table_real_<data>.md` and `.json`. devtools/results_page.py adds copies of the `.json` in
`results/` to the results page.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reproduce import plan_of, read_words, run_all, show, write_table
from table_content import command_of, content_of
from table_rows import BESTIE, PAPER, S2I, Keys, Row, Table

from p2seg.cli.arguments import Parser, command, path

TITLES = {
    "nuclei": "Real images: cell nuclei (BBBC038), one class, crowded",
    "coco": "Real images: a part of COCO 2017",
    "voc": "Real images: the segmentation images of VOC 2007",
}
"""The title by data set."""
ALONE = ("pipeline.network=false",)
TRUTH = "truth"
ROWS = {
    "control": Row("Eq. 1, no network (control)", {}, ALONE, stage="control"),
    "watershed": Row(
        "compact watershed", {}, ALONE, stage="watershed", script="scripts/watershed.py"
    ),
    "clusters": Row(
        "Voronoi cells and k-means, Eq. 1",
        {},
        ("semantic=clusters", *ALONE),
        stage="control",
        own_clicks=True,
    ),
    "geodesic": Row("geodesic distance, no network", {}, ALONE, stage="geodesic"),
    "mixture": Row("mixture of Gaussians, no network", {}, ALONE, stage="mixture"),
    "bestie": Row("BESTIE", {}, BESTIE),
    "s2i": Row("S2I", {}, (*PAPER, *S2I)),
    "letter": Row("S2I + I2S, the letter", {}, PAPER),
    "best": Row("P2Seg", {}, ()),
    "untrained": Row("untrained network of P2Seg", {}, (), stage="untrained"),
    TRUTH: Row("true masks", {}, ALONE, stage="gt", missing="needs --segmentors"),
}
"""The rows by their name in `--rows`."""
MASKS: dict[str, Keys] = {
    "initial map mIoU": ("semantic", "miou"),
    "mean IoU": ("mdm", "quality", "mean_iou"),
    "touching": ("mdm", "quality", "touching_mean_iou"),
    **{
        size: ("mdm", "quality", "per_size", size, "mean_iou")
        for size in ("small", "medium", "large")
    },
    **{f"IoU > 0.{n}": ("mdm", "quality", f"iou{n}0") for n in (5, 7, 9)},
    "mAP50": ("mdm", "voc_area", "mAP50"),
    "AJI": ("mdm", "matching", "AJI"),
    "PQ": ("mdm", "matching", "PQ"),
    "default boxes": ("mdm", "quality", "default_boxes"),
    "seed masks": ("mdm", "quality", "seed_masks"),
}
SEGMENTOR: dict[str, Keys] = {
    "segmentor AP50": ("segmentor", "voc_area", "mAP50"),
    "share of true masks": ("share",),
}
NOTE = (
    "Percent, except counts. Pseudo masks on the training images, the points given; touching, "
    "small, medium and large are mean IoU of these instances."
)
SEGMENTOR_NOTE = (
    " Segmentor AP50 is on the val images, without points (area under the curve, mean over "
    "classes); the share is relative to the same segmentor, schedule and seed with true masks."
)


def parser() -> Parser:
    """Returns the parser of the command line."""
    words = Parser(description="One table on real images.", allow_abbrev=False)
    words.add_argument("data", choices=list(TITLES))
    words.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    words.add_argument("--rows", choices=list(ROWS), nargs="+", default=list(ROWS))
    words.add_argument(
        "--segmentors", action="store_true", help="train a segmentor on each row's masks"
    )
    words.add_argument("--dry-run", action="store_true", help="print the runs and do nothing")
    words.add_argument("--out", type=path, default=path("outputs"), metavar="DIR")
    words.epilog = "words of the form key=value are settings of every run"
    return words


@command
def main(words: list[str]) -> None:
    """Runs the rows and writes the table, or prints the plan."""
    asked = read_words(parser(), words)
    keys = [key for key in ROWS if key in asked.rows]
    table = table_of(keys, asked.data, segmentors=asked.segmentors)
    plan = plan_of(table, asked)
    if asked.dry_run:
        show(table, asked.data, plan)
        return
    reports = run_all(plan)
    for (name, seed), report in reports.items():
        if name == ROWS[TRUTH].name:
            del report["semantic"]  # true masks are not made from maps
        report["share"] = _share(name, report, reports.get((ROWS[TRUTH].name, seed), {}))
    content = content_of(table, asked, reports)
    for key, row in zip(keys, content["rows"], strict=True):
        rows = [key, TRUTH] if asked.segmentors and key != TRUTH else [key]
        more = ["--segmentors"] if asked.segmentors else []
        row["command"] = command_of(["real.sh", asked.data, "--rows", *rows, *more], asked)
    write_table(asked.out / f"table_real_{asked.data}", content)


def table_of(keys: list[str], data: str, *, segmentors: bool) -> Table:
    """Returns the table with some rows.

    Args:
        keys: keys of `ROWS`.
        data: key of `TITLES`.
        segmentors: whether a segmentation model is trained on the masks of each row.
    """
    rows = []
    for key in keys:
        row = ROWS[key]
        shared = [ROWS[each] for each in keys if _run_of(ROWS[each]) == _run_of(row)]
        stages = [each.stage for each in shared] if segmentors else []
        experiments = {data: f"real_{data}"} if segmentors or key != TRUTH else {}
        more = (f"pipeline.segmentors=[{','.join(stages)}]",)
        rows.append(replace(row, experiments=experiments, more=more))
    columns = MASKS | (SEGMENTOR if segmentors else {})
    note = NOTE + (SEGMENTOR_NOTE if segmentors else "")
    return Table(TITLES[data], columns, rows, note, words=())


def _run_of(row: Row) -> tuple[Any, ...]:
    """Returns a key that is equal for rows of one run."""
    return row.words, row.script, row.own_clicks


def _share(name: str, report: dict[str, Any], truth: dict[str, Any]) -> float | None:
    """Returns AP50 of a row's segmentor relative to that on true masks; None if one is missing."""
    [stage] = [row.stage for row in ROWS.values() if row.name == name]
    own = report.get("segmentor" if stage == "mdm" else f"segmentor_{stage}")
    best = truth.get("segmentor_gt")
    if own is None or best is None or not best["voc_area"]["mAP50"]:
        return None
    return float(own["voc_area"]["mAP50"] / best["voc_area"]["mAP50"])


if __name__ == "__main__":
    raise SystemExit(main())
