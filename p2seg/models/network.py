"""The network: backbone, semantic and instance decoder, class head, offset head, affinity head.

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
"""Input pixels per unit of the offset head's output."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Trunk(nn.Module):
    """The base of all networks of this package: backbone, decoders, class head and offset head.

    Args:
        backbone: gives feature maps at strides 4 to 32.
        num_classes: C, number of classes without background.
        decoder: `panoptic`: two decoders similar to Panoptic-DeepLab's. `none`: no decoder; each
            head is a 3x3 and a 1x1 convolution on the backbone's finest map, as in the authors'
            code with HRNet.
        width: channels of the decoders, or of the heads' 3x3 convolutions without a decoder.
        dilations: dilations of the decoders' atrous spatial pyramid pooling (ASPP).
        norm: `batch`, `group` or `frozen` normalization. `frozen` applies to the backbone, which
            keeps the statistics of its pretrained weights; decoders and heads then use group
            normalization.
        detail: channels of the convolutions that refine class logits at full resolution; 0: class
            logits stay at stride 4, as in the paper.
    """

    mean: Tensor
    std: Tensor
    inputs: int
    head_width: int | None

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        decoder: DecoderKind = "panoptic",
        width: int = 256,
        dilations: Sequence[int] = (3, 6, 9),
        norm: Norm = "batch",
        detail: int = 0,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.head_norm: Norm = "group" if norm == "frozen" else norm
        self.backbone = backbone
        self.semantic_decoder: nn.Module = Finest()
        self.instance_decoder: nn.Module = Finest()
        self.inputs, self.head_width = backbone.channels[0], width
        if decoder == "panoptic":
            self.semantic_decoder = Decoder(backbone.channels, width, dilations)
            self.instance_decoder = Decoder(backbone.channels, width, dilations)
            self.inputs, self.head_width = width, None
        set_norms(self.backbone, norm)
        set_norms(self.semantic_decoder, self.head_norm)
        set_norms(self.instance_decoder, self.head_norm)
        self.class_head = self.head(num_classes + 1)
        self.detail_head: DetailHead | None = None
        if detail:
            self.detail_head = DetailHead(self.inputs, num_classes + 1, detail)
            set_norms(self.detail_head, self.head_norm)
        self.offset_head = self.head(2, last_std=1e-3)
        self.add_heads()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)

    def head(self, outputs: int, last_std: float | None = None) -> Head:
        """A new head with `outputs` channels, with the inputs and normalization of this network."""
        head = Head(self.inputs, outputs, self.head_width, last_std)
        set_norms(head, self.head_norm)
        return head

    def add_heads(self) -> None:
        """Adds the further heads of a subclass."""

    def forward_features(self, images: Tensor) -> tuple[Outputs, Tensor]:
        """Class logits and offsets, and the instance decoder's map, the input of further heads.

        Args:
            images: `[B, 3, H, W]` uint8 RGB, of any size; padded to multiples of 32 internally.

        Returns:
            `Outputs` with `class_logits` `[B, C+1, h, w]` and `offset` `[B, 2, h, w]` (dy, dx) in
            input pixels, h = ceil(H / 4), w = ceil(W / 4); and the map `[B, width, >= h, >= w]`.
            With a detail head, `detailed_logits` is `[B, C+1, H, W]`, and the class logits are its
            means over cells of 4x4 pixels.
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
            full_size = self.detail_head(semantic, logits, x)
            logits = F.avg_pool2d(full_size, STRIDE)
            detailed = full_size[..., :height, :width].float()
        outputs = Outputs(
            class_logits=logits[..., :h, :w].float(),
            offset=self.offset_head(instance)[..., :h, :w].float() * OFFSET_UNIT,
            detailed_logits=detailed,
        )
        return outputs, instance


class P2SegNetwork(Trunk):
    """The network of P2Seg: class logits, offsets and affinity embeddings at stride 4.

    Args:
        backbone: see `Trunk`, as for all other arguments except `embedding`.
        num_classes: C, number of classes without background.
        decoder: see `Trunk`.
        width: see `Trunk`.
        embedding: d, channels of the affinity embedding; 0: a network without affinities.
        dilations: see `Trunk`.
        norm: see `Trunk`.
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
        super().__init__(
            backbone,
            num_classes,
            decoder=decoder,
            width=width,
            dilations=dilations,
            norm=norm,
            detail=detail,
        )
        self.embedding = embedding
        self.affinity_head: nn.Module | None = None
        if embedding and decoder == "none":  # one convolution, as in the authors' code
            self.affinity_head = nn.Conv2d(self.inputs, embedding, 3, padding=1)
        elif embedding:
            self.affinity_head = self.head(embedding)

    def forward(self, images: Tensor) -> Outputs:
        """The outputs of `Trunk.forward_features` and the affinity `embedding` `[B, d, h, w]`.

        Args:
            images: `[B, 3, H, W]` uint8 RGB, of any size.
        """
        outputs, instance = self.forward_features(images)
        if self.affinity_head is None:
            return outputs
        h, w = outputs.offset.shape[2:]
        return outputs._replace(embedding=self.affinity_head(instance)[..., :h, :w])
