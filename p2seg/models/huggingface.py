"""Loading models of Hugging Face transformers from verified local files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from p2seg.engine.finite import not_finite
from p2seg.errors import UserError

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def transformers_of(setting: str, extra: str) -> Any:
    """Imports transformers, with its log messages and progress bars off.

    Args:
        setting: the setting that needs it, for the error message.
        extra: the extra of this package that installs it.

    Raises:
        UserError: transformers is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise UserError(
            f"{setting} needs Hugging Face transformers; install it with "
            f"pip install -e '.[{extra}]'"
        ) from error
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def model_folder(checkpoint: str, key: str, example: str, extra: str) -> Path:
    """The local folder of a checkpoint, which is downloaded from the Hugging Face hub if necessary.

    Args:
        checkpoint: a folder, or a name on the hub.
        key: the setting of the checkpoint.
        example: an example of a name, for the error message.
        extra: the extra of this package that a download needs.

    Raises:
        UserError: `checkpoint` is neither a folder nor a name, the extra is missing, or the
            download failed.
    """
    folder = Path(checkpoint).expanduser()
    if folder.is_dir():
        return folder
    if not HUB_NAME.fullmatch(checkpoint):
        raise UserError(
            f"{key}={folder}: no such folder; give a folder with files of transformers, or a name "
            f"on the Hugging Face hub such as {example}"
        )
    transformers_of(key, extra)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(checkpoint, allow_patterns=["*.json", "*.safetensors"]))
    except Exception as error:  # the network, the hub or its cache may fail in many ways
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"{key}={checkpoint} is no folder, and its download from the hub failed ({reason}); "
            f"download it on a machine with internet access and set {key} to the folder"
        ) from error


def whole_model(
    model: Any, config: Any, folder: Path, kind: str, may_lack: tuple[str, ...] = (), **options: Any
) -> Any:
    """Loads a model with all its weights, without any download or code of the checkpoint.

    transformers gets the tensors instead of the folder. From a folder it would also load adapters,
    other files and other models that the files name.

    Args:
        model: a model class of transformers.
        config: returned by `p2seg.models.architectures.config_of`.
        folder: folder with the weights.
        kind: name of the model, for error messages.
        may_lack: prefixes of tensor names that may be missing or have another shape.
        options: passed to `from_pretrained`.

    Raises:
        UserError: the weights cannot be read, are incomplete, or contain NaN or infinity.
    """
    try:
        network, info = model.from_pretrained(
            None, config=config, state_dict=_tensors(folder), output_loading_info=True, **options
        )
    except UserError:
        raise
    except Exception as error:  # transformers raises many types of errors
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{folder} is not a complete {kind} of transformers: {reason}") from error
    names = [*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])]
    missing = sorted(key for key in names if not key.startswith(may_lack))
    if missing:  # transformers would initialize them randomly
        raise UserError(
            f"{folder} is not a complete {kind} of transformers: {len(missing)} tensors are "
            f"missing, such as {missing[0]}; download the files again"
        )
    nonfinite = not_finite(network.state_dict())
    if nonfinite is not None:
        raise UserError(
            f"{folder} contains NaN or infinity in {nonfinite}; download the files again, or use "
            "another checkpoint"
        )
    return network


def _tensors(folder: Path) -> dict[str, Tensor]:
    """The tensors of `model.safetensors`, or of its shards `model-*.safetensors`."""
    whole = folder / "model.safetensors"
    paths = [whole] if whole.is_file() else sorted(folder.glob("model-*.safetensors"))
    if not paths:
        raise UserError(
            f"{folder} has no model.safetensors; other formats can run code and are not supported"
        )
    return {name: tensor for path in paths for name, tensor in load_file(path).items()}
