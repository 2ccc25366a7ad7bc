"""Small settings for the tools, and checks of their results."""

from __future__ import annotations

import json

import pytest

NETWORK = [
    "model=tiny",
    "model.backbone=test_resnet",
    "model.width=8",
    "model.embedding=4",
    "model.dilations=[1,2]",
    "data.augment.crop=32",
    "data.short_side=48",
    "mdm.start_step=1",
    "optim.lr=1e-3",
    "trainer.max_steps=3",
    "trainer.batch_size=2",
    "trainer.accelerator=cpu",
    "data.workers=0",
]
SEGMENTOR = [
    "segmentor=mask_rcnn_lean",
    "segmentor.backbone=test_resnet",
    "segmentor.short_side=64",
    "segmentor.long_side=96",
    "segmentor.batch_size=2",
    "segmentor.schedule.epochs=1",
    "segmentor.model.pyramid_channels=16",
    "segmentor.model.proposals_train=20",
    "segmentor.model.proposals_test=20",
]
QUICK = [*NETWORK, "trainer.max_steps=1"]
READERS = ("gen_semantic", "train", "gen_pseudo")
"""The tools that read images; seeds need no images."""
ALL = (*READERS, "seeds")
_SLOW = pytest.param("gen_pseudo", marks=pytest.mark.slow)
EACH_READER = (*READERS[:2], _SLOW)
"""Parameters of a test for `READERS`; gen_pseudo is slow, and "seeds" runs it without a network."""
EACH = (*EACH_READER, "seeds")
"""Parameters of a test for `ALL`."""


def refused(answer, *parts):
    """Checks exit code 2 and a single line on stderr that contains all parts."""
    code, _, error = answer
    assert code == 2, error
    assert error.count("\n") == 1, error
    assert "Traceback" not in error
    for part in parts:
        assert part in error, error


def works(answer):
    code, out, error = answer
    assert (code, error) == (0, ""), error
    return out


def change(path, edit):
    """Edits a JSON file."""
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))
