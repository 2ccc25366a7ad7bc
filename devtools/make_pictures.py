"""Makes the pictures of README and docs from a finished demo.

python devtools/make_pictures.py --demo outputs/demo --out docs/pictures
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from p2seg.apps.report.grids import grid
from p2seg.cli.arguments import Parser, command, path
from p2seg.data.images import read_image
from p2seg.errors import UserError
from p2seg.runtime.files import write_bytes

MASKS = (
    *("image and clicks", "initial semantic map", "control"),
    *("untrained network", "P2Seg", "ground truth"),
)
UNSEEN = ("image", "ground truth", "segmentor")
PICTURE = re.compile(r'src="report/(\d+)-(\d+-[^"]*)" alt="(.+?) of ')
SHOWN = "dark_0179.png"
"""The image that docs/explanation/method.md follows."""
HERO = ((0, 10), (6, 9))
"""Rows of the report in the README's picture: a clicked image, and one without clicks."""
STEPS = ("clicks", "masks of P2Seg", "an unseen image", "the trained model")


def parser() -> Parser:
    """The command line."""
    words = Parser(description="Makes the README's pictures.", allow_abbrev=False)
    words.add_argument("--demo", type=path, default=Path("outputs/demo"), metavar="DIR")
    words.add_argument("--out", type=path, default=Path("docs/pictures"), metavar="DIR")
    words.add_argument("--rows", type=int, default=4, help="of each picture (default: 4)")
    return words


@command
def main(words: list[str]) -> None:
    """Runs the command line's words."""
    args = parser().parse_args(words)
    report = args.demo / "report.html"
    if not report.is_file():
        raise UserError(f"no report in {args.demo}; run ./scripts/demo.sh first")
    _publish(args.out / "hero.jpg", hero(report))
    _publish(args.out / "demo.jpg", rows_of(report, MASKS, args.rows))
    _publish(args.out / "unseen.jpg", rows_of(report, UNSEEN, args.rows, per_line=2))
    _publish(args.out / "rounds.jpg", rounds(args.demo))


def hero(report: Path) -> NDArray[np.uint8]:
    """Clicked images with their masks, and the segmentation model on images it never saw."""

    def picture(row: int, name: str) -> NDArray[np.uint8]:
        return read_image(report.parent / "report" / f"{row:03}-{name}.jpg")

    table = [
        [
            *(picture(clicked, name) for name in ("0-image-and-clicks", "5-p2seg")),
            *(picture(unseen, name) for name in ("0-image", "2-segmentor")),
        ]
        for clicked, unseen in HERO
    ]
    return grid(table, list(STEPS), cell=300)


def rows_of(
    report: Path, columns: tuple[str, ...], count: int, per_line: int = 1
) -> NDArray[np.uint8]:
    """Rows of a report that have all of some columns, spread over the whole table.

    Args:
        report: `report.html`.
        columns: their titles.
        count: rows; fewer if the report has fewer.
        per_line: rows of the report in one line of the picture.
    """
    rows: dict[str, dict[str, Path]] = {}
    for row, rest, title in PICTURE.findall(report.read_text(encoding="utf-8")):
        rows.setdefault(row, {})[title] = report.parent / "report" / f"{row}-{rest}"
    whole = [row for row in rows.values() if set(columns) <= set(row)]
    if not whole:
        raise UserError(f"{report} has no pictures of {', '.join(columns)}; run ./scripts/demo.sh")
    places = np.linspace(0, len(whole) - 1, min(count, len(whole))).round().astype(int)
    files = [whole[place][title] for place in places for title in columns]
    pictures = [read_image(file) for file in files]
    width = per_line * len(columns)
    table = [pictures[i : i + width] for i in range(0, len(pictures), width)]
    return grid(table, columns * per_line, cell=190)


def rounds(demo: Path) -> NDArray[np.uint8]:
    """One image of the demo through the rounds."""
    with tempfile.TemporaryDirectory() as folder:
        drawn = Path(folder) / "rounds.png"
        places = ["+exp=demo", f"data.root={demo / 'data'}", f"ckpt={demo / 'network' / 'last.pt'}"]
        layout = ["figure=rounds", f"names=[{SHOWN}]", "cell=200", f"out={drawn}"]
        _tool("visualize", *places, *layout)
        return read_image(drawn)


def _tool(name: str, *words: str) -> None:
    command_line = [sys.executable, "-m", "p2seg", name, *words]
    subprocess.run(command_line, check=True, stdout=subprocess.DEVNULL)


def _publish(file: Path, image: NDArray[np.uint8]) -> None:
    """Writes a picture as JPEG."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, 76]
    write_bytes(file, cv2.imencode(".jpg", image[:, :, ::-1], quality)[1].tobytes())


if __name__ == "__main__":
    raise SystemExit(main())
