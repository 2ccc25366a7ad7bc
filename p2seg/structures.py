"""What flows through the program, and the shape legend of the package.

Legend, used in every docstring:

    B        images of a batch
    C        classes without background; class indices are 1..C, 0 is background, 255 is ignored
    H W      pixels of the network's input
    h w      the stride-4 grid of the heads; N = h * w
    K        points of one image (ragged: every image has its own K; padded in a `PointBatch`)
    d        channels of the affinity embedding
    T        rounds of mutual distillation

Coordinates are (y, x) in pixels, the center of the first pixel at (0, 0). An instance map holds
0 where there is no instance and k + 1 where the pixel belongs to point k of the image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor
from torch.nn import functional as F

IGNORED = 255
"""The semantic label of a pixel that no loss looks at."""

LABELS = 256
"""Semantic labels there can be, 0..255."""

STRIDE = 4
"""Input pixels a cell of the heads' grid."""

T = TypeVar("T")


def pixel_grid(like: Tensor) -> Tensor:
    """`[2, H, W]` float32: (y, x) of every pixel of a map `[..., H, W]`, on its device."""
    y = torch.arange(like.shape[-2], device=like.device)
    x = torch.arange(like.shape[-1], device=like.device)
    return torch.stack(torch.meshgrid(y, x, indexing="ij")).float()


def to_device(value: T, device: torch.device | str) -> T:
    """A copy with every tensor in dataclasses, lists, tuples and dicts on `device`."""
    return mapped(value, lambda tensor: tensor.to(device, non_blocking=True))


def mapped(value: T, function: Callable[[Tensor], Tensor]) -> T:
    """A copy with a function of every tensor in dataclasses, lists, tuples and dicts."""
    made: Any = value
    if isinstance(value, Tensor):
        made = function(value)
    elif is_dataclass(value) and not isinstance(value, type):
        changes = {f.name: mapped(getattr(value, f.name), function) for f in fields(value)}
        made = replace(value, **changes)
    elif isinstance(value, dict):
        made = {key: mapped(item, function) for key, item in value.items()}
    elif isinstance(value, (list, tuple)):
        made = type(value)(mapped(item, function) for item in value)
    return cast(T, made)


@dataclass(frozen=True)
class Points:
    """The points of one image.

    Attributes:
        yx: `[K, 2]` float32, pixels; may lie outside a crop, never outside the image on disk.
        labels: `[K]` int64, class indices 1..C.
        ids: `[K]` int64, annotation ids of the points file.
    """

    yx: Tensor
    labels: Tensor
    ids: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def pixels(self) -> Tensor:
        """`[K, 2]` int64: the pixel each point is of, that of its whole part: 3.7 is of pixel 3."""
        return self.yx.floor().long()

    def inside(self, height: int, width: int) -> Tensor:
        """`[K]` bool: which points lie on a pixel of a `height` x `width` map."""
        y, x = self.pixels.unbind(1)
        return (y >= 0) & (y < height) & (x >= 0) & (x < width)


@dataclass(frozen=True)
class PointBatch:
    """The points of several images, padded to one count, for work on a whole batch at once.

    Attributes:
        yx: `[B, K, 2]` float32, K the most points of an image and at least 1; padding is 0.
        labels: `[B, K]` int64, class indices 1..C; 0 is padding.
    """

    yx: Tensor
    labels: Tensor

    @staticmethod
    def of(points: list[Points], device: torch.device) -> PointBatch:
        """Pads the points of B images; asks the device nothing."""
        count = max([1, *map(len, points)])
        yx = [F.pad(p.yx.to(device), (0, 0, 0, count - len(p))) for p in points]
        labels = [F.pad(p.labels.to(device), (0, count - len(p))) for p in points]
        return PointBatch(torch.stack(yx), torch.stack(labels))

    @property
    def pixels(self) -> Tensor:
        """`[B, K, 2]` int64: the pixel each point lies on, as of `Points`."""
        return self.yx.floor().long()

    def inside(self, height: int, width: int) -> Tensor:
        """`[B, K]` bool: which points lie on a pixel of a `height` x `width` map."""
        y, x = self.pixels.unbind(2)
        return (self.labels > 0) & (y >= 0) & (y < height) & (x >= 0) & (x < width)

    def cells(self, height: int, width: int) -> Tensor:
        """`[B, K]` int64: the raster index of every point's pixel; that of one outside is H W."""
        y, x = self.pixels.unbind(2)
        inside = self.inside(height, width)
        return torch.where(inside, y * width + x, height * width)

    def stamp_(self, maps: Tensor, values: Tensor) -> Tensor:
        """Writes each point's value on its pixel, the first one's of several points, in place.

        Args:
            maps: `[B, H, W]`, contiguous.
            values: `[B, K]`, of the same dtype.
        """
        height, width = maps.shape[1:]
        flat = maps.view(len(maps), -1)
        cells = self.cells(height, width)
        later = (cells[:, :, None] == cells[:, None]).tril(-1).any(2)
        writes = (cells < height * width) & ~later
        # a point that writes nothing repeats what the first writer does, or what is there already
        first = writes.byte().argmax(1, keepdim=True)
        some = writes.gather(1, first)
        cell = cells.gather(1, first).where(some, 0)
        value = values.gather(1, first).where(some, flat.gather(1, cell))
        flat.scatter_(1, cells.where(writes, cell), values.where(writes, value))
        return maps


def class_set(points: list[Points], num_classes: int, device: torch.device) -> Tensor:
    """`[B, C + 1]` bool: background and the classes of all of an image's points."""
    labels = PointBatch.of(points, device).labels
    present = torch.zeros(len(points), num_classes + 1, dtype=torch.bool, device=device)
    present.scatter_(1, labels, value=True)
    present[:, 0] = True
    return present


@dataclass(frozen=True)
class Labels:
    """Labels of one image or, with a leading B, of a batch: what a round of MDM hands on.

    Attributes:
        semantic: `[H, W]` int64, class indices, 0 background, 255 ignored.
        instances: `[H, W]` int64, 0 none, k + 1 the k-th point of the image.
    """

    semantic: Tensor
    instances: Tensor

    def of_image(self, b: int) -> Labels:
        """Those of image b of a batch."""
        return Labels(self.semantic[b], self.instances[b])


@dataclass(frozen=True)
class Sample:
    """One training image after augmentation. It holds no ground-truth mask.

    Attributes:
        name: file name of the image, for messages.
        image: `[3, H, W]` uint8 RGB; padding is the mean color of ImageNet.
        points: the image's points in the coordinates of the crop, also those outside it.
        labels: first semantic map and first instance labels; padding is 255 / 0.
    """

    name: str
    image: Tensor
    points: Points
    labels: Labels


@dataclass(frozen=True)
class Batch:
    """Samples of one size, stacked; the points stay ragged.

    Attributes:
        names: B file names.
        images: `[B, 3, H, W]` uint8 RGB.
        points: B `Points`.
        labels: `Labels` of `[B, H, W]`.
    """

    names: list[str]
    images: Tensor
    points: list[Points]
    labels: Labels

    def pin_memory(self) -> Batch:
        """In page-locked memory, for copies to a GPU that do not wait; the loader asks for it."""
        return mapped(self, Tensor.pin_memory)

    @staticmethod
    def of(samples: list[Sample]) -> Batch:
        """Stacks samples of one size."""
        labels = Labels(
            semantic=torch.stack([s.labels.semantic for s in samples]),
            instances=torch.stack([s.labels.instances for s in samples]),
        )
        return Batch(
            names=[s.name for s in samples],
            images=torch.stack([s.image for s in samples]),
            points=[s.points for s in samples],
            labels=labels,
        )


class Outputs(NamedTuple):
    """What the network says of a batch. A tuple, for Fabric and DDP look for tensors in tuples.

    Attributes:
        class_logits: `[B, C+1, h, w]`, channel 0 background.
        offset: `[B, 2, h, w]`, (dy, dx) in input pixels from a pixel to its point.
        embedding: `[B, d, h, w]`; the affinity logit is `f_i . f_j / sqrt(d)`. None of a network
            without affinities.
        center: `[B, C, h, w]`, one heatmap of clicks per class, of a network that has them
            (BESTIE's).
        detailed_logits: `[B, C+1, H, W]`, class logits of every pixel, of a network with a detail
            head; None of one without.
    """

    class_logits: Tensor
    offset: Tensor
    embedding: Tensor | None = None
    center: Tensor | None = None
    detailed_logits: Tensor | None = None
