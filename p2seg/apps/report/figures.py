"""Draws figures of how a network learns and what it predicts. Paper: Figs. 3, 5 and 8.

Masks side by side (Fig. 7) are drawn by `p2seg.apps.report.rows`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from p2seg.apps.report.grids import grid, panels
from p2seg.apps.report.pictures import (
    Mask,
    Picture,
    brighten,
    draw_heat,
    draw_instances,
    draw_offset,
    draw_points,
    draw_semantic,
    fit,
    palette,
)
from p2seg.data.dataset import Reader
from p2seg.data.network_input import NetworkInput, Size, moved_points
from p2seg.data.points import PointSet
from p2seg.errors import UserError
from p2seg.method.i2s import affinities_of, cells_of
from p2seg.method.losses import offset_targets
from p2seg.method.seed import Seeder
from p2seg.pseudo.network import NetworkLabeler
from p2seg.structures import STRIDE, Outputs, Points

SIDE = 480
"""Longest side of drawn images in pixels."""


@dataclass(frozen=True)
class Scene:
    """The method's inputs for one image.

    Attributes:
        name: file name.
        image: `[3, H, W]` uint8 RGB.
        points: points of the image.
        first: `[H, W]` int64, the initial semantic map.
        truth: the true masks of the points, or None.
    """

    name: str
    image: Tensor
    points: Points
    first: Tensor
    truth: Sequence[Mask] | None = None

    @property
    def size(self) -> Size:
        """(height, width) of the image."""
        return self.image.shape[1], self.image.shape[2]

    @property
    def large(self) -> Picture:
        """The image at the size of the figure."""
        return fit(brighten(self.image.permute(1, 2, 0).numpy()), SIDE)

    @property
    def clicked(self) -> Picture:
        """The image with its points."""
        return draw_points(self.large, self.points, self.scale)

    @property
    def scale(self) -> float:
        """Figure pixels per image pixel."""
        return SIDE / max(self.image.shape[1:])


def scene_of(
    points: PointSet, reader: Reader, index: int, truth: Sequence[Mask] | None = None
) -> Scene:
    """Reads one image of a point set."""
    record, own = points.images[index], points.points[index]
    return Scene(record.file_name, reader.image(record), own, reader.map(record, own), truth)


def progress_figure(
    scenes: Sequence[Scene], runs: Mapping[str, Mapping[int, Sequence[Tensor]]], cell: int
) -> Picture:
    """Draws the instances found after a growing number of training steps; colors ignore classes.

    Paper: Fig. 8.

    Args:
        scenes: the images.
        runs: instances `[H, W]` int64 of every scene, by name of the training and by step.
        cell: side of a picture in pixels.
    """
    steps = sorted({step for run in runs.values() for step in run})
    rows, names = [], []
    for place, scene in enumerate(scenes):
        truth = [] if scene.truth is None else [draw_instances(scene.large, scene.truth)]
        for name, run in runs.items():
            row = [scene.clicked, *truth]
            for step in steps:
                instances = run[step][place].numpy() if step in run else None
                drawn = None if instances is None else draw_instances(scene.large, instances)
                row.append(scene.large if drawn is None else drawn)
            rows.append(row)
            names.append(name)
    head = ["clicks", *["ground truth"] * (scenes[0].truth is not None)]
    return grid(rows, [*head, *(f"step {step:,}" for step in steps)], cell, names=names)


@torch.inference_mode()
def rounds_figure(scene: Scene, labeler: NetworkLabeler, seeder: Seeder, cell: int) -> Picture:
    """Draws the seed, the network's outputs and the rounds for one image. Paper: Figs. 3 and 5.

    Args:
        scene: the image.
        labeler: the network and its rounds.
        seeder: makes the seed instances.
        cell: side of a picture in pixels.
    """
    large, points = scene.large, scene.points
    image, first = scene.image.to(labeler.device), scene.first.to(labeler.device)
    outputs = labeler.outputs(image, points)
    shown = {
        "clicks": scene.clicked,
        "initial semantic map": draw_semantic(large, scene.first.numpy()),
        "seed instances": draw_instances(large, _seeds(scene, seeder).numpy()),
        "offsets": draw_offset(outputs.offset[0].float().cpu().numpy()),
    }
    if outputs.center is not None:
        heat = outputs.center[0].amax(0)  # maximum over all classes
        shown["heatmap of clicks"] = draw_heat(large, heat.float().cpu().numpy())
    if outputs.embedding is not None:
        k = _middle(points)
        shown["affinity to one click"] = _with_affinity(scene, labeler.input, outputs, k, 1)
    for t, semantic in enumerate(labeler.maps(outputs, points, first)):
        labeled = labeler.labeled(semantic, outputs, image, points, first)
        shown[f"classes, {_round(t)}"] = draw_semantic(large, semantic[0].argmax(0).cpu().numpy())
        shown[f"instances, {_round(t)}"] = draw_instances(large, labeled.instances.numpy())
    if scene.truth is not None:
        shown["ground truth"] = draw_instances(large, scene.truth)
    return panels(shown, 5, cell)


@torch.inference_mode()
def offset_figure(
    scenes: Sequence[Scene], labeler: NetworkLabeler, seeder: Seeder, cell: int
) -> Picture:
    """Draws offset fields: the targets of the seed, the prediction, and the predicted centers.

    Args:
        scenes: the images.
        labeler: the network.
        seeder: makes the seed instances.
        cell: side of a picture in pixels.
    """
    rows = []
    for scene in scenes:
        image, first = scene.image.to(labeler.device), scene.first.to(labeler.device)
        outputs = labeler.outputs(image, scene.points)
        input_size = labeler.input.size_of(*scene.size)
        ratio = torch.tensor([own / side for own, side in zip(scene.size, input_size, strict=True)])
        offset = outputs.offset[0].float().cpu() * ratio[:, None, None]  # pixels of the image
        targets = offset_targets(_seeds(scene, seeder)[None], [scene.points])[0]
        lengths = targets.norm(dim=0)
        longest = float(lengths[lengths > 0].quantile(0.99)) if lengths.any() else None
        last = labeler.maps(outputs, scene.points, first)[-1]
        labeled = labeler.labeled(last, outputs, image, scene.points, first)
        rows.append(
            [
                scene.clicked,
                draw_offset(targets.numpy(), longest),
                draw_offset(offset.numpy(), longest),
                _votes(scene, offset, ratio.tolist(), labeled.instances),
                draw_instances(scene.large, labeled.instances.numpy()),
            ]
        )
    titles = ["clicks", "target offsets", "predicted offsets", "predicted centers", "instances"]
    return grid(rows, titles, cell)


@torch.inference_mode()
def affinity_figure(
    scenes: Sequence[Scene], labeler: NetworkLabeler, beta: float, clicks: int, cell: int
) -> Picture:
    """Draws the affinity of all pixels to a clicked pixel, and its Hadamard power. Paper: Sec. 3.2.

    Args:
        scenes: the images.
        labeler: the network.
        beta: the power.
        clicks: most clicks per image.
        cell: side of a picture in pixels.

    Raises:
        UserError: the network has no affinity output.
    """
    rows = []
    for scene in scenes:
        outputs = labeler.outputs(scene.image.to(labeler.device), scene.points)
        if outputs.embedding is None:
            raise UserError(
                "this network has no affinity output; draw another figure, or train with mdm=paper"
            )
        for k in range(min(clicks, len(scene.points))):
            drawn = [_with_affinity(scene, labeler.input, outputs, k, p) for p in (1, beta)]
            click = draw_points(scene.large, _only(scene.points, k), scene.scale)
            rows.append([click, *drawn])
    return grid(rows, ["click", "affinity", f"to the power {beta:g}"], cell)


def _seeds(scene: Scene, seeder: Seeder) -> Tensor:
    return seeder(scene.first[None], [scene.points], scene.image[None]).instances[0]


def _round(t: int) -> str:
    return "no round" if t == 0 else f"round {t}"


def _middle(points: Points) -> int:
    return int((points.yx - points.yx.mean(0)).norm(dim=1).argmin())


def _only(points: Points, k: int) -> Points:
    return Points(points.yx[[k]], points.labels[[k]], points.ids[[k]])


def _with_affinity(
    scene: Scene, network_input: NetworkInput, outputs: Outputs, k: int, beta: float
) -> Picture:
    points = moved_points(scene.points, scene.size, network_input.size_of(*scene.size))
    cell = cells_of(points, outputs)[k : k + 1]
    heat = affinities_of(outputs, cell)[0, 0].float().pow(beta)
    heat /= heat.max().clamp(min=1e-12)  # I2S divides each row by its sum
    drawn = draw_heat(scene.large, heat.cpu().numpy())
    return draw_points(drawn, _only(scene.points, k), scene.scale)


def _votes(scene: Scene, offset: Tensor, ratio: Sequence[float], instances: Tensor) -> Picture:
    """Draws a dot at the predicted center of every grid cell, in the color of its instance.

    Args:
        scene: the image.
        offset: `[2, h, w]` in image pixels.
        ratio: image pixels per pixel of the network input, vertical and horizontal.
        instances: `[H, W]` int64.
    """
    at = [
        (torch.arange(n) * STRIDE + STRIDE / 2) * each - 0.5
        for n, each in zip(offset.shape[1:], ratio, strict=True)
    ]
    at = [each[each < side] for each, side in zip(at, instances.shape, strict=True)]
    start = torch.stack(torch.meshgrid(*at, indexing="ij"))
    y, x = start.floor().long().clamp(min=0)
    own = instances[y, x]
    goal = start + offset[:, : own.shape[0], : own.shape[1]]
    large = scene.large
    drawn = np.round(0.35 * large + 0.65 * 255).astype(np.uint8)
    places = ((goal + 0.5) * scene.scale - 0.5).round().long()
    inside = (own > 0) & (places >= 1).all(0)
    inside &= (places[0] < drawn.shape[0] - 1) & (places[1] < drawn.shape[1] - 1)
    colors = palette(len(scene.points))[own[inside].numpy() - 1]
    y, x = places[:, inside].numpy()
    for down, right in itertools.product((-1, 0, 1), repeat=2):
        drawn[y + down, x + right] = colors
    return draw_points(drawn, scene.points, scene.scale)
