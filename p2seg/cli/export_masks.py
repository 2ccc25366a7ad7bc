"""Writes pseudo masks or predictions as files of other tools: LabelMe, CVAT, Label Studio, YOLO...

p2seg export_masks pred=masks.json images=photos formats=[labelme,cvat] out=exported
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from p2seg.cli.claims import writes
from p2seg.cli.inputs import tell_skipped
from p2seg.cli.masks_job import export, job_of
from p2seg.cli.paths import output_folder
from p2seg.cli.provenance import record_run
from p2seg.runtime.progress import console


@writes("export_masks", lambda cfg: output_folder(cfg, "masks"), folder=True)
def run(cfg: DictConfig) -> Path:
    """Writes one folder per format below `out`, and returns `out`."""
    out = output_folder(cfg, "masks")
    job = job_of(cfg, out)
    record_run(cfg, "export_masks", out)
    export(job)
    tell_skipped(job.skipped)
    left = f"; left out: {job.left}" if job.left else ""
    count = f"{job.count} masks of {len(job.indices)} images"
    console.print(f"{out}: {count} as {', '.join(job.names)}{left}", markup=False)
    return out
