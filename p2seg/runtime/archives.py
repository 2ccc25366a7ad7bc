"""Protection against checkpoint files that unpack to far more than their size (zip bombs)."""

from __future__ import annotations

import zipfile
from pathlib import Path


def oversized(path: Path) -> str | None:
    """Why a checkpoint file is refused; None if it is accepted or is not a zip archive.

    PyTorch writes uncompressed archives but also unpacks compressed ones. A file with a compressed
    part, or with parts that together are larger than the file, is refused.

    Args:
        path: a file that `torch.load` will read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except Exception:  # torch.load reports what is wrong with a damaged file
        return None
    compressed = [each for each in parts if each.compress_type != zipfile.ZIP_STORED]
    if compressed:
        name = compressed[0].filename
        return f"its part {name!r:.80} is compressed, which PyTorch does not write"
    if sum(each.file_size for each in parts) > path.stat().st_size:
        return "its parts are larger than the file"
    return None
