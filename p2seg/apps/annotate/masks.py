"""Makes the masks of clicked points for the preview: by GrabCut and a labeler, or by SAM."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from p2seg.data.network_input import NetworkInput, Size, moved_points, resized_image, resized_labels
from p2seg.data.records import ImageRecord
from p2seg.pseudo.labeler import Labeler
from p2seg.pseudo.network import NetworkLabeler
from p2seg.sam.candidates import Candidate
from p2seg.sam.choose import Chooser
from p2seg.sam.options import Options
from p2seg.sam.prompts import Negatives, Prompter, Prompts
from p2seg.sam.selected import Overlap, choice_of
from p2seg.semantic.grabcut import GrabCut
from p2seg.semantic.source import MapTask
from p2seg.structures import Points

Picture = NDArray[np.uint8]
Instances = NDArray[np.int64]


class MaskMaker(Protocol):
    """Makes masks of an image's points.

    Attributes:
        name: what the page calls it.
    """

    @property
    def name(self) -> str:
        """What the page calls it."""

    def __call__(self, image: Picture, points: Points) -> Instances:
        """Returns an instance map, possibly smaller than the image.

        Args:
            image: `[H, W, 3]` uint8 RGB.
            points: of the image; without a point the image is only prepared.
        """


@dataclass(frozen=True)
class LabelerMasks:
    """Masks of GrabCut's initial semantic map and a labeler.

    Attributes:
        name: what the page calls it.
        labeler: assigns each pixel of the initial semantic map to a point. A network labeler gets
            the image at the size that it uses for export.
        side: longest side in pixels at which GrabCut and the seeds work.
    """

    name: str
    labeler: Labeler
    side: int

    def __call__(self, image: Picture, points: Points) -> Instances:
        """Returns the instance map of an image."""
        own, small = (image.shape[0], image.shape[1]), NetworkInput(long_side=self.side)
        rule = self.labeler.input if isinstance(self.labeler, NetworkLabeler) else small
        to, size = small.size_of(*own), rule.size_of(*own)
        if not len(points):
            return np.zeros(size, np.int64)
        tensor = torch.tensor(image).movedim(2, 0)
        drawn = resized_image(tensor, to).movedim(0, 2).contiguous().numpy()
        near = moved_points(points, own, to)
        first = GrabCut().segment(drawn, near.pixels.numpy(), near.labels.numpy())
        labeled = self.labeler(
            resized_image(tensor, size).contiguous(),
            moved_points(points, own, size),
            resized_labels(torch.from_numpy(first.astype(np.int64)), size),
        )
        instances: Instances = labeled.instances.cpu().numpy()
        return instances


@dataclass
class SamMasks:
    """Masks of SAM. An image is embedded once; a click costs the decoder alone.

    Attributes:
        name: what the page calls it.
        prompter: the model.
        chooser: chooses among the masks of a point.
        negatives: which other points are negative prompts.
        overlap: who gets the pixels of several chosen masks.
        side: longest side in pixels of the image that SAM gets.
    """

    name: str
    prompter: Prompter
    chooser: Chooser
    negatives: Negatives
    overlap: Overlap
    side: int
    _image: Picture | None = field(default=None, init=False)
    _small: Picture = field(default_factory=lambda: np.zeros((1, 1, 3), np.uint8), init=False)
    _known: dict[bytes, list[Candidate]] = field(default_factory=dict, init=False)

    def __call__(self, image: Picture, points: Points) -> Instances:
        """Returns the instance map of an image."""
        size = NetworkInput(long_side=self.side).size_of(image.shape[0], image.shape[1])
        if image is not self._image:
            tensor = torch.tensor(image).movedim(2, 0)
            self._small = resized_image(tensor, size).movedim(0, 2).contiguous().numpy()
            self._image, self._known = image, {}
        if not len(points):
            middle = np.array([[size[0] // 2, size[1] // 2]])
            self._ask(Prompts.of(middle, np.ones(1, np.int64), "none"), size)
            return np.zeros(size, np.int64)
        near = moved_points(points, (image.shape[0], image.shape[1]), size)
        yx = near.pixels.numpy()
        candidates = self._candidates(Prompts.of(yx, near.labels.numpy(), self.negatives), size)
        options = Options.of(candidates, yx, unions=False)
        return choice_of(options, near, size, self.chooser).owners(yx, self.overlap)

    def _candidates(self, prompts: Prompts, size: Size) -> list[list[Candidate]]:
        """The candidates of each prompt; prompts of earlier clicks are not repeated."""
        pairs = zip(prompts.yx, prompts.labels, strict=True)
        keys = [b"".join(each[own >= 0].tobytes() for each in (yx, own)) for yx, own in pairs]
        new = [k for k, key in enumerate(keys) if key not in self._known]
        if new:
            asked = self._ask(Prompts(prompts.yx[new], prompts.labels[new]), size)
            self._known |= zip((keys[k] for k in new), asked, strict=True)
        return [self._known[key] for key in keys]

    def _ask(self, prompts: Prompts, size: Size) -> list[list[Candidate]]:
        count = len(prompts.yx)
        record = ImageRecord(1, "the image", *size)
        none = np.zeros(count, np.int64)
        task = MapTask(record, Path(), prompts.yx[:, 0].astype(np.int64), none, none, ())
        return self.prompter(self._small, prompts, task)
