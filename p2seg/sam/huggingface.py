"""SAM, SAM 2.1 and HQ-SAM of Hugging Face transformers (extra `[sam2]`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from p2seg.errors import UserError, shown
from p2seg.models.architectures import config_of, is_plain, rebuilt
from p2seg.models.huggingface import model_folder, transformers_of, whole_model
from p2seg.runtime.devices import device_of
from p2seg.runtime.files import fingerprint, read_json, sha256
from p2seg.sam.candidates import Candidate
from p2seg.sam.embedding import LastEmbedding
from p2seg.sam.prompts import Precision, Prompts, half_precision, predict_in_parts
from p2seg.semantic.source import MapTask

CLASSES = {
    "sam": ("SamModel", "SamProcessor", "SamImageProcessor"),
    "sam_hq": ("SamHQModel", "SamHQProcessor", "SamImageProcessor"),
    "sam2": ("Sam2Model", "Sam2Processor", "Sam2ImageProcessor"),
}
"""Model, processor and image processor of transformers, by the kind of model."""
TYPES = {**{kind: kind for kind in CLASSES}, "sam2_video": "sam2"}
"""Kind by `model_type` of the config.json. The hub's SAM 2.1 have the type `sam2_video`."""

IMAGE_SETTINGS = (
    *("do_convert_rgb", "do_normalize", "do_pad", "do_rescale", "do_resize", "image_mean"),
    *("image_std", "mask_pad_size", "mask_size", "pad_size", "resample", "rescale_factor", "size"),
)
"""Settings of the image processor. Other settings of the file are ignored."""

EXAMPLE = "facebook/sam2.1-hiera-large"
THRESHOLD = 0.0
"""Threshold of the mask logits."""


@dataclass(frozen=True)
class HuggingFaceSam:
    """A promptable model of transformers.

    Attributes:
        checkpoint: a folder with config.json, preprocessor_config.json and model.safetensors, or
            a name on the hub, which is downloaded. None is an error.
        accelerator: auto, cpu, cuda or mps.
        precision: precision of the image encoder. The rest is in float32.
        folder: folder of the files.
        kind: `model_type` of the config.json.
        sha256: SHA-256 of the weights.
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
            raise UserError(
                f"{folder} has no *.safetensors; convert the weights, as other formats can run code"
            )
        _settings(folder), _image_settings(folder)  # reports an invalid file before any work
        hashes = [sha256(path) for path in weights]
        object.__setattr__(self, "sha256", hashes[0] if len(hashes) == 1 else fingerprint(hashes))

    @property
    def parameters(self) -> dict[str, Any]:
        """The kind of model, and the hash of its weights."""
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
        # Without the format, a side of 1 or 3 pixels would be taken for the channels.
        images = {"images": image, "input_data_format": "channels_last"}
        inputs = processor(**images, return_tensors="pt").to(device)

        def embed() -> Any:
            with torch.autocast(device.type, half or torch.float16, enabled=half is not None):
                return _in_float32(model.get_image_embeddings(inputs["pixel_values"]))

        features = _EMBEDDING((self.folder, self.sha256, device, half), image, embed)
        # HQ-SAM also returns the features between its layers.
        embeddings = (
            dict(zip(("image_embeddings", "intermediate_embeddings"), features, strict=True))
            if self.kind == "sam_hq"
            else {"image_embeddings": features}
        )
        sizes = [inputs["original_sizes"]]
        if "reshaped_input_sizes" in inputs:
            sizes.append(inputs["reshaped_input_sizes"])

        def predict(part: Prompts) -> tuple[torch.Tensor, torch.Tensor]:
            original = {"original_sizes": inputs["original_sizes"]}
            points = processor(
                **(original if self.kind.startswith("sam2") else images),
                input_points=part.yx[None, :, :, ::-1].tolist(),
                input_labels=part.labels[None].tolist(),
                return_tensors="pt",
            ).to(device)
            outputs = model(
                **embeddings,
                input_points=points["input_points"],
                input_labels=points["input_labels"],
                multimask_output=True,
            )
            [logits] = processor.post_process_masks(outputs.pred_masks, *sizes, binarize=False)
            return logits, outputs.iou_scores[0]

        return predict_in_parts(prompts, image.shape[:2], predict, THRESHOLD)


_EMBEDDING: LastEmbedding[Any] = LastEmbedding()


@lru_cache(maxsize=1)
def _model(folder: str, kind: str, device: torch.device) -> tuple[Any, Any]:
    transformers = transformers_of("semantic=sam2", "sam2")
    settings, images = _settings(Path(folder)), _image_settings(Path(folder))
    model_name, processor_name, image_name = CLASSES[TYPES[kind]]
    config = config_of(settings, Path(folder) / "config.json")
    model = whole_model(getattr(transformers, model_name), config, Path(folder), kind)
    # Some versions of transformers have Sam2ImageProcessorFast instead of Sam2ImageProcessor.
    image_class = getattr(transformers, image_name, None)
    image_class = image_class or getattr(transformers, f"{image_name}Fast")
    try:
        processor = getattr(transformers, processor_name)(image_class(**images))
    except Exception as error:  # transformers raises many types for invalid settings
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{folder} is not a complete {kind} of transformers: {reason}") from error
    return model.to(device).eval(), processor


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    settings = read_json(path, "config.json of a transformers model")
    return rebuilt(TYPES[_kind(folder)], settings, path)


def _image_settings(folder: Path) -> dict[str, Any]:
    """Image processing settings of processor_config.json or the older preprocessor_config.json."""
    what = "file of an image processor of transformers"
    path = folder / "processor_config.json"
    content = read_json(path, what) if path.is_file() else {}
    settings = content.get("image_processor") if isinstance(content, dict) else None
    if not isinstance(settings, dict):
        path = folder / "preprocessor_config.json"
        settings = read_json(path, what)
    kept = {}
    for key in IMAGE_SETTINGS:
        value = settings.get(key) if isinstance(settings, dict) else None
        sizes = value.values() if isinstance(value, dict) else [value]
        if not all(is_plain(each) or each is None for each in sizes):
            raise UserError(
                f"{path} has {key}={shown(value)}; use the file that belongs to the weights"
            )
        if value is not None:
            kept[key] = value
    return kept


def _kind(folder: Path) -> str:
    config = read_json(folder / "config.json", "config.json of a transformers model")
    kind = config.get("model_type") if isinstance(config, dict) else None
    if not isinstance(kind, str) or kind not in TYPES:
        raise UserError(
            f"{folder} holds a model of type {kind!s:.60}; semantic=sam2 supports "
            f"{', '.join(TYPES)}, such as {EXAMPLE}"
        )
    return str(kind)


def _in_float32(tensors: Any) -> Any:
    if isinstance(tensors, torch.Tensor):
        return tensors.float()
    return type(tensors)(_in_float32(each) for each in tensors)
