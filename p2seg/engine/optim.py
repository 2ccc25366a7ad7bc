"""Optimizers, learning rate schedules, and the moving average of weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from p2seg.errors import UserError

Factor = Callable[[int], float]
"""Step (from 0) -> factor on the learning rate."""

PAPERS_WARMUP = 1 / 25
"""Share of warm-up steps in the paper on VOC: 2,000 of 50,000."""


def poly(max_steps: int, warmup_steps: int | None = 0, power: float = 0.9) -> Factor:
    """Linear warm-up to 1, then polynomial decay to 0.

    Paper: Sec. 4.1 for the length of the warm-up; the decay is BESTIE's.

    Args:
        max_steps: number of steps of the training.
        warmup_steps: number of warm-up steps; None: `PAPERS_WARMUP * max_steps`.
        power: exponent of the decay `(1 - t) ** power`, where t in 0..1 is the progress after the
            warm-up.
    """
    rising = round(max_steps * PAPERS_WARMUP) if warmup_steps is None else warmup_steps

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        return float(max(0.0, 1 - (step - rising) / max(1, max_steps - rising)) ** power)

    return factor


def steps(milestones: Sequence[int], warmup_steps: int = 0, decay: float = 0.1) -> Factor:
    """Linear warm-up; the factor is multiplied by `decay` at each milestone (a step)."""

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
    """AdamW with a separate learning rate for `network.backbone`.

    Biases and normalization parameters have no weight decay. The fused implementation is used.

    Args:
        network: a module with a `backbone`.
        lr: learning rate of all other parameters.
        backbone_lr: learning rate of the backbone; None: `backbone_factor * lr`.
        backbone_factor: factor for `backbone_lr=None`.
        weight_decay: decoupled weight decay.

    Raises:
        UserError: a value is negative.
    """
    rates = {True: lr * backbone_factor if backbone_lr is None else backbone_lr, False: lr}
    if min(*rates.values(), weight_decay) < 0:
        raise UserError(
            f"optim.lr={lr} optim.backbone_lr={backbone_lr} optim.weight_decay={weight_decay} "
            "must be >= 0"
        )
    groups = []
    for in_backbone, rate in rates.items():
        own = [
            p
            for name, p in network.named_parameters()
            if p.requires_grad and name.startswith("backbone.") == in_backbone
        ]
        for decayed in (True, False):
            parameters = [p for p in own if (p.ndim > 1) == decayed]
            if parameters:
                decay = weight_decay if decayed else 0.0
                groups.append({"params": parameters, "lr": rate, "weight_decay": decay})
    return torch.optim.AdamW(groups, fused=True)


def sgd(
    network: nn.Module, *, lr: float, momentum: float = 0.9, weight_decay: float
) -> torch.optim.SGD:
    """SGD over the parameters that require gradients."""
    return torch.optim.SGD(
        [p for p in network.parameters() if p.requires_grad],
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
    )


class WeightAverage:
    """Exponential moving average of a module's weights and buffers.

    The decay at update t (from 0) is `min(0.999, (1 + t) / (10 + t))`, so that in a short run the
    initial weights have little influence.
    """

    def __init__(self, module: nn.Module) -> None:
        self.updates = 0
        self.state = {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Updates the average with the module's current weights."""
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
            torch._foreach_lerp_(averages, values, 1 - decay)  # few kernels for all tensors
