"""Labels images with the trained network, its offsets and the MDM rounds at full image size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from p2seg.data.network_input import (
    AS_IT_IS,
    NetworkInput,
    moved_points,
    resized_labels,
)
from p2seg.data.transforms import MEAN_COLOR
from p2seg.engine.finite import check_outputs
from p2seg.errors import UserError
from p2seg.method.grid import upsample
from p2seg.method.i2s import at_full_size, class_probabilities
from p2seg.method.rounds import MutualDistillation
from p2seg.method.s2i import Decode, Orphans, semantic_to_instances
from p2seg.method.split import EUCLIDEAN, Split
from p2seg.pseudo.edges import aligned_map, to_edges
from p2seg.pseudo.labeler import Labeled, check_odds
from p2seg.semantic.missed import regions_of_missed
from p2seg.structures import IGNORED, STRIDE, Outputs, Points, class_set

COARSEST = 32
"""Coarsest stride of a backbone in input pixels."""

Silhouette = Literal["S0", "network"]


@dataclass(frozen=True)
class NetworkLabeler:
    """A labeler with a trained network.

    Attributes:
        network: the network, on its device and in evaluation mode.
        mdm: the mutual distillation module; None: the method has no rounds (BESTIE).
        rounds: T, number of rounds at export.
        silhouette: the semantic map that is split into instances: the initial one (`S0`, unknown
            pixels filled by the network), or that of the last round (`network`).
        orphans: see `semantic_to_instances`.
        snap_radius: pixels, see `Seeder`.
        split: how a region with several points is split; `euclidean` uses the network's offsets
            (`decode`), and `mixture` is initialized with them.
        foreground: factor on the odds of classes against background before the rounds. A network
            that has learned from maps with missing parts predicts objects too small.
        edges: radius in pixels of the guided filter that aligns probabilities to image edges; 0: no
            filter. `p2seg.pseudo.edges.aligned_map` filters the initial semantic map.
        flip: whether to average over the mirrored image.
        scales: scales of the input; probabilities and offsets are averaged, affinities are those of
            scale 1.
        decode: how S2I uses offsets; None: as in the rounds, or `point` without rounds.
        input: the input size, as in training. The rounds run at the input size; edges, the split
            and scores are computed at the image size.
        level: probability threshold of the region for a point outside its class, see
            `p2seg.semantic.missed.regions_of_missed`; None: no such region.
    """

    network: nn.Module
    mdm: MutualDistillation | None
    rounds: int = 1
    silhouette: Silhouette = "S0"
    orphans: Orphans = "nearest"
    snap_radius: float = 16.0
    split: Split = EUCLIDEAN
    foreground: float = 1.0
    edges: int = 0
    flip: bool = False
    scales: tuple[float, ...] = (1.0,)
    decode: Decode | None = None
    input: NetworkInput = AS_IT_IS
    level: float | None = None
    needs_image: bool = True

    def __post_init__(self) -> None:
        if not self.scales or min(self.scales) <= 0:
            raise UserError(
                f"export.scales={list(self.scales)}: must be a list of one or more numbers > 0"
            )
        check_odds(self.foreground)

    @property
    def on_gpu(self) -> bool:
        """Whether the network is on a GPU."""
        return self.device.type == "cuda"

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return next(self.network.parameters()).device

    @torch.inference_mode()
    def __call__(self, image: Tensor | None, points: Points, first: Tensor) -> Labeled:
        """Labels one image.

        Raises:
            NotFinite: see `outputs` and `labeled`.
        """
        assert image is not None
        image, first = image.to(self.device), first.to(self.device)
        outputs = self.outputs(image, points)
        last = self.maps(outputs, points, first)[-1]
        return self.labeled(last, outputs, image, points, first)

    def maps(self, outputs: Outputs, points: Points, first: Tensor) -> list[Tensor]:
        """The semantic maps of the rounds at export: `P_0, S_1 .. S_T`.

        Args:
            outputs: returned by `outputs`.
            points: points of the image.
            first: `[H, W]` int64, the initial semantic map.

        Returns:
            T + 1 maps `[1, C+1, h, w]`, float32 probabilities; only `P_0` without rounds.
        """
        p0 = class_probabilities(outputs.class_logits, [points])
        if self.mdm is None:
            return [p0]
        own = (first.shape[0], first.shape[1])
        size = self.input.size_of(*own)
        points, first = moved_points(points, own, size), resized_labels(first, size)
        return [p0, *self.mdm.semantics(outputs, [points], first[None], self.rounds)]

    def labeled(
        self, semantic: Tensor, outputs: Outputs, image: Tensor, points: Points, first: Tensor
    ) -> Labeled:
        """The instance map from one of the `maps`.

        Args:
            semantic: `[1, C+1, h, w]` probabilities.
            outputs: returned by `outputs`.
            image: `[3, H, W]` uint8 RGB.
            points: points of the image.
            first: `[H, W]` int64, the initial semantic map.

        Raises:
            NotFinite: a probability is NaN, because the network's outputs overflow in the rounds.
        """
        check_outputs(semantic)
        own = (image.shape[1], image.shape[2])
        size = self.input.size_of(*own)
        classes = class_set([points], semantic.shape[1] - 1, image.device)[0].nonzero()[:, 0]
        full_size = at_full_size(semantic, outputs, [points], size, classes[None])
        probabilities = to_edges(_resized(full_size, own)[0], image, self.edges)
        if self.silhouette == "S0":
            first = aligned_map(first, image, points, self.foreground, self.edges)
        split = self.silhouette_of(probabilities, classes, first)
        if self.silhouette != "S0":
            split = self._with_missed(split, probabilities, classes, points)
        offset = upsample(outputs.offset, size)
        ratio = offset.new_tensor([own[0] / size[0], own[1] / size[1]])[:, None, None]
        [instances] = semantic_to_instances(
            split[None],
            _resized(offset, own) * ratio,
            [points],
            decode=self.decode or (self.mdm.decode if self.mdm else "point"),
            snap_radius=self.snap_radius,
            orphans=self.orphans,
            split=self.split,
            images=image[None],
        )
        scores = _scores(probabilities, classes, instances, points)
        return Labeled(split.cpu(), instances.cpu(), scores.cpu())

    def outputs(self, image: Tensor, points: Points) -> Outputs:
        """The network's outputs on one image, averaged over flips and scales.

        Args:
            image: `[3, H, W]` uint8 RGB on the network's device.
            points: points of the image, for its class set.

        Returns:
            Outputs with B = 1 at the input size, on the grid of scale 1. Class logits are log
            probabilities; log(`foreground`) is added to those of classes.

        Raises:
            NotFinite: the network's outputs contain NaN or infinity.
        """
        image = self.input.apply(image)
        first: Outputs = self._predict(image)
        grid = first.offset.shape[2:]
        padded = _padded(image)
        cells = torch.Size(side // STRIDE for side in padded.shape[1:])
        probabilities: list[Tensor] = []
        detailed: list[Tensor] = []
        offsets: list[Tensor] = []
        for scale in self.scales:
            for mirrored in (False, True)[: 1 + self.flip]:
                plain = scale == 1 and not mirrored
                variant = image if plain else _variant(padded, scale, mirrored)
                outputs = first if plain else self._predict(variant)
                p, o = class_probabilities(outputs.class_logits, [points]), outputs.offset
                if outputs.detailed_logits is not None:
                    d = class_probabilities(outputs.detailed_logits, [points])
                    d = d.flip(3) if mirrored else d
                    d = d if plain else _resized(d, padded.shape[1:])
                    detailed.append(d[..., : image.shape[1], : image.shape[2]])
                if mirrored:
                    p, o = p.flip(3), o.flip(3) * o.new_tensor([1, -1])[:, None, None]
                if not plain:
                    y, x = (a / b for a, b in zip(padded.shape[1:], variant.shape[1:], strict=True))
                    o = o * o.new_tensor([y, x])[:, None, None]
                    p, o = (_resized(each, cells)[..., : grid[0], : grid[1]] for each in (p, o))
                probabilities.append(p)
                offsets.append(o)
        return first._replace(
            class_logits=self._raised(probabilities),
            offset=torch.stack(offsets).mean(0),
            detailed_logits=self._raised(detailed) if detailed else None,
        )

    def _raised(self, probabilities: list[Tensor]) -> Tensor:
        """Logarithm of the mean probabilities, plus log(`foreground`) for classes."""
        logits = torch.stack(probabilities).mean(0).log()
        logits[:, 1:] += math.log(self.foreground)
        return logits

    def _predict(self, image: Tensor) -> Outputs:
        """The network's finite outputs on an image `[3, H, W]`."""
        outputs: Outputs = self.network(image[None])
        check_outputs(*outputs)
        return outputs

    def silhouette_of(self, probabilities: Tensor, classes: Tensor, first: Tensor) -> Tensor:
        """The semantic map `[H, W]` int64 that is split into instances.

        Args:
            probabilities: `[n, H, W]`, probabilities of the class set.
            classes: `[n]` int64, class of each channel.
            first: `[H, W]` int64, the initial semantic map.
        """
        best = classes[probabilities.argmax(0)]
        return torch.where(first == IGNORED, best, first) if self.silhouette == "S0" else best

    def _with_missed(
        self, split: Tensor, probabilities: Tensor, classes: Tensor, points: Points
    ) -> Tensor:
        """Adds a region to the map `[H, W]` for each point whose pixel is not of its class."""
        yx, labels = points.pixels.numpy(), points.labels.numpy()
        semantic = split.cpu().numpy()
        missed = semantic[tuple(yx.T)] != labels
        if self.level is None or not missed.any():
            return split
        result = semantic.copy()
        for label in np.unique(labels[missed]):
            channel = probabilities[(classes == int(label)).nonzero()[0, 0]].float().cpu().numpy()
            asked = missed & (labels == label)
            regions = regions_of_missed(channel, semantic == label, yx, asked, self.level)
            result[regions > 0] = label
        return torch.from_numpy(result).to(split.device)


def _padded(image: Tensor) -> Tensor:
    """Pads the image to multiples of the coarsest stride, so that mirroring mirrors its grid."""
    height, width = image.shape[1:]
    color = image.new_tensor(MEAN_COLOR)[:, None, None]
    padded = color.repeat(1, height + -height % COARSEST, width + -width % COARSEST)
    padded[:, :height, :width] = image
    return padded


def _variant(image: Tensor, scale: float, mirrored: bool) -> Tensor:
    """The padded image resized by about `scale`, to multiples of the coarsest stride."""
    size = [max(1, round(side * scale / COARSEST)) * COARSEST for side in image.shape[1:]]
    if size != list(image.shape[1:]):
        large = F.interpolate(image[None].float(), size, mode="bilinear", antialias=True)
        image = large[0].round().clamp(0, 255).to(torch.uint8)
    return image.flip(2) if mirrored else image


def _resized(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    if maps.shape[2:] == size:
        return maps
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)


def _scores(probabilities: Tensor, classes: Tensor, instances: Tensor, points: Points) -> Tensor:
    channel = torch.zeros(int(classes.max()) + 1, dtype=torch.long, device=classes.device)
    channel[classes] = torch.arange(len(classes), device=classes.device)
    of_point = F.pad(channel[points.labels.to(classes.device)], (1, 0))
    own = probabilities.gather(0, of_point[instances][None])[0]
    total = torch.zeros(len(points) + 1, device=own.device)
    total.index_add_(0, instances.flatten(), own.flatten())
    area = torch.bincount(instances.flatten(), minlength=len(points) + 1)
    return (total / area.clamp(min=1))[1:]
