"""What can be chosen for the points of an image, and what can be seen of it without a network."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as codec

from p2seg.data.rle import area, decode, plain
from p2seg.sam.candidates import Candidate

NEW = 0.9
"""A union that overlaps one of its parts by more (IoU) is not worth a choice of its own."""


@dataclass(frozen=True)
class Options:
    """Masks to choose from, those of all points of an image in one list; M of them.

    Attributes:
        rles: the masks.
        members: of each, the candidates it is made of: one, or several for a union.
        point: `[M]` int64, the point 0..K-1 it is offered for, ascending.
        score: `[M]` float64 in 0..1: predicted IoU, of a union the least.
        area: `[M]` float64, pixels.
        own: `[M]` bool: it contains its point.
        others: `[M]` int64: how many of the image's other points it contains.
    """

    rles: list[dict[str, Any]]
    members: list[tuple[int, ...]]
    point: NDArray[np.int64]
    score: NDArray[np.float64]
    area: NDArray[np.float64]
    own: NDArray[np.bool_]
    others: NDArray[np.int64]

    @staticmethod
    def of(offered: list[list[Candidate]], yx: NDArray[np.int64], unions: bool) -> Options:
        """The options of an image.

        Args:
            offered: the candidates of its K points; empty masks are no options.
            yx: `[K, 2]` int64, the pixels clicked.
            unions: offer unions of a point's candidates as well.
        """
        rles: list[dict[str, Any]] = []
        members: list[tuple[int, ...]] = []
        point: list[int] = []
        score: list[float] = []
        for k, candidates in enumerate(offered):
            some = [i for i, each in enumerate(candidates) if area(each.rle)]
            groups = [(i,) for i in some] + (_unions(candidates, some) if unions else [])
            for group in groups:
                rles.append(_union([candidates[i] for i in group]))
                members.append(group)
                point.append(k)
                score.append(min(candidates[i].predicted_iou for i in group))
        inside = np.zeros((len(rles), len(yx)), bool)
        for row, rle in zip(inside, rles, strict=True):
            row[:] = decode(rle)[yx[:, 0], yx[:, 1]]
        points = np.asarray(point, np.int64)
        own = np.take_along_axis(inside, points[:, None], 1)[:, 0]
        # several clicks on one pixel are in every mask together
        return Options(
            rles=rles,
            members=members,
            point=points,
            score=np.asarray(score),
            area=np.asarray([area(rle) for rle in rles], np.float64),
            own=own,
            others=inside.sum(1) - own,
        )

    def overlap(self) -> NDArray[np.float64]:
        """`[M, M]`: the share of the smaller of two masks that lies in the other, 0 for one point's
        own masks."""
        if not self.rles:
            return np.zeros((0, 0))
        iou = np.asarray(codec.iou(self.rles, self.rles, [0] * len(self.rles)))
        total = self.area[:, None] + self.area[None]
        common = iou * total / (1 + iou)
        share = common / np.minimum(self.area[:, None], self.area[None])
        return np.where(self.point[:, None] == self.point[None], 0.0, share)

    def masks(self) -> NDArray[np.bool_]:
        """`[M, H, W]` bool."""
        return np.stack([decode(rle) for rle in self.rles])


def _union(candidates: list[Candidate]) -> dict[str, Any]:
    rles = [each.rle for each in candidates]
    return rles[0] if len(rles) == 1 else plain(codec.merge(rles))


def _unions(candidates: list[Candidate], some: list[int]) -> list[tuple[int, ...]]:
    """Pairs of candidates whose union is another mask than both."""
    made: list[tuple[int, ...]] = []
    for pair in combinations(some, 2):
        rle = _union([candidates[i] for i in pair])
        iou = codec.iou([rle], [candidates[i].rle for i in pair], [0, 0])
        if float(np.max(iou)) < NEW:
            made.append(pair)
    return made
