"""A prompted segmenter made of ground truth, for experiments where no SAM is at hand.

It is no result of anything: it offers part, object and group for a click, as SAM's three masks are
said to be, with faults and scores such as SAM's papers tell of. What it is good for is comparing
ways to choose, and what a method makes of the masks chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from p2seg.data.coco import Instance, decode, read_instances
from p2seg.data.rle import encode
from p2seg.errors import UserError
from p2seg.runtime.files import sha256
from p2seg.sam.candidates import Candidate
from p2seg.sam.prompts import Prompts
from p2seg.semantic.degrade import Degrade
from p2seg.semantic.source import MapTask

Mask = NDArray[np.bool_]

CLUSTERS = 3
"""Of color and place that an object is cut into; the one with the click is its part."""

COLOR_SPREAD = 20.0
"""Lab units that count as much as half an object's size, in clusters."""

SMALLEST_PART, LARGEST_PART = 0.05, 0.8
"""Shares of the object; a part beyond them is a disc around the click instead."""

LEAK = 0.25
"""How far a group without neighbors leaks into the background, in sides of the object."""


@dataclass(frozen=True)
class Faults:
    """How bad the answers are; the defaults give a first choice of the whole object to about half
    of the clicks, and masks of objects of IoU .8 to .9.

    Attributes:
        noise: pixels by which borders wave, at an object of 100 pixels a side.
        missing: share of masks that lose a piece.
        lost: share of clicks whose object is not among the masks: a larger part is.
        obeyed: share of negative clicks that a group heeds.
        doubt: standard deviation of the predicted IoU.
        part_bonus: what the predicted IoU of a part is above an object's; parts have clear edges.
        group_malus: what that of a group is below it.
    """

    noise: float = 2.5
    missing: float = 0.15
    lost: float = 0.1
    obeyed: float = 0.5
    doubt: float = 0.05
    part_bonus: float = 0.05
    group_malus: float = 0.09

    def __post_init__(self) -> None:
        shares = (self.missing, self.lost, self.obeyed)
        if not all(0 <= share <= 1 for share in shares) or min(self.noise, self.doubt) < 0:
            raise UserError(
                f"semantic.faults={asdict(self)}: missing, lost and obeyed are shares in 0..1, "
                "noise and doubt are not negative"
            )


@dataclass(frozen=True)
class Simulated:
    """Answers prompts from ground truth; what a click gets depends on the seed and its id alone.

    Attributes:
        gt: path of the instances file the points were made from.
        gt_sha256: of the file.
        instances: of each image, by file name.
        faults: of the answers.
        seed: of what is drawn.
    """

    gt: str
    gt_sha256: str
    instances: dict[str, Sequence[Instance]] = field(repr=False)
    faults: Faults = field(default_factory=Faults)
    seed: int = 0
    name = "simulated"

    @staticmethod
    def read(gt: str, faults: Faults | None = None, seed: int = 0) -> Simulated:
        """The segmenter of an instances file.

        Args:
            gt: its path.
            faults: of the answers.
            seed: of what is drawn.

        Raises:
            UserError: the file is missing or not of its form.
        """
        path = Path(gt).expanduser()
        given = read_instances(path)
        pairs = zip(given.images, given.instances, strict=True)
        images = {record.file_name: own for record, own in pairs}
        return Simulated(gt, sha256(path), images, faults or Faults(), seed)

    @property
    def parameters(self) -> dict[str, Any]:
        """The file's hash, the faults and the seed."""
        return {
            "gt": self.gt,
            "gt_sha256": self.gt_sha256,
            "faults": asdict(self.faults),
            "seed": self.seed,
        }

    def __call__(
        self, image: NDArray[np.uint8], prompts: Prompts, task: MapTask
    ) -> list[list[Candidate]]:
        """Part, object and group of each prompt.

        Raises:
            UserError: a point is of no instance of the ground truth.
        """
        own = [each for each in self.instances.get(task.record.file_name, ()) if not each.crowd]
        masks = {each.id: decode(each) for each in own}
        lab = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), np.float32)
        offered = []
        for k, id in enumerate(task.ids.tolist()):
            if id not in masks:
                raise UserError(
                    f"point {id} of image {task.record.file_name} is of no instance of {self.gt}; "
                    "give the instances file the points were made from"
                )
            named = prompts.yx[k][prompts.labels[k] == 0].astype(np.int64)
            others = [mask for other, mask in masks.items() if other != id]
            scene = _Scene(lab, masks[id], others, task.yx[k], named)
            offered.append(self._answer(scene, np.random.default_rng([self.seed, id])))
        return offered

    def _answer(self, scene: _Scene, random: np.random.Generator) -> list[Candidate]:
        """The three masks of a click, each with its faults and scores."""
        faults = self.faults
        entities = scene.part(CLUSTERS), scene.object, scene.group(random, faults.obeyed)
        if random.random() < faults.lost:
            entities = entities[0], scene.part(CLUSTERS - 1), entities[2]
        bonus = faults.part_bonus, 0.0, -faults.group_malus
        made = []
        for entity, above in zip(entities, bonus, strict=True):
            mask = self._worse(entity, random)
            iou = (mask & entity).sum() / max((mask | entity).sum(), 1)
            score = float(np.clip(iou + above + faults.doubt * random.normal(), 0, 1))
            stability = float(np.clip(0.5 + iou / 2 + 0.02 * random.normal(), 0, 1))
            made.append(Candidate(encode(mask), score, stability))
        return made

    def _worse(self, entity: Mask, random: np.random.Generator) -> Mask:
        """The mask of an entity with a waving border, and maybe without a piece."""
        side = float(np.sqrt(entity.sum()))
        noise = min(self.faults.noise * side / 100, 100.0)
        window = _window(entity, round(4 * noise) + 2)
        worse = Degrade(self.faults.missing, 0.25, noise, seed=int(random.integers(2**31)))
        made = np.zeros_like(entity)
        made[window] = worse(entity[window].astype(np.uint8), "") > 0
        return made


@dataclass(frozen=True)
class _Scene:
    """A clicked object and what is around it.

    Attributes:
        lab: `[H, W, 3]` float32, colors.
        object: `[H, W]` bool.
        others: masks of the image's other instances.
        yx: `[2]` int64, the click.
        named: `[n, 2]` int64, the clicks that are not the object.
    """

    lab: NDArray[np.float32]
    object: Mask
    others: list[Mask]
    yx: NDArray[np.int64]
    named: NDArray[np.int64]

    def part(self, clusters: int) -> Mask:
        """The piece of the object around the click that is alike in color and place."""
        y, x = np.nonzero(self.object)
        side = max(np.sqrt(len(y)), 1.0)
        colors = self.lab[y, x] / COLOR_SPREAD
        features = np.column_stack([colors, y / (side / 2), x / (side / 2)]).astype(np.float32)
        near = np.square(np.column_stack([y, x]) - self.yx).sum(1)
        if len(y) > clusters:
            cv2.setRNGSeed(0)
            stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 10, 0.1)
            given = np.zeros((len(y), 1), np.int32)  # it wants labels that it then draws itself
            found = cv2.kmeans(features, clusters, given, stop, 1, cv2.KMEANS_PP_CENTERS)[1]
            cluster = np.asarray(found).reshape(-1)
            same = np.zeros(self.object.shape, np.uint8)
            same[y, x] = cluster == cluster[near.argmin()]
            regions = np.asarray(cv2.connectedComponents(same)[1])
            part: Mask = (regions == regions[y[near.argmin()], x[near.argmin()]]) & (same > 0)
            if SMALLEST_PART <= part.sum() / len(y) <= LARGEST_PART:
                return part
        disc = np.zeros_like(self.object)
        kept = np.argsort(near, kind="stable")[: max(1, round(len(y) / clusters))]
        disc[y[kept], x[kept]] = True
        return disc

    def group(self, random: np.random.Generator, obeyed: float) -> Mask:
        """The object with those it touches; where there are none, with ground around it."""
        side = np.sqrt(max(self.object.sum(), 1))
        reach = _grown(self.object, max(2, round(0.05 * side)))
        group = self.object.copy()
        for other in self.others:
            if (other & reach).any():
                heard = any(other[y, x] for y, x in self.named) and random.random() < obeyed
                if not heard:
                    group |= other
        if (group == self.object).all():
            group = _grown(self.object, max(1, round(LEAK * side)))
        return group


def _grown(mask: Mask, radius: int) -> Mask:
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), disc)) > 0


def _window(mask: Mask, margin: int) -> tuple[slice, slice]:
    """The box of a mask with a margin, cut by the image; the whole image for an empty one."""
    y, x = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not len(y):
        return slice(None), slice(None)
    rows, columns = (slice(max(0, i[0] - margin), i[-1] + margin + 1) for i in (y, x))
    return rows, columns
