"""Check of each training step for finite losses and a finite gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from p2seg.errors import UserError
from p2seg.runtime.ranks import Ranks

LEAST_SCALE = 2.0**-14
"""Minimum loss scale in 16-mixed precision. The scale starts at 2^16, and every skipped step halves
it. Below this minimum, most gradients underflow to zero in half precision."""

ADVICE = "look at these images, or lower the learning rate and add resume=changed"


@dataclass
class GradientCheck:
    """Decides before each optimizer step whether the step is taken.

    Attributes:
        scaler: gradient scaler of 16-mixed precision, in which single steps may overflow, else
            None.
        ranks: the processes of the training.
        skipped: number of steps skipped since the last call of `counted`.
    """

    scaler: Any
    ranks: Ranks
    skipped: int = 0

    def allows(
        self, losses: dict[str, Tensor], total: Tensor, norm: Tensor, names: list[str], step: int
    ) -> bool:
        """Checks a step after its backward pass. Collective: every rank must call it.

        Args:
            losses: losses of this process by name, each `[]`.
            total: `[]`, sum of the losses.
            norm: `[]`, unscaled norm of the gradient. The gradient is equal in all processes, so
                they make the same decision.
            names: names of the images of this process.
            step: index of the step, from 0.

        Returns:
            False if the step must be skipped; the loss scale is then lower.

        Raises:
            UserError: a loss is not finite, or the gradient is not finite. In 16-mixed precision,
                a non-finite gradient is an error only at the minimum loss scale.
        """
        if bool(total.isfinite() & norm.isfinite()):
            return True
        batches = [(float(total.detach()), _values(losses), names)]
        overflow = not math.isfinite(float(norm))
        if overflow:  # true in all processes; gathered to name the images of the affected one
            batches = self.ranks.gathered(batches[0])
        nonfinite = [each for each in batches if not math.isfinite(each[0])]
        if nonfinite:
            raise UserError(
                f"the loss of step {step} is not finite ({nonfinite[0][1]}) on "
                f"{_images(nonfinite)}; {ADVICE}"
            )
        if self.scaler is None:
            raise UserError(
                f"the gradient of step {step} is not finite, although the losses are "
                f"({batches[0][1]}), on {_images(batches)}; {ADVICE}"
            )
        before = self.scaler.get_scale()
        self.scaler.update()  # without an optimizer step, this only lowers the scale
        if not LEAST_SCALE <= self.scaler.get_scale() < before:
            raise UserError(
                f"the gradient of step {step} is not finite on {_images(batches)} even at a loss "
                f"scale of {before:g}, after many skipped steps; set trainer.precision=bf16-mixed "
                "or 32-true, or lower the learning rate, and add resume=changed"
            )
        self.skipped += 1
        return False

    def counted(self) -> int:
        """The number of steps skipped since the last call."""
        skipped, self.skipped = self.skipped, 0
        return skipped


def _values(losses: dict[str, Tensor]) -> str:
    return ", ".join(f"{name} {float(loss.detach())}" for name, loss in losses.items())


def _images(batches: list[tuple[float, str, list[str]]]) -> str:
    return ", ".join(name for *_, names in batches for name in names)
