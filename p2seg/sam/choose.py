"""Choice of one candidate mask per click: by score, by area, or by minimal cost.

`consistent` and `network` assign a cost to every option, and to the overlap of every two options
of different points. They choose the options with the lowest total cost of the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from p2seg.errors import UserError
from p2seg.sam.assignment import cheapest, solve
from p2seg.sam.options import Options
from p2seg.sam.sizes import Sizes

Select = Literal["score", "largest", "smallest", "consistent", "network"]
Float = NDArray[np.float64]

NEGLIGIBLE = 0.02
"""Smaller shares of overlap have no cost."""

MAX_PART = 2.0
"""Largest log ratio of areas that counts for the cost `part`."""

PASSES = 3
"""Passes over the data set. Each uses the sizes of the previous choices."""


@dataclass(frozen=True)
class Costs:
    """Penalties of a mask.

    Attributes:
        own: the mask does not contain its own point.
        others: per other point that the mask contains.
        part: per unit of the log ratio, at most `MAX_PART`, to the area of the point's largest
            mask that contains its own point and no other. Annotations are of whole objects, but
            the model scores parts as highly.
        size: per squared distance to the class's median size in spreads, at most 4.
        score: per unit of -log of the predicted IoU.
        overlap: the mask lies completely inside the choice of another point.
        network: the mask does not overlap the network's prediction.
    """

    own: float = 6.0
    others: float = 1.0
    part: float = 0.8
    size: float = 0.25
    score: float = 10.0
    overlap: float = 3.0
    network: float = 15.0

    def __post_init__(self) -> None:
        if min(asdict(self).values()) < 0:
            raise UserError(f"semantic.costs={asdict(self)}: all costs must be >= 0")


@dataclass(frozen=True)
class Chooser:
    """Chooses one option for every point.

    Attributes:
        select: criterion.
        costs: penalties of `consistent` and `network`.
        sizes: mask sizes of the classes; None: no cost of sizes.
    """

    select: Select = "consistent"
    costs: Costs = field(default_factory=Costs)
    sizes: Sizes | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """Settings that affect the choice besides the options, as JSON values."""
        if self.select in ("score", "largest", "smallest"):
            return {"select": self.select}
        sizes = None if self.sizes is None else asdict(self.sizes)
        return {"select": self.select, "costs": asdict(self.costs), "sizes": sizes}

    def __call__(
        self,
        options: Options,
        labels: NDArray[np.int64],
        pixels: int,
        agreement: Float | None = None,
    ) -> list[int | None]:
        """The choice for an image.

        Args:
            options: M options for K points.
            labels: `[K]` int64, classes 1..C of the points.
            pixels: number of pixels of the image.
            agreement: `[M]` in 0..1, agreement with a network, for `network`.

        Returns:
            The index of each point's option, or None for a point without options.
        """
        if self.select == "score":
            return cheapest(-options.score, options.point, len(labels))
        if self.select in ("largest", "smallest"):
            sign = -1 if self.select == "largest" else 1
            return cheapest(sign * options.area, options.point, len(labels))
        unary = self.unary(options, labels, pixels)
        if self.select == "network":
            if agreement is None:
                raise ValueError("select=network needs the agreement with a network")
            unary = unary + self.costs.network * (1 - agreement)
        overlap = options.overlap()
        pair = self.costs.overlap * np.where(overlap < NEGLIGIBLE, 0.0, overlap)
        return solve(unary, pair, options.point, len(labels))

    def unary(self, options: Options, labels: NDArray[np.int64], pixels: int) -> Float:
        """`[M]`: the cost of every option without its overlaps."""
        costs = self.costs
        total: Float = costs.own * ~options.own + costs.others * options.others
        total += costs.score * -np.log(options.score.clip(min=1e-3))
        total += costs.part * _smaller(options, len(labels))
        if self.sizes is not None:
            logs = np.log(options.area / pixels)
            deviation = self.sizes.deviation(logs, labels[options.point])
            total += costs.size * np.minimum(np.square(deviation), 4.0)
        return total


@dataclass(frozen=True)
class Image:
    """The options of an image, for `sizes_of`.

    Attributes:
        options: options of the image.
        labels: `[K]` int64, classes of its points.
        pixels: number of pixels of the image.
    """

    options: Options
    labels: NDArray[np.int64]
    pixels: int


def sizes_of(images: Sequence[Image], costs: Costs, classes: int) -> Sizes:
    """The mask sizes of a data set, estimated by alternating choices and size statistics.

    Args:
        images: images of the data set, or a sample.
        costs: penalties of the choice.
        classes: C.
    """
    sizes = None
    for _ in range(PASSES):
        chooser = Chooser("consistent", costs, sizes)
        logs: list[list[float]] = [[] for _ in range(classes)]
        for image in images:
            chosen = chooser(image.options, image.labels, image.pixels)
            for label, index in zip(image.labels.tolist(), chosen, strict=True):
                if index is not None:
                    logs[label - 1].append(float(np.log(image.options.area[index] / image.pixels)))
        sizes = Sizes.of([np.asarray(each) for each in logs])
    assert sizes is not None
    return sizes


def _smaller(options: Options, count: int) -> Float:
    """`[M]`: log ratio of each area to the point's largest mask that contains no other point."""
    allowed = options.own & (options.others == 0)
    largest = np.zeros(count)
    np.maximum.at(largest, options.point[allowed], options.area[allowed])
    ratio = np.log(np.maximum(largest[options.point], options.area) / options.area)
    smaller: Float = np.minimum(ratio, MAX_PART)
    return smaller
