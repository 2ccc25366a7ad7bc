"""Prompts for a promptable model: one click per object, with other clicks as negative points."""

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

MAX_POINTS = 9
"""Largest number of points in a prompt. SAM was trained with up to nine (its paper, App. A)."""

STABILITY_OFFSET = 1.0
"""Offset of the logit threshold in the stability score, as in SAM."""

MAX_LOGITS = 3 * 2**26
"""Largest number of full-size mask logits in memory, 0.75 GiB in float32."""

MASKS = 3
"""Masks of the model per prompt."""

ADVICE = "give semantic.sam.precision=float32, or another checkpoint"
"""Advice in the message about outputs that are not finite."""

NOT_A_POINT = -1
"""SAM's label of padding in prompts."""


@dataclass(frozen=True)
class Prompts:
    """The prompts of an image, one per point.

    Attributes:
        yx: `[K, N, 2]` float32, pixel indices, with the prompt's own point first.
        labels: `[K, N]` int64: 1 the object, 0 not the object, -1 padding.
    """

    yx: NDArray[np.float32]
    labels: NDArray[np.int64]

    @staticmethod
    def of(yx: NDArray[np.int64], labels: NDArray[np.int64], negatives: Negatives) -> Prompts:
        """The prompts of an image's points.

        Args:
            yx: `[K, 2]` int64, the clicked pixels. SAM moves them to the pixel centers.
            labels: `[K]` int64, classes of the points.
            negatives: which other points are negative. The nearest are used, with at most
                `MAX_POINTS` points per prompt.
        """
        count = len(yx)
        other = ~np.eye(count, dtype=bool)
        if negatives == "other_class":
            other &= labels[:, None] != labels[None]
        elif negatives == "none":
            other[:] = False
        # Of two clicks on one pixel, one would be positive and one negative.
        distance = np.square(yx[:, None] - yx[None]).sum(2)
        other &= distance > 0
        order = np.argsort(np.where(other, distance, np.iinfo(np.int64).max), 1, kind="stable")
        order = order[:, : min(MAX_POINTS - 1, int(other.sum(1).max(initial=0)))]
        kept = np.take_along_axis(other, order, 1)
        own = np.ones((count, 1), np.int64)
        return Prompts(
            yx=np.concatenate([yx[:, None], yx[order]], 1).astype(np.float32),
            labels=np.concatenate([own, np.where(kept, 0, NOT_A_POINT)], 1),
        )

    def parts(self, most: int) -> Iterator[tuple[NDArray[np.int64], Prompts]]:
        """Splits the prompts into parts with the same number of points.

        No prompt needs padding then. Padding changes the masks, as SAM was not trained with it.

        Args:
            most: maximum number of prompts per part.

        Yields:
            The indices of a part's prompts, and the prompts.
        """
        count = (self.labels != NOT_A_POINT).sum(1)
        for length in np.unique(count):
            same = np.flatnonzero(count == length)
            for start in range(0, len(same), most):
                part = same[start : start + most]
                yield part, Prompts(self.yx[part, :length], self.labels[part, :length])


class Prompter(Protocol):
    """A promptable model. It is pickled for worker processes, so it loads its weights lazily."""

    @property
    def name(self) -> str:
        """Name in manifests: "sam", "sam2", "simulated"."""

    @property
    def parameters(self) -> dict[str, Any]:
        """Settings that affect the masks, as JSON values."""

    def __call__(
        self, image: NDArray[np.uint8], prompts: Prompts, task: MapTask
    ) -> list[list[Candidate]]:
        """The candidates of each prompt, in order.

        Args:
            image: `[H, W, 3]` uint8 RGB.
            prompts: K prompts.
            task: the image's record and clicks.
        """


@dataclass(frozen=True)
class Prompting:
    """The source of candidates for `p2seg.semantic.generate`.

    Attributes:
        prompter: the promptable model.
        negatives: which other points are negative.
    """

    prompter: Prompter
    negatives: Negatives = "other_class"

    @property
    def name(self) -> str:
        """The name of the promptable model."""
        return self.prompter.name

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of the promptable model, and the choice of negative points."""
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
        candidates = self.prompter(image, prompts, task)
        return {int(id): each for id, each in zip(task.ids, candidates, strict=True)}


def half_precision(precision: Precision, device: torch.device) -> torch.dtype | None:
    """The half precision of the image encoder, or None for float32.

    Args:
        precision: `auto` is float16 on a CUDA device and float32 elsewhere. The decoder is always
            in float32, because its logits are thresholded.
        device: device of the model.
    """
    check_choice("semantic.sam.precision", precision, ("auto", "float32", "float16", "bfloat16"))
    half = {"auto": torch.float16 if device.type == "cuda" else None, "bfloat16": torch.bfloat16}
    return {**half, "float16": torch.float16, "float32": None}[precision]


def prompts_at_once(size: tuple[int, ...]) -> int:
    """The batch size of prompts for an image of (height, width)."""
    return max(1, min(64, MAX_LOGITS // (MASKS * size[0] * size[1])))


def predict_in_parts(
    prompts: Prompts,
    size: tuple[int, ...],
    predict: Callable[[Prompts], tuple[Tensor, Tensor]],
    threshold: float,
) -> list[list[Candidate]]:
    """The candidates of every prompt, predicted in parts that fit into memory.

    Args:
        prompts: K prompts of an image.
        size: (height, width) of the image, pixels.
        predict: the model: logits `[k, M, H, W]` and predicted IoU `[k, M]` of k prompts with the
            same number of points.
        threshold: threshold of the logits.
    """
    candidates: list[list[Candidate]] = [[]] * len(prompts.yx)
    for indices, part in prompts.parts(prompts_at_once(size)):
        for k, each in zip(indices, candidates_of(*predict(part), threshold), strict=True):
            candidates[k] = each
    return candidates


def candidates_of(logits: Tensor, predicted_iou: Tensor, threshold: float) -> list[list[Candidate]]:
    """Converts the outputs of a promptable model to candidates.

    Args:
        logits: `[K, M, H, W]`, mask logits at the image's size.
        predicted_iou: `[K, M]`.
        threshold: threshold of the logits.

    Raises:
        NotFinite: a logit or a predicted IoU is NaN or infinite.
    """
    from segment_anything.utils.amg import calculate_stability_score

    check_outputs(logits, predicted_iou, advice=ADVICE)
    stability = calculate_stability_score(logits, threshold, STABILITY_OFFSET)
    stability = stability.nan_to_num(0)  # NaN if the mask is empty at both thresholds
    masks = (logits > threshold).cpu().numpy()
    scores = torch.stack([predicted_iou.float(), stability], 2).clamp(0, 1).cpu().tolist()
    return [
        [Candidate(encode(mask), *pair) for mask, pair in zip(own, pairs, strict=True)]
        for own, pairs in zip(masks, scores, strict=True)
    ]
