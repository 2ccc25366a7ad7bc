"""The masks that can be chosen for the points of an image, and their features."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as codec

from p2seg.data.rle import area, decode, plain
from p2seg.sam.candidates import Candidate

MAX_UNION_IOU = 0.9
"""A union with a higher IoU with one of its members is not an option."""


@dataclass(frozen=True)
class Options:
    """The M optional masks of all points of an image.

    Attributes:
        rles: the masks.
        members: candidates of each mask: one, or two for a union.
        point: `[M]` int64, the point 0..K-1 of each mask, ascending.
        score: `[M]` float64 in 0..1: predicted IoU; the lower one for a union.
        area: `[M]` float64, pixels.
        own: `[M]` bool: whether the mask contains its point.
        others: `[M]` int64: number of other points that the mask contains.
    """

    rles: list[dict[str, Any]]
    members: list[tuple[int, ...]]
    point: NDArray[np.int64]
    score: NDArray[np.float64]
    area: NDArray[np.float64]
    own: NDArray[np.bool_]
    others: NDArray[np.int64]

    @staticmethod
    def of(candidates: list[list[Candidate]], yx: NDArray[np.int64], unions: bool) -> Options:
        """The options of an image.

        Args:
            candidates: candidates of the K points. Empty masks are not options.
            yx: `[K, 2]` int64, the clicked pixels.
            unions: add unions of two candidates of a point.
        """
        rles: list[dict[str, Any]] = []
        members: list[tuple[int, ...]] = []
        point: list[int] = []
        score: list[float] = []
        for k, of_point in enumerate(candidates):
            valid = [i for i, each in enumerate(of_point) if area(each.rle)]
            groups = [(i,) for i in valid] + (_unions(of_point, valid) if unions else [])
            for group in groups:
                rles.append(_union([of_point[i] for i in group]))
                members.append(group)
                point.append(k)
                score.append(min(of_point[i].predicted_iou for i in group))
        inside = np.zeros((len(rles), len(yx)), bool)
        for row, rle in zip(inside, rles, strict=True):
            row[:] = decode(rle)[yx[:, 0], yx[:, 1]]
        points = np.asarray(point, np.int64)
        own = np.take_along_axis(inside, points[:, None], 1)[:, 0]
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
        """`[M, M]`: intersection over the smaller area; 0 for two masks of one point."""
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


def _unions(candidates: list[Candidate], valid: list[int]) -> list[tuple[int, ...]]:
    """Pairs of candidates whose union differs from both."""
    pairs: list[tuple[int, ...]] = []
    for pair in combinations(valid, 2):
        rle = _union([candidates[i] for i in pair])
        iou = codec.iou([rle], [candidates[i].rle for i in pair], [0, 0])
        if float(np.max(iou)) < MAX_UNION_IOU:
            pairs.append(pair)
    return pairs
