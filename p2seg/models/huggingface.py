"""Models of Hugging Face transformers: the extra, their files, and whether these are whole."""

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
    """The module transformers, quiet.

    Args:
        setting: what needs it, as on the command line.
        extra: of this package that brings it.

    Raises:
        UserError: it is not installed.
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
    """The folder of a checkpoint's files, from the hub where it is the name of one there.

    Args:
        checkpoint: a folder, or a name on the hub.
        key: the setting that it is given by.
        example: such a name.
        extra: without which nothing is fetched.

    Raises:
        UserError: it is neither, the extra is missing, or the hub did not give it.
    """
    folder = Path(checkpoint).expanduser()
    if folder.is_dir():
        return folder
    if not HUB_NAME.fullmatch(checkpoint):
        raise UserError(
            f"no folder at {folder}; {key} is a folder of transformers' files, or a name on the "
            f"hub such as {example}"
        )
    transformers_of(key, extra)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(checkpoint, allow_patterns=["*.json", "*.safetensors"]))
    except Exception as error:  # of the net, of the hub, of its cache
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"there is no folder {checkpoint}, and the hub did not give it ({reason}); fetch it "
            "where there is a net, and give its folder"
        ) from error


def whole_model(
    model: Any, config: Any, folder: Path, kind: str, may_lack: tuple[str, ...] = (), **options: Any
) -> Any:
    """A model with all its weights from a folder; nothing is fetched, and no code of it is run.

    transformers is given the tensors and not the folder, where it would also follow the names of
    other files, of adapters and of other models.

    Args:
        model: a class of transformers.
        config: of `p2seg.models.architectures.config_of`.
        folder: of the files.
        kind: what the model is called.
        may_lack: how the names of tensors begin that may be missing or of another shape.
        options: of `from_pretrained`.

    Raises:
        UserError: the files cannot be read, lack tensors, or hold weights that are not finite.
    """
    try:
        made, info = model.from_pretrained(
            None, config=config, state_dict=_tensors(folder), output_loading_info=True, **options
        )
    except UserError:
        raise
    except Exception as error:  # whatever transformers comes to at settings that cannot be
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{folder} is not a whole {kind} of transformers: {reason}") from error
    named = [*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])]
    lacking = sorted(key for key in named if not key.startswith(may_lack))
    if lacking:  # they would be random
        raise UserError(
            f"{folder} is not a whole {kind} of transformers: it lacks {len(lacking)} tensors, "
            f"{lacking[0]} among them"
        )
    spoiled = not_finite(made.state_dict())
    if spoiled is not None:
        raise UserError(
            f"{folder} holds weights that are not finite: {spoiled} has NaN or infinity; fetch the "
            "files again, or give another checkpoint"
        )
    return made


def _tensors(folder: Path) -> dict[str, Tensor]:
    """The tensors of `model.safetensors`, or of the parts that large models are split into."""
    whole = folder / "model.safetensors"
    paths = [whole] if whole.is_file() else sorted(folder.glob("model-*.safetensors"))
    if not paths:
        raise UserError(f"{folder} has no model.safetensors; other formats can run code")
    return {name: tensor for path in paths for name, tensor in load_file(path).items()}
