"""Draws points, maps, instances and offsets, for reports, TensorBoard and the README.

Images are uint8 RGB `[H, W, 3]`, in and out. Maps and masks of another size than the image, such
as a stride-4 map or an image enlarged by `fit`, are resized to the image.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unicodedata import combining, normalize

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from p2seg.runtime.files import write_bytes
from p2seg.structures import IGNORED, Points

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]

INK = (32, 33, 36)
PAPER = (255, 255, 255)
GOLDEN = 0.618034
"""Step on the color circle (golden ratio); no two of the first colors are close."""


def palette(n: int) -> Picture:
    """Returns n bright, distinct colors, `[n, 3]` RGB; the first ones do not depend on n."""
    colors = []
    for k in range(n):
        hue = (0.58 + k * GOLDEN) % 1
        saturation, value = ((0.78, 1.0), (0.95, 0.82), (0.5, 1.0))[k // 5 % 3]
        colors.append(colorsys.hsv_to_rgb(hue, saturation, value))
    return np.round(np.array(colors).reshape(-1, 3) * 255).astype(np.uint8)


def fit(image: Picture, side: int) -> Picture:
    """Returns the image resized so that its long side has `side` pixels."""
    height, width = image.shape[:2]
    factor = side / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=how), np.uint8)


def brighten(image: Picture) -> Picture:
    """Returns a dark image, such as a fluorescence micrograph, in full contrast; others unchanged.

    An image is dark if 99.5 % of its values are below half of the range. Its values are scaled so
    that this share lies below the maximum.

    Args:
        image: `[H, W, 3]`.
    """
    top = float(np.percentile(image, 99.5))
    if not 0 < top < 128:
        return image
    return np.minimum(np.round(image * (255 / top)), 255).astype(np.uint8)


def draw_semantic(image: Picture, semantic: ArrayLike, opacity: float = 0.6) -> Picture:
    """Draws classes in the colors of `palette`; ignored pixels are white.

    Args:
        image: `[H, W, 3]`.
        semantic: `[h, w]` integers, 0 background (dimmed), 1..C, 255 ignored.
        opacity: opacity of the colors, 0..1.
    """
    semantic = np.asarray(semantic)
    colors = palette(IGNORED - 1)
    present = [int(label) for label in np.unique(semantic) if label]
    masks = [_to_size(semantic == label, image) for label in present]
    paints = [PAPER if label == IGNORED else colors[label - 1] for label in present]
    return _painted(_dimmed(image), masks, paints, paints, opacity)


def draw_instances(
    image: Picture,
    instances: ArrayLike | Sequence[Mask],
    labels: Sequence[int] | None = None,
    captions: Sequence[str] | None = None,
    opacity: float = 0.55,
) -> Picture:
    """Draws instance k in the k-th color of `palette`.

    Args:
        image: `[H, W, 3]`.
        instances: `[h, w]` integers, 0 for none and k + 1 for instance k; or K masks `[h, w]` bool,
            which may overlap (smaller masks are drawn on top).
        labels: K classes 1..C; outlines get the color of the class in `draw_semantic`. None: white.
        captions: K texts, drawn next to the instances.
        opacity: opacity of the colors, 0..1.
    """
    masks = _masks(instances)
    colors = palette(len(masks))
    edges: list[Any] = [PAPER] * len(masks)
    if labels is not None:
        classes = palette(max(labels, default=0))
        edges = [classes[label - 1] for label in labels]
    order = sorted(range(len(masks)), key=lambda k: -int(masks[k].sum()))
    large = [_to_size(mask, image) for mask in masks]
    drawn = _painted(
        _dimmed(image),
        [large[k] for k in order],
        [colors[k] for k in order],
        [edges[k] for k in order],
        opacity,
    )
    for k in order if captions is not None else []:
        rows, columns = np.nonzero(large[k])
        if captions is not None and len(rows):
            drawn = _captioned(drawn, captions[k], int(rows.min()), int(columns.min()))
    return drawn


def draw_points(image: Picture, points: Points, scale: float = 1.0) -> Picture:
    """Draws points as dots; point k has the color of instance k in `draw_instances`.

    Args:
        image: `[H, W, 3]`.
        points: points of the image. Points outside are not drawn.
        scale: pixels of `image` per pixel of the points' own image.
    """
    drawn = np.ascontiguousarray(image).copy()
    radius = max(3, round(max(image.shape[:2]) / 90))
    colors = palette(len(points))
    centers = (points.yx.numpy() + 0.5) * scale - 0.5
    for (y, x), color in zip(centers, colors, strict=True):
        center = round(float(x)), round(float(y))
        rings = (radius, INK), (radius - 1, PAPER), (radius - 1 - radius // 4, color)
        for size, paint in rings:
            cv2.circle(drawn, center, size, [int(c) for c in paint], -1, cv2.LINE_AA)
    return drawn


def draw_offset(offset: ArrayLike, longest: float | None = None) -> Picture:
    """Draws offsets as colors: the direction as the hue, the length as the saturation.

    Args:
        offset: `[2, h, w]` float, (dy, dx) in pixels.
        longest: length in pixels of full saturation; None: the 99th percentile.

    Returns:
        `[h, w, 3]`, white where the offset is zero.
    """
    dy, dx = np.nan_to_num(np.asarray(offset, np.float32))
    length = np.hypot(dy, dx)
    longest = float(np.percentile(length, 99)) if longest is None else longest
    hsv = np.empty((*length.shape, 3), np.float32)
    hsv[..., 0] = np.degrees(np.arctan2(dy, dx)) % 360
    hsv[..., 1] = np.clip(length / max(longest, 1e-6), 0, 1)
    hsv[..., 2] = 1 - 0.1 * hsv[..., 1]
    rgb = np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))
    return np.round(rgb * 255).astype(np.uint8)


def draw_heat(image: Picture, heat: ArrayLike, opacity: float = 0.75) -> Picture:
    """Draws values as colors from dark (0) over red to light (1), over the gray image.

    Args:
        image: `[H, W, 3]`.
        heat: `[h, w]` float in 0..1.
        opacity: opacity of the colors, 0..1.
    """
    size = image.shape[1], image.shape[0]
    large = cv2.resize(np.asarray(heat, np.float32), size, interpolation=cv2.INTER_LINEAR)
    levels = np.round(np.clip(large, 0, 1) * 255).astype(np.uint8)
    colors = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[:, :, ::-1]
    gray = image.mean(axis=2, keepdims=True)
    drawn: Picture = np.round(opacity * colors + (1 - opacity) * gray).astype(np.uint8)
    return drawn


def write_png(file: Path, picture: Picture) -> None:
    """Writes a picture as PNG."""
    write_bytes(file, cv2.imencode(".png", picture[:, :, ::-1])[1].tobytes())


def _masks(instances: ArrayLike | Sequence[Mask]) -> list[Mask]:
    """Returns K masks; a map gives masks up to its highest number, possibly empty ones."""
    if isinstance(instances, Sequence):
        return [np.asarray(mask) != 0 for mask in instances]
    whole = np.asarray(instances)
    return [whole == k for k in range(1, int(whole.max(initial=0)) + 1)]


def _to_size(mask: Mask, image: Picture) -> Mask:
    """Resizes a mask to the image, with a smooth edge if it is enlarged."""
    if mask.shape == image.shape[:2]:
        return mask
    size = image.shape[1], image.shape[0]
    grown = np.asarray(cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR))
    return grown >= 0.5


def _painted(
    image: Picture, masks: list[Mask], fills: list[Any], edges: list[Any], opacity: float
) -> Picture:
    """Draws the masks one after the other, then all outlines."""
    drawn = image.astype(np.float32)
    for mask, fill in zip(masks, fills, strict=True):
        drawn[mask] = (1 - opacity) * image[mask] + opacity * np.asarray(fill, np.float32)
    result = np.ascontiguousarray(np.round(drawn), np.uint8)  # OpenCV needs this memory layout
    for mask, edge in zip(masks, edges, strict=True):
        contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(result, contours, -1, [int(c) for c in edge], _line(image), cv2.LINE_AA)
    return result


def _dimmed(image: Picture) -> Picture:
    """Returns the image paler and grayer, so that overlaid colors stand out."""
    gray = image.mean(axis=2, keepdims=True)
    pale: Picture = np.round(0.5 * image + 0.35 * gray + 0.15 * 255).astype(np.uint8)
    return pale


def _line(image: Picture) -> int:
    long_side: int = max(image.shape[:2])
    return max(1, long_side // 500)


def text_font(size: int) -> Any:
    """Returns Pillow's own font at a size in pixels, at least 9."""
    return ImageFont.load_default(max(9, size))


def _drawable(text: str) -> str:
    """Returns the text in ASCII, for Pillow's font: accents removed, other characters as `?`."""
    letters = (each for each in normalize("NFKD", text) if not combining(each))
    return "".join(letters).encode("ascii", "replace").decode()


def _captioned(image: Picture, text: str, top: int, left: int) -> Picture:
    """Draws a text on a light plate with its corner at (top, left), moved inside the image."""
    sheet = Image.fromarray(image)
    pen = ImageDraw.Draw(sheet, "RGBA")
    font, text = text_font(max(image.shape[:2]) // 45), _drawable(text)
    x0, y0, x1, y1 = pen.textbbox((0, 0), text, font=font)
    left = max(0, min(left, image.shape[1] - int(x1 - x0) - 6))
    top = max(0, min(top, image.shape[0] - int(y1 - y0) - 6))
    pen.rectangle((left, top, left + x1 - x0 + 5, top + y1 - y0 + 5), fill=(*PAPER, 215))
    pen.text((left + 3 - x0, top + 3 - y0), text, INK, font)
    return np.asarray(sheet)
