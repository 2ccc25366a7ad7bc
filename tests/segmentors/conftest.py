"""Segmentors that have learned something, once for all tests."""

from __future__ import annotations

import pytest
import torch
from segmentor_sets import NAMES, SOLO, TINY, learned

from p2seg.engine.checkpoint import save_checkpoint
from p2seg.segmentors.mask_rcnn.model import build_mask_rcnn
from p2seg.segmentors.solov2.model import build_solov2


@pytest.fixture(scope="session")
def learned_mask_rcnn(tmp_path_factory):
    """A Mask R-CNN that knows the images of `SCENES`."""
    torch.manual_seed(0)
    wider = {"pyramid_channels": 32, "boxes_sampled": 64, "box_channels": 64, "proposals_train": 60}
    model = build_mask_rcnn(2, **{**TINY, "norm": "group", **wider})
    return learned(model, tmp_path_factory.mktemp("mask_rcnn"), steps=140, rate=3e-3)


@pytest.fixture(scope="session")
def learned_solov2(tmp_path_factory):
    """A SOLOv2 that knows them."""
    torch.manual_seed(3)
    model = build_solov2(2, **{**SOLO, "norm": "group"})
    return learned(model, tmp_path_factory.mktemp("solov2"), steps=70, rate=8e-3)


@pytest.fixture
def solov2_checkpoint(learned_solov2, tmp_path):
    """As p2seg train_segmentor would have written it."""
    options = {k: list(v) if isinstance(v, tuple) else v for k, v in SOLO.items()}
    options |= {"_target_": "p2seg.segmentors.solov2.model.build_solov2", "norm": "group"}
    content = {
        "kind": "segmentor",
        "step": 70,
        "model": learned_solov2.state_dict(),
        "average": None,
        "categories": [vars(each) for each in NAMES],
        "config": {"segmentor": {"model": options}},
        "inputs": {},
    }
    save_checkpoint(tmp_path / "last.pt", content)
    return tmp_path / "last.pt"
