"""P2Seg: one training step from images to losses.

Paper: Sec. 3.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from p2seg.method.i2s import affinity_factors
from p2seg.method.losses import P2SegLoss
from p2seg.method.rounds import MutualDistillation
from p2seg.method.s2i import Decode
from p2seg.structures import Batch, Labels, Outputs


@dataclass(frozen=True)
class P2Seg:
    """The method of the paper.

    Attributes:
        mdm: Mutual Distillation, the rounds of S2I and I2S.
        loss: Eqs. 3 to 5.
        start_step: rounds take part from this step on; before it the seeds are the only labels.
            Paper: Sec. 4.1 (warm-up).
    """

    mdm: MutualDistillation
    loss: P2SegLoss
    start_step: int = 2000

    @property
    def decode(self) -> Decode:
        """How S2I reads offsets."""
        return self.mdm.decode

    def objective(self, model: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:
        """The weighted losses of a step: `segmentation`, `offset` and `affinity`, each `[]`.

        During the warm-up the pairs of Eq. 5 are those of the seeds. After it, the pairs of the
        first stage are those of the instances that the offsets make of the initial semantic map.

        Raises:
            UserError: there are rounds or a weight of `affinity`, but the network has no
                affinities. If it has none and needs none, there is no loss `affinity`.
        """
        outputs: Outputs = model(batch.images)
        needed = self.mdm.rounds > 0 or self.loss.affinity > 0
        some = needed or outputs.embedding is not None  # DDP wants a gradient of every parameter
        factors = affinity_factors(outputs) if some else None
        rounds = self.mdm.rounds if step >= self.start_step else 0
        labels = self.mdm(outputs, batch, rounds, factors)
        pairs = [self.mdm.decoded(outputs, batch), *labels[1:]] if rounds else labels
        return self.loss(outputs, labels, batch, factors, self.mdm.way, pairs)

    def labels(self, outputs: Outputs, batch: Batch) -> list[Labels]:
        """The labels of all rounds, the seed's first."""
        return self.mdm(outputs, batch)
