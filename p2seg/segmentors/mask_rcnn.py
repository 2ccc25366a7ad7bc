"""Mask R-CNN (He et al. 2017) from torchvision's parts, over any timm backbone.

Paper: Sec. 4.1, the segmentor that is trained on the pseudo masks. Its backbone starts from
ImageNet or from nothing: weights trained on COCO have seen masks, which point supervision has not.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torchvision.models import detection
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.transform import GeneralizedRCNNTransform, resize_boxes
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool
from torchvision.ops.poolers import initLevelMapper
from torchvision.transforms.v2 import functional as F

from p2seg.data.coco import encode
from p2seg.errors import UserError
from p2seg.models.backbones import Backbone, build_backbone
from p2seg.models.network import IMAGENET_MEAN, IMAGENET_STD
from p2seg.models.norms import Norm, groups_of, set_norms
from p2seg.segmentors.data import resized
from p2seg.segmentors.detection import Detection
from p2seg.segmentors.paste import paste

ASPECT_RATIOS = (0.5, 1.0, 2.0)
BOX_CELLS = 7
MASK_CELLS = 14
PADDED_TO = 32
"""Input sides are padded to a multiple of this, the coarsest stride of the backbones."""


class FeaturePyramid(nn.Module):
    """A backbone with a feature pyramid on it, in the form torchvision's detectors take.

    Args:
        body: feature maps at several strides.
        channels: of every level of the pyramid.
        levels: of the pyramid: as many as the body has, or one more, pooled from the last.
        normalized: whether each level passes a group norm, for training from random weights.
    """

    def __init__(self, body: Backbone, channels: int, levels: int, normalized: bool) -> None:
        super().__init__()
        self.body = body
        self.out_channels = channels
        self.names = [str(level) for level in range(len(body.channels))]
        self.pyramid = FeaturePyramidNetwork(
            body.channels,
            channels,
            extra_blocks=LastLevelMaxPool() if levels > len(body.channels) else None,
            norm_layer=_group_norm if normalized else None,
        )

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """The levels of `[B, 3, H, W]` normalised images, finest first."""
        features = OrderedDict(zip(self.names, self.body(images), strict=True))
        return cast("OrderedDict[str, Tensor]", self.pyramid(features))


def _group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(groups_of(channels), channels)


def roi_pool(names: Sequence[str], strides: Sequence[int], cells: int) -> MultiScaleRoIAlign:
    """Crops of a pyramid's levels, with the strides said.

    torchvision guesses them from the first images a model sees and keeps the guess; from images
    of less than 90 pixels it is wrong, for all images after.
    """
    pool = MultiScaleRoIAlign(list(names), cells, sampling_ratio=2)
    pool.scales = [1 / stride for stride in strides]
    pool.map_levels = initLevelMapper(
        int(math.log2(strides[0])),
        int(math.log2(strides[-1])),
        canonical_scale=pool.canonical_scale,
        canonical_level=pool.canonical_level,
    )
    return pool


class NormalizeAndPad(GeneralizedRCNNTransform):
    """torchvision's input transform without its resizing, in and out.

    Training images come resized from the data set, which draws their scale from its own seed;
    `MaskRCNN.detect` resizes the others, also those that torchvision would scale to no pixels.
    """

    def resize(
        self, image: Tensor, target: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor] | None]:
        """Image and target as they are."""
        return image, target

    def postprocess(
        self,
        result: list[dict[str, Tensor]],
        image_shapes: list[tuple[int, int]],  # noqa: ARG002 - torchvision's signature
        original_image_sizes: list[tuple[int, int]],  # noqa: ARG002
    ) -> list[dict[str, Tensor]]:
        """Detections as they are: in the resized image, masks in the frames of their boxes."""
        return result


class MaskRCNN(detection.MaskRCNN):
    """torchvision's Mask R-CNN: losses in training, `detect` afterwards.

    Attributes:
        short_side: pixels that `detect` resizes an image's short side to.
        long_side: the most that its long side may then have.
    """

    short_side: int
    long_side: int

    def forward(
        self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """The losses in training, else what `detect` needs.

        Inputs are whole numbers, which mixed precision leaves alone on their way in.

        Args:
            images: B of `[3, H, W]` uint8 RGB, resized.
            targets: in training B of `boxes` `[K, 4]` int64 (x0, y0, x1, y1), `labels` `[K]` int64
                1..C and `masks` `[K, H, W]` uint8; K may be 0.

        Returns:
            Five losses by name; or B of `boxes`, `labels`, `scores` and `masks` `[D, 1, 28, 28]`,
            all in the resized image.
        """
        scaled = [image.float() / 255 for image in images]
        if targets is not None:
            targets = [{**target, "boxes": target["boxes"].float()} for target in targets]
        return cast("dict[str, Tensor]", super().forward(scaled, targets))

    @torch.no_grad()
    def detect(self, image: Tensor, score: float) -> list[Detection]:
        """Finds the instances of one image.

        Args:
            image: `[3, H, W]` uint8 RGB.
            score: detections below it are left out, and so are empty masks.

        Returns:
            The detections, best first, in the pixels of `image`.
        """
        assert not self.training, "detect needs model.eval()"
        height, width = image.shape[1:]
        h, w = resized(height, width, self.short_side, self.long_side)
        self.roi_heads.score_thresh = score
        found = self([F.resize(image, [h, w], antialias=True)])[0]
        boxes = resize_boxes(found["boxes"], [h, w], [height, width]).cpu()
        # torchvision crops training masks with `aligned=False`: half a pixel further down right
        frames = resize_boxes(found["boxes"] + 0.5, [h, w], [height, width]).cpu()
        masks, labels, scores = (found[key].cpu() for key in ("masks", "labels", "scores"))
        detections = []
        for k in range(len(boxes)):
            mask = paste(masks[k, 0], boxes[k], frames[k], height, width)
            if mask.any():
                box = cast("tuple[float, float, float, float]", tuple(boxes[k].tolist()))
                detections.append(Detection(int(labels[k]), float(scores[k]), box, encode(mask)))
        return detections


def build_mask_rcnn(
    num_classes: int,
    *,
    backbone: str,
    pretrained: bool,
    weights: Path | str | None = None,
    norm: Norm = "frozen",
    frozen: Sequence[str] = (),
    short_side: int = 800,
    long_side: int = 1333,
    anchor_sizes: Sequence[int] = (32, 64, 128, 256, 512),
    pyramid_channels: int = 256,
    pyramid_norm: bool = False,
    proposals_train: int = 2000,
    proposals_test: int = 1000,
    anchors_sampled: int = 256,
    boxes_sampled: int = 512,
    box_channels: int = 1024,
    mask_channels: Sequence[int] = (256, 256, 256, 256),
    detections: int = 100,
) -> MaskRCNN:
    """Builds a Mask R-CNN; the defaults are the common ones, for images of 800 pixels.

    Args:
        num_classes: C, without background.
        backbone: a timm model name, such as `resnet50.tv_in1k`.
        pretrained: ImageNet weights for the backbone, from timm's hub cache.
        weights: a file of ImageNet weights instead; None for the cache.
        norm: of the backbone: `frozen`, `batch` or `group`.
        frozen: parts of the backbone that are not trained, such as `conv1`.
        short_side: pixels that the image's short side is resized to.
        long_side: the most pixels of the resized image's long side.
        anchor_sizes: of the anchors of each level of the pyramid, pixels; one level for each of
            the backbone's maps, or one more.
        pyramid_channels: of the pyramid.
        pyramid_norm: a group norm behind each convolution of the pyramid.
        proposals_train: kept of a training image, before and after suppression.
        proposals_test: the same of other images.
        anchors_sampled: anchors of an image that the proposal loss looks at.
        boxes_sampled: proposals of an image that the box loss looks at.
        box_channels: of the box head.
        mask_channels: of the convolutions of the mask head.
        detections: the most an image has.

    Returns:
        The model, in training mode.

    Raises:
        UserError: an unknown backbone or part of it, missing weights, or a wrong count of anchors.
    """
    path = None if weights is None else Path(weights).expanduser()
    body = build_backbone(backbone, pretrained=pretrained, weights=path, group="segmentor")
    set_norms(body, norm)
    _freeze(body, frozen, backbone)
    if len(anchor_sizes) - len(body.channels) not in (0, 1):
        raise UserError(
            f"segmentor.model.anchor_sizes has {len(anchor_sizes)} sizes, but {backbone} has "
            f"{len(body.channels)} feature maps; give one size a map, or one more"
        )
    pyramid = FeaturePyramid(body, pyramid_channels, len(anchor_sizes), pyramid_norm)
    model = MaskRCNN(
        pyramid,
        rpn_anchor_generator=AnchorGenerator(
            tuple((size,) for size in anchor_sizes), (ASPECT_RATIOS,) * len(anchor_sizes)
        ),
        rpn_pre_nms_top_n_train=proposals_train,
        rpn_pre_nms_top_n_test=proposals_test,
        rpn_post_nms_top_n_train=proposals_train,
        rpn_post_nms_top_n_test=proposals_test,
        rpn_batch_size_per_image=anchors_sampled,
        box_roi_pool=roi_pool(pyramid.names, body.strides, BOX_CELLS),
        box_head=TwoMLPHead(pyramid_channels * BOX_CELLS**2, box_channels),
        box_predictor=FastRCNNPredictor(box_channels, num_classes + 1),
        box_batch_size_per_image=boxes_sampled,
        box_detections_per_img=detections,
        mask_roi_pool=roi_pool(pyramid.names, body.strides, MASK_CELLS),
        mask_head=MaskRCNNHeads(pyramid_channels, mask_channels, 1),
        mask_predictor=MaskRCNNPredictor(mask_channels[-1], mask_channels[-1], num_classes + 1),
    )
    model.transform = NormalizeAndPad(
        short_side, long_side, list(IMAGENET_MEAN), list(IMAGENET_STD), size_divisible=PADDED_TO
    )
    model.short_side, model.long_side = short_side, long_side
    return model


def _freeze(body: Backbone, parts: Sequence[str], name: str) -> None:
    for part in parts:
        own = [p for key, p in body.body.named_parameters() if f"{key}.".startswith(f"{part}.")]
        modules = [key for key, _ in body.body.named_modules()]
        if part not in modules:
            raise UserError(
                f"segmentor.model.frozen names {part}, which {name} does not have; its parts are "
                + ", ".join(key for key in modules if key and "." not in key)
            )
        for parameter in own:
            parameter.requires_grad = False
