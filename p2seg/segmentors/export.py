"""Export of segmentation models to ONNX and `torch.export`, and comparison with PyTorch.

Files are written to the given path; the caller renames them after the comparison.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from p2seg.data import rle as codec
from p2seg.errors import UserError
from p2seg.segmentors.detection import Detection
from p2seg.segmentors.inputs import PADDED_TO
from p2seg.segmentors.load import Predictor
from p2seg.segmentors.onnx_graph import INPUTS, OUTPUTS, graph_of, traced
from p2seg.segmentors.segmentor import Segmentor
from p2seg.segmentors.solov2.model import SOLOv2

OPSET = 18
COMPARED = 0.3
"""Minimum score of the detections that are compared."""
TOLERANCES = {"boxes": 0.1, "scores": 0.01, "masks": 0.01}
"""Maximum differences: boxes in pixels, scores, and 1 - IoU of masks."""

Runs = Callable[[NDArray[np.uint8], float], tuple[NDArray[Any], ...]]
"""(image `[H, W, 3]` uint8, score) -> boxes, labels, scores, masks; see `onnx_graph.Instances`."""


@dataclass(frozen=True)
class Agreement:
    """The maximum differences between the results of an exported file and of PyTorch.

    Attributes:
        images: number of compared images.
        detections: number of compared detections.
        boxes: maximum difference of box coordinates in pixels.
        scores: maximum difference of scores.
        masks: maximum of 1 - IoU of masks.
    """

    images: int
    detections: int
    boxes: float
    scores: float
    masks: float

    def __str__(self) -> str:
        if not self.detections:
            return (
                f"nothing: {self.images} images have no detection with a score of at least "
                f"{COMPARED}; give images=DIR with objects of the model's classes"
            )
        return (
            f"{self.detections} detections of {self.images} images: boxes within "
            f"{self.boxes:.2g} px, scores {self.scores:.2g}, masks {self.masks:.2g}"
        )


def export_onnx(predictor: Predictor, path: Path, info: dict[str, Any]) -> None:
    """Writes a segmentation model as an ONNX file.

    Its inputs are `image` `[H, W, 3]` uint8 RGB of any size and `score` `[]` float32, the minimum
    score. Its outputs are `boxes`, `labels`, `scores` and `masks`, see
    `p2seg.segmentors.onnx_graph.Instances`. The metadata contains the class names.

    Args:
        predictor: the model, on the CPU.
        path: the file.
        info: provenance for the metadata.

    Raises:
        UserError: onnx is not installed, or the model cannot be exported.
    """
    onnx = runtime("onnx")
    graph = graph_of(predictor.model)
    # The score is -1 below, because a trace without detections lacks all operations on them.
    image = torch.randint(0, 256, (90, 120, 3), dtype=torch.uint8)
    axes = {"image": {0: "height", 1: "width"}, "masks": {0: "count", 1: "height", 2: "width"}}
    axes |= {name: {0: "count"} for name in OUTPUTS[:3]}
    with warnings.catch_warnings(), torch.no_grad(), traced():
        warnings.simplefilter("ignore")  # the tracer warns about constants
        torch.onnx.export(
            graph,
            (image, torch.tensor(-1.0)),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_axes=axes,
        )
    model = onnx.load(str(path))
    names = [category.name for category in predictor.categories]
    own = {"names": names, "max_objects": predictor.model.max_objects}
    for key, value in {**own, **info}.items():
        model.metadata_props.add(key=key, value=json.dumps(value, ensure_ascii=False))
    onnx.save(model, str(path))


def export_program(model: Segmentor, path: Path) -> None:
    """Writes SOLOv2 without decoding as a `torch.export` program: `SOLOv2.forward_features`.

    Its input is a normalized image `[1, 3, H, W]` float32, H and W multiples of 32.

    Args:
        model: the model in evaluation mode, on the CPU.
        path: the file, `.pt2`.

    Raises:
        UserError: the model is not a SOLOv2.
    """
    if not isinstance(model, SOLOv2):
        raise UserError(
            f"{type(model).__name__} cannot be exported as a torch.export program, only SOLOv2 "
            "can; give out=FILE.onnx"
        )
    sides = [torch.export.Dim(name, min=1, max=128) * PADDED_TO for name in ("rows", "columns")]
    example = torch.zeros(1, 3, 4 * PADDED_TO, 5 * PADDED_TO)
    with torch.no_grad():
        program = torch.export.export(
            _Features(model), (example,), dynamic_shapes={"images": {2: sides[0], 3: sides[1]}}
        )
        other = torch.rand(1, 3, 2 * PADDED_TO, 3 * PADDED_TO)
        outputs, expected = program.module()(other), model.forward_features(other)
        for output, own in zip(outputs, expected, strict=True):
            torch.testing.assert_close(output, own, rtol=1e-3, atol=1e-4)
    with path.open("wb") as stream:
        torch.export.save(program, stream)


class _Features(torch.nn.Module):
    """A module whose `forward` is `SOLOv2.forward_features`, for the exporter."""

    def __init__(self, model: SOLOv2) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(self.model.forward_features(images))


def onnx_session(path: Path) -> Runs:
    """A function that runs an ONNX file with onnxruntime on the CPU."""
    session = runtime("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(image: NDArray[np.uint8], score: float) -> tuple[NDArray[Any], ...]:
        inputs = {"image": image, "score": np.array(score, np.float32)}
        return tuple(session.run(list(OUTPUTS), inputs))

    return run


def agreement(predictor: Predictor, runs: Runs, images: Iterable[NDArray[np.uint8]]) -> Agreement:
    """Compares the detections of an exported file with those of PyTorch.

    Args:
        predictor: the model in PyTorch.
        runs: the exported file.
        images: images `[H, W, 3]` uint8 RGB.

    Raises:
        UserError: detections differ by more than `TOLERANCES`, or one side lacks a detection.
    """
    count = matched = 0
    most = dict.fromkeys(TOLERANCES, 0.0)
    for image in images:
        count += 1
        # The minimum score is lower, because scores of the two sides differ slightly.
        floor = COMPARED - 2 * TOLERANCES["scores"]
        [expected] = predictor.detect([torch.from_numpy(image.copy()).permute(2, 0, 1)], floor)
        exported = _detections(runs(image, floor))
        for first, second in ((expected, exported), (exported, expected)):
            for each in first:
                if each.score >= COMPARED:
                    matched += first is expected
                    for name, value in _difference(each, second).items():
                        most[name] = max(most[name], value)
    over = [name for name, value in most.items() if not value <= TOLERANCES[name]]
    if over:
        differences = ", ".join(f"{name} by {most[name]:.3g}" for name in over)
        raise UserError(
            f"the exported model and PyTorch's differ on {count} images ({differences}), so no "
            "file was written; report this with the checkpoint's settings"
        )
    return Agreement(count, matched, **most)


def _detections(outputs: tuple[NDArray[Any], ...]) -> list[Detection]:
    return [
        Detection(int(label), float(score), tuple(box.tolist()), codec.encode(mask))
        for box, label, score, mask in zip(*outputs, strict=True)
    ]


def _difference(one: Detection, others: list[Detection]) -> dict[str, float]:
    """Differences of a detection to the most similar one of its class; infinite without any."""
    same = [other for other in others if other.label == one.label]
    if not same:
        return dict.fromkeys(TOLERANCES, float("inf"))
    # Of several detections with the same mask, use the one with the nearest score.
    masks = [1 - codec.iou(one.rle, other.rle) for other in same]
    best = min(range(len(same)), key=lambda k: (round(masks[k], 3), abs(same[k].score - one.score)))
    boxes = max(abs(a - b) for a, b in zip(one.box, same[best].box, strict=True))
    return {"boxes": boxes, "scores": abs(one.score - same[best].score), "masks": masks[best]}


def runtime(name: str) -> Any:
    """Imports `onnx` or `onnxruntime`.

    Raises:
        UserError: the package is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise UserError(
            f"{name} is not installed: pip install -e '.[export]', or skip the export"
        ) from error
