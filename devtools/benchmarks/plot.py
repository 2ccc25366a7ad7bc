"""Lines over time as a picture, without a plotting library."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from devtools.benchmarks.memory import Seen

HEIGHT, WIDTH, LEFT, TOP, BOTTOM = 260, 420, 60, 34, 34
"""Of one panel, pixels: the whole, and what is left free for words."""
COLOURS = ((31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189))
INK = (40, 40, 40)


def memory_picture(seen: Sequence[Seen]) -> NDArray[np.uint8]:
    """Own memory (USS) of every process over time, a panel a stage.

    Args:
        seen: of all stages.

    Returns:
        `[H, W, 3]` uint8 RGB.
    """
    stages = dict.fromkeys(each.stage for each in seen)
    return np.concatenate([_panel([s for s in seen if s.stage == name]) for name in stages], axis=1)


def _panel(seen: Sequence[Seen]) -> NDArray[np.uint8]:
    canvas = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    longest = max(each.seconds for each in seen) or 1.0
    most = max(each.memory.uss for each in seen) * 1.1
    deep, wide = HEIGHT - TOP - BOTTOM, WIDTH - LEFT - 16
    _write(canvas, seen[0].stage, LEFT, 20, 0.5)
    for part in (0.0, 0.5, 1.0):
        y = TOP + round(deep * (1 - part))
        cv2.line(canvas, (LEFT, y), (LEFT + wide, y), (225, 225, 225), 1)
        _write(canvas, f"{most * part:.0f}", 8, y + 4)
    _write(canvas, "MiB", 8, 20)
    _write(canvas, "0", LEFT, HEIGHT - 14)
    _write(canvas, f"{longest:.0f} s", LEFT + wide - 40, HEIGHT - 14)
    for k, name in enumerate(dict.fromkeys(each.process for each in seen)):
        own = [each for each in seen if each.process == name]
        line = [
            (LEFT + wide * each.seconds / longest, TOP + deep * (1 - each.memory.uss / most))
            for each in own
        ]
        colour = COLOURS[k % len(COLOURS)]
        cv2.polylines(
            canvas, [np.array(line).round().astype(np.int32)], False, colour, 1, cv2.LINE_AA
        )
        _write(canvas, name, LEFT + 60 + 76 * k, HEIGHT - 14, colour=colour)
    return canvas


def _write(
    canvas: NDArray[np.uint8],
    text: str,
    x: int,
    y: int,
    size: float = 0.4,
    colour: tuple[int, int, int] = INK,
) -> None:
    cv2.putText(canvas, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)
