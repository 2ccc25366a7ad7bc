"""SAM of the package segment-anything, from a checkpoint in the official format."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, cast
from zipfile import is_zipfile

import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything import SamPredictor
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from torch import Tensor

from p2seg.engine.finite import not_finite
from p2seg.errors import UserError, check_choice
from p2seg.runtime.archives import oversized
from p2seg.runtime.devices import device_of
from p2seg.runtime.files import sha256
from p2seg.sam.candidates import Candidate
from p2seg.sam.embedding import LastEmbedding
from p2seg.sam.prompts import Precision, Prompts, half_precision, predict_in_parts
from p2seg.sam.weights import OFFICIAL, advice_of, official_file
from p2seg.semantic.source import MapTask

DECODER_HEADS = 8
"""Attention heads of the mask decoder, the only size that no tensor's shape has."""

State = dict[str, Tensor]


@dataclass(frozen=True)
class OfficialSam:
    """A SAM of segment-anything.

    Attributes:
        checkpoint: the file. None: the official file of `model` in the cache of torch.hub, which
            is downloaded if missing.
        model: vit_b, vit_l or vit_h. A file with the width of none of these is accepted.
        accelerator: auto, cpu, cuda or mps.
        precision: precision of the image encoder. The rest is in float32.
        sha256: SHA-256 of the file.
    """

    checkpoint: str | None
    model: str = "vit_b"
    accelerator: str = "auto"
    precision: Precision = "auto"
    sha256: str = field(default="", init=False)
    name = "sam"

    def __post_init__(self) -> None:
        check_choice("semantic.sam.model", self.model, tuple(OFFICIAL))
        if self.checkpoint is None:
            object.__setattr__(self, "checkpoint", str(official_file(self.model)))
        path = Path(self.checkpoint or "").expanduser()
        if not path.is_file():
            raise UserError(f"no SAM checkpoint at {path}; {advice_of(self.model)}")
        with torch.device("meta"):  # reports an invalid file before any work
            _sam_of(path, self.model)
        object.__setattr__(self, "sha256", sha256(path))

    @property
    def parameters(self) -> dict[str, Any]:
        """The model, the hash of its file, and whether the file is the official one."""
        return {
            "model": self.model,
            "checkpoint_sha256": self.sha256,
            "official": self.sha256 == OFFICIAL[self.model].sha256,
            "precision": self.precision,
        }

    @torch.inference_mode()
    def __call__(
        self,
        image: NDArray[np.uint8],
        prompts: Prompts,
        task: MapTask,
    ) -> list[list[Candidate]]:
        """The three masks of each prompt."""
        device = device_of(self.accelerator)
        predictor = _predictor(str(self.checkpoint), self.model, device)
        half = half_precision(self.precision, device)
        side = predictor.transform.target_length
        if min(predictor.transform.get_preprocess_shape(*image.shape[:2], side)) < 1:
            raise UserError(
                f"image {task.record.file_name} is {image.shape[1]}x{image.shape[0]}, which is too "
                f"narrow for SAM; crop it, or skip it with data.on_error=skip"
            )

        def embed() -> Tensor:
            with torch.autocast(device.type, half or torch.float16, enabled=half is not None):
                predictor.set_image(image)
            features: Tensor = predictor.features
            return features.float()

        model = str(self.checkpoint), self.model, device, half
        predictor.features = _EMBEDDING(model, image, embed)
        size = (image.shape[0], image.shape[1])

        def predict(part: Prompts) -> tuple[Tensor, Tensor]:
            xy = torch.from_numpy(part.yx[:, :, ::-1].copy()).to(device)
            logits, predicted_iou, _ = predictor.predict_torch(
                predictor.transform.apply_coords_torch(xy, size),
                torch.from_numpy(part.labels).to(device),
                multimask_output=True,
                return_logits=True,
            )
            return logits, predicted_iou

        return predict_in_parts(prompts, size, predict, predictor.model.mask_threshold)


def build_sam(state: State, *, assign: bool = False) -> Sam:
    """A SAM with the weights of a checkpoint, in evaluation mode.

    Args:
        state: tensors in the official format. Their shapes define the widths, depth and heads.
        assign: use these tensors instead of copying them.

    Raises:
        KeyError, RuntimeError: the tensors are not those of a SAM.
    """
    encoder, decoder = "image_encoder.", "mask_decoder."
    grid, width = state[encoder + "pos_embed"].shape[1:3][0], state[encoder + "pos_embed"].shape[3]
    patch = state[encoder + "patch_embed.proj.weight"].shape[2]
    blocks = range(_count(state, encoder + "blocks."))
    # The table of relative positions has the length of a block's window, or of the whole grid.
    windows = [(state[f"{encoder}blocks.{b}.attn.rel_pos_h"].shape[0] + 1) // 2 for b in blocks]
    global_blocks = tuple(b for b in blocks if windows[b] == grid)
    channels = state[encoder + "neck.0.weight"].shape[0]
    side = grid * patch
    sam = Sam(
        image_encoder=ImageEncoderViT(
            img_size=side,
            patch_size=patch,
            embed_dim=width,
            depth=len(blocks),
            num_heads=width // state[encoder + "blocks.0.attn.rel_pos_h"].shape[1],
            mlp_ratio=state[encoder + "blocks.0.mlp.lin1.weight"].shape[0] / width,
            out_chans=channels,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=min(windows),
            global_attn_indexes=global_blocks,
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=channels,
            image_embedding_size=(grid, grid),
            input_image_size=(side, side),
            mask_in_chans=state["prompt_encoder.mask_downscaling.3.weight"].shape[0],
        ),
        mask_decoder=MaskDecoder(
            transformer_dim=channels,
            transformer=TwoWayTransformer(
                depth=_count(state, decoder + "transformer.layers."),
                embedding_dim=channels,
                num_heads=DECODER_HEADS,
                mlp_dim=state[decoder + "transformer.layers.0.mlp.lin1.weight"].shape[0],
            ),
            num_multimask_outputs=state[decoder + "mask_tokens.weight"].shape[0] - 1,
            iou_head_depth=_count(state, decoder + "iou_prediction_head.layers."),
            iou_head_hidden_dim=state[decoder + "iou_prediction_head.layers.0.weight"].shape[0],
        ),
    )
    sam.load_state_dict(state, assign=assign)
    return sam.eval()


def load_state(path: Path, model: str) -> State:
    """The tensors of a checkpoint, read without running code in the file.

    Args:
        path: the file.
        model: expected model.

    Raises:
        UserError: the file is not a SAM checkpoint, or is another model.
    """
    packed = oversized(path)
    if packed is not None:
        raise UserError(f"{path} is no checkpoint ({packed}); {advice_of(model)}")
    try:
        mapped = is_zipfile(path)  # older files cannot be mapped to memory
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # torch raises many types for other files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is no checkpoint ({reason}); {advice_of(model)}") from error
    table = state.get("image_encoder.pos_embed") if isinstance(state, dict) else None
    if not isinstance(table, Tensor) or table.dim() != 4:
        raise UserError(
            f"{path} is not a SAM in segment-anything's format: it has no "
            f"image_encoder.pos_embed (for SAM 2 use semantic=sam2); {advice_of(model)}"
        )
    width = table.shape[3]
    actual = next((name for name, each in OFFICIAL.items() if each.width == width), model)
    if actual != model:
        raise UserError(
            f"{path} has {width} channels, so it is {actual}; give semantic.sam.model={actual}, "
            f"or for {model} its own file: {advice_of(model)}"
        )
    return cast(State, state)


_EMBEDDING: LastEmbedding[Tensor] = LastEmbedding()


@lru_cache(maxsize=1)
def _predictor(checkpoint: str, model: str, device: torch.device) -> SamPredictor:
    path = Path(checkpoint).expanduser()
    sam = _sam_of(path, model)
    tensor = not_finite(sam.state_dict())
    if tensor is not None:
        raise UserError(
            f"{path} holds weights that are not finite: {tensor} has NaN or infinity; "
            f"{advice_of(model)}"
        )
    return SamPredictor(sam.to(device))


def _sam_of(path: Path, model: str) -> Sam:
    state = load_state(path, model)
    try:
        return build_sam(state, assign=True)
    except (LookupError, RuntimeError, AttributeError, ArithmeticError, ValueError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(
            f"{path} is not a complete SAM ({type(error).__name__}: {reason}); {advice_of(model)}"
        ) from error


def _count(state: State, prefix: str) -> int:
    numbers = {int(key[len(prefix) :].split(".")[0]) for key in state if key.startswith(prefix)}
    return max(numbers) + 1
