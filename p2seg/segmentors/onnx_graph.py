"""Segmentation models as traceable graphs from the pixels of an image to masks.

For images of any size, sizes are tensors, and arithmetic replaces branches of Python. Weights and
results are those of `Segmentor.predict`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN

from p2seg.errors import UserError
from p2seg.segmentors.inputs import PADDED_TO, normalized
from p2seg.segmentors.mask2former.model import Mask2Former
from p2seg.segmentors.mask_rcnn.model import CROP_SHIFT, MaskRCNN
from p2seg.segmentors.resample import interpolation, resample, shrinking
from p2seg.segmentors.segmentor import Segmentor
from p2seg.segmentors.solov2.model import SOLOv2
from p2seg.structures import STRIDE

INPUTS = ("image", "score")
OUTPUTS = ("boxes", "labels", "scores", "masks")


class Instances(NamedTuple):
    """The outputs of a graph.

    Attributes:
        boxes: `[N, 4]` float32, x0, y0, x1, y1 in pixels; coordinates are pixel edges.
        labels: `[N]` int64, 1..C.
        scores: `[N]` float32, descending.
        masks: `[N, H, W]` bool.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor
    masks: Tensor


class GraphInputs(NamedTuple):
    """The inputs of `Graph.find`; numbers are tensors `[]`.

    Attributes:
        pixels: `[3, H, W]` float RGB in 0..1.
        score: minimum score.
        size: (height, width) of the image.
        resized_to: (height, width) of the network's input before padding.
    """

    pixels: Tensor
    score: Tensor
    size: tuple[Tensor, Tensor]
    resized_to: tuple[Tensor, Tensor]


class Graph(nn.Module):
    """A segmentation model with preprocessing and decoding.

    Args:
        model: the model in evaluation mode, on the CPU.
    """

    def __init__(self, model: Segmentor) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor, score: Tensor) -> Instances:
        """The instances of an image `[H, W, 3]` uint8 RGB with at least a score `[]` float32."""
        height, width, _ = torch._shape_as_tensor(image).unbind()
        short, long = torch.minimum(height, width), torch.maximum(height, width)
        # float64 rounds halves as Python does.
        scale = torch.minimum(
            self.model.short_side / short.double(), self.model.long_side / long.double()
        )
        h, w = ((side * scale).round().long().clamp(min=1) for side in (height, width))
        pixels = image.permute(2, 0, 1).float() / 255
        instances = self.find(GraphInputs(pixels, score, (height, width), (h, w)))
        instances = Instances(*(each[: self.model.max_objects] for each in instances))
        nonempty = instances.masks.flatten(1).any(1)  # a small box may contain no pixel center
        return Instances(*(each[nonempty] for each in instances))

    @abstractmethod
    def find(self, inputs: GraphInputs) -> Instances:
        """The instances of an image, by descending score."""


class MaskRCNNGraph(Graph):
    """Mask R-CNN, which pastes all masks at once."""

    model: MaskRCNN

    def find(self, inputs: GraphInputs) -> Instances:
        """See `Graph.find`."""
        pixels, score, size, resized_to = inputs
        rows, columns = (
            shrinking(side, to, pixels) for side, to in zip(size, resized_to, strict=True)
        )
        self.model.roi_heads.score_thresh = score  # type: ignore[union-attr]
        [outputs] = GeneralizedRCNN.forward(self.model, [resample(pixels, rows, columns)])
        outputs = cast("dict[str, Tensor]", outputs)
        ratio = [side / to for side, to in zip(size, resized_to, strict=True)]
        factors = torch.stack([ratio[1], ratio[0], ratio[1], ratio[0]]).to(pixels)
        boxes = outputs["boxes"] * factors
        frames = (outputs["boxes"] + CROP_SHIFT) * factors
        masks = outputs["masks"][:, 0]
        lines = []
        inside = []
        for axis, side in ((1, size[0]), (0, size[1])):
            centers = torch.arange(side) + 0.5  # type: ignore[call-overload]
            start, end = frames[:, axis, None], frames[:, axis + 2, None]
            cells = masks.shape[-1]
            places = (centers - start) / (end - start) * cells - 0.5
            lines.append(interpolation(places.flatten(), cells).unflatten(0, (-1, side)))
            inside.append((centers >= boxes[:, axis, None]) & (centers <= boxes[:, axis + 2, None]))
        soft = lines[0] @ masks @ lines[1].transpose(1, 2)
        whole = (soft >= 0.5) & inside[0][:, :, None] & inside[1][:, None, :]
        return Instances(boxes, outputs["labels"], outputs["scores"], whole)


class SOLOv2Graph(Graph):
    """SOLOv2 with matrix NMS."""

    model: SOLOv2

    def find(self, inputs: GraphInputs) -> Instances:
        """See `Graph.find`."""
        pixels, score, size, resized_to = inputs
        images = padded_input(pixels, size, resized_to)
        masks, labels, scores = self.model.decode(self.model.forward_features(images[None]), 0)
        kept = scores >= score
        h, w = ((to + STRIDE - 1) // STRIDE for to in resized_to)
        whole = at_pixels(masks[kept, :h, :w], size, resized_to) >= 0
        return Instances(boxes_of(whole), labels[kept], scores[kept], whole)


class Mask2FormerGraph(Graph):
    """Mask2Former, which returns the best pairs of query and class."""

    model: Mask2Former

    def find(self, inputs: GraphInputs) -> Instances:
        """See `Graph.find`."""
        pixels, score, size, resized_to = inputs
        images = padded_input(pixels, size, resized_to)
        [classes], [cells] = self.model.layers(images[None])[-1]
        h, w = ((to + STRIDE - 1) // STRIDE for to in resized_to)
        cells = cells[:, :h, :w]
        chances = classes.softmax(1)[:, :-1]
        best, index = chances.flatten().topk(min(self.model.max_objects + 1, chances.numel()))
        inside = (cells > 0).to(cells.dtype)
        maskness = (cells.sigmoid() * inside).sum((1, 2)) / inside.sum((1, 2)).clamp(min=1)
        scores, order = (best * maskness[index // chances.shape[1]]).sort(descending=True)
        kept = scores >= score
        scores, index = scores[kept], index[order][kept]
        queries, labels = index // chances.shape[1], index % chances.shape[1] + 1
        whole = at_pixels(cells[queries], size, resized_to) >= 0
        return Instances(boxes_of(whole), labels, scores, whole)


def padded_input(
    pixels: Tensor,
    size: tuple[Tensor, Tensor],
    resized_to: tuple[Tensor, Tensor],
) -> Tensor:
    """Resizes, normalizes and pads an image `[3, H, W]` in 0..1 to multiples of `PADDED_TO`."""
    lines: list[Tensor] = []
    valid: list[Tensor] = []
    for side, to in zip(size, resized_to, strict=True):
        line = shrinking(side, to, pixels)
        padded = (to + PADDED_TO - 1) // PADDED_TO * PADDED_TO
        index = torch.arange(padded)  # type: ignore[call-overload]
        # The padding repeats the last row and is then multiplied by 0.
        lines.append(line[index.clamp(max=to - 1)])
        valid.append((index < to).to(pixels.dtype))
    return normalized(resample(pixels, *lines)) * (valid[0][:, None] * valid[1])


def at_pixels(
    cells: Tensor, size: tuple[Tensor, Tensor], resized_to: tuple[Tensor, Tensor]
) -> Tensor:
    """Resamples maps `[N, h, w]` at stride 4 of a resized image to the pixels of the image."""
    places = [
        interpolation((torch.arange(side) + 0.5) * to / side / STRIDE - 0.5, cells.shape[axis])  # type: ignore[call-overload]
        for axis, side, to in zip((1, 2), size, resized_to, strict=True)
    ]
    return resample(cells, *places)


def boxes_of(masks: Tensor) -> Tensor:
    """The bounding boxes `[N, 4]` float32 of masks `[N, H, W]` bool; zeros for an empty mask."""
    edges = []
    for axis in (1, 2):
        profile = masks.any(axis)
        index = torch.arange(profile.shape[1], device=masks.device)
        last = (profile * (index + 1)).amax(1)
        first = profile.shape[1] - (profile * (profile.shape[1] - index)).amax(1)
        edges.append((torch.minimum(first, last), last))
    (x0, x1), (y0, y1) = edges
    return torch.stack([x0, y0, x1, y1], 1).float()


GRAPHS: dict[type[Segmentor], type[Graph]] = {
    MaskRCNN: MaskRCNNGraph,
    SOLOv2: SOLOv2Graph,
    Mask2Former: Mask2FormerGraph,
}


@contextmanager
def traced() -> Iterator[None]:
    """A context in which the map sizes of transformers' Mask2Former are traceable.

    Its call of `torch.tensor` with a list of sizes would become a constant. `torch.stack` replaces
    that call.
    """
    try:
        from transformers.models.mask2former import modeling_mask2former as module
    except ImportError:  # without the extra there is no Mask2Former
        yield
        return
    whole = module.torch
    module.torch = _Stacking()
    try:
        yield
    finally:
        module.torch = whole


class _Stacking:
    """torch with a `tensor` function that accepts lists of traced numbers."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def tensor(self, values: Any, **options: Any) -> Tensor:
        if isinstance(values, list) and values and isinstance(values[0], list):
            rows = [torch.stack([torch.as_tensor(each) for each in row]) for row in values]
            return torch.stack(rows).to(**options)
        return torch.tensor(values, **options)


def graph_of(model: Segmentor) -> Graph:
    """The graph of a segmentation model.

    Raises:
        UserError: the kind of model cannot be exported.
    """
    for kind, graph in GRAPHS.items():
        if isinstance(model, kind):
            return graph(model).eval()
    known = ", ".join(kind.__name__ for kind in GRAPHS)
    raise UserError(f"{type(model).__name__} cannot be exported; the model must be one of {known}")
