"""Instances and their masks, a million of them as a few arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, overload

import numpy as np
import torch
from numpy.typing import NDArray

from p2seg.data import rle as codec
from p2seg.data.packed import Array, Growing, Packed, ends

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
        crowd: a region of many objects; no instance for training or `voc_*` scores.
        score: confidence 0..1; 1.0 where the file has none.
        point: (y, x) of the click in pixels, where the file has one.
        default_box: the mask is the box given to a point that no pixel claimed.
        from_seed: the network gave the point no pixel, and the mask is the seed's.
        review: what somebody who looked at the mask decided; a rejected one is a crowd, too.
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
    """What instances say besides id and label, growing. Masks are codes, or polygons not drawn yet.

    Attributes:
        scores: float64.
        flags: uint8 of `CROWD`, `DEFAULT_BOX`, `FROM_SEED`, `ACCEPTED` and `REJECTED`.
        yx: float64, two an instance; NaN where it has no point.
        codes: uint8, compressed codes one after the other; none of an instance of polygons.
        code_lengths: int64, of each instance.
        numbers: float64, x and y of all polygons' corners.
        number_counts: int64, of each polygon.
        polygon_counts: int64, of each instance; an instance without code and polygon is empty.
    """

    def __init__(self) -> None:
        self.scores, self.yx, self.numbers = (Growing(np.float64) for _ in range(3))
        self.flags, self.codes = (Growing(np.uint8) for _ in range(2))
        self.code_lengths, self.number_counts, self.polygon_counts = (
            Growing(np.int64) for _ in range(3)
        )

    def add(self, instance: Instance) -> None:
        """Puts an instance behind the others."""
        code = instance.rle["counts"]
        self.scores.add([instance.score])
        flags = CROWD * instance.crowd + DEFAULT_BOX * instance.default_box
        self.flags.add([flags + FROM_SEED * instance.from_seed + BITS[instance.review]])
        self.yx.add(instance.point or (np.nan, np.nan))
        self.codes.add(np.frombuffer(code, np.uint8))
        self.code_lengths.add([len(code)])
        self.polygon_counts.add([0])

    def without_lone_crowds(self) -> int:
        """Makes crowds single objects if there is nothing but crowds: nobody marks all objects.

        Returns:
            How many.
        """
        flags = self.flags.array()
        if not len(flags) or not (flags & (CROWD | REJECTED) == CROWD).all():
            return 0
        self.flags = Growing(np.uint8)
        self.flags.add(flags - CROWD)
        return len(flags)


class PackedInstances(Packed[Sequence[Instance]]):
    """For each image its instances, made when they are asked for.

    Args:
        columns: of all instances, in any order.
        ids: int64, of the instances.
        labels: int32, of the instances.
        rows: int64, which instances are of the first image, of the second, ...
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
        """Instances as arrays, which they may be already.

        Args:
            groups: for each image its instances.
            sides: `[I, 2]`, (height, width) of each image, pixels.
        """
        return (
            groups if isinstance(groups, PackedInstances) else PackedInstances.packed(groups, sides)
        )

    @staticmethod
    def packed(groups: Iterable[Sequence[Instance]], sides: Array) -> PackedInstances:
        """Instances that come one image after the other, as arrays."""
        columns, labels = Columns(), Growing(np.int32)
        ids, counts = Growing(np.int64), Growing(np.int64)
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
        """How many instances each image has."""
        starts, order = self._starts.numpy(), self.order.numpy()
        counts: NDArray[np.int64] = starts[order + 1] - starts[order]
        return counts

    @property
    def scores(self) -> NDArray[np.float64]:
        """Of all instances, image by image."""
        scores: NDArray[np.float64] = self._scores.numpy()[self._all_rows()]
        return scores

    @property
    def default_boxes(self) -> NDArray[np.bool_]:
        """Which instances are the boxes of points that no pixel claimed, image by image."""
        boxes: NDArray[np.bool_] = self._flags.numpy()[self._all_rows()] & DEFAULT_BOX > 0
        return boxes

    @property
    def from_seeds(self) -> NDArray[np.bool_]:
        """Which instances are masks of the seeds, image by image."""
        seeds: NDArray[np.bool_] = self._flags.numpy()[self._all_rows()] & FROM_SEED > 0
        return seeds

    def _all_rows(self) -> Array:
        counts = self.counts
        begins = self._starts.numpy()[self.order.numpy()] - (np.cumsum(counts) - counts)
        rows: Array = self._rows.numpy()[np.repeat(begins, counts) + np.arange(counts.sum())]
        return rows

    @property
    def rejected(self) -> NDArray[np.bool_]:
        """Which instances were rejected by who looked at them, image by image."""
        rejected: NDArray[np.bool_] = self._flags.numpy()[self._all_rows()] & REJECTED > 0
        return rejected

    def without_crowds(self) -> PackedInstances:
        """The same images, crowd regions left out but for rejected masks; the arrays are shared."""
        rows = self._rows.numpy()
        flags = self._flags.numpy()[rows]
        kept = (flags & CROWD == 0) | (flags & REJECTED > 0)
        before = np.concatenate([[0], np.cumsum(kept)])
        part = self.taking(slice(None))
        part._rows = torch.from_numpy(rows[kept])
        part._starts = torch.from_numpy(before[self._starts.numpy()])
        return part

    def drawn(self) -> PackedInstances:
        """The same, with every polygon made a code once and for all."""
        return PackedInstances.packed(self, self._sides.numpy()[self.order.numpy()])

    def _made(self, index: int) -> Group:
        start, end = self._starts[index : index + 2].tolist()
        return Group(self, index, start, end)

    def _instance(self, index: int, place: int) -> Instance:
        """The instance at a place of `rows`, of an image."""
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
    """The instances of one image; a mask is made each time that its instance is asked for."""

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
