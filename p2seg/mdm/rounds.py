"""The Mutual Distillation Module: S2I and I2S in turns. It has no parameters.

Paper: Figs. 3 and 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from p2seg.errors import UserError
from p2seg.mdm.i2s import affinity_factors, class_probabilities, instance_to_semantic
from p2seg.mdm.s2i import Decode, semantic_to_instances
from p2seg.structures import IGNORED, STRIDE, Batch, Labels, Outputs, Points, Round


@dataclass(frozen=True)
class MutualDistillation:
    """The module and its settings; every default is explained in docs/method.md.

    Attributes:
        rounds: T, rounds after the seed.
        beta: Hadamard power of the affinity.
        gamma: weight of the affinity between pixels of different instances from round 2 on; 1 is a
            plain random walk.
        decode: how S2I reads offsets, `vote` or `point`.
        prior: what the rounds start from: the network's class probabilities, or those times the
            first map (`(1 - e) onehot(S0) + e`).
        prior_epsilon: e.
    """

    rounds: int = 1
    beta: float = 3.0
    gamma: float = 0.1
    decode: Decode = "vote"
    prior: Literal["network", "S0"] = "network"
    prior_epsilon: float = 0.1

    def __post_init__(self) -> None:
        if self.rounds < 0 or self.beta <= 0 or not 0 <= self.gamma <= 1:
            raise UserError(
                f"mdm.rounds={self.rounds} mdm.beta={self.beta} mdm.gamma={self.gamma} cannot be; "
                "there are 0 or more rounds, beta is above 0 and gamma in 0..1"
            )

    def __call__(self, outputs: Outputs, batch: Batch, rounds: int | None = None) -> list[Round]:
        """Labels of round 0 (the seed) to T for a batch.

        Args:
            outputs: of the network on the batch.
            batch: its first semantic map, seed and points.
            rounds: T for this call; None: the module's.

        Returns:
            T + 1 rounds, their labels at `[B, H, W]`, without gradient.
        """
        labels = [batch.labels]
        maps: list[Tensor] = []
        T = self.rounds if rounds is None else rounds
        size = batch.labels.semantic.shape[1:]
        for semantic in self.semantics(outputs, batch.points, batch.labels.semantic, T):
            maps.append(semantic)
            labels.append(self.labels_of(semantic.detach(), outputs.offset, batch.points, size))
        return [Round(labels[0], None), *map(Round, labels[1:], maps)]

    def factors(self, outputs: Outputs, points: list[Points]) -> tuple[Tensor, Tensor]:
        """Factors of the affinity logit, `[B, h w, D]`; pixels that look like objects vote."""
        p = class_probabilities(outputs.class_logits.detach(), points)
        return affinity_factors(outputs, p.argmax(1) > 0)

    def semantics(
        self, outputs: Outputs, points: list[Points], first: Tensor, rounds: int
    ) -> list[Tensor]:
        """`S_1 .. S_T` of a batch.

        Args:
            outputs: of the network.
            points: of the B images.
            first: `[B, H, W]` int64, the first semantic map; its 255 takes part in nothing.
            rounds: T.

        Returns:
            T maps `[B, C+1, h, w]`, float32 probabilities, with gradient.
        """
        if rounds == 0:
            return []
        p = class_probabilities(outputs.class_logits, points)
        h, w = p.shape[2:]
        grid = on_grid(first)[:, :h, :w]
        if self.prior == "S0":
            p = self._with_prior(p, grid)
        valid = grid != IGNORED
        left, right = self.factors(outputs, points)
        maps: list[Tensor] = []
        instances: list[Tensor] | None = None
        for t in range(rounds):
            p = torch.stack(
                [
                    instance_to_semantic(
                        left[b],
                        right[b],
                        outputs.affinity_bias,
                        p[b],
                        beta=self.beta,
                        gamma=1.0 if instances is None else self.gamma,
                        instances=None if instances is None else instances[b],
                        valid=valid[b],
                    )
                    for b in range(len(p))
                ]
            )
            maps.append(p)
            if t + 1 < rounds:
                instances = [
                    self._instances_on_grid(p[b].detach(), outputs.offset[b].detach(), points[b])
                    for b in range(len(p))
                ]
        return maps

    def labels_of(
        self, semantic: Tensor, offset: Tensor, points: list[Points], size: tuple[int, ...]
    ) -> Labels:
        """Labels at input size from a round's map.

        Args:
            semantic: `[B, C+1, h, w]` probabilities.
            offset: `[B, 2, h, w]` pixels.
            points: of the B images.
            size: (H, W).
        """
        made = [
            self._labels_of_one(s, o, p, size)
            for s, o, p in zip(semantic, offset.detach(), points, strict=True)
        ]
        return Labels(*(torch.stack(each) for each in zip(*made, strict=True)))

    def _labels_of_one(
        self, semantic: Tensor, offset: Tensor, points: Points, size: tuple[int, ...]
    ) -> tuple[Tensor, Tensor, Tensor]:
        used = semantic.amax((1, 2)).nonzero()[:, 0]
        probabilities = upsample(semantic[used], size)
        confidence, best = probabilities.max(0)
        classes = used[best]
        instances = semantic_to_instances(
            classes, upsample(offset, size), points, decode=self.decode
        )
        return classes, instances, mean_over_masks(confidence, instances, len(points)).clamp(0.1, 1)

    def _instances_on_grid(self, semantic: Tensor, offset: Tensor, points: Points) -> Tensor:
        shrunk = Points(points.yx / STRIDE, points.labels, points.ids)
        return semantic_to_instances(
            semantic.argmax(0), offset / STRIDE, shrunk, decode=self.decode
        )

    def _with_prior(self, p: Tensor, grid: Tensor) -> Tensor:
        given = F.one_hot(grid.masked_fill(grid == IGNORED, 0), p.shape[1]).movedim(-1, 1)
        factor = (1 - self.prior_epsilon) * given + self.prior_epsilon
        factor = torch.where((grid == IGNORED)[:, None], torch.ones_like(factor), factor)
        p = p * factor
        return p / p.sum(1, keepdim=True)


def on_grid(labels: Tensor) -> Tensor:
    """Labels `[B, H, W]` at the centres of the stride-4 grid, `[B, ceil(H/4), ceil(W/4)]`."""
    height, width = labels.shape[-2:]
    y = (torch.arange(0, height, STRIDE, device=labels.device) + STRIDE // 2).clamp(max=height - 1)
    x = (torch.arange(0, width, STRIDE, device=labels.device) + STRIDE // 2).clamp(max=width - 1)
    return labels[..., y[:, None], x[None, :]]


def upsample(grid: Tensor, size: tuple[int, ...]) -> Tensor:
    """Brings `[n, h, w]` of the stride-4 grid to `[n, H, W]`, bilinearly.

    A grid that stands out over the image (its sides are no multiple of 4) is cut.
    """
    full = (grid.shape[-2] * STRIDE, grid.shape[-1] * STRIDE)
    large = F.interpolate(grid[None].float(), full, mode="bilinear", align_corners=False)[0]
    return large[:, : size[0], : size[1]]


def mean_over_masks(values: Tensor, instances: Tensor, count: int) -> Tensor:
    """Replaces each value by the mean over its instance's mask; 0 where there is no instance.

    Args:
        values: `[H, W]` float32.
        instances: `[H, W]` int64, 0 none, 1..count.
        count: K.
    """
    flat = instances.flatten()
    total = torch.zeros(count + 1, device=values.device).index_add_(0, flat, values.flatten())
    area = torch.bincount(flat, minlength=count + 1).clamp(min=1)
    mean = total / area
    mean[0] = 0
    return mean[instances]
