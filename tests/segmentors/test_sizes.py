"""Invalid settings of segmentors are reported in one sentence, before anything is built."""

from __future__ import annotations

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from segmentor_sets import TINY

from p2seg.cli.checks import check_settings
from p2seg.cli.paths import CONFIGS
from p2seg.errors import UserError
from p2seg.segmentors.augment import RandomResize
from p2seg.segmentors.mask_rcnn.model import build_mask_rcnn
from p2seg.segmentors.sizes import check_solov2

SOLO = {
    "short_side": 64,
    "long_side": 128,
    "pyramid_channels": 16,
    "head_channels": 16,
    "head_depth": 1,
    "feature_channels": 16,
    "kernel_channels": 16,
    "candidates": 20,
    "detections": 5,
    "grids": [4, 2],
    "sizes": [[0, 20], [10, 64]],
    "center": 0.2,
    "mask_weight": 3.0,
    "candidate_score": 0.1,
}


def is_one_sentence(caught, *parts):
    said = str(caught.value)
    assert "\n" not in said
    for part in parts:
        assert part in said


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, value) for key in ("short_side", "long_side") for value in (0, -3)),
        *((key, 0) for key in TINY if key.endswith(("_channels", "_sampled")) and key[0] != "m"),
        *((key, 0) for key in ("proposals_train", "proposals_test", "detections")),
        *((key, value) for key in ("anchor_sizes", "mask_channels") for value in ([], [8, 0])),
    ],
)
def test_mask_rcnn(key, value):
    with pytest.raises(UserError) as caught:
        build_mask_rcnn(2, **{**TINY, key: value})
    is_one_sentence(caught, f"segmentor.model.{key}={value}: must be", ">= 1")


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        *(({key: 0}, (f"{key}=0", "an integer >= 1")) for key in list(SOLO)[:9]),
        ({"grids": [4, 0]}, ("grids=[4, 0]", "a list of integers >= 1")),
        ({"grids": []}, ("grids=[]",)),
        ({"sizes": [[0, 20], [30]]}, ("sizes has [30]", "[min,max]")),
        ({"sizes": [[0, 20], 30]}, ("sizes has 30",)),
        ({"sizes": [[20, 20]]}, ("sizes has [20, 20]",)),
        ({"sizes": [[-1, 20]]}, ("sizes has [-1, 20]",)),
        ({"center": 0.0}, ("center=0.0", "> 0")),
        ({"center": 1.5}, ("center=1.5", "from 0 to 1")),
        ({"mask_weight": -1.0}, ("mask_weight=-1.0", "> 0")),
        ({"candidate_score": 2.0}, ("candidate_score=2.0", "from 0 to 1")),
    ],
)
def test_solov2(changes, parts):
    check_solov2(**SOLO)
    with pytest.raises(UserError) as caught:
        check_solov2(**{**SOLO, **changes})
    is_one_sentence(caught, *parts)


@pytest.mark.parametrize("scale", [[1.0], [-1, 1], [0, 1], [2, 1], [], [1, 1, 1]])
def test_the_random_scale(scale):
    RandomResize(64, 128, [1, 1])
    with pytest.raises(UserError) as caught:
        RandomResize(64, 128, scale)
    is_one_sentence(caught, f"segmentor.resize.scale={scale}: must be", "0 < lowest <= highest")


@pytest.fixture(scope="module")
def config():
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose("train_segmentor", ["segmentor=solov2_lean"])


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("short_side=0", "segmentor.short_side=0: must be an integer >= 1"),
        ("long_side=big", "segmentor.long_side=big: must be"),
        ("schedule.lr=-1", "segmentor.schedule.lr=-1: must be a number > 0"),
        ("schedule.lr_batch=0", "segmentor.schedule.lr_batch=0: must be"),
        ("schedule.warmup_steps=-1", "segmentor.schedule.warmup_steps=-1: must be"),
        ("ema=maybe", "segmentor.ema=maybe is unknown; choose true or false"),
        ("allow_mask_pretraining=1", "segmentor.allow_mask_pretraining=1 is unknown"),
        ("instances.default_boxes=skip", "choose mask, box or ignore"),
    ],
)
def test_what_the_tool_reads_for_itself(config, word, sentence):
    check_settings(config)
    with pytest.raises(UserError) as caught:
        check_settings(OmegaConf.merge(config, OmegaConf.from_dotlist([f"segmentor.{word}"])))
    is_one_sentence(caught, sentence)
