"""Maps made worse on purpose, to see what a method makes of maps that are not perfect."""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from p2seg.data.maps import SemanticMap
from p2seg.errors import UserError

WAVE = 12.0
"""How wide the waves of noisy borders are, pixels (sigma of the field that shifts them)."""


MOST = 100
"""Pixels that borders may be moved by."""


@dataclass(frozen=True)
class Degrade:
    """What happens to a map, in this order; all zero changes nothing.

    Attributes:
        missing: share of the regions that lose the part of them nearest to one of their pixels.
        part: share of its pixels that such a region loses.
        noise: pixels by which borders wave to and fro (standard deviation).
        erode: pixels that become background along the border of every class.
        dilate: pixels of background that every class takes along its border.
        seed: of what is drawn; an image's draws depend on it and the image's name alone.
    """

    missing: float = 0.0
    part: float = 0.3
    noise: float = 0.0
    erode: int = 0
    dilate: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        shares = all(0 <= share <= 1 for share in (self.missing, self.part))
        pixels = all(0 <= length <= MOST for length in (self.noise, self.erode, self.dilate))
        if not shares or not pixels or self.seed < 0:
            raise UserError(
                f"semantic.degrade={self.parameters}: missing and part are shares in 0..1, noise, "
                f"erode and dilate pixels in 0..{MOST}, seed is not negative"
            )

    @property
    def changes(self) -> bool:
        """Whether anything happens to a map."""
        return max(self.missing, self.noise, self.erode, self.dilate) > 0

    @property
    def parameters(self) -> dict[str, Any]:
        """For the manifest."""
        return asdict(self)

    def __call__(self, semantic: SemanticMap, name: str) -> SemanticMap:
        """The worse map.

        Args:
            semantic: `[H, W]` uint8, without 255.
            name: file name of the image.

        Returns:
            `[H, W]` uint8, another array.
        """
        random = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
        made = semantic.copy()
        if self.missing > 0:
            made = self._without_parts(made, random)
        if self.noise > 0:
            made = self._waved(made, random)
        if self.erode > 0:
            made = np.where(_border(made, self.erode), np.uint8(0), made)
        if self.dilate > 0:
            made = _grown(made, self.dilate)
        return made

    def _without_parts(self, semantic: SemanticMap, random: np.random.Generator) -> SemanticMap:
        for label in np.unique(semantic[semantic > 0]):
            count, regions = cv2.connectedComponents((semantic == label).astype(np.uint8))
            for region in range(1, count):
                y, x = np.nonzero(regions == region)
                drawn, hit = int(random.integers(len(y))), random.random() < self.missing
                if hit:
                    distance = (y - y[drawn]) ** 2 + (x - x[drawn]) ** 2
                    lost = np.argsort(distance, kind="stable")[: round(self.part * len(y))]
                    semantic[y[lost], x[lost]] = 0
        return semantic

    def _waved(self, semantic: SemanticMap, random: np.random.Generator) -> SemanticMap:
        height, width = semantic.shape
        field = random.normal(size=(2, height, width)).astype(np.float32)
        smooth = [cv2.GaussianBlur(each, (0, 0), WAVE) for each in field]
        y, x = np.mgrid[:height, :width].astype(np.float32)
        moved = [self.noise * each / max(float(each.std()), 1e-6) for each in smooth]
        return np.asarray(
            cv2.remap(
                semantic,
                x + moved[1],
                y + moved[0],
                cv2.INTER_NEAREST,
                borderMode=cv2.BORDER_REPLICATE,
            )
        )


def _disc(radius: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.asarray(
        cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    )


def _border(semantic: SemanticMap, width: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Pixels that have another label within so many pixels."""
    disc = _disc(width)
    return np.asarray(cv2.dilate(semantic, disc) != cv2.erode(semantic, disc))


def _grown(semantic: SemanticMap, width: int) -> SemanticMap:
    """Background within so many pixels of a class becomes the nearest class's."""
    distance, nearest = cv2.distanceTransformWithLabels(
        (semantic == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    inside = semantic > 0
    label_of = np.zeros(int(nearest.max()) + 1, np.uint8)
    label_of[nearest[inside]] = semantic[inside]
    return np.where((distance <= width) & inside.any(), label_of[nearest], semantic)
