"""Instances and their masks, stored as a few arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, overload

import numpy as np
import torch
from numpy.typing import NDArray

from p2seg.data import rle as codec
from p2seg.data.compact_lists import Array, Column, Packed, ends

CROWD, DEFAULT_BOX, ACCEPTED, REJECTED, FROM_SEED = 1, 2, 4, 8, 16
"""Bits of an instance's flags."""

Verdict = Literal["", "accepted", "rejected"]
VERDICTS: dict[int, Verdict] = {0: "", ACCEPTED: "accepted", REJECTED: "rejected"}
BITS = {verdict: bit for bit, verdict in VERDICTS.items()}


@dataclass(frozen=True)
class Instance:
    """One object and its mask.

    Attributes:
        id: annotation id.
        label: class index 1..C.
        rle: compressed RLE as pycocotools has it, `{"size": [height, width], "counts": bytes}`.
        crowd: a region of many objects; training and `voc_*` scores skip it.
        score: confidence 0..1; 1.0 if the file has none.
        point: (y, x) of the click in pixels, if the file has one.
        default_box: the mask is the box of a point that no pixel was assigned to.
        from_seed: the network gave the point no pixel, and the mask is the seed's.
        review: a reviewer's decision about the mask; a rejected mask is also a crowd.
    """

    id: int
    label: int
    rle: dict[str, Any]
    crowd: bool = False
    score: float = 1.0
    point: tuple[float, float] | None = None
    default_box: bool = False
    from_seed: bool = False
    review: Verdict = ""


class Columns:
    """Append-only columns of instance fields. A mask is a code, or polygons that are drawn later.

    Attributes:
        scores: float64.
        flags: uint8 of `CROWD`, `DEFAULT_BOX`, `FROM_SEED`, `ACCEPTED` and `REJECTED`.
        yx: float64, two values per instance; NaN if it has no point.
        codes: uint8, compressed codes one after the other; empty if the mask is polygons.
        code_lengths: int64, bytes per instance.
        numbers: float64, x and y of the corners of all polygons.
        number_counts: int64, numbers per polygon.
        polygon_counts: int64, polygons per instance; without code and polygons a mask is empty.
    """

    def __init__(self) -> None:
        self.scores, self.yx, self.numbers = (Column(np.float64) for _ in range(3))
        self.flags, self.codes = (Column(np.uint8) for _ in range(2))
        self.code_lengths, self.number_counts, self.polygon_counts = (
            Column(np.int64) for _ in range(3)
        )

    def add(self, instance: Instance) -> None:
        """Appends an instance."""
        code = instance.rle["counts"]
        self.scores.add([instance.score])
        flags = CROWD * instance.crowd + DEFAULT_BOX * instance.default_box
        self.flags.add([flags + FROM_SEED * instance.from_seed + BITS[instance.review]])
        self.yx.add(instance.point or (np.nan, np.nan))
        self.codes.add(np.frombuffer(code, np.uint8))
        self.code_lengths.add([len(code)])
        self.polygon_counts.add([0])

    def without_lone_crowds(self) -> int:
        """Converts crowds to single objects if all instances are crowds.

        Returns:
            The number of converted instances.
        """
        flags = self.flags.array()
        if not len(flags) or not (flags & (CROWD | REJECTED) == CROWD).all():
            return 0
        self.flags = Column(np.uint8)
        self.flags.add(flags - CROWD)
        return len(flags)


class PackedInstances(Packed[Sequence[Instance]]):
    """The instances of each image, created when they are accessed.

    Args:
        columns: of all instances, in any order.
        ids: int64, of the instances.
        labels: int32, of the instances.
        rows: int64, indices of the instances of the first image, then of the second, and so on.
        starts: int64, where in `rows` each image begins, and where the last one ends.
        sides: `[I, 2]`, (height, width) of each image, pixels.
    """

    def __init__(
        self,
        columns: Columns,
        ids: Array,
        labels: Array,
        rows: Array,
        starts: Array,
        sides: Array,
    ) -> None:
        self.order = torch.arange(len(starts) - 1)
        self._ids, self._labels, self._rows, self._starts, self._sides = (
            torch.from_numpy(each) for each in (ids, labels, rows, starts, sides)
        )
        self._scores, self._flags = columns.scores.tensor(), columns.flags.tensor()
        self._yx = columns.yx.tensor().reshape(-1, 2)
        self._codes, self._numbers = columns.codes.tensor(), columns.numbers.tensor()
        self._code_ends, self._number_ends, self._polygon_ends = (
            ends(each.array())
            for each in (columns.code_lengths, columns.number_counts, columns.polygon_counts)
        )

    @staticmethod
    def of(groups: Sequence[Sequence[Instance]], sides: Array) -> PackedInstances:
        """Converts instances to arrays, unless they are arrays already.

        Args:
            groups: for each image its instances.
            sides: `[I, 2]`, (height, width) of each image, pixels.
        """
        return (
            groups if isinstance(groups, PackedInstances) else PackedInstances.packed(groups, sides)
        )

    @staticmethod
    def packed(groups: Iterable[Sequence[Instance]], sides: Array) -> PackedInstances:
        """Converts the instances of one image after the other to arrays."""
        columns, labels = Columns(), Column(np.int32)
        ids, counts = Column(np.int64), Column(np.int64)
        for group in groups:
            counts.add([len(group)])
            for instance in group:
                columns.add(instance)
                ids.add([instance.id])
                labels.add([instance.label])
        rows = np.arange(len(ids.array()))
        starts = ends(counts.array()).numpy()
        return PackedInstances(columns, ids.array(), labels.array(), rows, starts, sides)

    @property
    def counts(self) -> NDArray[np.int64]:
        """The number of instances of each image."""
        starts, order = self._starts.numpy(), self.order.numpy()
        counts: NDArray[np.int64] = starts[order + 1] - starts[order]
        return counts

    @property
    def scores(self) -> NDArray[np.float64]:
        """Scores of all instances, image by image."""
        scores: NDArray[np.float64] = self._scores.numpy()[self._all_rows()]
        return scores

    @property
    def default_boxes(self) -> NDArray[np.bool_]:
        """Which instances are boxes of points without pixels, image by image."""
        boxes: NDArray[np.bool_] = self._flags.numpy()[self._all_rows()] & DEFAULT_BOX > 0
        return boxes

    @property
    def from_seeds(self) -> NDArray[np.bool_]:
        """Which instances have the mask of their seed, image by image."""
        seeds: NDArray[np.bool_] = self._flags.numpy()[self._all_rows()] & FROM_SEED > 0
        return seeds

    def _all_rows(self) -> Array:
        counts = self.counts
        begins = self._starts.numpy()[self.order.numpy()] - (np.cumsum(counts) - counts)
        rows: Array = self._rows.numpy()[np.repeat(begins, counts) + np.arange(counts.sum())]
        return rows

    @property
    def rejected(self) -> NDArray[np.bool_]:
        """Which instances a reviewer rejected, image by image."""
        rejected: NDArray[np.bool_] = self._flags.numpy()[self._all_rows()] & REJECTED > 0
        return rejected

    def without_crowds(self) -> PackedInstances:
        """The same images without crowd regions, but with rejected masks; shares the arrays."""
        rows = self._rows.numpy()
        flags = self._flags.numpy()[rows]
        kept = (flags & CROWD == 0) | (flags & REJECTED > 0)
        before = np.concatenate([[0], np.cumsum(kept)])
        part = self.taking(slice(None))
        part._rows = torch.from_numpy(rows[kept])
        part._starts = torch.from_numpy(before[self._starts.numpy()])
        return part

    def drawn(self) -> PackedInstances:
        """The same instances with each polygon drawn once and stored as a code."""
        return PackedInstances.packed(self, self._sides.numpy()[self.order.numpy()])

    def _item(self, index: int) -> Group:
        start, end = self._starts[index : index + 2].tolist()
        return Group(self, index, start, end)

    def _instance(self, index: int, place: int) -> Instance:
        """Creates the instance at an index of `rows`."""
        row = int(self._rows[place])
        flags, yx = int(self._flags[row]), self._yx[row].tolist()
        return Instance(
            id=int(self._ids[row]),
            label=int(self._labels[row]),
            rle=self._rle(row, *self._sides[index].tolist()),
            crowd=bool(flags & CROWD),
            score=float(self._scores[row]),
            point=None if yx[0] != yx[0] else (yx[0], yx[1]),
            default_box=bool(flags & DEFAULT_BOX),
            from_seed=bool(flags & FROM_SEED),
            review=VERDICTS[flags & (ACCEPTED | REJECTED)],
        )

    def _rle(self, row: int, height: int, width: int) -> dict[str, Any]:
        start, end = self._code_ends[row : row + 2].tolist()
        if end > start:
            code = self._codes.numpy()[start:end].tobytes()
            return {"size": [height, width], "counts": code}
        first, last = self._polygon_ends[row : row + 2].tolist()
        cuts = self._number_ends[first : last + 1].tolist()
        numbers = self._numbers.numpy()
        polygons = [numbers[a:b] for a, b in pairwise(cuts)]
        return codec.drawn(polygons, height, width)


class Group(Sequence[Instance]):
    """The instances of one image; each access to an instance draws its mask."""

    def __init__(self, whole: PackedInstances, index: int, start: int, end: int) -> None:
        self._whole = whole
        self._index = index
        self._places = range(start, end)

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Instance: ...
    @overload
    def __getitem__(self, index: slice) -> list[Instance]: ...
    def __getitem__(self, index: int | slice) -> Instance | list[Instance]:
        if isinstance(index, slice):
            return [self._whole._instance(self._index, place) for place in self._places[index]]
        return self._whole._instance(self._index, self._places[index])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (Group, list)):
            return NotImplemented
        return list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(list(self))
