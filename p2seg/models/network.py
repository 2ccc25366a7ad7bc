"""The network: a backbone, two decoders, and the class, offset and affinity heads.

Paper: Sec. 3 (overview) and Fig. 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from p2seg.models.backbones import Backbone
from p2seg.models.heads import Decoder, DetailHead, Finest, Head
from p2seg.models.norms import Norm, set_norms
from p2seg.structures import STRIDE, Outputs

DecoderKind = Literal["panoptic", "none"]

OFFSET_UNIT = 64.0
"""Input pixels that one unit of the offset head's output stands for."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Trunk(nn.Module):
    """What every network of this package shares: a backbone, decoders, class and offset heads.

    Args:
        backbone: feature maps at strides 4 to 32.
        num_classes: C, without background.
        decoder: `panoptic`: two decoders as of Panoptic-DeepLab; `none`: heads on the backbone's
            finest map, each a 3x3 convolution and a 1x1, as in the authors' code on HRNet.
        width: channels of the decoders, or of the heads' 3x3 convolutions.
        dilations: of the decoders' ASPP.
        detail: channels of the convolutions that give class logits at full resolution; 0: class
            logits stay at stride 4 (the paper's).
    """

    mean: Tensor
    std: Tensor
    inputs: int
    head_width: int | None

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        decoder: DecoderKind,
        width: int,
        dilations: Sequence[int],
        detail: int,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.backbone = backbone
        self.semantic_decoder: nn.Module = Finest()
        self.instance_decoder: nn.Module = Finest()
        self.inputs, self.head_width = backbone.channels[0], width
        if decoder == "panoptic":
            self.semantic_decoder = Decoder(backbone.channels, width, dilations)
            self.instance_decoder = Decoder(backbone.channels, width, dilations)
            self.inputs, self.head_width = width, None
        self.class_head = self.head(num_classes + 1)
        self.detail_head = DetailHead(self.inputs, num_classes + 1, detail) if detail else None
        self.offset_head = self.head(2, last_std=1e-3)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)

    def head(self, outputs: int, last_std: float | None = None) -> Head:
        """A head of this network with so many channels."""
        return Head(self.inputs, outputs, self.head_width, last_std)

    def set_norms(self, norm: Norm) -> None:
        """Norms of all parts, once they are there.

        Args:
            norm: `batch`, `group` or `frozen`; frozen is the backbone's, whose statistics are those
                of its weights: the decoders and heads then have group norms.
        """
        set_norms(self.backbone, norm)
        for part in self.children():
            if part is not self.backbone:
                set_norms(part, "group" if norm == "frozen" else norm)

    def see(self, images: Tensor) -> tuple[Outputs, Tensor]:
        """Class logits and offsets, and the map that further heads look at.

        Args:
            images: `[B, 3, H, W]` uint8 RGB, of any size; padded to a multiple of 32 inside.

        Returns:
            `Outputs` of h = ceil(H / 4), w = ceil(W / 4), and `[B, width, >= h, >= w]`. With a
            detail head the class logits of a cell are the mean of its 16 pixels'.
        """
        height, width = images.shape[2:]
        x = (images.float() / 255 - self.mean) / self.std
        x = F.pad(x, (0, -width % 32, 0, -height % 32))
        features = self.backbone(x)
        semantic = self.semantic_decoder(features)
        instance = self.instance_decoder(features)
        h, w = -(-height // STRIDE), -(-width // STRIDE)
        logits, detailed = self.class_head(semantic), None
        if self.detail_head is not None:
            whole = self.detail_head(semantic, logits, x)
            logits = F.avg_pool2d(whole, STRIDE)
            detailed = whole[..., :height, :width].float()
        outputs = Outputs(
            class_logits=logits[..., :h, :w].float(),
            offset=self.offset_head(instance)[..., :h, :w].float() * OFFSET_UNIT,
            detailed_logits=detailed,
        )
        return outputs, instance


class P2SegNetwork(Trunk):
    """Class logits, offsets and, if there are affinities, their embeddings at stride 4.

    Args:
        backbone: feature maps at strides 4 to 32.
        num_classes: C, without background.
        decoder: see `Trunk`.
        width: see `Trunk`.
        embedding: d, channels of the affinity embedding; 0: the network has no affinities.
        dilations: of the decoders' ASPP.
        norm: `batch`, `group` or `frozen`, see `Trunk.set_norms`.
        detail: see `Trunk`.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        decoder: DecoderKind = "panoptic",
        width: int = 256,
        embedding: int = 256,
        dilations: Sequence[int] = (3, 6, 9),
        norm: Norm = "batch",
        detail: int = 0,
    ) -> None:
        super().__init__(backbone, num_classes, decoder, width, dilations, detail)
        self.embedding = embedding
        self.affinity_head: nn.Module | None = None
        if embedding and decoder == "none":  # one convolution, as in the authors' code
            self.affinity_head = nn.Conv2d(self.inputs, embedding, 3, padding=1)
        elif embedding:
            self.affinity_head = self.head(embedding)
        self.set_norms(norm)

    def forward(self, images: Tensor) -> Outputs:
        """Runs the network; images and sizes are those of `Trunk.see`."""
        outputs, instance = self.see(images)
        if self.affinity_head is None:
            return outputs
        h, w = outputs.offset.shape[2:]
        return outputs._replace(embedding=self.affinity_head(instance)[..., :h, :w])
