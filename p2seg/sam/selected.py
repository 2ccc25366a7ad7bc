"""What is made of the chosen masks: first semantic maps, pseudo masks, and borders for others'."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from p2seg.data.images import read_image
from p2seg.data.maps import SemanticMap
from p2seg.data.rle import decode, encode, iou
from p2seg.errors import UserError
from p2seg.pseudo.labeler import Labeled, Labeler
from p2seg.sam.candidates import CandidateFolder
from p2seg.sam.choose import Chooser
from p2seg.sam.evidence import Evidence
from p2seg.sam.options import Options
from p2seg.semantic.source import MapTask
from p2seg.structures import Points

Owners = NDArray[np.int64]
Overlap = Literal["score", "smaller"]


@dataclass(frozen=True)
class Choice:
    """The chosen masks of an image.

    Attributes:
        masks: `[K, H, W]` bool, empty where a point has no candidates.
        score: `[K]` float64: predicted IoU, or agreement with the network.
    """

    masks: NDArray[np.bool_]
    score: NDArray[np.float64]

    def owners(self, yx: NDArray[np.int64], overlap: Overlap) -> Owners:
        """Whose every pixel is, where several masks claim it.

        Args:
            yx: `[K, 2]` int64; a point's own pixel is its own, of several points' the first's.
            overlap: the mask with the higher score has it, or the smaller one, which lies on top
                where one thing is in front of another.

        Returns:
            `[H, W]` int64: 0 nobody's, k + 1 the k-th point's.
        """
        rank = self.score if overlap == "score" else -self.masks.sum((1, 2))
        owner = np.zeros(self.masks.shape[1:], np.int64)
        for k in sorted(range(len(yx)), key=lambda k: (rank[k], -k)):
            owner[self.masks[k]] = k + 1
        for k in reversed(range(len(yx))):
            owner[tuple(yx[k])] = k + 1
        return owner


def choice_of(
    options: Options,
    points: Points,
    size: tuple[int, int],
    chooser: Chooser,
    score: NDArray[np.float64] | None = None,
    agreement: NDArray[np.float64] | None = None,
) -> Choice:
    """Chooses one mask per point.

    Args:
        options: the masks of all points.
        points: K of an image.
        size: (height, width) of the image, pixels.
        chooser: chooses among the options.
        score: `[M]` float64, the score of each option; None: `options.score`.
        agreement: `[M]` float64 in 0..1 with a network, if the chooser needs it.
    """
    chosen = chooser(options, points.labels.numpy(), size[0] * size[1], agreement)
    scores = options.score if score is None else score
    masks, own = np.zeros((len(points), *size), bool), np.zeros(len(points))
    for k, index in enumerate(chosen):
        if index is not None:
            masks[k], own[k] = decode(options.rles[index]), scores[index]
    return Choice(masks, own)


@dataclass(frozen=True)
class Selection:
    """Chooses the masks of images.

    Attributes:
        candidates: of all images.
        chooser: among them.
        evidence: of the network, for `select=network`.
        overlap: whose the pixels are that several chosen masks claim.
    """

    candidates: CandidateFolder
    chooser: Chooser
    evidence: Evidence | None = None
    overlap: Overlap = "smaller"

    @property
    def parameters(self) -> dict[str, Any]:
        """All that decides a choice besides an image's candidates, as JSON can hold it."""
        network = {} if self.evidence is None else {"network": self.evidence.provenance}
        return {**self.chooser.parameters, **network, "overlap": self.overlap}

    def __call__(self, points: Points, size: tuple[int, int], image: Tensor | None) -> Choice:
        """The choice for an image.

        Args:
            points: of it, at least one.
            size: (height, width), pixels.
            image: `[3, H, W]` uint8, needed with a network.

        Raises:
            UserError: the image's candidates are missing or damaged.
        """
        offered = self.candidates(points.ids.tolist())
        options = Options.of(offered, points.pixels.numpy(), self.evidence is not None)
        score = agreement = None
        if self.evidence is not None and options.rles:
            assert image is not None
            agreement = self.evidence(image, points, options.masks(), options.point)
            score = agreement
        return choice_of(options, points, size, self.chooser, score, agreement)


@dataclass(frozen=True)
class ChosenMaps:
    """First semantic maps of the chosen masks: a source for `p2seg.semantic.generate`.

    Attributes:
        selection: of the masks.
        source: what manifests call it: the segmenter's name.
        origin: the candidates' manifest, as it was read.
    """

    selection: Selection
    source: str
    origin: dict[str, Any]

    @property
    def name(self) -> str:
        """The segmenter's name."""
        return self.source

    @property
    def parameters(self) -> dict[str, Any]:
        """Those of the candidates and of the choice."""
        return {"candidates": self.origin, **self.selection.parameters}

    def inputs(self, task: MapTask) -> list[Path]:
        """The image's candidates; with a network the image as well."""
        if not len(task.ids):
            return []
        path, _ = self.selection.candidates.paths[int(task.ids[0])]
        return [path] if self.selection.evidence is None else [path, task.image]

    def __call__(self, task: MapTask) -> SemanticMap:
        """The map of an image, `[H, W]` uint8: 0 background, 1..C."""
        if not len(task.ids):
            return np.zeros(task.size, np.uint8)
        image = None
        if self.selection.evidence is not None:
            image = torch.from_numpy(read_image(task.image, task.size)).permute(2, 0, 1)
        points = Points(
            torch.from_numpy(task.yx).float(),
            torch.from_numpy(task.labels),
            torch.from_numpy(task.ids),
        )
        choice = self.selection(points, task.size, image)
        owner = choice.owners(task.yx, self.selection.overlap)
        return np.concatenate([[0], task.labels])[owner].astype(np.uint8)


@dataclass(frozen=True)
class ChosenLabeler:
    """Pseudo masks straight from the chosen masks: SAM's row in tables.

    Attributes:
        selection: of the masks.
    """

    selection: Selection
    on_gpu: bool = False

    @property
    def needs_image(self) -> bool:
        """Whether a network has a say."""
        return self.selection.evidence is not None

    def __call__(self, image: Tensor | None, points: Points, first: Tensor) -> Labeled:
        """The chosen masks of an image, each pixel one's; scores are those of the choice."""
        choice = self.selection(points, (first.shape[0], first.shape[1]), image)
        owner = choice.owners(points.pixels.numpy(), self.selection.overlap)
        scores = torch.from_numpy(choice.score).float()
        return Labeled(first, torch.from_numpy(owner), scores)


@dataclass(frozen=True)
class Snapped:
    """Another labeler's masks with a candidate's borders, where one agrees well enough.

    The candidate, or union of two, is chosen as `select=network` does, with the masks' IoU for the
    agreement: what speaks against a candidate without the masks counts as well.

    Attributes:
        labeler: makes the masks.
        selection: of candidates; its costs and sizes are used, its network is not.
        iou: that a point's mask and its candidate must have.
    """

    labeler: Labeler
    selection: Selection
    iou: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.iou <= 1:
            raise UserError(f"export.snap_iou={self.iou}; give an IoU above 0 and at most 1")

    @property
    def parameters(self) -> dict[str, Any]:
        """What decides the borders, as JSON can hold it."""
        given = {**self._chooser.parameters, "overlap": self.selection.overlap, "iou": self.iou}
        return {**given, "candidates": self.selection.candidates.provenance}

    @property
    def needs_image(self) -> bool:
        """As the labeler."""
        return self.labeler.needs_image

    @property
    def on_gpu(self) -> bool:
        """As the labeler."""
        return self.labeler.on_gpu

    @property
    def _chooser(self) -> Chooser:
        return replace(self.selection.chooser, select="network")

    def __call__(self, image: Tensor | None, points: Points, first: Tensor) -> Labeled:
        """The masks of an image, each pixel one's."""
        labeled = self.labeler(image, points, first)
        owner, yx = labeled.instances.numpy(), points.pixels.numpy()
        masks = owner[None] == np.arange(1, len(points) + 1)[:, None, None]
        offered = self.selection.candidates(points.ids.tolist())
        options = Options.of(offered, yx, unions=True)
        ours = [encode(mask) for mask in masks]
        pairs = zip(options.rles, options.point, strict=True)
        agreement = np.asarray([iou(rle, ours[k]) for rle, k in pairs])
        chosen = self._chooser(options, points.labels.numpy(), owner.size, agreement)
        for k, index in enumerate(chosen):
            if index is not None and agreement[index] >= self.iou:
                masks[k] = decode(options.rles[index])
        made = Choice(masks, labeled.scores.double().numpy()).owners(yx, self.selection.overlap)
        return replace(labeled, instances=torch.from_numpy(made))
