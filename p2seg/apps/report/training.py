"""Pictures of a training batch for TensorBoard."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from p2seg.apps.report.grids import grid
from p2seg.apps.report.pictures import (
    Picture,
    draw_instances,
    draw_offset,
    draw_points,
    draw_semantic,
)
from p2seg.structures import Batch, Labels, Outputs, Points


@torch.no_grad()
def training_pictures(
    model: nn.Module,
    batch: Batch,
    step: int,  # noqa: ARG001
    labels: Callable[[Outputs, Batch], list[Labels]],
    images: int = 4,
) -> Mapping[str, Picture]:
    """Draws a batch for TensorBoard: the labels of every round, and the offsets as colors.

    Args:
        model: the network; its mode is restored.
        batch: only its first images are drawn.
        step: training step.
        labels: returns the labels of all rounds.
        images: most images to draw.
    """
    training = model.training
    model.eval()  # train mode would change the running statistics
    outputs = model(batch.images)
    rounds = labels(outputs, batch)
    model.train(training)
    rows = []
    for b in range(min(images, len(batch.names))):
        image = batch.images[b].permute(1, 2, 0).cpu().numpy()
        points = Points(batch.points[b].yx.cpu(), batch.points[b].labels, batch.points[b].ids)
        row = [draw_points(image, points)]
        for each in rounds:
            row.append(draw_semantic(image, each.semantic[b].cpu().numpy()))
            row.append(draw_instances(image, each.instances[b].cpu().numpy()))
        rows.append([*row, draw_offset(outputs.offset[b].float().cpu().numpy())])
    names = ["seed", *(f"round {t}" for t in range(1, len(rounds)))]
    titles = [f"{what} of {name}" for name in names for what in ("semantic", "instances")]
    return {"rounds": grid(rows, ["points", *titles, "offset"], cell=208)}
