"""Whether a training step may be taken: only with finite losses and a finite gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from p2seg.errors import UserError
from p2seg.runtime.ranks import Ranks

LEAST_SCALE = 2.0**-14
"""Of the loss in 16-mixed precision. The scale starts at 2^16, every skipped step halves it, and
below this one the gradients of most weights are zero in half precision."""

ADVICE = "look at these images, or lower the learning rate and add resume=changed"


@dataclass
class GradientCheck:
    """Decides before each optimizer step whether the step is taken.

    Attributes:
        scaler: of 16-mixed precision, where the gradients of single steps may overflow; else None.
        ranks: the processes of the training.
        skipped: steps that were skipped since the last call of `counted`.
    """

    scaler: Any
    ranks: Ranks
    skipped: int = 0

    def allows(
        self, losses: dict[str, Tensor], total: Tensor, norm: Tensor, names: list[str], step: int
    ) -> bool:
        """Checks a step after its backward pass. Every process takes part.

        Args:
            losses: of this process by name, `[]` each.
            total: `[]`, their sum.
            norm: `[]`, of the gradient over all processes, without the scale of 16-mixed. All
                processes have the same gradient, so they come to the same decision.
            names: of the images of this process.
            step: number of the step, from 0.

        Returns:
            False for a step to skip, after which the scale of 16-mixed is lower.

        Raises:
            UserError: a loss is not finite, or the gradient is not; in 16-mixed, only when a lower
                scale does not help.
        """
        if bool(total.isfinite() & norm.isfinite()):
            return True
        found = [(float(total.detach()), _values(losses), names)]
        overflow = not math.isfinite(float(norm))
        if overflow:  # on all processes: the message names the images of the one that spoiled it
            found = self.ranks.gathered(found[0])
        spoiled = [each for each in found if not math.isfinite(each[0])]
        if spoiled:
            raise UserError(
                f"the loss of step {step} is not finite ({spoiled[0][1]}) on {_images(spoiled)}; "
                f"{ADVICE}"
            )
        if self.scaler is None:
            raise UserError(
                f"the gradient of step {step} is not finite, although the losses are "
                f"({found[0][1]}), on {_images(found)}; {ADVICE}"
            )
        before = self.scaler.get_scale()
        self.scaler.update()  # without a step before it, it only lowers the scale
        if not LEAST_SCALE <= self.scaler.get_scale() < before:
            raise UserError(
                f"the gradient of step {step} is not finite on {_images(found)}, although the loss "
                f"was scaled by {before:g}, after many steps that were skipped for the same "
                "reason; give trainer.precision=bf16-mixed or 32-true, or lower the learning rate, "
                "and add resume=changed"
            )
        self.skipped += 1
        return False

    def counted(self) -> int:
        """How many steps were skipped since the last call."""
        skipped, self.skipped = self.skipped, 0
        return skipped


def _values(losses: dict[str, Tensor]) -> str:
    return ", ".join(f"{name} {float(loss.detach())}" for name, loss in losses.items())


def _images(found: list[tuple[float, str, list[str]]]) -> str:
    return ", ".join(name for *_, names in found for name in names)
