"""Runs one stage as a process of devtools/gpu.py and writes its rows one by one."""

from __future__ import annotations

import argparse
import importlib
import tempfile
import time
import traceback
from pathlib import Path

import torch

from devtools.gpu_stages import Row, Setup, one_line
from p2seg.runtime.files import write_json


def main() -> None:
    """Runs the stage named on the command line."""
    words = argparse.ArgumentParser()
    words.add_argument("stage")
    words.add_argument("--out", type=Path, required=True)
    words.add_argument("--data", type=Path)
    words.add_argument("--seconds", type=float, required=True)
    words.add_argument("--rehearse", action="store_true")
    args = words.parse_args()
    end = time.monotonic() + args.seconds
    rows: list[Row] = []
    error = None
    with tempfile.TemporaryDirectory(prefix="p2seg-gpu-") as folder:
        device = torch.device("cpu" if args.rehearse else "cuda")
        setup = Setup(device, args.rehearse, args.data, Path(folder), end)
        try:
            for row in importlib.import_module(f"devtools.gpu_stages.{args.stage}").rows(setup):
                rows.append(row)
                write_json(args.out, {"rows": rows, "error": None})
        except Exception as failure:
            traceback.print_exc()
            error = one_line(failure)
    write_json(args.out, {"rows": rows, "error": error})


if __name__ == "__main__":
    main()
