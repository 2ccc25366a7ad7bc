"""SOLOv2 (Wang et al. 2020) in plain PyTorch, with any timm backbone.

Paper: Table 4. Each cell of several grids predicts the class of the instance centered there and a
convolution kernel. The kernel applied to the feature map of the image gives the instance's mask.
There are no boxes and no anchors. Matrix NMS removes duplicates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from p2seg.engine.finite import check_outputs
from p2seg.errors import UserError
from p2seg.models.norms import Norm
from p2seg.segmentors.data import InstanceBatch
from p2seg.segmentors.detection import SoftDetection
from p2seg.segmentors.inputs import prepared
from p2seg.segmentors.lazy_masks import cell_mask
from p2seg.segmentors.limits import Room
from p2seg.segmentors.pyramid import FeaturePyramid, build_body
from p2seg.segmentors.segmentor import Segmentor
from p2seg.segmentors.sizes import check_solov2
from p2seg.segmentors.solov2.heads import GridHead, MaskFeature, RawOutputs, at_grid_strides
from p2seg.segmentors.solov2.losses import category_loss, mask_loss
from p2seg.segmentors.solov2.matrix_nms import matrix_nms, peaks
from p2seg.segmentors.solov2.targets import GridLevel, grid_owners
from p2seg.structures import STRIDE

GRIDS = (40, 36, 24, 16, 12)
CANDIDATES_PER_OBJECT = 5
"""Candidates per object if the limit of objects is raised; the ratio of SOLOv2's paper."""
SIZES = ((1, 96), (48, 192), (96, 384), (192, 768), (384, 2048))


class Candidates(NamedTuple):
    """Instances of one image after matrix NMS, best first.

    Attributes:
        masks: mask logits `[N, h, w]` at stride 4 of the padded input.
        labels: `[N]` int64, 1..C.
        scores: `[N]` float32 in 0..1.
    """

    masks: Tensor
    labels: Tensor
    scores: Tensor


class SOLOv2(Segmentor):
    """The network, its losses and its decoding; see `build_solov2` for the other arguments.

    Args:
        backbone: feature pyramid, finest level first, from stride 4.
        head: predicts classes and kernels of the grid cells.
        mask_feature: fuses the pyramid levels of the backbone into the mask feature.
        levels: the grids.
        max_objects: maximum number of objects per image.
    """

    def __init__(
        self,
        backbone: FeaturePyramid,
        head: GridHead,
        mask_feature: MaskFeature,
        levels: Sequence[GridLevel],
        *,
        center: float,
        mask_weight: float,
        candidate_score: float,
        candidates: int,
        least_area: float,
        max_objects: int,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.mask_feature = mask_feature
        self.levels = list(levels)
        self.center = center
        self.mask_weight = mask_weight
        self.candidate_score = candidate_score
        self.candidates = candidates
        self.least_area = least_area
        self.max_objects = max_objects

    def limit_objects(self, most: int) -> None:
        """See `Segmentor.limit_objects`; a higher limit needs more candidates."""
        if most > self.max_objects:
            self.candidates = max(self.candidates, CANDIDATES_PER_OBJECT * most)
        self.max_objects = most

    def room(self) -> Room:
        """See `Segmentor.room`; objects of similar size share a grid, with one object per cell."""
        cells = [each.cells for each in self.levels]
        what = f"the {cells[0]} x {cells[0]} cells of SOLOv2's finest grid"

        def finer(objects: int) -> str:
            grids = [math.ceil(math.sqrt(2 * objects)), *cells[1:]]
            return f"'segmentor.model.grids={grids}'".replace(" ", "")

        return Room(cells[0] ** 2, what, finer)

    def forward_features(self, images: Tensor) -> RawOutputs:
        """The raw outputs for `[B, 3, H, W]` normalized and padded images."""
        pyramid = list(self.backbone(images).values())
        own = pyramid[: len(self.mask_feature.paths)]
        grids = [each.cells for each in self.levels]
        categories, kernels = self.head(at_grid_strides(pyramid, len(own)), grids)
        return RawOutputs(categories, kernels, self.mask_feature(own))

    def losses(self, batch: InstanceBatch) -> dict[str, Tensor]:
        """Focal loss of the cells' classes and dice loss of their masks; see `Segmentor.losses`."""
        images = prepared([image.float() / 255 for image in batch.images])
        outputs = self.forward_features(images)
        height, width = images.shape[2:]
        owners = [
            grid_owners(target, self.levels, self.center, height, width) for target in batch.targets
        ]
        return {
            "loss_category": category_loss(outputs.categories, owners, batch.targets),
            "loss_mask": self.mask_weight * mask_loss(outputs, owners, batch.targets),
        }

    def decode(self, outputs: RawOutputs, index: int) -> Candidates:
        """The instances of one image of a batch, computed on the device.

        The paper keeps the best 500 by class score times maskness. Here masks are computed only for
        the best `candidates` by class score.
        """
        scores = peaks(outputs.categories[index].float().sigmoid(), self.levels)
        best, place = scores.flatten().topk(min(self.candidates, scores.numel()))
        place = place[best > self.candidate_score]
        cells, labels = place // scores.shape[1], place % scores.shape[1] + 1
        kernels, features = outputs.kernels[index][cells].float(), outputs.features[index].float()
        masks = kernels @ features.flatten(1)
        inside = masks > 0
        areas = inside.sum(1)
        kept = areas > self.least_area * self._strides(cells)
        masks, inside, labels, areas = masks[kept], inside[kept], labels[kept], areas[kept]
        maskness = (masks.sigmoid() * inside).sum(1) / areas
        scores, order = (scores.flatten()[place[kept]] * maskness).sort(descending=True)
        masks, inside, labels = masks[order], inside[order], labels[order]
        scores, order = matrix_nms(inside, labels, scores).sort(descending=True)
        order = order[: self.max_objects + 1]  # one more shows that the limit was exceeded
        height, width = features.shape[1:]
        return Candidates(
            masks[order].unflatten(1, (height, width)), labels[order], scores[: len(order)]
        )

    def find(
        self, images: Tensor, sizes: Sequence[tuple[int, int]], score: float
    ) -> list[list[SoftDetection]]:
        """Detects instances in resized images of one size; see `Segmentor.find`."""
        outputs = self.forward_features(prepared(list(images)))
        check_outputs(outputs)
        h, w = images.shape[2:]
        detections = []
        for index, size in enumerate(sizes):
            candidates = self.decode(outputs, index)
            masks, labels, scores = (each[candidates.scores >= score].cpu() for each in candidates)
            masks = masks[:, : -(-h // STRIDE), : -(-w // STRIDE)]
            sides = (STRIDE * size[0] / h, STRIDE * size[1] / w)
            detections.append(
                [
                    SoftDetection(int(label), float(own), None, cell_mask(mask, sides, size))
                    for mask, label, own in zip(masks, labels, scores, strict=True)
                    if bool((mask > 0).any())
                ]
            )
        return detections

    def _strides(self, cells: Tensor) -> Tensor:
        """Stride in input pixels of the feature map of each grid cell."""
        counts = torch.tensor([each.cells**2 for each in self.levels], device=cells.device)
        strides = torch.tensor([each.stride for each in self.levels], device=cells.device)
        return strides.repeat_interleave(counts)[cells]


def build_solov2(
    num_classes: int,
    *,
    backbone: str,
    pretrained: bool,
    weights: Path | str | None = None,
    allow_mask_pretraining: bool = False,
    norm: Norm = "frozen",
    frozen: Sequence[str] = (),
    short_side: int = 800,
    long_side: int = 1333,
    pyramid_channels: int = 256,
    pyramid_norm: bool = False,
    grids: Sequence[int] = GRIDS,
    sizes: Sequence[Sequence[float]] = SIZES,
    head_channels: int = 512,
    head_depth: int = 4,
    feature_channels: int = 128,
    kernel_channels: int = 256,
    center: float = 0.2,
    mask_weight: float = 3.0,
    candidate_score: float = 0.1,
    candidates: int = 500,
    least_area: float = 1.0,
    detections: int = 100,
) -> SOLOv2:
    """Builds a SOLOv2; the defaults are those of its paper, for images of 800 pixels.

    `backbone`, `pretrained`, `weights`, `norm`, `frozen` and `allow_mask_pretraining` are described
    in `build_body`, `short_side` and `long_side` in `Segmentor`.

    Args:
        num_classes: C, number of classes without background.
        pyramid_channels: channels of the feature pyramid.
        pyramid_norm: whether group normalization follows each convolution of the pyramid.
        grids: cells per side of each level; one level per feature map of the backbone, or one more.
        sizes: minimum and maximum size of the instances of each level. The size is the square root
            of the box area in pixels of the resized image.
        head_channels: channels of the grid head's convolutions.
        head_depth: number of convolutions of each branch of the grid head.
        feature_channels: channels of the mask feature's convolutions.
        kernel_channels: channels of the mask feature, and so the number of weights of a kernel.
        center: share of a box around its center whose cells predict the instance.
        mask_weight: weight of the dice loss.
        candidate_score: minimum class score of a cell, 0..1.
        candidates: maximum number of cells whose masks are computed.
        least_area: a mask with at most this number times the level's stride of cells is dropped;
            1 suits images of 800 pixels.
        detections: maximum number of objects per image, see `Segmentor.limit_objects`.

    Returns:
        The model, in training mode.

    Raises:
        UserError: an option is invalid, the backbone is unknown, or weights are missing.
    """
    check_solov2(
        grids=grids,
        sizes=sizes,
        center=center,
        mask_weight=mask_weight,
        candidate_score=candidate_score,
        short_side=short_side,
        long_side=long_side,
        pyramid_channels=pyramid_channels,
        head_channels=head_channels,
        head_depth=head_depth,
        feature_channels=feature_channels,
        kernel_channels=kernel_channels,
        candidates=candidates,
        detections=detections,
    )
    body = build_body(
        backbone,
        pretrained=pretrained,
        weights=weights,
        norm=norm,
        frozen=frozen,
        allow_masks=allow_mask_pretraining,
    )
    if len(grids) - len(body.channels) not in (0, 1) or len(grids) != len(sizes):
        raise UserError(
            f"segmentor.model.grids has {len(grids)} and sizes has {len(sizes)} levels, but "
            f"{backbone} has {len(body.channels)} feature maps; give both one level per map, or "
            "one more"
        )
    coarsest = body.strides[-1]
    levels = [
        GridLevel(cells, least, most, min(max(2, 2**k) * STRIDE, coarsest))
        for k, (cells, (least, most)) in enumerate(zip(grids, sizes, strict=True))
    ]
    model = SOLOv2(
        FeaturePyramid(body, pyramid_channels, len(grids), pyramid_norm),
        GridHead(pyramid_channels, head_channels, head_depth, num_classes, kernel_channels),
        MaskFeature(pyramid_channels, feature_channels, len(body.channels), kernel_channels),
        levels,
        center=center,
        mask_weight=mask_weight,
        candidate_score=candidate_score,
        candidates=candidates,
        least_area=least_area,
        max_objects=detections,
    )
    model.short_side, model.long_side = short_side, long_side
    return model
