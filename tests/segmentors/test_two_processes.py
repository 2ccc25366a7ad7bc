"""Every segmentor in two processes: one run, one validation, one checkpoint."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from segmentor_sets import SCENES, write_set

from p2seg.engine.checkpoint import load_checkpoint

TOOL = Path(__file__).resolve().parents[2] / "tools" / "train_segmentor.py"


@pytest.mark.slow
@pytest.mark.parametrize("segmentor", ["mask_rcnn_lean", "solov2_lean", "mask2former_lean"])
def test_trains_and_validates(tmp_path, segmentor):
    write_set(tmp_path, *SCENES, [(1, 20, 20, 24)], [])
    words = (
        *("data=custom", "data.num_classes=2", "data.workers=0", "trainer.accelerator=cpu"),
        *(f"segmentor={segmentor}", "segmentor.batch_size=2", "segmentor.short_side=64"),
        *(f"pseudo={tmp_path}/pseudo.json", f"data.images={tmp_path}/images"),
        *(f"data.val_gt={tmp_path}/pseudo.json", f"data.val_images={tmp_path}/images"),
        *("segmentor.validate.every=1", f"out={tmp_path}/out"),
    )

    launch = ("-m", "torch.distributed.run", "--nproc-per-node", "2", str(TOOL))
    command = [sys.executable, *launch, *words, "segmentor.schedule.epochs=2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert "4 steps of 2 images" in said
    assert said.count("validation: mAP50") == 2
    last = load_checkpoint(tmp_path / "out" / "last.pt", "segmentor")
    assert last["step"] == 4
    assert last["random"].shape[0] == 2  # a state a process
    assert (tmp_path / "out" / "best.pt").is_file()
