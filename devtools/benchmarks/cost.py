"""Measures each stage of an experiment: parameters, operations, time and memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from devtools.benchmarks.measure import Row, cost, name_of
from devtools.benchmarks.segmentors import instances_of
from devtools.benchmarks.step import batch_of
from p2seg.engine.optim import adamw
from p2seg.method.interface import Method
from p2seg.pseudo.network import NetworkLabeler
from p2seg.segmentors.segmentor import Segmentor
from p2seg.segmentors.training import segmentor_losses
from p2seg.structures import to_device

Stage = tuple[str, int, int, Callable[[], object]]
"""Name, image side in pixels, number of images, and the work."""


@dataclass(frozen=True)
class Experiment:
    """The models of an experiment, with random weights.

    Attributes:
        labeler: the point network as used for export.
        method: its training objective.
        start_step: the first step whose loss uses the rounds.
        classes: C.
        side: side of the network's square images in pixels.
        batch: images per step.
        segmentor: the segmentation model.
        segmentor_side: side of its square images in pixels.
        segmentor_batch: images per step.
    """

    labeler: NetworkLabeler
    method: Method
    start_step: int
    classes: int
    side: int
    batch: int
    segmentor: Segmentor
    segmentor_side: int
    segmentor_batch: int


def suite(device: torch.device, repeats: int, experiment: Experiment) -> list[Row]:
    """Measures one row per stage, on noise with class blobs and eight clicks per image.

    MACs are half of the operations that PyTorch counts in matrix products and convolutions. Triton
    kernels are not counted.
    """
    parts = (
        (experiment.labeler.network, _network_stages(experiment, device)),
        (experiment.segmentor, _segmentor_stages(experiment, device)),
    )
    rows = []
    for model, stages in parts:
        parameters = sum(each.numel() for each in model.to(device).parameters())
        for name, side, batch, work in stages:
            with FlopCounterMode(display=False) as counter:
                work()
            seconds, peak = cost(work, device, repeats)
            rows.append(
                Row(
                    name=name,
                    device=name_of(device),
                    dtype="float32",
                    h=side,
                    d=0,
                    batch=batch,
                    seconds=seconds,
                    peak_mb=peak,
                    parameters=parameters,
                    macs=counter.get_total_flops() / 2,
                )
            )
    return rows


def _network_stages(experiment: Experiment, device: torch.device) -> Iterator[Stage]:
    labeler, side = experiment.labeler, experiment.side
    network, learned = labeler.network, _learned(labeler.network)
    batch = to_device(batch_of(side, experiment.batch, experiment.classes), device)
    network.eval().requires_grad_(False)  # the counter fails on trainable parameters
    yield "network, forward", side, 1, partial(_forward, network, batch.images[:1])
    first = batch.images[0], batch.points[0], batch.labels.semantic[0]
    yield "pseudo masks", side, 1, partial(labeler, *first)
    network.train()
    _learn(learned)
    for step, name in ((0, "before the rounds"), (experiment.start_step, "with the rounds")):
        objective = partial(experiment.method.objective, network, batch, step)
        yield f"training step, {name}", side, experiment.batch, _step(network, objective)


def _segmentor_stages(experiment: Experiment, device: torch.device) -> Iterator[Stage]:
    segmentor, side = experiment.segmentor, experiment.segmentor_side
    batch = instances_of(batch_of(side, experiment.segmentor_batch, experiment.classes))
    batch = to_device(batch, device)
    learned = _learned(segmentor)
    segmentor.eval().requires_grad_(False)
    yield "segmentor, forward", side, 1, partial(segmentor.predict, batch.images[:1])
    segmentor.train()
    _learn(learned)
    objective = partial(segmentor_losses, segmentor, batch, 0)
    name = "segmentor, training step"
    yield name, side, experiment.segmentor_batch, _step(segmentor, objective)


def _learned(model: nn.Module) -> list[nn.Parameter]:
    return [each for each in model.parameters() if each.requires_grad]


def _learn(parameters: list[nn.Parameter]) -> None:
    for each in parameters:
        each.requires_grad_()


@torch.no_grad()
def _forward(model: nn.Module, images: object) -> object:
    return model(images)


def _step(model: nn.Module, objective: Callable[[], dict[str, Tensor]]) -> Callable[[], None]:
    optimizer = adamw(model, lr=1e-6)

    def work() -> None:
        optimizer.zero_grad()
        torch.stack(list(objective().values())).sum().backward()
        optimizer.step()

    return work
