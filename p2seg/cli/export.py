"""Exports a trained segmentation model to ONNX or `torch.export`, and compares it with PyTorch.

p2seg export ckpt=outputs/voc_hrnet48/segmentor/last.pt out=model.onnx images=DIR
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig

from p2seg.cli.claims import writes
from p2seg.cli.paths import path_of
from p2seg.cli.predict_job import max_objects_of
from p2seg.cli.provenance import record_run
from p2seg.data.image_sources import sources_at
from p2seg.data.images import read_image
from p2seg.data.sets.synthetic import draw_scene
from p2seg.engine.checkpoint import load_checkpoint
from p2seg.errors import UserError
from p2seg.runtime.files import atomic_path, sha256
from p2seg.runtime.progress import console
from p2seg.runtime.provenance import versions
from p2seg.segmentors.export import agreement, export_onnx, export_program, onnx_session
from p2seg.segmentors.load import predictor_of

SUFFIXES = (".onnx", ".pt2")


def file_of(cfg: DictConfig) -> Path:
    """The path of the written file: `out`, or a file next to the checkpoint."""
    return Path(cfg.out).expanduser() if cfg.out else path_of(cfg, "ckpt").with_suffix(".onnx")


@writes("export", file_of)
def run(cfg: DictConfig) -> Path:
    """Exports a model and returns the path of the file."""
    source = path_of(cfg, "ckpt")
    out = file_of(cfg)
    if out.suffix not in SUFFIXES or out.is_dir():
        raise UserError(
            f"out={out} is not a file name that ends in .onnx or .pt2; set out=FILE.onnx"
        )
    record_run(cfg, "export", out)
    checkpoint = load_checkpoint(source, "segmentor")
    most, cpu = max_objects_of(cfg), torch.device("cpu")
    predictor = predictor_of(source, checkpoint, cpu, ema=cfg.predict.ema, max_objects=most)
    with atomic_path(out) as temporary:
        if out.suffix == ".pt2":
            export_program(predictor.model, temporary)
            result = "the network up to matrix NMS"
        else:
            info = {"checkpoint": sha256(source), "step": checkpoint["step"]}
            export_onnx(predictor, temporary, {**info, "versions": versions()})
            images = islice(_images(cfg), cfg.compare)
            result = f"as PyTorch on {agreement(predictor, onnx_session(temporary), images)}"
            result += f"; at most {predictor.model.max_objects} objects per image"
    console.print(f"wrote {out}: {result}", markup=False)
    return out


def _images(cfg: DictConfig) -> Iterator[NDArray[np.uint8]]:
    """The images of the folder `images`, or an endless stream of synthetic images."""
    if cfg.images is not None:
        yield from (read_image(each.path) for each in sources_at(path_of(cfg, "images")))
        return
    for number in range(cfg.compare):
        yield draw_scene(np.random.default_rng([0, number]), 160 + 16 * number).image
