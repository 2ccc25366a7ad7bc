"""Makes the pictures of README and docs: from the demo's report, and of scikit-image's coins.

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
import torch
from numpy.typing import NDArray
from skimage import data

from p2seg.apps.report.grids import grid
from p2seg.apps.report.pictures import draw_instances, draw_points, draw_semantic, fit
from p2seg.cli.arguments import Parser, command, path
from p2seg.data.coco import Category, ImageRecord, decode, read_instances
from p2seg.data.images import read_image
from p2seg.data.labels import read_labels
from p2seg.data.points import PointSet, write_points
from p2seg.errors import UserError
from p2seg.runtime.files import write_bytes
from p2seg.structures import Points

TOOLS = Path(__file__).resolve().parent.parent / "tools"
MASKS = (
    *("image and clicks", "initial semantic map", "control"),
    *("untrained network", "P2Seg", "ground truth"),
)
UNSEEN = ("image", "ground truth", "segmentor")
PICTURE = re.compile(r'src="report/(\d+)-(\d+-[^"]*)" alt="(.+?) of ')
SHOWN = "dark_0179.png"
"""The example image of docs/method.md."""
# (x, y), clicked manually
COINS = (
    *((45, 55), (100, 57), (156, 51), (216, 51), (276, 53), (335, 44)),
    *((46, 124), (103, 126), (154, 127), (206, 124), (271, 120), (337, 125)),
    *((44, 198), (103, 196), (155, 198), (213, 193), (274, 194), (347, 187)),
    *((46, 261), (115, 266), (173, 262), (245, 264), (301, 263), (358, 268)),
)


def parser() -> Parser:
    """Returns the parser of the command line."""
    words = Parser(description="Makes the README's pictures.", allow_abbrev=False)
    words.add_argument("--demo", type=path, default=Path("outputs/demo"), metavar="DIR")
    words.add_argument("--out", type=path, default=Path("docs/pictures"), metavar="DIR")
    words.add_argument("--rows", type=int, default=4, help="rows per picture (default: 4)")
    return words


@command
def main(words: list[str]) -> None:
    """Makes all pictures."""
    args = parser().parse_args(words)
    _publish(args.out / "coins.jpg", coins())
    report = args.demo / "report.html"
    if not report.is_file():
        raise UserError(f"no report in {args.demo}; run ./scripts/demo.sh first")
    _publish(args.out / "demo.jpg", rows_of(report, MASKS, args.rows))
    _publish(args.out / "unseen.jpg", rows_of(report, UNSEEN, args.rows, per_line=2))
    _publish(args.out / "rounds.jpg", rounds(args.demo))


def coins() -> NDArray[np.uint8]:
    """Draws the coins, their clicks, GrabCut's map and the seeds; no training is needed."""
    image = np.repeat(data.coins()[:, :, None], 3, 2)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        _write(home / "images" / "coins.png", image)
        yx = torch.tensor([(y, x) for x, y in COINS], dtype=torch.float32)
        ids = torch.arange(1, len(COINS) + 1)
        points = Points(yx, torch.ones(len(COINS), dtype=torch.int64), ids)
        record = ImageRecord(1, "coins.png", *image.shape[:2])
        write_points(home / "points.json", PointSet([record], [Category(1, "coin")], [points]))
        places = ["data=custom", "data.num_classes=1", f"data.images={home / 'images'}"]
        places += [f"data.points={home / 'points.json'}", f"data.semantic={home / 'maps'}"]
        _tool("gen_semantic", *places, "semantic=grabcut", "data.workers=0")
        _tool("gen_pseudo", *places, f"out={home / 'masks.json'}")
        masks = [decode(each) for each in read_instances(home / "masks.json").instances[0]]
        large = fit(image, 640)
        row = [
            draw_points(large, points, large.shape[1] / image.shape[1]),
            draw_semantic(large, read_labels(home / "maps" / "coins.png")),
            draw_instances(large, masks),
        ]
    return grid([row], ["24 clicks", "GrabCut's map", "masks"], cell=420)


def rows_of(
    report: Path, columns: tuple[str, ...], count: int, per_line: int = 1
) -> NDArray[np.uint8]:
    """Draws rows of a report that have all of some columns, spread over the whole table.

    Args:
        report: `report.html`.
        columns: titles of the columns.
        count: number of rows; fewer if the report has fewer.
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
    """Draws the rounds for one image of the demo."""
    with tempfile.TemporaryDirectory() as folder:
        drawn = Path(folder) / "rounds.png"
        places = ["+exp=demo", f"data.root={demo / 'data'}", f"ckpt={demo / 'network' / 'last.pt'}"]
        layout = ["figure=rounds", f"names=[{SHOWN}]", "cell=200", f"out={drawn}"]
        _tool("visualize", *places, *layout)
        return read_image(drawn)


def _tool(name: str, *words: str) -> None:
    command_line = [sys.executable, str(TOOLS / f"{name}.py"), *words]
    subprocess.run(command_line, check=True, stdout=subprocess.DEVNULL)


def _write(file: Path, image: NDArray[np.uint8]) -> None:
    write_bytes(file, cv2.imencode(".png", image[:, :, ::-1])[1].tobytes())


def _publish(file: Path, image: NDArray[np.uint8]) -> None:
    """Writes a picture for the README as JPEG, which suits photographs."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, 76]
    write_bytes(file, cv2.imencode(".jpg", image[:, :, ::-1], quality)[1].tobytes())


if __name__ == "__main__":
    raise SystemExit(main())
