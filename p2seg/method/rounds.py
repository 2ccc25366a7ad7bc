"""The mutual distillation module (MDM): alternates I2S and S2I. It has no parameters.

Paper: Figs. 3 and 4.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from p2seg.errors import UserError
from p2seg.method.grid import on_grid, upsample
from p2seg.method.i2s import (
    affinity_factors,
    at_full_size,
    class_channels,
    class_probabilities,
    instance_to_semantic,
)
from p2seg.method.s2i import Decode, semantic_to_instances
from p2seg.ops.affinity import Way
from p2seg.structures import IGNORED, Batch, Labels, Outputs, Points


@dataclass(frozen=True)
class MutualDistillation:
    """The module and its settings; every default is explained in docs/explanation/method.md.

    Attributes:
        rounds: T, rounds after the seed.
        beta: Hadamard power of the affinity.
        decode: how S2I reads offsets, `vote` or `point`.
        way: of the affinity operators, which changes no result.
    """

    rounds: int = 1
    beta: float = 3.0
    decode: Decode = "vote"
    way: Way = "auto"

    def __post_init__(self) -> None:
        if self.rounds < 0 or self.beta <= 0:
            raise UserError(
                f"mdm.rounds={self.rounds} mdm.beta={self.beta}: rounds must be 0 or more, and "
                "beta above 0"
            )

    def __call__(
        self,
        outputs: Outputs,
        batch: Batch,
        rounds: int | None = None,
        factors: Tensor | None = None,
    ) -> list[Labels]:
        """Labels of round 0 (the seed) to T for a batch.

        Args:
            outputs: of the network on the batch.
            batch: its first semantic map, seed and points.
            rounds: T for this call; None: the module's.
            factors: `[B, N, d]` of the affinity logit; None: they are made.

        Returns:
            T + 1 labels of `[B, H, W]`, without gradient.
        """
        T = self.rounds if rounds is None else rounds
        first = batch.labels.semantic
        maps = self.semantics(outputs, batch.points, first, T, factors)
        later = [self.labels_of(each, outputs, batch.points, first) for each in maps]
        return [batch.labels, *later]

    @torch.no_grad()
    def semantics(
        self,
        outputs: Outputs,
        points: list[Points],
        first: Tensor,
        rounds: int,
        factors: Tensor | None = None,
    ) -> list[Tensor]:
        """`S_1 .. S_T` of a batch.

        Args:
            outputs: of the network.
            points: of the B images.
            first: `[B, H, W]` int64, the first semantic map; its 255 takes part in nothing.
            rounds: T.
            factors: `[B, N, d]` of the affinity logit; None: they are made.

        Returns:
            T maps `[B, C+1, h, w]`, float32 probabilities, without gradient.
        """
        if rounds == 0:
            return []
        p = class_probabilities(outputs.class_logits, points)
        channels = class_channels(points, p.shape[1] - 1, p.device)
        h, w = p.shape[2:]
        grid = on_grid(first)[:, :h, :w]
        if factors is None:
            factors = affinity_factors(outputs)
        maps: list[Tensor] = []
        for _ in range(rounds):
            p = instance_to_semantic(
                factors, p, channels, beta=self.beta, valid=grid != IGNORED, way=self.way
            )
            maps.append(p)
        return maps

    @torch.no_grad()
    def decoded(self, outputs: Outputs, batch: Batch) -> Labels:
        """The labels of the first stage with instances by the predicted offsets.

        Paper: Sec. 3, "The offset maps predicted by HRNet connect with the semantic segmentation
        maps to produce new instance segmentation maps".

        Args:
            outputs: of the network on the batch.
            batch: its initial semantic map and points.
        """
        first = batch.labels.semantic
        offset = upsample(outputs.offset, first.shape[1:])
        instances = semantic_to_instances(first, offset, batch.points, decode=self.decode)
        return replace(batch.labels, instances=instances)

    @torch.no_grad()
    def labels_of(
        self, semantic: Tensor, outputs: Outputs, points: list[Points], first: Tensor
    ) -> Labels:
        """Labels at input size from a round's map.

        Args:
            semantic: `[B, C+1, h, w]` probabilities.
            outputs: of the network.
            points: of the B images.
            first: `[B, H, W]` int64, the first map; its 255 (padding) stays ignored.
        """
        size = first.shape[1:]
        channels = class_channels(points, semantic.shape[1] - 1, semantic.device)
        probabilities = at_full_size(semantic, outputs, points, size, channels)
        best = probabilities.argmax(1)
        classes = channels.gather(1, best.flatten(1)).view_as(best)
        classes = classes.masked_fill(first == IGNORED, IGNORED)
        instances = semantic_to_instances(
            classes, upsample(outputs.offset, size), points, decode=self.decode
        )
        return Labels(classes, instances)
