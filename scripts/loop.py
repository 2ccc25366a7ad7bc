"""Measures the loop of click, learn, propose and correct: user actions against AP50.

    python scripts/loop.py DIR/train DIR/instances_train.json
    python scripts/loop.py DIR/train FILE --images 12 --rounds 1 --seed 0    # the same in small

A simulated user clicks every object of some images. Each round makes masks (`p2seg masks`), trains
a segmentation model (`p2seg train`) and clicks what the model finds in the other images
(`p2seg propose`). The user corrects the next part of these images, those of most doubt first:

- a proposed click inside an object of its class is accepted, the first one per object;
- every other proposed click is removed: one action;
- an object without a click is clicked: one action;
- an image is accepted by one key: one action.

After the last round every image is corrected. The last row clicks all objects by hand. A repeated
command resumes: finished rows are kept. The table is written to `table_loop.json` and `.md`.
"""

from __future__ import annotations

import math
import shutil
import warnings
from argparse import Namespace
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from reproduce import write_table
from simulated_user import corrected
from table_content import content_of
from table_rows import Row, Table

from p2seg.cli.arguments import CONSOLE, Parser, command, path
from p2seg.cli.main import main as p2seg
from p2seg.cli.photos.propose import LEAST_SCORE
from p2seg.data.coco import Instance, InstanceSet, read_instances
from p2seg.data.points import PointSet, make_points, read_points, write_points
from p2seg.data.proposals import proposals_path
from p2seg.errors import UserError
from p2seg.evaluation.voc import overlaps, voc_scores
from p2seg.runtime.files import read_json, write_json
from p2seg.runtime.provenance import commit
from p2seg.segmentors.load import load
from p2seg.structures import Points

BATCH = 4
"""Images per training step of `p2seg train --model small`."""
COLUMNS = {
    "corrected images": ("corrected_images",),
    "clicks": ("clicks",),
    "removals": ("removals",),
    "keys": ("keys",),
    "actions": ("actions",),
    "share of all clicks": ("share",),
    "AP50": ("AP50",),
}
TITLE = "The loop: click some images, learn, correct proposals"
NOTE = (
    "AP50 (percent, area under the curve) of the objects found in the images that the user did "
    "not click at the start: masks of corrected images, detections of the others. An action is a "
    "click, a removal, or the key that accepts an image. Corrected images include those of the "
    "start. A seed chooses these images and the clicks; trainings always start from seed 0."
)


def parser() -> Parser:
    """Returns the parser of the command line."""
    words = Parser(description="The curve of clicks against AP50 of the loop.")
    words.add_argument("photos", type=path, help="folder of the images")
    words.add_argument("gt", type=path, help="instances file of the true masks")
    words.add_argument("--images", type=int, help="use this many images, drawn (default: all)")
    words.add_argument("--clicked", type=int, help="clicked images (default: 20, a third at most)")
    words.add_argument("--rounds", type=int, default=2)
    words.add_argument("--seeds", "--seed", type=int, nargs="+", default=[0, 1, 2])
    words.add_argument("--steps", type=int, default=400, help="training steps per round")
    words.add_argument("--conf", type=float, default=0.3, help="smallest score of a proposal")
    words.add_argument("--network", choices=("auto", "yes", "no"), default="no")
    words.add_argument("--out", type=path, default=Path("outputs/loop"), metavar="DIR")
    return words


@command
def main(words: list[str]) -> None:
    """Runs the loop for every seed and writes the table."""
    asked = parser().parse_args(words)
    _check(asked)
    truth = read_instances(asked.gt)
    reports: dict[tuple[str, int], dict[str, Any]] = {}
    for seed in asked.seeds:
        loop = Loop.of(asked, truth, seed)
        for name, report in loop.rows().items():
            reports[name, seed] = {**report, "run": {"versions": {"commit": commit()}}}
    rows = [Row(name, {}) for name in dict.fromkeys(name for name, _ in reports)]
    table = Table(TITLE, COLUMNS, rows, NOTE, words=())
    asked.data = asked.gt.parent.name
    content = content_of(table, asked, reports)
    for row in content["rows"]:
        row["command"] = _command(asked)
    write_table(asked.out / "table_loop", content)


@dataclass(frozen=True)
class Loop:
    """The loop of one seed.

    Attributes:
        folder: of its files.
        truth: the true masks of its images, those that are clicked at the start first.
        clicks: one click per object of `truth`.
        clicked: number of images that are clicked at the start.
        asked: the command line.
    """

    folder: Path
    truth: InstanceSet
    clicks: PointSet
    clicked: int
    asked: Namespace

    @staticmethod
    def of(asked: Namespace, truth: InstanceSet, seed: int) -> Loop:
        """Draws the images and clicks of a seed, and copies the images.

        Raises:
            UserError: the folder has rows of other settings, or there are too few images.
        """
        order = np.random.default_rng(seed).permutation(len(truth.images))
        chosen = [int(k) for k in order[: asked.images]]
        clicked = asked.clicked or min(20, len(chosen) // 3)
        if not 0 < clicked <= len(chosen) - asked.rounds:
            raise UserError(
                f"{len(chosen)} images, {clicked} of them clicked, leave too few for "
                f"{asked.rounds} rounds; give a larger --images or a smaller --clicked"
            )
        folder = asked.out / f"seed_{seed}"
        settings = {
            "images": len(chosen),
            "clicked": clicked,
            "gt": str(asked.gt.absolute()),
            **{key: getattr(asked, key) for key in ("rounds", "steps", "conf", "network")},
        }
        record = folder / "settings.json"
        if record.is_file() and read_json(record, "settings of a loop") != settings:
            raise UserError(f"{folder} has results of other settings; give another --out")
        own = truth.subset(chosen).rasterized()
        for image in own.images:
            place = folder / "photos" / image.file_name
            if not place.is_file():
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(asked.photos / image.file_name, place)
        write_json(record, settings)
        return Loop(folder, own, make_points(own, "random", seed), clicked, asked)

    def rows(self) -> dict[str, dict[str, Any]]:
        """Runs the unfinished rows and returns all: name -> actions and AP50."""
        images = [each.file_name for each in self.truth.images]
        clicks = sum(len(each) for each in self.clicks.points[: self.clicked])
        state = {"clicks": clicks, "removals": 0, "keys": 0}
        points = self.folder / "points_0.json"
        if not points.is_file():
            write_points(points, self.clicks.subset(range(self.clicked)))
        rows = {f"{self.clicked} clicked images": self._row(0, points, state)}
        for k in range(1, self.asked.rounds + 1):
            state, points = self._corrected(k, points, state)
            rows[f"round {k}"] = self._row(k, points, state)
        everything = self.folder / "points_all.json"
        if not everything.is_file():
            write_points(everything, self.clicks)
        by_hand = {"clicks": sum(map(len, self.clicks.points)), "removals": 0, "keys": 0}
        rows[f"all {len(images)} images clicked"] = self._row("all", everything, by_hand)
        return rows

    def _row(self, name: int | str, points: Path, state: dict[str, int]) -> dict[str, Any]:
        """The row of a points file: its actions, and AP50 of what is found in the other images."""
        record = self.folder / f"row_{name}.json"
        if record.is_file():
            return dict(read_json(record, "row of a loop"))
        CONSOLE.print(f"{self.folder.name}, row {name}: {points.name}")
        masks = self.folder / f"masks_{name}"
        network = ("--network", self.asked.network)
        _run("masks", self._photos, points, "--out", masks, *network)
        pseudo = read_instances(masks / "masks.json")
        pairs = zip(pseudo.images, pseudo.instances, strict=True)
        found = {image.file_name: [*own] for image, own in pairs}
        count = len(found)
        others = self.truth.subset(range(self.clicked, len(self.truth.images)))
        if any(image.file_name not in found for image in others.images):
            epochs = self.asked.steps * BATCH / count
            _run("train", masks, "--epochs", f"{epochs:.3f}", "--out", self._model(name))
            found = self._detections(name) | found
        instances = [found[image.file_name] for image in others.images]
        score = voc_scores(overlaps(others, replace(others, instances=instances)))
        actions = sum(state.values())
        row = {
            **state,
            "corrected_images": count,
            "actions": actions,
            "share": actions / sum(map(len, self.clicks.points)),
            "AP50": score["voc_area"]["mAP50"],
        }
        write_json(record, row)
        return row

    def _detections(self, name: int | str) -> dict[str, list[Instance]]:
        """What a trained model finds in each image, weak detections too."""
        model = load(self._model(name) / "last.pt")
        found = {}
        for image in self.truth.images:
            with warnings.catch_warnings():  # weak detections above the limit of objects may go
                warnings.simplefilter("ignore", UserWarning)
                own = model(self._photos / image.file_name, LEAST_SCORE)
            found[image.file_name] = [
                Instance(k, each.label, each.rle, score=each.score)
                for k, each in enumerate(own, start=1)
            ]
        return found

    def _corrected(
        self, k: int, points: Path, state: dict[str, int]
    ) -> tuple[dict[str, int], Path]:
        """Proposes clicks and corrects the next part of the images; returns actions and points.

        Args:
            k: number of the round, from 1.
            points: the points file before it.
            state: actions before it.
        """
        after, record = (self.folder / f"{each}_{k}.json" for each in ("points", "state"))
        if record.is_file():  # it is written after the points
            return dict(read_json(record, "state of a loop")), after
        known = read_points(points)
        write_points(self._photos / "points.json", known)
        _run("propose", self._model(k - 1), self._photos, "--conf", self.asked.conf)
        proposals = read_points(proposals_path(self._photos / "points.json"))
        proposed, order = _by_name(proposals), [each.file_name for each in proposals.images]
        merged, clicks = _by_name(known), _by_name(self.clicks)
        order = [name for name in order if name not in merged]  # some images have no object
        chosen = set(order[: math.ceil(len(order) / (self.asked.rounds - k + 1))])
        for image, truths in zip(self.truth.images, self.truth.instances, strict=True):
            name = image.file_name
            if name in chosen:
                merged[name], actions = corrected(truths, clicks[name], proposed.get(name))
                state = {key: state[key] + actions[key] for key in state}
        images = [image for image in self.truth.images if image.file_name in merged]
        every = [merged[image.file_name] for image in images]
        write_points(after, PointSet(images, self.truth.categories, every))
        write_json(record, state)
        return state, after

    @property
    def _photos(self) -> Path:
        return self.folder / "photos"

    def _model(self, name: int | str) -> Path:
        return self.folder / f"model_{name}"


def _by_name(points: PointSet) -> dict[str, Points]:
    return {image.file_name: own for image, own in zip(points.images, points.points, strict=True)}


def _run(*words: object) -> None:
    """Runs a plain command.

    Raises:
        UserError: it failed.
    """
    code = p2seg([str(word) for word in words])
    if code == 130:
        raise KeyboardInterrupt
    if code:
        raise UserError(f"p2seg {words[0]} failed; fix the error above and repeat the command")


def _check(asked: Namespace) -> None:
    for key in ("images", "clicked", "rounds", "steps"):
        value = getattr(asked, key)
        if value is not None and value < 1:
            raise UserError(f"--{key} {value}: must be an integer >= 1")
    if len(set(asked.seeds)) < len(asked.seeds) or min(asked.seeds) < 0:
        raise UserError(f"--seeds {asked.seeds}: must be different integers >= 0")
    if not 0 <= asked.conf <= 1:
        raise UserError(f"--conf {asked.conf}: must be between 0 and 1")


def _command(asked: Namespace) -> str:
    """The command of the table, without local paths."""
    words = ["python scripts/loop.py DIR FILE"]
    for key in ("images", "clicked", "rounds", "steps", "conf", "network"):
        value = getattr(asked, key)
        if value is not None and value != parser().get_default(key):
            words.append(f"--{key} {value}")
    return " ".join([*words, "--seeds", *map(str, asked.seeds)])


if __name__ == "__main__":
    raise SystemExit(main())
