"""Controlled damage to semantic maps, to measure the effect of imperfect maps on a method."""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from p2seg.data.maps import SemanticMap
from p2seg.errors import UserError

WAVE = 12.0
"""Wavelength of noisy borders: standard deviation in pixels of the blur of the displacements."""

MAX_SHIFT = 100
"""Largest allowed shift of a border, pixels."""


@dataclass(frozen=True)
class Degrade:
    """Damages of a map, in the order in which they are applied. 0 disables each.

    Attributes:
        missing: share of regions that lose the part around a random one of their pixels.
        part: share of its pixels that such a region loses.
        noise: standard deviation in pixels of a smooth random displacement of borders.
        erode: width in pixels of the border that becomes background.
        dilate: width in pixels of the background that becomes part of the nearest class.
        seed: random seed. The result depends only on the seed and the image's name.
    """

    missing: float = 0.0
    part: float = 0.3
    noise: float = 0.0
    erode: int = 0
    dilate: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        shares = all(0 <= share <= 1 for share in (self.missing, self.part))
        pixels = all(0 <= length <= MAX_SHIFT for length in (self.noise, self.erode, self.dilate))
        if not shares or not pixels or self.seed < 0:
            raise UserError(
                f"semantic.degrade={self.parameters}: missing and part must be in 0..1, noise, "
                f"erode and dilate in 0..{MAX_SHIFT} pixels, and seed >= 0"
            )

    @property
    def changes(self) -> bool:
        """Whether any damage is enabled."""
        return max(self.missing, self.noise, self.erode, self.dilate) > 0

    @property
    def parameters(self) -> dict[str, Any]:
        """The settings for the manifest."""
        return asdict(self)

    def __call__(self, semantic: SemanticMap, name: str) -> SemanticMap:
        """A damaged copy of a map.

        Args:
            semantic: `[H, W]` uint8, without 255.
            name: file name of the image.
        """
        random = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
        semantic = semantic.copy()
        if self.missing > 0:
            semantic = self._without_parts(semantic, random)
        if self.noise > 0:
            semantic = self._with_wavy_borders(semantic, random)
        if self.erode > 0:
            semantic = np.where(_border(semantic, self.erode), np.uint8(0), semantic)
        if self.dilate > 0:
            semantic = _dilate(semantic, self.dilate)
        return semantic

    def _without_parts(self, semantic: SemanticMap, random: np.random.Generator) -> SemanticMap:
        for label in np.unique(semantic[semantic > 0]):
            count, regions = cv2.connectedComponents((semantic == label).astype(np.uint8))
            for region in range(1, count):
                y, x = np.nonzero(regions == region)
                center, chosen = int(random.integers(len(y))), random.random() < self.missing
                if chosen:
                    distance = (y - y[center]) ** 2 + (x - x[center]) ** 2
                    lost = np.argsort(distance, kind="stable")[: round(self.part * len(y))]
                    semantic[y[lost], x[lost]] = 0
        return semantic

    def _with_wavy_borders(self, semantic: SemanticMap, random: np.random.Generator) -> SemanticMap:
        height, width = semantic.shape
        field = random.normal(size=(2, height, width)).astype(np.float32)
        smooth = [cv2.GaussianBlur(each, (0, 0), WAVE) for each in field]
        y, x = np.mgrid[:height, :width].astype(np.float32)
        dy, dx = (self.noise * each / max(float(each.std()), 1e-6) for each in smooth)
        return np.asarray(
            cv2.remap(
                semantic,
                x + dx,
                y + dy,
                cv2.INTER_NEAREST,
                borderMode=cv2.BORDER_REPLICATE,
            )
        )


def _disc(radius: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.asarray(
        cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    )


def _border(semantic: SemanticMap, width: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """The pixels with another label within `width` pixels."""
    disc = _disc(width)
    return np.asarray(cv2.dilate(semantic, disc) != cv2.erode(semantic, disc))


def _dilate(semantic: SemanticMap, width: int) -> SemanticMap:
    """The map with the nearest class on background within `width` pixels of a class."""
    distance, nearest = cv2.distanceTransformWithLabels(
        (semantic == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    inside = semantic > 0
    label_of = np.zeros(int(nearest.max()) + 1, np.uint8)
    label_of[nearest[inside]] = semantic[inside]
    return np.where((distance <= width) & inside.any(), label_of[nearest], semantic)
