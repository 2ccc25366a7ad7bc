"""Loading of a trained segmentation model, and prediction on single images."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from p2seg.data.coco import Category
from p2seg.data.images import read_image
from p2seg.data.rle import decode
from p2seg.engine.checkpoint import load_checkpoint
from p2seg.engine.finite import naming
from p2seg.errors import UserError, shown
from p2seg.runtime.devices import device_of
from p2seg.segmentors.detection import Box, Detections
from p2seg.segmentors.limits import check_max_objects, cut_message, max_objects_for
from p2seg.segmentors.segmentor import Segmentor
from p2seg.segmentors.views import predict_views

BUILDERS = {
    f"p2seg.segmentors.{name}.model.build_{name}": (
        f"p2seg.segmentors.{name}.model",
        f"build_{name}",
    )
    for name in ("mask_rcnn", "solov2", "mask2former")
}
"""The builders that a checkpoint may name. No other code is run."""

Image = str | Path | NDArray[np.uint8]
"""A file, or `[H, W, 3]` uint8 RGB."""


@dataclass(frozen=True)
class Instance:
    """One instance of an image.

    Attributes:
        name: name of the class.
        label: class index 1..C.
        score: confidence, 0..1.
        box: x0, y0, x1, y1 in pixels; integer coordinates are pixel edges.
        rle: the mask as COCO's compressed RLE.
    """

    name: str
    label: int
    score: float
    box: Box
    rle: dict[str, Any]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The mask `[H, W]` bool."""
        return decode(self.rle)


@dataclass(frozen=True)
class Predictor:
    """A trained segmentation model for prediction.

    Attributes:
        model: the model in evaluation mode.
        categories: class k is `categories[k - 1]`.
        device: device of the model.
    """

    model: Segmentor
    categories: list[Category]
    device: torch.device

    def __call__(self, image: Image, score: float = 0.5) -> list[Instance]:
        """The instances of an image, best first; warns if the limit of objects has dropped some.

        Args:
            image: path of an image file, or an array `[H, W, 3]` uint8 RGB.
            score: minimum score, 0..1.

        Raises:
            UserError: the file is not an image, the array or the score is invalid, or the outputs
                of the model contain NaN or infinity.
        """
        _check_score(score)
        array = read_image(Path(image)) if isinstance(image, (str, Path)) else _checked(image)
        with naming([str(image) if isinstance(image, (str, Path)) else "the image"]):
            [detections] = self.detect([torch.from_numpy(array.copy()).permute(2, 0, 1)], score)
        if detections.cut:
            message = cut_message(
                1, 1, self.model.max_objects, "max_objects=N of p2seg.load", "score="
            )
            warnings.warn(message, stacklevel=2)
        names = [category.name for category in self.categories]
        return [Instance(names[each.label - 1], **vars(each)) for each in detections]

    def detect(
        self, images: Sequence[Tensor], score: float, views: str = "one"
    ) -> list[Detections]:
        """The detections of B images `[3, H, W]` uint8 RGB, best first; see `predict_views`."""
        on_device = [image.to(self.device) for image in images]
        return predict_views(self.model, on_device, score, views)


def load(
    path: str | Path, device: str | torch.device = "auto", max_objects: int | None = None
) -> Predictor:
    """Loads a trained segmentation model.

    Args:
        path: a checkpoint of `p2seg train_segmentor`.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`, or a `torch.device`.
        max_objects: maximum number of objects per image; None: derived from the training set.

    Raises:
        UserError: the file is missing or not a checkpoint of a segmentation model, or the device
            or the limit is invalid.
    """
    if not isinstance(path, (str, Path)):
        raise UserError(f"path={path!r}: must be the path of a segmentor's checkpoint")
    where = device_of(str(device), "device")
    path = Path(path).expanduser()
    check_max_objects(max_objects, "max_objects")
    checkpoint = load_checkpoint(path, "segmentor")
    return predictor_of(path, checkpoint, where, max_objects=max_objects)


def predictor_of(
    path: Path,
    checkpoint: dict[str, Any],
    device: torch.device,
    *,
    ema: bool = True,
    max_objects: int | None = None,
) -> Predictor:
    """The predictor of a checkpoint that was already read.

    Args:
        path: path of the checkpoint, for error messages.
        checkpoint: content of a checkpoint of kind `segmentor`.
        device: device for the model.
        ema: whether to use the averaged weights, if there are any.
        max_objects: maximum number of objects per image. None: derived from the largest number of
            objects on a training image, or the model's `detections` if the checkpoint has none.

    Raises:
        UserError: the checkpoint has no model, or one that this version cannot build.
    """
    try:
        categories = [Category(**category) for category in checkpoint["categories"]]
        options = dict(checkpoint["config"]["segmentor"]["model"])
        builder = options.pop("_target_")
        weights = checkpoint["model"] if not ema else checkpoint["average"] or checkpoint["model"]
    except (KeyError, TypeError, ValueError) as error:
        raise _of_another_version(path, f"it lacks {_in_one_line(error)}") from error
    if builder not in list(BUILDERS):
        raise _of_another_version(path, f"it names {shown(builder)} as its model")
    options |= {"pretrained": False, "weights": None}  # the checkpoint has the weights
    if "checkpoint" in options:  # the pretrained model that the training started from
        options["checkpoint"] = None
    module, function = BUILDERS[builder]
    try:
        build: Callable[..., Segmentor] = getattr(import_module(module), function)
        model = build(len(categories), **options)
    except UserError as error:
        raise UserError(f"{path}: {_in_one_line(error, 600)}") from error
    except Exception as error:  # torch and timm raise many types of errors for invalid options
        raise _of_another_version(path, f"{builder}: {_in_one_line(error)}") from error
    try:
        model.load_state_dict(weights)
    except Exception as error:
        raise _of_another_version(path, f"{builder}: {_in_one_line(error)}") from error
    objects = checkpoint.get("objects_per_image")
    if max_objects is None and type(objects) is int:
        max_objects = max_objects_for(objects)
    if max_objects is not None:
        model.limit_objects(max_objects)
    return Predictor(model.eval().to(device), categories, device)


def _check_score(score: Any) -> None:
    if isinstance(score, bool) or not isinstance(score, Real) or not 0 <= float(score) <= 1:
        raise UserError(f"score={score!r}: must be a number from 0 to 1")


def _of_another_version(path: Path, reason: str) -> UserError:
    return UserError(
        f"{path} holds a model that this version of p2seg cannot build or fill ({reason}); use "
        "the version that wrote it, or train again"
    )


def _in_one_line(error: Exception, most: int = 200) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= most else f"{text[:most]}..."


def _checked(image: Any) -> NDArray[np.uint8]:
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise UserError(
            f"the image is an array {list(array.shape)} of {array.dtype}; give a file, or an RGB "
            "array [H, W, 3] of uint8"
        )
    return array
