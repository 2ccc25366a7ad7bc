"""Small SAMs in the official formats, a prompter that counts, and masks of a known kind."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)

from p2seg.data.rle import encode
from p2seg.errors import UserError
from p2seg.sam.candidates import Candidate

SIDE, GRID = 64, 4
"""Of the small SAM's input: pixels, and patches of 16 pixels."""


def small_sam(seed: int = 0, *, width: int = 16, channels: int = 32) -> Sam:
    """A SAM of segment-anything's classes, with windows and global attention, random by `seed`."""
    torch.manual_seed(seed)
    sam = Sam(
        ImageEncoderViT(
            img_size=SIDE,
            patch_size=SIDE // GRID,
            embed_dim=width,
            depth=3,
            num_heads=2,
            mlp_ratio=3,
            out_chans=channels,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            rel_pos_zero_init=False,
            window_size=3,
            global_attn_indexes=(1,),
        ),
        PromptEncoder(
            embed_dim=channels,
            image_embedding_size=(GRID, GRID),
            input_image_size=(SIDE, SIDE),
            mask_in_chans=8,
        ),
        MaskDecoder(
            transformer_dim=channels,
            transformer=TwoWayTransformer(depth=2, embedding_dim=channels, num_heads=8, mlp_dim=24),
            iou_head_depth=2,
            iou_head_hidden_dim=20,
        ),
    )
    with torch.no_grad():
        for parameter in sam.parameters():  # far from zero, so that masks have both sides
            parameter.mul_(2)
    return sam.eval()


def write_sam(path: Path, **options: Any) -> Path:
    """A file in the official format: the bare state of a `small_sam`."""
    torch.save(small_sam(**options).state_dict(), path)
    return path


def write_sam2(folder: Path) -> Path:
    """A SAM 2.1 of transformers with small widths."""
    from transformers import (
        Sam2Config,
        Sam2HieraDetConfig,
        Sam2ImageProcessor,
        Sam2MaskDecoderConfig,
        Sam2Model,
        Sam2Processor,
        Sam2PromptEncoderConfig,
        Sam2VisionConfig,
    )

    backbone = Sam2HieraDetConfig(
        hidden_size=8,
        image_size=[SIDE, SIDE],
        blocks_per_stage=[1, 2, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 2, 4, 8],
        global_attention_blocks=[4],
        window_size_per_stage=[8, 4, 4, 2],
    )
    vision = Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
        fpn_hidden_size=32,
    )
    prompts = Sam2PromptEncoderConfig(hidden_size=32, image_size=SIDE, patch_size=16)
    decoder = Sam2MaskDecoderConfig(
        hidden_size=32, mlp_dim=32, num_attention_heads=4, iou_head_hidden_dim=32
    )
    torch.manual_seed(0)
    _quietly(
        Sam2Model(
            Sam2Config(
                vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder
            )
        ),
        folder,
    )
    Sam2Processor(Sam2ImageProcessor(size={"height": SIDE, "width": SIDE})).save_pretrained(folder)
    return folder


def write_hq(folder: Path) -> Path:
    """An HQ-SAM of transformers with small widths."""
    from transformers import (
        SamHQConfig,
        SamHQMaskDecoderConfig,
        SamHQModel,
        SamHQProcessor,
        SamHQPromptEncoderConfig,
        SamHQVisionConfig,
        SamImageProcessor,
    )

    vision = SamHQVisionConfig(
        hidden_size=16,
        output_channels=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=16,
        window_size=2,
        num_pos_feats=16,
        global_attn_indexes=[1],
        mlp_dim=32,
    )
    prompts = SamHQPromptEncoderConfig(hidden_size=32, image_size=SIDE, patch_size=16)
    decoder = SamHQMaskDecoderConfig(
        hidden_size=32, mlp_dim=32, num_attention_heads=4, iou_head_hidden_dim=32, vit_dim=16
    )
    torch.manual_seed(0)
    config = SamHQConfig(
        vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder
    )
    _quietly(SamHQModel(config), folder)
    sides = {"longest_edge": SIDE}
    pads = {"height": SIDE, "width": SIDE}
    images = SamImageProcessor(size=sides, pad_size=pads, mask_size=sides)
    SamHQProcessor(images).save_pretrained(folder)
    return folder


def _quietly(model: Any, folder: Path) -> None:
    from transformers.utils import logging

    logging.disable_progress_bar()
    model.save_pretrained(folder)


def block(top: int, left: int, bottom: int, right: int, size: tuple[int, int] = (40, 60)) -> Any:
    """A mask `[H, W]` that is a rectangle."""
    mask = np.zeros(size, bool)
    mask[top:bottom, left:right] = True
    return mask


def candidate(mask: Any, score: float = 0.9, stability: float = 0.95) -> Candidate:
    return Candidate(encode(mask), score, stability)


@dataclass(frozen=True)
class CountingPrompter:
    """Three squares around each click; writes a line for every image it is asked about."""

    log: Path
    size: int = 4
    seconds: float = 0.0
    bad: tuple[str, ...] = ()
    full: str = ""
    name = "counting"

    @property
    def parameters(self) -> dict[str, Any]:
        return {"size": self.size}

    def __call__(self, _image: Any, _prompts: Any, task: Any) -> list[list[Candidate]]:
        name = task.record.file_name
        if name in self.bad:
            raise UserError(f"image {name} is bad")
        if name == self.full:
            raise OSError(28, os.strerror(28), f"/somewhere/{name}")
        time.sleep(self.seconds)
        with self.log.open("a") as stream:
            stream.write(f"{name}\n")
        sizes = self.size, self.size + 1, self.size + 2
        return [
            [
                candidate(block(max(0, y - s), max(0, x - s), y + s, x + s, task.size), 0.1 * s)
                for s in sizes
            ]
            for y, x in task.yx.tolist()
        ]
