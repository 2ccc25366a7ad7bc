"""Measures everything that needs a GPU in at most 8 minutes; the most useful stages come first.

python devtools/gpu.py --data DIR        # all stages; gpu.md and gpu.json in outputs/gpu
python devtools/gpu.py --stages kernels,affinity
python devtools/gpu.py --rehearse        # tiny sizes on the CPU, under 2 minutes on one core

    kernels     Triton's affinity kernels compared with plain PyTorch, and the tests that use a GPU
    affinity    dense, tiled, compiled and Triton: time, memory, share of the matrix limit
    step        a training step of HRNet-48 at 416 px by precision, and MDM's and the labels' share
    training    3,000 steps on cell nuclei, mdm=best and mdm=paper: mean IoU of the masks
    segmentors  training and prediction next to torchvision's, SAM ViT-B, export
    repeat      two deterministic runs, and one that is killed and resumed: equal bits

Each stage is a separate process with a time limit. Results are written after each stage. A stage
that fails or is killed leaves its error and its finished rows. The script needs no network and
downloads no weights. The machine needs the repository with `tests/`, the requirements of
pyproject.toml, pytest, pytest-timeout and hypothesis. A PyTorch image often lacks the wheels of
kornia, kornia-rs, lightning-fabric, hydra-core, omegaconf, antlr4-python3-runtime, pycocotools,
faster-coco-eval, defusedxml and segment-anything. DIR holds up to 200 nuclei images (`train/`,
`val/`, `instances_train.json`, `instances_val.json`, 18 MiB). Without `--data`, the 60 images of
the demo are used.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LIMITS = {
    "kernels": 60,
    "affinity": 70,
    "step": 80,
    "training": 165,
    "segmentors": 55,
    "repeat": 45,
}
"""Time limit of each stage in seconds, most useful first; unused time goes to later stages."""
TOTAL = 478
"""Time limit of all stages in seconds."""

Result = dict[str, Any]


def main(words: Sequence[str] | None = None) -> int:
    """Runs the stages; returns 1 if a stage failed or a row has an error."""
    args = parser().parse_args(words)
    end = time.monotonic() + TOTAL
    args.out.mkdir(parents=True, exist_ok=True)
    results: Result = {"machine": machine(args.rehearse), "stages": {}}
    for place, name in enumerate(args.stages):
        later = sum(LIMITS[each] for each in args.stages[place + 1 :])
        limit = max(1.0, end - time.monotonic() - later)
        print(f"{name}: at most {limit:.0f} s", flush=True)  # noqa: T201
        stage = run_stage(name, limit, args.out, args.data, rehearse=args.rehearse)
        results["stages"][name] = stage
        (args.out / "gpu.json").write_text(json.dumps(results, indent=2) + "\n", "utf-8")
        (args.out / "gpu.md").write_text(markdown(results), "utf-8")
        print(f"{name}: {stage['seconds']:.0f} s, {stage['error'] or 'done'}", flush=True)  # noqa: T201
    print(f"wrote {args.out / 'gpu.md'}")  # noqa: T201
    return int(any(failures(stage) for stage in results["stages"].values()))


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    words = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        prog="gpu.py",
    )
    words.add_argument("--stages", type=_stages, default=list(LIMITS), metavar="A,B")
    words.add_argument("--rehearse", action="store_true", help="tiny sizes on the CPU")
    words.add_argument("--data", type=Path, metavar="DIR", help="nuclei (default: the demo's)")
    words.add_argument("--out", type=Path, default=Path("outputs/gpu"), metavar="DIR")
    return words


def _stages(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in LIMITS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no stage {unknown[0]!r}; one of {', '.join(LIMITS)}")
    return [name for name in LIMITS if name in names]


def machine(rehearse: bool) -> dict[str, str]:
    """Describes the machine.

    Raises:
        SystemExit: there is no GPU, and `rehearse` is false.
    """
    import torch  # --help must start fast

    if not rehearse and not torch.cuda.is_available():
        raise SystemExit("gpu.py: no CUDA GPU on this machine; use --rehearse to run on the CPU")
    return {
        "device": "a rehearsal on the CPU" if rehearse else torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "CUDA": str(torch.version.cuda),
        "Python": platform.python_version(),
        "system": platform.platform(),
        "cores": str(os.cpu_count()),
        "date": time.strftime("%Y-%m-%d"),
    }


def run_stage(
    name: str, limit: float, out: Path, data: Path | None = None, *, rehearse: bool = False
) -> Result:
    """Runs one stage as a process, and kills it after its time limit.

    Args:
        name: of the stage.
        limit: time limit in seconds.
        out: folder for `NAME.json`, the rows so far, and `NAME.log`.
        data: folder of nuclei images; None for the demo's.
        rehearse: whether to use tiny sizes on the CPU.

    Returns:
        `rows`, `seconds`, `limit` and `error`, which is None on success.
    """
    file = out.absolute() / f"{name}.json"
    file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "devtools.gpu_stages", name, "--out", str(file)]
    command += ["--seconds", f"{limit:.0f}"]
    command += ["--data", str(data.absolute())] if data else []
    command += ["--rehearse"] if rehearse else []
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    if rehearse:
        env |= {"CUDA_VISIBLE_DEVICES": "", "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    began, error = time.monotonic(), None
    with (out / f"{name}.log").open("wb") as log:
        running = subprocess.Popen(
            command, cwd=ROOT, env=env, stdout=log, stderr=log, start_new_session=True
        )
        try:
            code = running.wait(limit)
            error = f"ended with code {code}; see {name}.log" if code else None
        except subprocess.TimeoutExpired:
            error = f"killed after {limit:.0f} s"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)  # includes its child processes
            running.wait()
    content = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    return {
        "rows": content.get("rows", []),
        "seconds": round(time.monotonic() - began, 1),
        "limit": round(limit, 1),
        "error": content.get("error") or error,
    }


def failures(stage: Result) -> list[str]:
    """Returns the errors of a stage and of its rows."""
    errors = [stage["error"], *(row.get("error") for row in stage["rows"])]
    return [each for each in errors if each]


def markdown(results: Result) -> str:
    """Returns all results as Markdown, one table per stage."""
    lines = ["# On a GPU", "", ", ".join(f"{k}: {v}" for k, v in results["machine"].items()), ""]
    for name, stage in results["stages"].items():
        lines += [f"## {name}", "", f"{stage['seconds']} s of {stage['limit']} s.", ""]
        lines += [f"**{stage['error']}**", ""] if stage["error"] else []
        columns = list(dict.fromkeys(key for row in stage["rows"] for key in row))
        if columns:
            lines += [_line(columns), _line(["---"] * len(columns))]
            lines += [_line([_cell(row.get(key)) for key in columns]) for row in stage["rows"]]
            lines.append("")
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return "" if value is None else str(value).replace("|", "/")


if __name__ == "__main__":
    raise SystemExit(main())
