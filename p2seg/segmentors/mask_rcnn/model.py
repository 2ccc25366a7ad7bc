"""Mask R-CNN (He et al. 2017) from torchvision's modules, with any timm backbone.

Paper: Sec. 4.1, the segmentation model trained on pseudo masks. The backbone starts from ImageNet
or random weights, because weights trained on COCO masks would violate point supervision.
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
from p2seg.segmentors.detection import SoftDetection
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
"""Proposals per object if the limit of objects is raised; the ratio of `mask_rcnn_lean`."""
CROP_SHIFT = 0.5
"""Shift in pixels (down and right) of the crops of masks in torchvision's training."""


def roi_pool(names: Sequence[str], strides: Sequence[int], cells: int) -> MultiScaleRoIAlign:
    """RoIAlign on the levels of a pyramid with known strides.

    torchvision would infer the strides from the first images and keep them. For images smaller than
    90 pixels the inferred strides are wrong.
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
    """torchvision's input transform without resizing of images and results.

    Training images are resized by the data set with its own random seed, and all others by
    `Segmentor.predict_soft`. That also supports images that torchvision would shrink to 0 pixels.
    """

    def resize(
        self, image: Tensor, target: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor] | None]:
        """Returns image and target unchanged."""
        return image, target

    def postprocess(
        self,
        result: list[dict[str, Tensor]],
        image_shapes: list[tuple[int, int]],  # noqa: ARG002 - torchvision's signature
        original_image_sizes: list[tuple[int, int]],  # noqa: ARG002
    ) -> list[dict[str, Tensor]]:
        """Returns the detections unchanged, in pixels of the resized image, masks as RoI crops."""
        return result


class MaskRCNN(Segmentor, GeneralizedRCNN):
    """torchvision's Mask R-CNN as a `Segmentor`, with instance weights in its losses."""

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
    ) -> list[list[SoftDetection]]:
        """Detects instances in resized images of one size; see `Segmentor.find`."""
        heads = cast(RoIHeads, self.roi_heads)
        heads.score_thresh = score
        # torchvision silently drops proposals, boxes and scores that are NaN.
        with checked_outputs(self.rpn.head, heads.box_predictor, heads.mask_predictor):
            outputs = GeneralizedRCNN.forward(self, list(images))
        h, w = images.shape[2:]
        return [
            self._in_image(each, (h, w), size) for each, size in zip(outputs, sizes, strict=True)
        ]

    def _in_image(
        self, output: dict[str, Tensor], resized_to: tuple[int, int], size: tuple[int, int]
    ) -> list[SoftDetection]:
        """Converts detections from a resized image to pixels of the image."""
        boxes = resize_boxes(output["boxes"], list(resized_to), list(size)).cpu()
        # torchvision crops training masks with `aligned=False`, half a pixel down and right.
        frames = resize_boxes(output["boxes"] + CROP_SHIFT, list(resized_to), list(size)).cpu()
        masks, labels, scores = (output[key].cpu() for key in ("masks", "labels", "scores"))
        detections = []
        for k in range(len(boxes)):
            mask = paste(masks[k, 0], boxes[k], frames[k], *size)
            box = cast("tuple[float, float, float, float]", tuple(boxes[k].tolist()))
            detections.append(SoftDetection(int(labels[k]), float(scores[k]), box, mask))
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
    allow_mask_pretraining: bool = False,
) -> MaskRCNN:
    """Builds a Mask R-CNN; the defaults are the usual ones, for images of 800 pixels.

    `backbone`, `pretrained`, `weights`, `norm`, `frozen` and `allow_mask_pretraining` are described
    in `build_body`, `short_side` and `long_side` in `Segmentor`.

    Args:
        num_classes: C, number of classes without background.
        anchor_sizes: anchor size in pixels of each pyramid level; one level per feature map of the
            backbone, or one more.
        pyramid_channels: channels of the feature pyramid.
        pyramid_norm: whether group normalization follows each convolution of the pyramid.
        proposals_train: maximum number of proposals per training image, before and after NMS.
        proposals_test: the same for prediction.
        anchors_sampled: anchors per image in the loss of the proposal network.
        boxes_sampled: proposals per image in the loss of the box head.
        box_channels: channels of the box head.
        mask_channels: channels of each convolution of the mask head.
        detections: maximum number of objects per image, see `Segmentor.limit_objects`.

    Returns:
        The model, in training mode.

    Raises:
        UserError: an option is invalid, the backbone is unknown, or weights are missing.
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
            f"{len(body.channels)} feature maps; give one size per map, or one more"
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
