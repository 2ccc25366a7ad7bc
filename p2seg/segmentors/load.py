"""A segmentor back from its checkpoint, and the shortest way from an image to masks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from p2seg.checkpoint import load_checkpoint
from p2seg.data.coco import Category
from p2seg.data.images import read_image
from p2seg.data.rle import decode
from p2seg.devices import device_of
from p2seg.errors import UserError
from p2seg.segmentors.detection import Box, Detection
from p2seg.segmentors.segmentor import Segmentor
from p2seg.segmentors.views import predict_views

BUILDER = re.compile(r"(p2seg\.segmentors\.\w+)\.(build_\w+)")
"""What a checkpoint may name as the maker of its model: a file must not choose what is run."""

Image = str | Path | NDArray[np.uint8]
"""A file, or `[H, W, 3]` uint8 RGB."""


@dataclass(frozen=True)
class Instance:
    """One instance of an image.

    Attributes:
        name: of its class.
        label: class index 1..C.
        score: confidence, 0..1.
        box: x0, y0, x1, y1 in pixels, edge to edge.
        rle: the mask as COCO's compressed RLE.
    """

    name: str
    label: int
    score: float
    box: Box
    rle: dict[str, Any]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """`[H, W]` bool."""
        return decode(self.rle)


@dataclass(frozen=True)
class Predictor:
    """A trained segmentor that takes images and gives instances.

    Attributes:
        model: the segmentor, in evaluation mode.
        categories: class k is `categories[k - 1]`.
        device: where it runs.
    """

    model: Segmentor
    categories: list[Category]
    device: torch.device

    def __call__(self, image: Image, score: float = 0.5) -> list[Instance]:
        """The instances of an image, best first.

        Args:
            image: the path of a file, or `[H, W, 3]` uint8 RGB.
            score: what is below it is left out.

        Raises:
            UserError: a file that is no image, or an array of another form.
        """
        array = read_image(Path(image)) if isinstance(image, (str, Path)) else _checked(image)
        [found] = self.detect([torch.from_numpy(array.copy()).permute(2, 0, 1)], score)
        names = [category.name for category in self.categories]
        return [Instance(names[each.label - 1], **vars(each)) for each in found]

    def detect(
        self, images: Sequence[Tensor], score: float, views: str = "one"
    ) -> list[list[Detection]]:
        """The detections of B images `[3, H, W]` uint8 RGB, best first; see `predict_views`."""
        on_device = [image.to(self.device) for image in images]
        return predict_views(self.model, on_device, score, views)


def load(path: str | Path, device: str = "auto") -> Predictor:
    """A trained segmentor, ready for images.

    Args:
        path: a checkpoint of tools/train_segmentor.py.
        device: `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        UserError: no such file, one that is no segmentor's checkpoint, or no such device.
    """
    path = Path(path).expanduser()
    return predictor_of(path, load_checkpoint(path, "segmentor"), device_of(device))


def predictor_of(
    path: Path, checkpoint: dict[str, Any], device: torch.device, *, ema: bool = True
) -> Predictor:
    """The predictor of a checkpoint that is read already.

    Args:
        path: of the checkpoint, for errors.
        checkpoint: of kind `segmentor`.
        device: where it will run.
        ema: the averaged weights, where it has them.

    Raises:
        UserError: the checkpoint names a model that this version does not have.
    """
    categories = [Category(**category) for category in checkpoint["categories"]]
    options = dict(checkpoint["config"]["segmentor"]["model"])
    maker = options.pop("_target_")
    match = BUILDER.fullmatch(maker)
    if match is None:
        raise UserError(f"{path} names {maker} as its model; give a checkpoint of a segmentor")
    options |= {"pretrained": False, "weights": None}  # the checkpoint brings its own
    if "checkpoint" in options:  # of a whole model that it started from
        options["checkpoint"] = None
    module, function = match.groups()
    model: Segmentor = getattr(import_module(module), function)(len(categories), **options)
    average = checkpoint["average"] if ema else None
    model.load_state_dict(checkpoint["model"] if average is None else average)
    return Predictor(model.eval().to(device), categories, device)


def _checked(image: Any) -> NDArray[np.uint8]:
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise UserError(
            f"the image is an array {list(array.shape)} of {array.dtype}; give a file, or an array "
            "[H, W, 3] of uint8, RGB"
        )
    return array
