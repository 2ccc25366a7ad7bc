"""Benchmarks segmentors next to torchvision's, SAM's time per image, and the export."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from functools import partial
from itertools import islice

import numpy as np
import torch
from segment_anything import SamPredictor
from segment_anything.build_sam import _build_sam

from devtools.benchmarks import export, segmentors
from devtools.benchmarks.measure import Row as Figure
from devtools.benchmarks.measure import cost
from devtools.gpu_stages import Row, Setup, attempt, one_line

CLICKS = 8
VIT_B = {
    "encoder_embed_dim": 768,
    "encoder_depth": 12,
    "encoder_num_heads": 12,
    "encoder_global_attn_indexes": [2, 5, 8, 11],
}
SMALL = {
    "encoder_embed_dim": 16,
    "encoder_depth": 1,
    "encoder_num_heads": 2,
    "encoder_global_attn_indexes": [],
}


def rows(setup: Setup) -> Iterator[Row]:
    """Yields training steps and predictions, SAM ViT-B with random weights, and exports."""
    side = 64 if setup.rehearse else segmentors.SIDE
    figures = segmentors.suite(setup.device, setup.repeats, side)
    yield from _rows("segmentors", islice(figures, 2 if setup.rehearse else None))
    for half in (False,) if setup.rehearse else (False, True):
        what = f"SAM ViT-B, an image and {CLICKS} clicks, {'float16' if half else 'float32'}"
        yield attempt(what, partial(_sam, setup, half))
    images, size = (2, 48) if setup.rehearse else (export.IMAGES, export.SIZE)
    yield from _rows("export", export.suite(setup.device, setup.repeats, images, size))


def _rows(what: str, figures: Iterator[Figure]) -> Iterator[Row]:
    """Yields the results of a suite up to its first error."""
    try:
        yield from map(_row, figures)
    except Exception as error:
        traceback.print_exc()
        yield {"what": what, "error": one_line(error)}


def _row(figure: Figure) -> Row:
    rival = figure.rival_seconds
    return {
        "what": f"{figure.name}, {figure.h} px, batch {figure.batch}",
        "ms": figure.seconds * 1000,
        "MiB": figure.peak_mb,
        "rival": figure.rival,
        "its ms": None if rival is None else rival * 1000,
        "times faster": None if rival is None else rival / figure.seconds,
    }


def _sam(setup: Setup, half: bool) -> Row:
    torch.manual_seed(0)
    model = _build_sam(**(SMALL if setup.rehearse else VIT_B)).to(setup.device)
    predictor = SamPredictor(model)
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    clicks = torch.rand(CLICKS, 1, 2, device=setup.device) * 480
    labels = torch.ones(CLICKS, 1, dtype=torch.int64, device=setup.device)

    @torch.inference_mode()
    def work() -> None:
        with torch.autocast(setup.device.type, torch.float16, enabled=half):
            predictor.set_image(image)
        predictor.features = predictor.features.float()
        predictor.predict_torch(predictor.transform.apply_coords_torch(clicks, (480, 640)), labels)

    seconds, peak = cost(work, setup.device, setup.repeats)
    return {"ms": seconds * 1000, "MiB": peak}
