"""Measures what things cost: parts beside a rival, or the stages of an experiment.

python tools/bench.py suite=all out=FILE.json
python tools/bench.py +exp=voc_hrnet48 suite=cost
python tools/bench.py suite=memory out=FILE.json
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
from _suites import RIVALS, suites_of
from omegaconf import DictConfig

from p2seg.benchmarks import affinity
from p2seg.benchmarks.measure import Row
from p2seg.benchmarks.memory import check_flat
from p2seg.benchmarks.tables import table_of
from p2seg.cli.build import check_values
from p2seg.cli.claims import writes
from p2seg.cli.entry import entry
from p2seg.cli.paths import check_file, given_file
from p2seg.devices import device_of
from p2seg.errors import UserError
from p2seg.files import write_json
from p2seg.runs.provenance import versions
from p2seg.terminal import Terminal

WIDTH = 170
"""Columns of text that a table needs."""


@writes("bench", given_file)
def run(cfg: DictConfig) -> None:
    """Prints a table a suite, and writes all rows where `out` says."""
    keys = ("repeats", "sides", "channels")
    check_values(affinity.suite, {key: (f"bench.{key}", cfg.bench[key]) for key in keys})
    if min([*cfg.bench.sides, *cfg.bench.channels, 1]) < 1 or not cfg.bench.sides:
        raise UserError("bench.sides and bench.channels are lists of whole numbers from 1 up")
    out = None if cfg.out is None else check_file(Path(cfg.out).expanduser())
    suites = suites_of(cfg, out)
    if cfg.suite not in (*suites, "all"):
        raise UserError(f"suite={cfg.suite} is unknown; it is all or one of {', '.join(suites)}")
    device = device_of(cfg.trainer.accelerator)
    console = Terminal()
    console.width = max(console.width, WIDTH)  # also where there is no terminal
    rows: list[Row] = []
    for name in RIVALS if cfg.suite == "all" else [cfg.suite]:
        console.print(f"{name} on {device}, {torch.get_num_threads()} threads", highlight=False)
        rows += (own := suites[name](device, cfg.bench.repeats))
        console.print(table_of(own))
        if out is not None:  # after every suite, so that nothing is lost
            write_json(out, [{**asdict(row), "versions": versions()} for row in rows], indent=2)
            console.print(f"written: {out}", soft_wrap=True, highlight=False, markup=False)
    check_flat(rows)


main = entry("bench")(run)


if __name__ == "__main__":
    raise SystemExit(main())
