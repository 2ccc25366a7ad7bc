"""Labels images by the trained network, its offsets and the rounds at full size."""

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
from p2seg.pseudo.edges import mended, to_edges
from p2seg.pseudo.labeler import Labeled, check_odds
from p2seg.semantic.missed import regions_of_missed
from p2seg.structures import IGNORED, STRIDE, Outputs, Points, class_set

COARSEST = 32
"""The coarsest stride of a backbone, input pixels."""

Silhouette = Literal["S0", "network"]


@dataclass(frozen=True)
class NetworkLabeler:
    """The trained network, its offsets and MDM's rounds at full size.

    Attributes:
        network: on its device, in evaluation mode.
        mdm: the rounds; None: the method has none (BESTIE).
        rounds: T at export.
        silhouette: which map is split into instances: the first one (`S0`; its 255 filled by the
            network), or the last round's (`network`).
        orphans: `nearest` or `drop`.
        snap_radius: as in the seeds.
        split: how a region with several points is split; `euclidean` goes by the offsets of the
            network (`decode`), and `mixture` begins with them.
        foreground: what the classes' odds against background are multiplied by before the rounds. A
            network that learned from maps which miss parts of objects finds them too small.
        edges: radius in pixels of the guided filter that takes the probabilities to the image's
            edges; 0: they stay as smooth as the grid of stride 4 makes them. The silhouette of the
            first map is `mended` with the two.
        flip: also the mirrored image, averaged.
        scales: of what the network sees; probabilities and offsets are averaged, affinities are
            scale 1's.
        decode: how S2I reads offsets; None: as in the rounds, or `point` where there are none.
        input: how the network sees an image, as in its training. The rounds work at its size;
            edges, the split into instances and scores have the image's own.
        level: of the region that a click outside of its class's silhouette gets, see
            `p2seg.semantic.missed.regions_of_missed`; None: it gets none.
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
            raise UserError(f"export.scales={list(self.scales)}; give one or more above 0")
        check_odds(self.foreground)

    @property
    def on_gpu(self) -> bool:
        """Whether the network is on a GPU."""
        return self.device.type == "cuda"

    @property
    def device(self) -> torch.device:
        """Where the network is."""
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
        """The maps of the rounds at export: `P_0, S_1 .. S_T`.

        Args:
            outputs: of `outputs`.
            points: of the image.
            first: `[H, W]` int64, the first map.

        Returns:
            T + 1 maps `[1, C+1, h, w]`, float32 probabilities; `P_0` alone without affinities.
        """
        given = class_probabilities(outputs.class_logits, [points])
        if self.mdm is None:
            return [given]
        own = (first.shape[0], first.shape[1])
        size = self.input.size_of(*own)
        points, first = moved_points(points, own, size), resized_labels(first, size)
        return [given, *self.mdm.semantics(outputs, [points], first[None], self.rounds)]

    def labeled(
        self, semantic: Tensor, outputs: Outputs, image: Tensor, points: Points, first: Tensor
    ) -> Labeled:
        """What one of the `maps` makes of the image.

        Args:
            semantic: `[1, C+1, h, w]` probabilities.
            outputs: of `outputs`.
            image: `[3, H, W]` uint8.
            points: of the image.
            first: `[H, W]` int64, the first map.

        Raises:
            NotFinite: a probability is NaN, because outputs overflow in the rounds.
        """
        check_outputs(semantic)
        own = (image.shape[1], image.shape[2])
        size = self.input.size_of(*own)
        classes = class_set([points], semantic.shape[1] - 1, image.device)[0].nonzero()[:, 0]
        whole = at_full_size(semantic, outputs, [points], size, classes[None])[0]
        probabilities = to_edges(_resized(whole[None], own)[0], image, self.edges)
        if self.silhouette == "S0":
            first = mended(first, image, points, self.foreground, self.edges)
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
            image: `[3, H, W]` uint8 on the network's device.
            points: of the image, for its class set.

        Returns:
            Outputs with B = 1, at the size that the network sees, on the grid of scale 1; class
            logits are log probabilities, and those of classes raised by `foreground`.

        Raises:
            NotFinite: the network gives NaN or infinity.
        """
        image = self.input.apply(image)
        first: Outputs = self._seen(image)
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
                seen = first if plain else self._seen(variant)
                p, o = class_probabilities(seen.class_logits, [points]), seen.offset
                if seen.detailed_logits is not None:
                    d = class_probabilities(seen.detailed_logits, [points])
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
        """Logarithms of the mean, with the odds of classes against background raised."""
        logits = torch.stack(probabilities).mean(0).log()
        logits[:, 1:] += math.log(self.foreground)
        return logits

    def _seen(self, image: Tensor) -> Outputs:
        """What the network itself gives on an image `[3, H, W]`; it must be finite."""
        seen: Outputs = self.network(image[None])
        check_outputs(*seen)
        return seen

    def silhouette_of(self, probabilities: Tensor, classes: Tensor, first: Tensor) -> Tensor:
        """The map that is split into instances.

        Args:
            probabilities: `[n, H, W]` of the class set.
            classes: `[n]` int64, the class of each channel.
            first: `[H, W]` int64, the first map.
        """
        best = classes[probabilities.argmax(0)]
        return torch.where(first == IGNORED, best, first) if self.silhouette == "S0" else best

    def _with_missed(
        self, split: Tensor, probabilities: Tensor, classes: Tensor, points: Points
    ) -> Tensor:
        """The map `[H, W]` with a region for each click that is not in its class there."""
        yx, labels = points.pixels.numpy(), points.labels.numpy()
        found = split.cpu().numpy()
        missed = found[tuple(yx.T)] != labels
        if self.level is None or not missed.any():
            return split
        made = found.copy()
        for label in np.unique(labels[missed]):
            channel = probabilities[(classes == int(label)).nonzero()[0, 0]].float().cpu().numpy()
            asked = missed & (labels == label)
            regions = regions_of_missed(channel, found == label, yx, asked, self.level)
            made[regions > 0] = label
        return torch.from_numpy(made).to(split.device)


def _padded(image: Tensor) -> Tensor:
    """The image with sides that the coarsest stride divides, so that a mirror image of it has the
    mirror image of its grid."""
    height, width = image.shape[1:]
    color = image.new_tensor(MEAN_COLOR)[:, None, None]
    padded = color.repeat(1, height + -height % COARSEST, width + -width % COARSEST)
    padded[:, :height, :width] = image
    return padded


def _variant(image: Tensor, scale: float, mirrored: bool) -> Tensor:
    """The padded image near `scale`, with sides that the coarsest stride divides again."""
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
