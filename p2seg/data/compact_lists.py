"""Long lists of small objects, stored as a few arrays.

A forked worker shares the memory of its parent until one of them writes to it. Python writes to
every object that it reads, because it counts references. So a list of a million objects is copied
into every worker, page by page, but an array is not. The arrays here are tensors, because spawned
workers share tensors, too: `torch.multiprocessing` sends the name of their memory.
"""

from __future__ import annotations

from abc import abstractmethod
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeVar, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from p2seg.structures import Points

T = TypeVar("T")
S = TypeVar("S", bound="Packed[Any]")
Array = NDArray[Any]


class Packed(Sequence[T], Generic[T]):
    """A read-only list that creates each item from arrays when it is accessed.

    It is equal to any list of equal items.

    Attributes:
        order: int64, indices of the stored items of this list, in order.
    """

    order: Tensor

    @abstractmethod
    def _item(self, index: int) -> T:
        """Creates the stored item at an index."""

    def subset(self: S, indices: Sequence[int] | Array | slice) -> S:
        """The list of the items at some indices; it shares the arrays."""
        part = object.__new__(type(self))
        part.__dict__.update(self.__dict__)
        if not isinstance(indices, slice):
            indices = np.asarray(indices, np.int64)
        part.order = torch.from_numpy(self.order.numpy()[indices].copy())
        return part

    def __len__(self) -> int:
        return len(self.order)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Packed[T]: ...
    def __getitem__(self, index: int | slice) -> T | Packed[T]:
        if isinstance(index, slice):
            return self.subset(index)
        return self._item(int(self.order[index]))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (Packed, list)):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__} of {len(self)}"


class PackedPoints(Packed[Points]):
    """The points of many images as arrays.

    Args:
        yx: `[N, 2]` float32, pixels; the points of the first image, then of the second, and so on.
        labels: `[N]` integers, class indices.
        ids: `[N]` int64, annotation ids.
        starts: int64, where the points of each image begin, and where the last ones end.
    """

    def __init__(self, yx: Array, labels: Array, ids: Array, starts: Array) -> None:
        self.order = torch.arange(len(starts) - 1)
        self._yx, self._labels, self._ids, self._starts = (
            torch.from_numpy(np.ascontiguousarray(each)) for each in (yx, labels, ids, starts)
        )

    @staticmethod
    def of(points: Sequence[Points]) -> PackedPoints:
        """Converts points to arrays, unless they are arrays already."""
        return points if isinstance(points, PackedPoints) else PackedPoints.packed(points)

    @staticmethod
    def packed(points: Iterable[Points]) -> PackedPoints:
        """Converts the points of one image after the other to arrays."""
        yx, labels, ids, counts = array("f"), array("q"), array("q"), array("q")
        for each in points:
            yx.extend(each.yx.flatten().tolist())
            labels.extend(each.labels.tolist())
            ids.extend(each.ids.tolist())
            counts.append(len(each))
        places, starts = np.asarray(yx).reshape(-1, 2), ends(counts).numpy()
        return PackedPoints(places, np.asarray(labels), np.asarray(ids), starts)

    @property
    def counts(self) -> NDArray[np.int64]:
        """The number of points of each image."""
        starts, order = self._starts.numpy(), self.order.numpy()
        counts: NDArray[np.int64] = starts[order + 1] - starts[order]
        return counts

    def arrays(self) -> tuple[Array, Array, Array]:
        """`yx`, `labels` and `ids` of all points, in the order of this list's images."""
        starts, counts = self._starts.numpy()[self.order.numpy()], self.counts
        rows = np.repeat(starts - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        return self._yx.numpy()[rows], self._labels.numpy()[rows], self._ids.numpy()[rows]

    def _item(self, index: int) -> Points:
        rows = slice(*self._starts[index : index + 2].tolist())
        # copies, because a worker sends the whole memory of which a tensor is a part
        return Points(
            yx=self._yx[rows].clone(),
            labels=self._labels[rows].to(torch.int64, copy=True),
            ids=self._ids[rows].clone(),
        )


def ends(counts: Iterable[int] | Array) -> Tensor:
    """Cumulative counts: int64, where each run of items begins, and where the last one ends."""
    lengths = np.fromiter(counts, np.int64)
    return torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))


def subset_of(items: Sequence[T], indices: Sequence[int]) -> Sequence[T]:
    """The items at some indices of a list, packed or not."""
    if isinstance(items, Packed):
        return items.subset(indices)
    return [items[index] for index in indices]
