"""Optimizers and how the learning rate moves: plain functions of the step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from p2seg.errors import UserError

Factor = Callable[[int], float]
"""What the learning rate is multiplied by at a step (0-based)."""


PAPERS_WARMUP = 1 / 25
"""Share of the steps that warm-up takes in the paper on VOC: 2,000 of 50,000."""


def poly(max_steps: int, warmup_steps: int | None = 0, power: float = 0.9) -> Factor:
    """Linear warm-up, then polynomial decay from 1 at its end to 0.

    Paper: Sec. 4.1 for the length of the warm-up; the decay is BESTIE's.

    Args:
        max_steps: of the training.
        warmup_steps: of the warm-up; None: the share that it takes in the paper.
        power: of the decay, `(1 - t) ** power` for the share t of the steps after the warm-up.
    """
    rising = round(max_steps * PAPERS_WARMUP) if warmup_steps is None else warmup_steps

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        return float(max(0.0, 1 - (step - rising) / max(1, max_steps - rising)) ** power)

    return factor


def steps(milestones: Sequence[int], warmup_steps: int = 0, decay: float = 0.1) -> Factor:
    """Linear warm-up, then one `decay` at each milestone that is passed."""

    def factor(step: int) -> float:
        passed = sum(step >= milestone for milestone in milestones)
        return min(1.0, (step + 1) / max(1, warmup_steps)) * decay**passed

    return factor


def adamw(
    network: nn.Module,
    *,
    lr: float,
    backbone_lr: float | None = None,
    backbone_factor: float = 1.0,
    weight_decay: float = 0.01,
) -> torch.optim.AdamW:
    """AdamW with a learning rate of its own for `network.backbone`.

    Scales and shifts of norms and biases are not decayed. One fused kernel makes the step.

    Args:
        network: a module with a `backbone`.
        lr: of everything else.
        backbone_lr: of the backbone; None: `backbone_factor` times lr.
        backbone_factor: for a rate that goes with lr, as a segmentor's goes with its batch.
        weight_decay: decoupled decay of the weights.

    Raises:
        UserError: one of them is negative.
    """
    rates = {True: lr * backbone_factor if backbone_lr is None else backbone_lr, False: lr}
    if min(*rates.values(), weight_decay) < 0:
        raise UserError(
            f"optim.lr={lr} optim.backbone_lr={backbone_lr} optim.weight_decay={weight_decay} "
            "cannot be; none of them may be negative"
        )
    groups = []
    for in_backbone, rate in rates.items():
        own = [
            p
            for name, p in network.named_parameters()
            if p.requires_grad and name.startswith("backbone.") == in_backbone
        ]
        for decayed in (True, False):
            chosen = [p for p in own if (p.ndim > 1) == decayed]
            if chosen:
                decay = weight_decay if decayed else 0.0
                groups.append({"params": chosen, "lr": rate, "weight_decay": decay})
    return torch.optim.AdamW(groups, fused=True)


def sgd(
    network: nn.Module, *, lr: float, momentum: float = 0.9, weight_decay: float
) -> torch.optim.SGD:
    """SGD over the parameters that are trained."""
    return torch.optim.SGD(
        [p for p in network.parameters() if p.requires_grad],
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
    )


class WeightAverage:
    """Exponential average of a module's weights and buffers.

    The decay is `min(.999, (1 + t) / (10 + t))` at the t-th update, so that a short run is not
    held back by its first weights.
    """

    def __init__(self, module: nn.Module) -> None:
        self.updates = 0
        self.state = {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Takes the module's present weights in."""
        decay = min(0.999, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        averages, values = [], []
        for name, value in module.state_dict().items():
            average = self.state[name]
            if average.is_floating_point():
                averages.append(average)
                values.append(value.to(average))
            else:
                average.copy_(value)
        if averages:
            torch._foreach_lerp_(averages, values, 1 - decay)  # a few kernels for all of them
