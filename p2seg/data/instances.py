"""Instances and their masks, stored as a few arrays."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, overload

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from p2seg.data import rle as codec
from p2seg.data.compact_lists import Array, Packed, ends

CROWD, DEFAULT_BOX, ACCEPTED, REJECTED, FROM_SEED = 1, 2, 4, 8, 16
"""Bits of an instance's flags."""

Verdict = Literal["", "accepted", "rejected"]
VERDICTS: dict[int, Verdict] = {0: "", ACCEPTED: "accepted", REJECTED: "rejected"}
BITS = {verdict: bit for bit, verdict in VERDICTS.items()}

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[codec.Mask, tuple[float, float] | None]).decode


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
        default_box: no pixel was assigned to the point, and the mask is a box around it.
        from_seed: the network assigned no pixel to the point, and the mask is that of the seed.
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

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The mask, `[H, W]` bool."""
        return codec.decode(self.rle)


class Columns:
    """Append-only columns of instance fields.

    Attributes:
        scores: float64.
        flags: uint8 of `CROWD`, `DEFAULT_BOX`, `FROM_SEED`, `ACCEPTED` and `REJECTED`.
        shapes: the mask and the point of each instance as MessagePack, one after the other.
        lengths: int64, bytes of `shapes` per instance.
    """

    def __init__(self) -> None:
        self.scores, self.lengths = array("d"), array("q")
        self.flags, self.shapes = bytearray(), bytearray()

    def add(
        self,
        mask: codec.Mask,
        score: float,
        point: tuple[float, float] | None,
        *,
        crowd: bool,
        default_box: bool,
        from_seed: bool,
        review: Verdict,
    ) -> None:
        """Appends an instance; its polygons are rasterized when it is accessed."""
        self.scores.append(score)
        flags = CROWD * crowd + DEFAULT_BOX * default_box + FROM_SEED * from_seed
        self.flags.append(flags + BITS[review])
        shape = _encode((mask, point))
        self.shapes += shape
        self.lengths.append(len(shape))

    def without_lone_crowds(self) -> int:
        """Converts crowds to single objects if all instances are crowds.

        Returns:
            The number of converted instances.
        """
        flags = np.frombuffer(self.flags, np.uint8)
        if not len(flags) or not (flags & (CROWD | REJECTED) == CROWD).all():
            return 0
        flags -= CROWD
        return len(flags)


class PackedInstances(Packed[Sequence[Instance]]):
    """The instances of each image, created when they are accessed.

    Args:
        columns: the fields of all instances, in any order.
        ids: int64, annotation id of each instance.
        labels: int32, class index of each instance.
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
        self._scores = torch.from_numpy(np.asarray(columns.scores))
        self._flags, self._shapes = (
            torch.from_numpy(np.frombuffer(each, np.uint8))
            for each in (columns.flags, columns.shapes)
        )
        self._shape_ends = ends(columns.lengths)

    @staticmethod
    def of(groups: Sequence[Sequence[Instance]], sides: Array) -> PackedInstances:
        """Converts instances to arrays, unless they are arrays already.

        Args:
            groups: the instances of each image.
            sides: `[I, 2]`, (height, width) of each image, pixels.
        """
        return (
            groups if isinstance(groups, PackedInstances) else PackedInstances.packed(groups, sides)
        )

    @staticmethod
    def packed(groups: Iterable[Sequence[Instance]], sides: Array) -> PackedInstances:
        """Converts the instances of one image after the other to arrays."""
        columns, labels, ids, counts = Columns(), array("i"), array("q"), array("q")
        for group in groups:
            counts.append(len(group))
            for each in group:
                columns.add(
                    each.rle["counts"],
                    each.score,
                    each.point,
                    crowd=each.crowd,
                    default_box=each.default_box,
                    from_seed=each.from_seed,
                    review=each.review,
                )
                ids.append(each.id)
                labels.append(each.label)
        rows, starts = np.arange(len(ids)), ends(counts).numpy()
        return PackedInstances(columns, np.asarray(ids), np.asarray(labels), rows, starts, sides)

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
        """Which instances are default boxes, image by image."""
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
        selection = (flags & CROWD == 0) | (flags & REJECTED > 0)
        starts = np.concatenate([[0], np.cumsum(selection)])
        subset = self.subset(slice(None))
        subset._rows = torch.from_numpy(rows[selection])
        subset._starts = torch.from_numpy(starts[self._starts.numpy()])
        return subset

    def rasterized(self) -> PackedInstances:
        """The same instances with each polygon rasterized once and stored as an RLE."""
        return PackedInstances.packed(self, self._sides.numpy()[self.order.numpy()])

    def _item(self, index: int) -> Group:
        start, end = self._starts[index : index + 2].tolist()
        return Group(self, index, start, end)

    def _instance(self, index: int, place: int) -> Instance:
        """Creates the instance at an index of `rows`."""
        row = int(self._rows[place])
        flags = int(self._flags[row])
        start, end = self._shape_ends[row : row + 2].tolist()
        mask, point = _decode(self._shapes.numpy()[start:end].data)
        return Instance(
            id=int(self._ids[row]),
            label=int(self._labels[row]),
            rle=codec.rasterize(mask, *self._sides[index].tolist()),
            crowd=bool(flags & CROWD),
            score=float(self._scores[row]),
            point=point,
            default_box=bool(flags & DEFAULT_BOX),
            from_seed=bool(flags & FROM_SEED),
            review=VERDICTS[flags & (ACCEPTED | REJECTED)],
        )


class Group(Sequence[Instance]):
    """The instances of one image; each access to an instance rasterizes its mask."""

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
