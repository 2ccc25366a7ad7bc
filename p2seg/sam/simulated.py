"""A promptable model simulated from ground truth, for experiments without SAM.

It returns part, object and group of each click, as SAM's three masks usually do. Faults and scores
are like those in SAM's papers. It serves to compare choices of masks and their
effect on the method. Its masks are not a result of the method.
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
"""Clusters of color and position in an object. The cluster at the click is its part."""

COLOR_SPREAD = 20.0
"""Color distance in Lab units that equals half an object's side in the clustering."""

SMALLEST_PART, LARGEST_PART = 0.05, 0.8
"""Bounds of the part in shares of the object. Outside them, the part is a disc at the click."""

LEAK = 0.25
"""Margin of a group without neighbors, in sides of the object."""


@dataclass(frozen=True)
class Faults:
    """Faults of the simulated masks.

    With the defaults, the best mask is the whole object for about half of the clicks. Masks of
    objects have an IoU of 0.8 to 0.9.

    Attributes:
        noise: displacement of borders in pixels, for an object with a side of 100 pixels.
        missing: share of masks that lose a piece.
        lost: share of clicks with a larger part instead of the object.
        obeyed: share of negative clicks that a group respects.
        doubt: standard deviation of the predicted IoU.
        part_bonus: bias of the predicted IoU of parts, which have clear edges.
        group_malus: negative bias of the predicted IoU of groups.
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
                f"semantic.faults={asdict(self)}: missing, lost and obeyed must be in 0..1, "
                "noise and doubt >= 0"
            )


@dataclass(frozen=True)
class Simulated:
    """The simulated model. The masks of a click depend only on the random seed and its id.

    Attributes:
        gt: path of the instances file from which the points were made.
        gt_sha256: SHA-256 of the file.
        instances: instances of each image, by file name.
        faults: faults of the masks.
        seed: random seed.
    """

    gt: str
    gt_sha256: str
    instances: dict[str, Sequence[Instance]] = field(repr=False)
    faults: Faults = field(default_factory=Faults)
    seed: int = 0
    name = "simulated"

    @staticmethod
    def read(gt: str, faults: Faults | None = None, seed: int = 0) -> Simulated:
        """The simulated model of an instances file.

        Args:
            gt: path of the file.
            faults: faults of the masks.
            seed: random seed.

        Raises:
            UserError: the file is missing or invalid.
        """
        path = Path(gt).expanduser()
        content = read_instances(path)
        pairs = zip(content.images, content.instances, strict=True)
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
            UserError: a point belongs to no instance of the ground truth.
        """
        own = [each for each in self.instances.get(task.record.file_name, ()) if not each.crowd]
        masks = {each.id: decode(each) for each in own}
        lab = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), np.float32)
        candidates = []
        for k, id in enumerate(task.ids.tolist()):
            if id not in masks:
                raise UserError(
                    f"point {id} of image {task.record.file_name} is not in {self.gt}; give the "
                    "instances file from which the points were made"
                )
            negatives = prompts.yx[k][prompts.labels[k] == 0].astype(np.int64)
            others = [mask for other, mask in masks.items() if other != id]
            scene = _Scene(lab, masks[id], others, task.yx[k], negatives)
            candidates.append(self._predict(scene, np.random.default_rng([self.seed, id])))
        return candidates

    def _predict(self, scene: _Scene, random: np.random.Generator) -> list[Candidate]:
        """The three masks of a click with faults and scores."""
        faults = self.faults
        entities = scene.part(CLUSTERS), scene.object, scene.group(random, faults.obeyed)
        if random.random() < faults.lost:
            entities = entities[0], scene.part(CLUSTERS - 1), entities[2]
        biases = faults.part_bonus, 0.0, -faults.group_malus
        candidates = []
        for entity, bias in zip(entities, biases, strict=True):
            mask = self._degraded(entity, random)
            iou = (mask & entity).sum() / max((mask | entity).sum(), 1)
            score = float(np.clip(iou + bias + faults.doubt * random.normal(), 0, 1))
            stability = float(np.clip(0.5 + iou / 2 + 0.02 * random.normal(), 0, 1))
            candidates.append(Candidate(encode(mask), score, stability))
        return candidates

    def _degraded(self, entity: Mask, random: np.random.Generator) -> Mask:
        """The mask of an entity with a noisy border, sometimes without a piece."""
        side = float(np.sqrt(entity.sum()))
        noise = min(self.faults.noise * side / 100, 100.0)
        window = _window(entity, round(4 * noise) + 2)
        degrade = Degrade(self.faults.missing, 0.25, noise, seed=int(random.integers(2**31)))
        mask = np.zeros_like(entity)
        mask[window] = degrade(entity[window].astype(np.uint8), "") > 0
        return mask


@dataclass(frozen=True)
class _Scene:
    """A clicked object and its surroundings.

    Attributes:
        lab: `[H, W, 3]` float32, Lab colors.
        object: `[H, W]` bool.
        others: masks of the image's other instances.
        yx: `[2]` int64, the click.
        negatives: `[n, 2]` int64, the negative clicks.
    """

    lab: NDArray[np.float32]
    object: Mask
    others: list[Mask]
    yx: NDArray[np.int64]
    negatives: NDArray[np.int64]

    def part(self, clusters: int) -> Mask:
        """The piece of the object around the click with similar color and position."""
        y, x = np.nonzero(self.object)
        side = max(np.sqrt(len(y)), 1.0)
        colors = self.lab[y, x] / COLOR_SPREAD
        features = np.column_stack([colors, y / (side / 2), x / (side / 2)]).astype(np.float32)
        near = np.square(np.column_stack([y, x]) - self.yx).sum(1)
        if len(y) > clusters:
            cv2.setRNGSeed(0)
            stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 10, 0.1)
            unused = np.zeros((len(y), 1), np.int32)  # k-means++ replaces the initial labels
            labels = cv2.kmeans(features, clusters, unused, stop, 1, cv2.KMEANS_PP_CENTERS)[1]
            cluster = np.asarray(labels).reshape(-1)
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
        """The object with its neighbors, or with a margin if there are none."""
        side = np.sqrt(max(self.object.sum(), 1))
        reach = _dilated(self.object, max(2, round(0.05 * side)))
        group = self.object.copy()
        for other in self.others:
            if (other & reach).any():
                negative = any(other[y, x] for y, x in self.negatives)
                if not (negative and random.random() < obeyed):
                    group |= other
        if (group == self.object).all():
            group = _dilated(self.object, max(1, round(LEAK * side)))
        return group


def _dilated(mask: Mask, radius: int) -> Mask:
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), disc)) > 0


def _window(mask: Mask, margin: int) -> tuple[slice, slice]:
    """The bounding box of a mask with a margin; the whole image for an empty mask."""
    y, x = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not len(y):
        return slice(None), slice(None)
    rows, columns = (slice(max(0, i[0] - margin), i[-1] + margin + 1) for i in (y, x))
    return rows, columns
