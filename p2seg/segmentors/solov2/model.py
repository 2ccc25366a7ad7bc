"""SOLOv2 (Wang et al. 2020) in plain PyTorch, over any timm backbone.

Paper: Table 4's other segmentor. Every cell of some grids says which class the instance around it
has, and gives a kernel; the kernel times one feature map of the image is the instance's mask. There
are no boxes and no anchors, and what several cells found is sorted out by matrix NMS.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from p2seg.engine.finite import check_outputs
from p2seg.errors import UserError
from p2seg.models.norms import Norm
from p2seg.segmentors.data import InstanceBatch
from p2seg.segmentors.detection import Found
from p2seg.segmentors.inputs import prepared
from p2seg.segmentors.lazy_masks import cell_mask
from p2seg.segmentors.limits import Room
from p2seg.segmentors.pyramid import FeaturePyramid, build_body
from p2seg.segmentors.segmentor import Segmentor
from p2seg.segmentors.sizes import check_solov2
from p2seg.segmentors.solov2.heads import GridHead, MaskFeature, Seen
from p2seg.segmentors.solov2.losses import category_loss, mask_loss
from p2seg.segmentors.solov2.matrix_nms import matrix_nms
from p2seg.segmentors.solov2.targets import GridLevel, grid_owners
from p2seg.structures import STRIDE

GRIDS = (40, 36, 24, 16, 12)
CANDIDATES_PER_OBJECT = 5
"""Candidates that a higher limit of objects needs; SOLOv2's paper has as many."""
SIZES = ((1, 96), (48, 192), (96, 384), (192, 768), (384, 2048))


class Candidates(NamedTuple):
    """Instances of one image after matrix NMS, best first.

    Attributes:
        masks: logits `[N, h, w]`, at stride 4 of the padded input.
        labels: `[N]` int64, 1..C.
        scores: `[N]`.
    """

    masks: Tensor
    labels: Tensor
    scores: Tensor


class SOLOv2(Segmentor):
    """The network with its objective and its decoding.

    Args:
        backbone: a feature pyramid, finest level first, at stride 4.
        head: of the grids.
        mask_feature: of the levels of the backbone itself.
        levels: of the grids.
        center: share of a box around its center whose cells answer for it.
        mask_weight: of the dice loss.
        candidate_score: a cell's class below it is not looked at.
        candidates: the most cells whose masks are made.
        least_area: a mask of no more cells than this times its level's stride is dropped; 1 is for
            images of 800 pixels.
        max_objects: the most an image has.
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
        """See `Segmentor.room`; objects of one size share a grid, and a cell has one object."""
        cells = [each.cells for each in self.levels]
        what = f"the {cells[0]} x {cells[0]} cells of SOLOv2's finest grid"

        def finer(objects: int) -> str:
            grids = [math.ceil(math.sqrt(2 * objects)), *cells[1:]]
            return f"'segmentor.model.grids={grids}'".replace(" ", "")

        return Room(cells[0] ** 2, what, finer)

    def see(self, images: Tensor) -> Seen:
        """The network of `[B, 3, H, W]` images that are normalized and padded."""
        pyramid = list(self.backbone(images).values())
        own = pyramid[: len(self.mask_feature.paths)]
        grids = [each.cells for each in self.levels]
        categories, kernels = self.head(_at_grid_strides(pyramid, len(own)), grids)
        return Seen(categories, kernels, self.mask_feature(own))

    def losses(self, batch: InstanceBatch) -> dict[str, Tensor]:
        """Focal loss of the cells' classes and dice loss of their masks; see `Segmentor.losses`."""
        images = prepared([image.float() / 255 for image in batch.images])
        seen = self.see(images)
        height, width = images.shape[2:]
        owners = [
            grid_owners(target, self.levels, self.center, height, width) for target in batch.targets
        ]
        return {
            "loss_category": category_loss(seen.categories, owners, batch.targets),
            "loss_mask": self.mask_weight * mask_loss(seen, owners, batch.targets),
        }

    def decode(self, seen: Seen, index: int) -> Candidates:
        """The instances of one image of a batch, every step on the device.

        The paper looks at the best 500 after a mask's own certainty is known; here it is the best
        by class whose masks are made at all.
        """
        scores = peaks(seen.categories[index].float().sigmoid(), self.levels)
        best, place = scores.flatten().topk(min(self.candidates, scores.numel()))
        place = place[best > self.candidate_score]
        cells, labels = place // scores.shape[1], place % scores.shape[1] + 1
        kernels, features = seen.kernels[index][cells].float(), seen.features[index].float()
        masks = kernels @ features.flatten(1)
        inside = masks > 0
        areas = inside.sum(1)
        kept = areas > self.least_area * self._strides(cells)
        masks, inside, labels, areas = masks[kept], inside[kept], labels[kept], areas[kept]
        maskness = (masks.sigmoid() * inside).sum(1) / areas
        scores, order = (scores.flatten()[place[kept]] * maskness).sort(descending=True)
        masks, inside, labels = masks[order], inside[order], labels[order]
        scores, order = matrix_nms(inside, labels, scores).sort(descending=True)
        order = order[: self.max_objects + 1]  # one too many shows that there are more
        height, width = features.shape[1:]
        return Candidates(
            masks[order].unflatten(1, (height, width)), labels[order], scores[: len(order)]
        )

    def find(
        self, images: Tensor, sizes: Sequence[tuple[int, int]], score: float
    ) -> list[list[Found]]:
        """What is in resized images of one size; see `Segmentor.find`."""
        seen = self.see(prepared(list(images)))
        check_outputs(seen)
        h, w = images.shape[2:]
        found = []
        for index, (height, width) in enumerate(sizes):
            made = self.decode(seen, index)
            masks, labels, scores = (each[made.scores >= score].cpu() for each in made)
            masks = masks[:, : -(-h // STRIDE), : -(-w // STRIDE)]
            sides = (STRIDE * height / h, STRIDE * width / w)
            found.append(
                [
                    Found(int(label), float(own), None, cell_mask(mask, sides, (height, width)))
                    for mask, label, own in zip(masks, labels, scores, strict=True)
                    if bool((mask > 0).any())
                ]
            )
        return found

    def _strides(self, cells: Tensor) -> Tensor:
        """Input pixels a cell of the maps that the grids of some cells are resized from."""
        counts = torch.tensor([each.cells**2 for each in self.levels], device=cells.device)
        strides = torch.tensor([each.stride for each in self.levels], device=cells.device)
        return strides.repeat_interleave(counts)[cells]


def _at_grid_strides(pyramid: list[Tensor], own: int) -> list[Tensor]:
    """The levels that grids are resized from: the finest halved, one beyond the body doubled."""
    levels = list(pyramid)
    if len(levels) > 1:
        size = levels[1].shape[2:]
        levels[0] = F.interpolate(levels[0], size=size, mode="bilinear", align_corners=False)
    if len(levels) > own:
        size = levels[own - 1].shape[2:]
        levels[-1] = F.interpolate(levels[-1], size=size, mode="bilinear", align_corners=False)
    return levels


def peaks(scores: Tensor, levels: Sequence[GridLevel]) -> Tensor:
    """Scores `[G, C]` of cells, 0 where a cell above, to the left or between has a higher one."""
    kept, start = [], 0
    for level in levels:
        cells = level.cells
        own = scores[start : start + cells**2].T.unflatten(1, (cells, cells))
        highest = F.max_pool2d(own[None], 2, stride=1, padding=1)[0, :, :cells, :cells]
        kept.append((own * (own == highest)).flatten(1).T)
        start += cells**2
    return torch.cat(kept)


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

    Args:
        num_classes: C, without background.
        backbone: a timm model name, such as `resnet50.tv_in1k`.
        pretrained: ImageNet weights for the backbone, from timm's hub cache.
        weights: a file of ImageNet weights instead; None for the cache.
        allow_mask_pretraining: take weights that were trained on masks or boxes, too.
        norm: of the backbone: `frozen`, `batch` or `group`.
        frozen: parts of the backbone that are not trained, such as `conv1`.
        short_side: pixels that the image's short side is resized to.
        long_side: the most pixels of the resized image's long side.
        pyramid_channels: of the pyramid.
        pyramid_norm: a group norm behind each convolution of the pyramid.
        grids: cells a side of each level; a level for each of the backbone's maps, or one more.
        sizes: least and most size of the instances of each level: the square root of the box's
            area, in pixels of the resized image.
        head_channels: of the convolutions of the grids.
        head_depth: convolutions of each of their branches.
        feature_channels: of the convolutions of the mask feature.
        kernel_channels: of the mask feature itself, and so parameters of a kernel.
        center: share of a box around its center whose cells answer for it.
        mask_weight: of the dice loss.
        candidate_score: a cell's class below it is not looked at.
        candidates: the most cells whose masks are made.
        least_area: a mask of no more cells than this times its level's stride is dropped; 1 is for
            images of 800 pixels.
        detections: the most an image has, where `Segmentor.limit_objects` sets no other limit.

    Returns:
        The model, in training mode.

    Raises:
        UserError: an unknown backbone or part of it, missing weights, sizes that cannot be, or a
            wrong count of grids.
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
            f"{backbone} has {len(body.channels)} feature maps; give both one level a map, or one "
            "more"
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
