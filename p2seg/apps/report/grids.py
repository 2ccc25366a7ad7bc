"""Arranges pictures with titles on one sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from p2seg.apps.report.pictures import INK, PAPER, Picture, fit, text_font


def grid(
    rows: Sequence[Sequence[Picture]],
    titles: Sequence[str] = (),
    cell: int = 320,
    gap: int = 8,
    names: Sequence[str] = (),
) -> Picture:
    """Arranges pictures in rows and columns on white, each scaled into a square of `cell` pixels.

    Args:
        rows: pictures of any size. A row is as high as its tallest picture.
        titles: one per column.
        cell: side of the square in pixels.
        gap: pixels between and around the pictures.
        names: one per row, written upwards on the left.
    """
    scaled = [[fit(picture, cell) for picture in row] for row in rows]
    heights = [max((p.shape[0] for p in row), default=0) for row in scaled]
    columns = max([len(titles), *map(len, rows)])
    head, side = cell // 10 if titles else 0, gap + (cell // 10 if names else 0)
    size = side + columns * (cell + gap), gap + head + sum(height + gap for height in heights)
    sheet = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(sheet)
    font = text_font(cell // 18)
    for column, title in enumerate(titles):
        middle = side + column * (cell + gap) + cell // 2
        pen.text((middle, gap + head // 2), title, INK, font, anchor="mm")
    top = gap + head
    for number, (row, height) in enumerate(zip(scaled, heights, strict=True)):
        if number < len(names):
            plate = Image.new("RGB", (height, side), PAPER)
            center = height / 2, side / 2
            ImageDraw.Draw(plate).text(center, names[number], INK, font, anchor="mm")
            sheet.paste(plate.rotate(90, expand=True), (0, top))
        for column, picture in enumerate(row):
            left = side + column * (cell + gap) + (cell - picture.shape[1]) // 2
            sheet.paste(Image.fromarray(picture), (left, top + (height - picture.shape[0]) // 2))
        top += height + gap
    return np.asarray(sheet)


def panels(pictures: Mapping[str, Picture], columns: int = 5, cell: int = 320) -> Picture:
    """Arranges titled pictures, `columns` per row.

    Args:
        pictures: by title.
        columns: most pictures per row.
        cell: side of each picture in pixels.
    """
    items = list(pictures.items())
    columns = min(columns, len(items))
    sheets = []
    for start in range(0, len(items), columns):
        part = items[start : start + columns]
        titles = [title for title, _ in part] + [""] * (columns - len(part))
        sheets.append(grid([[picture for _, picture in part]], titles, cell))
    return np.concatenate(sheets)
