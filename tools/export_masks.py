"""Writes pseudo masks or predictions as files of other tools: LabelMe, CVAT, Label Studio, YOLO...

python tools/export_masks.py pred=masks.json images=photos formats=[labelme,cvat] out=exported
"""

from __future__ import annotations

from pathlib import Path

from _claims import writes
from _common import output_folder, tell_skipped
from _entry import entry
from _masks import export, job_of
from _record import record_run
from omegaconf import DictConfig

from p2seg.progress import console


@writes("export_masks", lambda cfg: output_folder(cfg, "masks"), folder=True)
def run(cfg: DictConfig) -> Path:
    """Writes a folder for each format below `out`, which it gives."""
    out = output_folder(cfg, "masks")
    job = job_of(cfg, out)
    record_run(cfg, "export_masks", out)
    export(job)
    tell_skipped(job.skipped)
    left = f"; left out: {job.left}" if job.left else ""
    count = f"{job.count} masks of {len(job.indices)} images"
    console.print(f"{out}: {count} as {', '.join(job.names)}{left}", markup=False)
    return out


main = entry("export_masks")(run)


if __name__ == "__main__":
    raise SystemExit(main())
