"""The official weights of SAM: file names, hashes, and the download."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from p2seg.errors import UserError


@dataclass(frozen=True)
class Official:
    """An official checkpoint.

    Attributes:
        file: file name below `URL`.
        sha256: SHA-256 of the file.
        width: channels of the image encoder.
    """

    file: str
    sha256: str
    width: int


URL = "https://dl.fbaipublicfiles.com/segment_anything/"
OFFICIAL = {
    "vit_b": Official(
        "sam_vit_b_01ec64.pth",
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        768,
    ),
    "vit_l": Official(
        "sam_vit_l_0b3195.pth",
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        1024,
    ),
    "vit_h": Official(
        "sam_vit_h_4b8939.pth",
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        1280,
    ),
}


def official_file(model: str) -> Path:
    """The official file of a model in the cache of torch.hub, downloaded if missing.

    Raises:
        UserError: the download failed, or the file has another hash.
    """
    official = OFFICIAL[model]
    path = Path(torch.hub.get_dir()) / "checkpoints" / official.file
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(URL + official.file, str(path), official.sha256)
        except (OSError, RuntimeError) as error:  # RuntimeError: a wrong hash
            raise UserError(
                f"{official.file} cannot be downloaded to {path} ({error}); {advice_of(model)}"
            ) from error
    return path


def advice_of(model: str) -> str:
    """Returns the advice to give the file of a model, for messages."""
    official = OFFICIAL[model]
    return (
        f"for semantic.sam.model={model} give semantic.sam.checkpoint=FILE, officially "
        f"{official.file} from {URL}{official.file} (sha256 {official.sha256})"
    )
