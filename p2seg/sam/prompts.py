"""Asking a segmenter: an image, a click an object, and the other clicks as what is not meant."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from p2seg.data.images import read_image
from p2seg.data.rle import encode
from p2seg.engine.finite import check_outputs
from p2seg.errors import check_choice
from p2seg.sam.candidates import Candidate, Candidates
from p2seg.semantic.source import MapTask

Negatives = Literal["other_class", "all", "none"]
Precision = Literal["auto", "float32", "float16", "bfloat16"]

MOST_POINTS = 9
"""Of a prompt: SAM learned from one and up to eight more (its paper, App. A)."""

STABILITY_OFFSET = 1.0
"""Of the threshold of the logits, up and down, in stability (SAM's own)."""

LOGITS_AT_ONCE = 3 * 2**26
"""Logits of masks at the image's size that are held at once, 0.75 GiB in float32."""

MASKS = 3
"""That a segmenter offers for a prompt."""

ADVICE = "give semantic.sam.precision=float32, or another checkpoint"
"""After outputs that are not finite."""

NOT_A_POINT = -1
"""The label that pads prompts; SAM's own."""


@dataclass(frozen=True)
class Prompts:
    """What is asked of an image, one prompt a point.

    Attributes:
        yx: `[K, N, 2]` float32, indices of pixels; first the point itself.
        labels: `[K, N]` int64: 1 the object, 0 not the object, -1 padding.
    """

    yx: NDArray[np.float32]
    labels: NDArray[np.int64]

    @staticmethod
    def of(yx: NDArray[np.int64], labels: NDArray[np.int64], negatives: Negatives) -> Prompts:
        """The prompts of an image's points.

        Args:
            yx: `[K, 2]` int64, the pixels clicked; SAM itself moves them to the
                pixels' centers.
            labels: `[K]` int64, their classes.
            negatives: which of the other points are named as not the object; the nearest, at most
                `MOST_POINTS` with the point itself.
        """
        count = len(yx)
        other = ~np.eye(count, dtype=bool)
        if negatives == "other_class":
            other &= labels[:, None] != labels[None]
        elif negatives == "none":
            other[:] = False
        # two clicks on one pixel would say yes and no of the same
        distance = np.square(yx[:, None] - yx[None]).sum(2)
        other &= distance > 0
        order = np.argsort(np.where(other, distance, np.iinfo(np.int64).max), 1, kind="stable")
        most = min(MOST_POINTS - 1, int(other.sum(1).max(initial=0)))
        order = order[:, :most]
        kept = np.take_along_axis(other, order, 1)
        own = np.ones((count, 1), np.int64)
        return Prompts(
            yx=np.concatenate([yx[:, None], yx[order]], 1).astype(np.float32),
            labels=np.concatenate([own, np.where(kept, 0, NOT_A_POINT)], 1),
        )

    def alike(self, most: int) -> Iterator[tuple[NDArray[np.int64], Prompts]]:
        """The prompts in parts of equally many points, so that none is padded: a segmenter sees
        padding, and has not learned it.

        Args:
            most: prompts of a part.

        Yields:
            Indices of some prompts, and these.
        """
        count = (self.labels != NOT_A_POINT).sum(1)
        for length in np.unique(count):
            same = np.flatnonzero(count == length)
            for start in range(0, len(same), most):
                some = same[start : start + most]
                yield some, Prompts(self.yx[some, :length], self.labels[some, :length])


class Prompter(Protocol):
    """A segmenter that answers prompts. It is pickled: it loads its weights when first asked."""

    @property
    def name(self) -> str:
        """What manifests call it: "sam", "sam2", "simulated"."""

    @property
    def parameters(self) -> dict[str, Any]:
        """All that decides its answers, as JSON can hold it."""

    def __call__(
        self, image: NDArray[np.uint8], prompts: Prompts, task: MapTask
    ) -> list[list[Candidate]]:
        """The candidates of each prompt, in order.

        Args:
            image: `[H, W, 3]` uint8 RGB.
            prompts: K of them.
            task: the image they are of.
        """


@dataclass(frozen=True)
class Prompting:
    """Makes the candidates of images: a source for `p2seg.semantic.generate`.

    Attributes:
        prompter: the segmenter.
        negatives: which other points it is told.
    """

    prompter: Prompter
    negatives: Negatives = "other_class"

    @property
    def name(self) -> str:
        """The segmenter's."""
        return self.prompter.name

    @property
    def parameters(self) -> dict[str, Any]:
        """The segmenter's, and which points it is told."""
        return {**self.prompter.parameters, "negatives": self.negatives}

    def inputs(self, task: MapTask) -> list[Path]:
        """The image."""
        return [task.image]

    def __call__(self, task: MapTask) -> Candidates:
        """The candidates of every point of an image."""
        if not len(task.yx):
            return {}
        image = read_image(task.image, task.size)
        prompts = Prompts.of(task.yx, task.labels, self.negatives)
        offered = self.prompter(image, prompts, task)
        return {int(id): each for id, each in zip(task.ids, offered, strict=True)}


def half_precision(precision: Precision, device: torch.device) -> torch.dtype | None:
    """The type of an image encoder's matrices, None where it is float32.

    Args:
        precision: `auto` is float16 on a CUDA device and float32 elsewhere. The decoder, whose
            logits are cut at a threshold, is never in half precision.
        device: where it runs.
    """
    check_choice("semantic.sam.precision", precision, ("auto", "float32", "float16", "bfloat16"))
    half = {"auto": torch.float16 if device.type == "cuda" else None, "bfloat16": torch.bfloat16}
    return {**half, "float16": torch.float16, "float32": None}[precision]


def prompts_at_once(size: tuple[int, ...]) -> int:
    """How many prompts of an image (height, width) are answered at once."""
    return max(1, min(64, LOGITS_AT_ONCE // (MASKS * size[0] * size[1])))


def answers(
    prompts: Prompts,
    size: tuple[int, ...],
    ask: Callable[[Prompts], tuple[Tensor, Tensor]],
    threshold: float,
) -> list[list[Candidate]]:
    """The candidates of every prompt, asked for in parts that fit.

    Args:
        prompts: K of an image.
        size: (height, width) of it, pixels.
        ask: the segmenter: logits `[k, M, H, W]` and predicted IoU `[k, M]` of k prompts of
            equally many points.
        threshold: of the logits.
    """
    offered: list[list[Candidate]] = [[]] * len(prompts.yx)
    for some, part in prompts.alike(prompts_at_once(size)):
        for k, candidates in zip(some, candidates_of(*ask(part), threshold), strict=True):
            offered[k] = candidates
    return offered


def candidates_of(logits: Tensor, predicted_iou: Tensor, threshold: float) -> list[list[Candidate]]:
    """What a segmenter's answers are as candidates.

    Args:
        logits: `[K, M, H, W]`, of masks at the image's size.
        predicted_iou: `[K, M]`.
        threshold: of the logits.

    Raises:
        NotFinite: a logit or a predicted IoU is NaN or infinite.
    """
    from segment_anything.utils.amg import calculate_stability_score

    check_outputs(logits, predicted_iou, advice=ADVICE)
    stability = calculate_stability_score(logits, threshold, STABILITY_OFFSET)
    stability = stability.nan_to_num(0)  # of a mask that is empty either way
    masks = (logits > threshold).cpu().numpy()
    scores = torch.stack([predicted_iou.float(), stability], 2).clamp(0, 1).cpu().tolist()
    return [
        [Candidate(encode(mask), *pair) for mask, pair in zip(own, pairs, strict=True)]
        for own, pairs in zip(masks, scores, strict=True)
    ]
