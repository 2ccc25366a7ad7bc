"""Scores predictions: `p2seg eval gt=FILE pred=FILE kind=pseudo|model out=DIR`."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from p2seg.cli.build import ranks_of
from p2seg.cli.claims import writes
from p2seg.cli.provenance import record_run
from p2seg.errors import UserError
from p2seg.evaluation.metrics import evaluate_files
from p2seg.evaluation.tables import score_tables
from p2seg.runtime.files import write_json
from p2seg.runtime.terminal import Terminal


@writes("eval", lambda cfg: cfg.out and Path(cfg.out).expanduser() / "metrics.json")
def run(cfg: DictConfig) -> None:
    """Prints the tables of all scores and writes them to `out`/metrics.json."""
    if cfg.out is not None and Path(cfg.out).expanduser().is_file():
        raise UserError(f"out={cfg.out} is a file, but a folder is needed; set out=DIR")
    ranks = ranks_of(cfg)
    metrics = evaluate_files(
        Path(cfg.gt).expanduser(),
        Path(cfg.pred).expanduser(),
        cfg.kind,
        split=str(cfg.split),
        ignore_void=cfg.void == "ignore",
        ranks=ranks,
    )
    if not metrics["run"]["instances"]:
        raise UserError(f"{cfg.gt} has no instances; set gt to a file with ground truth")
    if not ranks.first:
        return
    console = Terminal()
    for table in score_tables(metrics):
        console.print(table)
    if cfg.out is not None:
        path = Path(cfg.out).expanduser() / "metrics.json"
        record_run(cfg, "eval", path.parent)
        write_json(path, metrics, indent=2)
        console.print(f"written: {path}", soft_wrap=True, highlight=False, markup=False)
