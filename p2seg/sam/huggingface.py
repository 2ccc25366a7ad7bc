"""SAM 2.1 and HQ-SAM (and SAM) through Hugging Face transformers, the extra `[sam2]`."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from p2seg.devices import device_of
from p2seg.errors import UserError
from p2seg.files import fingerprint, read_json, sha256
from p2seg.models.huggingface import model_folder, transformers_of, whole_model
from p2seg.sam.candidates import Candidate
from p2seg.sam.prompts import Precision, Prompts, answers, half_precision
from p2seg.semantic.source import MapTask

CLASSES = {
    "sam": ("SamModel", "SamProcessor"),
    "sam_hq": ("SamHQModel", "SamHQProcessor"),
    "sam2": ("Sam2Model", "Sam2Processor"),
    "sam2_video": ("Sam2Model", "Sam2Processor"),  # what the hub's SAM 2.1 call themselves
}
"""Of transformers, by the `model_type` of a checkpoint's config.json."""

EXAMPLE = "facebook/sam2.1-hiera-large"
THRESHOLD = 0.0
"""Of the logits."""


@dataclass(frozen=True)
class HuggingFaceSam:
    """Asks a SAM of transformers.

    Attributes:
        checkpoint: a folder with config.json, preprocessor_config.json and model.safetensors, or
            the hub's name of one, which is fetched; None is refused.
        accelerator: auto, cpu, cuda or mps.
        precision: of the image encoder; everything behind it is in float32.
        folder: where the files are.
        kind: its `model_type`.
        sha256: of the weights.
    """

    checkpoint: str | None
    accelerator: str = "auto"
    precision: Precision = "auto"
    folder: str = field(default="", init=False)
    kind: str = field(default="", init=False)
    sha256: str = field(default="", init=False)
    name = "sam2"

    def __post_init__(self) -> None:
        if not self.checkpoint:
            raise UserError(
                "no checkpoint given; semantic.sam.checkpoint is a folder of transformers' files "
                f"or a name on the hub such as {EXAMPLE}"
            )
        folder = model_folder(self.checkpoint, "semantic.sam.checkpoint", EXAMPLE, "sam2")
        object.__setattr__(self, "folder", str(folder))
        object.__setattr__(self, "kind", _kind(folder))
        weights = sorted(path for path in folder.glob("*.safetensors") if path.is_file())
        if not weights:
            raise UserError(f"{folder} has no *.safetensors; other formats can run code")
        hashes = [sha256(path) for path in weights]
        object.__setattr__(self, "sha256", hashes[0] if len(hashes) == 1 else fingerprint(hashes))

    @property
    def parameters(self) -> dict[str, Any]:
        """The kind of model, and its weights' hash."""
        return {
            "model": self.kind,
            "checkpoint_sha256": self.sha256,
            "precision": self.precision,
        }

    @torch.inference_mode()
    def __call__(
        self,
        image: NDArray[np.uint8],
        prompts: Prompts,
        task: MapTask,  # noqa: ARG002
    ) -> list[list[Candidate]]:
        """The three masks of each prompt."""
        device = device_of(self.accelerator)
        model, processor = _model(self.folder, self.kind, device)
        half = half_precision(self.precision, device)
        # of images with a side of 1 or 3 it would take that for the channels
        shown = {"images": image, "input_data_format": "channels_last"}
        given = processor(**shown, return_tensors="pt").to(device)
        with torch.autocast(device.type, half or torch.float16, enabled=half is not None):
            seen = model.get_image_embeddings(given["pixel_values"])
        seen = _in_float32(seen)
        # HQ-SAM gives the features between its layers as well
        embeddings = (
            dict(zip(("image_embeddings", "intermediate_embeddings"), seen, strict=True))
            if self.kind == "sam_hq"
            else {"image_embeddings": seen}
        )
        sizes = [given["original_sizes"]]
        if "reshaped_input_sizes" in given:
            sizes.append(given["reshaped_input_sizes"])

        def ask(part: Prompts) -> tuple[torch.Tensor, torch.Tensor]:
            again = {"original_sizes": given["original_sizes"]}
            named = processor(
                **(again if self.kind.startswith("sam2") else shown),
                input_points=part.yx[None, :, :, ::-1].tolist(),
                input_labels=part.labels[None].tolist(),
                return_tensors="pt",
            ).to(device)
            answer = model(
                **embeddings,
                input_points=named["input_points"],
                input_labels=named["input_labels"],
                multimask_output=True,
            )
            [logits] = processor.post_process_masks(answer.pred_masks, *sizes, binarize=False)
            return logits, answer.iou_scores[0]

        return answers(prompts, image.shape[:2], ask, THRESHOLD)


@lru_cache(maxsize=1)
def _model(folder: str, kind: str, device: torch.device) -> tuple[Any, Any]:
    transformers = transformers_of("semantic=sam2", "sam2")
    model, processor = (getattr(transformers, name) for name in CLASSES[kind])
    made = whole_model(model.from_pretrained, folder, kind)
    try:
        asking = processor.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # whatever transformers comes to at settings that cannot be
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{folder} is not a whole {kind} of transformers: {reason}") from error
    return made.to(device).eval(), asking


def _kind(folder: Path) -> str:
    """The `model_type` of the folder's config.json."""
    config = read_json(folder / "config.json", "config.json of a transformers model")
    kind = config.get("model_type") if isinstance(config, dict) else None
    if not isinstance(kind, str) or kind not in CLASSES:
        raise UserError(
            f"{folder} holds a model of type {kind!s:.60}; semantic=sam2 takes "
            f"{', '.join(CLASSES)}, such as {EXAMPLE}"
        )
    return str(kind)


def _in_float32(tensors: Any) -> Any:
    if isinstance(tensors, torch.Tensor):
        return tensors.float()
    return type(tensors)(_in_float32(each) for each in tensors)
