"""Mask R-CNN (He et al. 2017) from torchvision's parts, over any timm backbone.

Paper: Sec. 4.1, the segmentor that is trained on the pseudo masks. Its backbone starts from
ImageNet or from nothing: weights trained on COCO have seen masks, which point supervision has not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.transform import GeneralizedRCNNTransform, resize_boxes
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.poolers import initLevelMapper

from p2seg.engine.finite import checked_outputs
from p2seg.errors import UserError
from p2seg.models.network import IMAGENET_MEAN, IMAGENET_STD
from p2seg.models.norms import Norm
from p2seg.segmentors.data import InstanceBatch
from p2seg.segmentors.detection import Found
from p2seg.segmentors.inputs import PADDED_TO
from p2seg.segmentors.limits import Room
from p2seg.segmentors.mask_rcnn.weighted_losses import ProposalHead, ProposalNetwork, RoIHeads
from p2seg.segmentors.paste import paste
from p2seg.segmentors.pyramid import FeaturePyramid, build_body
from p2seg.segmentors.segmentor import Segmentor
from p2seg.segmentors.sizes import check_counts

ASPECT_RATIOS = (0.5, 1.0, 2.0)
BOX_CELLS = 7
MASK_CELLS = 14
PROPOSALS_PER_OBJECT = 3
"""Proposals that a higher limit of objects needs; `mask_rcnn_lean` has as many."""
CROP_SHIFT = 0.5
"""Pixels of the resized image by which torchvision's training crops of masks lie down right."""


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
    `Segmentor.look` resizes the others, also those that torchvision would scale to no pixels.
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


class MaskRCNN(Segmentor, GeneralizedRCNN):
    """torchvision's Mask R-CNN as a `Segmentor`, with heads that weigh instances."""

    rpn: ProposalNetwork

    def limit_objects(self, most: int) -> None:
        """See `Segmentor.limit_objects`; a higher limit needs more proposals."""
        needed = PROPOSALS_PER_OBJECT * most if most > self.max_objects else 0
        for counts in (self.rpn._pre_nms_top_n, self.rpn._post_nms_top_n):
            counts["testing"] = max(counts["testing"], needed)
        self.max_objects = most
        cast(RoIHeads, self.roi_heads).detections_per_img = most + 1

    def room(self) -> Room:
        """See `Segmentor.room`."""
        proposals = self.rpn._post_nms_top_n["training"]
        return Room(
            proposals,
            f"the {proposals} proposals that Mask R-CNN trains on",
            lambda objects: (
                f"segmentor.model.proposals_train={PROPOSALS_PER_OBJECT * objects} "
                f"segmentor.model.boxes_sampled={PROPOSALS_PER_OBJECT * objects}"
            ),
        )

    def losses(self, batch: InstanceBatch) -> dict[str, Tensor]:
        """Five losses by name; see `Segmentor.losses`."""
        targets = [{**vars(each), "boxes": each.boxes.float()} for each in batch.targets]
        images = [image.float() / 255 for image in batch.images]
        losses = GeneralizedRCNN.forward(self, images, targets)
        return cast("dict[str, Tensor]", losses)

    def find(
        self, images: Tensor, sizes: Sequence[tuple[int, int]], score: float
    ) -> list[list[Found]]:
        """What is in resized images of one size; see `Segmentor.find`."""
        heads = cast(RoIHeads, self.roi_heads)
        heads.score_thresh = score
        # torchvision drops proposals, boxes and scores that are NaN
        with checked_outputs(self.rpn.head, heads.box_predictor, heads.mask_predictor):
            made = GeneralizedRCNN.forward(self, list(images))
        h, w = images.shape[2:]
        return [self._found(each, (h, w), size) for each, size in zip(made, sizes, strict=True)]

    def _found(
        self, made: dict[str, Tensor], resized_to: tuple[int, int], size: tuple[int, int]
    ) -> list[Found]:
        """Boxes and masks of a resized image in the pixels of the image."""
        boxes = resize_boxes(made["boxes"], list(resized_to), list(size)).cpu()
        # torchvision crops training masks with `aligned=False`: half a pixel further down right
        frames = resize_boxes(made["boxes"] + CROP_SHIFT, list(resized_to), list(size)).cpu()
        masks, labels, scores = (made[key].cpu() for key in ("masks", "labels", "scores"))
        found = []
        for k in range(len(boxes)):
            mask = paste(masks[k, 0], boxes[k], frames[k], *size)
            box = cast("tuple[float, float, float, float]", tuple(boxes[k].tolist()))
            found.append(Found(int(labels[k]), float(scores[k]), box, mask))
        return found


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
    allow_mask_pretraining: bool = False,
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
        detections: the most an image has, where `Segmentor.limit_objects` sets no other limit.
        allow_mask_pretraining: take weights that were trained on masks or boxes, too.

    Returns:
        The model, in training mode.

    Raises:
        UserError: an unknown backbone or part of it, missing weights, a wrong count of anchors, or
            sizes that cannot be.
    """
    check_counts(
        {
            "short_side": short_side,
            "long_side": long_side,
            "anchor_sizes": anchor_sizes,
            "pyramid_channels": pyramid_channels,
            "proposals_train": proposals_train,
            "proposals_test": proposals_test,
            "anchors_sampled": anchors_sampled,
            "boxes_sampled": boxes_sampled,
            "box_channels": box_channels,
            "mask_channels": mask_channels,
            "detections": detections,
        }
    )
    body = build_body(
        backbone,
        pretrained=pretrained,
        weights=weights,
        norm=norm,
        frozen=frozen,
        allow_masks=allow_mask_pretraining,
    )
    if len(anchor_sizes) - len(body.channels) not in (0, 1):
        raise UserError(
            f"segmentor.model.anchor_sizes has {len(anchor_sizes)} sizes, but {backbone} has "
            f"{len(body.channels)} feature maps; give one size a map, or one more"
        )
    pyramid = FeaturePyramid(body, pyramid_channels, len(anchor_sizes), pyramid_norm)
    anchors = AnchorGenerator(
        tuple((size,) for size in anchor_sizes), (ASPECT_RATIOS,) * len(anchor_sizes)
    )
    proposals = ProposalNetwork(
        anchors,
        ProposalHead(pyramid_channels, len(ASPECT_RATIOS)),
        fg_iou_thresh=0.7,
        bg_iou_thresh=0.3,
        batch_size_per_image=anchors_sampled,
        positive_fraction=0.5,
        pre_nms_top_n={"training": proposals_train, "testing": proposals_test},
        post_nms_top_n={"training": proposals_train, "testing": proposals_test},
        nms_thresh=0.7,
    )
    heads = RoIHeads(
        roi_pool(pyramid.names, body.strides, BOX_CELLS),
        TwoMLPHead(pyramid_channels * BOX_CELLS**2, box_channels),
        FastRCNNPredictor(box_channels, num_classes + 1),
        fg_iou_thresh=0.5,
        bg_iou_thresh=0.5,
        batch_size_per_image=boxes_sampled,
        positive_fraction=0.25,
        bbox_reg_weights=None,
        score_thresh=0.05,
        nms_thresh=0.5,
        detections_per_img=detections + 1,
        mask_roi_pool=roi_pool(pyramid.names, body.strides, MASK_CELLS),
        mask_head=MaskRCNNHeads(pyramid_channels, mask_channels, 1),
        mask_predictor=MaskRCNNPredictor(mask_channels[-1], mask_channels[-1], num_classes + 1),
    )
    transform = NormalizeAndPad(
        short_side, long_side, list(IMAGENET_MEAN), list(IMAGENET_STD), size_divisible=PADDED_TO
    )
    model = MaskRCNN(pyramid, proposals, heads, transform)
    model.short_side, model.long_side = short_side, long_side
    model.max_objects = detections
    return model
