"""Images and categories of a JSON file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from p2seg.data.compact_lists import Array, Packed, ends


@dataclass(frozen=True)
class ImageRecord:
    """One image of a JSON file.

    Attributes:
        id: image id.
        file_name: path below the image folder.
        height: pixels.
        width: pixels.
    """

    id: int
    file_name: str
    height: int
    width: int


@dataclass(frozen=True)
class Category:
    """One category of a JSON file; the k-th by id is class k (1..C)."""

    id: int
    name: str


class PackedImages(Packed[ImageRecord]):
    """Images as arrays.

    Args:
        records: the images.
    """

    def __init__(self, records: Sequence[ImageRecord]) -> None:
        self.order = torch.arange(len(records))
        self._ids = torch.tensor([each.id for each in records], dtype=torch.int64)
        sides = [(each.height, each.width) for each in records]
        self._sides = torch.tensor(sides, dtype=torch.int32).reshape(-1, 2)
        names = [each.file_name.encode(errors="surrogatepass") for each in records]
        self._ends = ends(map(len, names))
        self._names = torch.from_numpy(np.frombuffer(bytearray(b"".join(names)), np.uint8))

    @staticmethod
    def of(records: Sequence[ImageRecord]) -> PackedImages:
        """Converts images to arrays, unless they are arrays already."""
        return records if isinstance(records, PackedImages) else PackedImages(records)

    @property
    def ids(self) -> Array:
        """`[I]` int64."""
        array: Array = self._ids.numpy()[self.order.numpy()]
        return array

    @property
    def sides(self) -> Array:
        """`[I, 2]` int32: (height, width) in pixels."""
        array: Array = self._sides.numpy()[self.order.numpy()]
        return array

    @property
    def names(self) -> list[str]:
        """File names."""
        return [self._name(index) for index in self.order.tolist()]

    def _item(self, index: int) -> ImageRecord:
        height, width = self._sides[index].tolist()
        return ImageRecord(int(self._ids[index]), self._name(index), height, width)

    def _name(self, index: int) -> str:
        start, end = self._ends.numpy()[index : index + 2]
        return self._names.numpy()[start:end].tobytes().decode(errors="surrogatepass")
