"""Which of a segmenter's masks a click means: by score, by size, or by all that is known.

`consistent` and `network` give every option a cost, and every two options of different points one
for their overlap; what is chosen is the cheapest choice for the image as a whole.
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
"""Shares of overlap below this cost nothing."""

MOST_PART = 2.0
"""Logarithm of the ratio of two masks' areas from which on a part costs no more."""

PASSES = 3
"""Over the data set, each with the sizes of the choices before."""


@dataclass(frozen=True)
class Costs:
    """What speaks against a mask.

    Attributes:
        own: it does not contain its own point.
        others: it contains other points, each.
        part: it is smaller than another of its point's masks that contains its own point and no
            other: per unit of the logarithm of the ratio, at most `MOST_PART` units. Annotated
            objects are wholes, and a segmenter thinks as well of their parts.
        size: its size is one spread away from its class's; grows with the square, at most to four
            times as much.
        score: the segmenter thinks little of it: per unit of -log of the predicted IoU.
        overlap: it lies wholly in another point's choice.
        network: it agrees in nothing with the network.
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
            raise UserError(f"semantic.costs={asdict(self)}; no cost is negative")


@dataclass(frozen=True)
class Chooser:
    """Chooses one option for every point.

    Attributes:
        select: by what.
        costs: of `consistent` and `network`.
        sizes: of the classes; None: sizes cost nothing.
    """

    select: Select = "consistent"
    costs: Costs = field(default_factory=Costs)
    sizes: Sizes | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """All that decides a choice besides the options, as JSON can hold it."""
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
            options: M of them for K points.
            labels: `[K]` int64, the points' classes 1..C.
            pixels: of the image.
            agreement: `[M]` in 0..1 with a network, for `network`.

        Returns:
            For each point the index of its option, None where it has none.
        """
        if self.select == "score":
            return cheapest(-options.score, options.point, len(labels))
        if self.select in ("largest", "smallest"):
            sign = -1 if self.select == "largest" else 1
            return cheapest(sign * options.area, options.point, len(labels))
        unary = self.unary(options, labels, pixels)
        if self.select == "network":
            if agreement is None:
                raise ValueError("select=network needs the agreement with one")
            unary = unary + self.costs.network * (1 - agreement)
        overlap = options.overlap()
        pair = self.costs.overlap * np.where(overlap < NEGLIGIBLE, 0.0, overlap)
        return solve(unary, pair, options.point, len(labels))

    def unary(self, options: Options, labels: NDArray[np.int64], pixels: int) -> Float:
        """`[M]`: the cost of every option by itself."""
        costs = self.costs
        total: Float = costs.own * ~options.own + costs.others * options.others
        total += costs.score * -np.log(options.score.clip(min=1e-3))
        total += costs.part * _smaller(options, len(labels))
        if self.sizes is not None:
            logs = np.log(options.area / pixels)
            away = self.sizes.away(logs, labels[options.point])
            total += costs.size * np.minimum(np.square(away), 4.0)
        return total


@dataclass(frozen=True)
class Image:
    """What sizes are learned of.

    Attributes:
        options: of an image.
        labels: `[K]` int64, of its points.
        pixels: of the image.
    """

    options: Options
    labels: NDArray[np.int64]
    pixels: int


def sizes_of(images: Sequence[Image], costs: Costs, classes: int) -> Sizes:
    """The sizes of a data set's masks, by choosing and looking at the sizes in turn.

    Args:
        images: of the data set, or enough of them.
        costs: of the choice.
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
    """`[M]`: by how much each is smaller than the largest that the clicks allow its point."""
    allowed = options.own & (options.others == 0)
    largest = np.zeros(count)
    np.maximum.at(largest, options.point[allowed], options.area[allowed])
    ratio = np.log(np.maximum(largest[options.point], options.area) / options.area)
    smaller: Float = np.minimum(ratio, MOST_PART)
    return smaller
