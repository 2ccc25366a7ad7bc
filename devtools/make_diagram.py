"""Writes the diagram of the method for README and docs.

python devtools/make_diagram.py
"""

from __future__ import annotations

from html import escape
from pathlib import Path

from p2seg.cli.arguments import Parser, command, path
from p2seg.runtime.files import write_text

FILE = Path(__file__).resolve().parent.parent / "docs" / "pictures" / "how_it_works.svg"
WIDTH, HEIGHT = 960, 332
BOX = (200, 92)
"""Width and height of a box, in pixels."""
COLORS = {"input": "#e3f2fd", "step": "#e0f2f1", "result": "#fff3e0"}
BOXES = (
    # left, top, kind, title, lines below it
    (20, 20, "input", "Photos and clicks", ("one click per object,", "with its class")),
    (
        260,
        20,
        "step",
        "Initial semantic map",
        ("the class of each pixel", "(threshold, GrabCut, SAM)"),
    ),
    (500, 20, "step", "Split", ("regions with several clicks,", "by distance or ellipses")),
    (740, 20, "result", "First masks", ("one per click,", "without a network")),
    (20, 220, "result", "Masks of new photos", ("no clicks needed",)),
    (260, 220, "step", "Segmentation model", ("Mask R-CNN or another,", "trained on the masks")),
    (500, 220, "result", "Pseudo masks", ("one per click:", "review, correct, export")),
    (740, 220, "step", "Network", ("learns classes and offsets", "over all images, then splits")),
)
ARROWS = (
    # from, to, text beside the arrow
    ((220, 66), (260, 66), ""),
    ((460, 66), (500, 66), ""),
    ((700, 66), (740, 66), ""),
    ((840, 112), (840, 220), "train (optional)"),
    ((740, 266), (700, 266), ""),
    ((740, 112), (660, 220), "or take them as they are"),
    ((500, 266), (460, 266), ""),
    ((260, 266), (220, 266), ""),
)


def parser() -> Parser:
    """The command line."""
    words = Parser(description="Writes the diagram of the method.", allow_abbrev=False)
    words.add_argument("--out", type=path, default=FILE, metavar="FILE")
    return words


@command
def main(words: list[str]) -> None:
    """Writes the file."""
    write_text(parser().parse_args(words).out, diagram())


def diagram() -> str:
    """The diagram as SVG."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="13">',
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path d="M0 0 8 4 0 8z" fill="#546e7a"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for left, top, kind, title, lines in BOXES:
        middle = left + BOX[0] // 2
        parts += [
            f'<rect x="{left}" y="{top}" width="{BOX[0]}" height="{BOX[1]}" rx="8" '
            f'fill="{COLORS[kind]}" stroke="#90a4ae"/>',
            _text(middle, top + 30, title, 'font-weight="bold" font-size="15"'),
            *(_text(middle, top + 54 + 19 * k, line) for k, line in enumerate(lines)),
        ]
    for (x1, y1), (x2, y2), text in ARROWS:
        parts.append(
            f'<path d="M{x1} {y1} {x2} {y2}" stroke="#546e7a" stroke-width="1.6" '
            'marker-end="url(#head)"/>'
        )
        if text:
            side = x1 < 800
            at = (x1 + x2) // 2 + (-8 if side else 8), (y1 + y2) // 2
            anchor = "end" if side else "start"
            parts.append(_text(*at, text, f'fill="#546e7a" text-anchor="{anchor}"'))
    return "\n".join([*parts, "</svg>", ""])


def _text(x: int, y: int, text: str, style: str = "") -> str:
    if "text-anchor" not in style:
        style = f'{style} text-anchor="middle"'.strip()
    return f'<text x="{x}" y="{y}" {style}>{escape(text)}</text>'


if __name__ == "__main__":
    raise SystemExit(main())
