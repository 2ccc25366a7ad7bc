"""PyTorch's files are zip archives, and so could hold far more than their size."""

from __future__ import annotations

import zipfile
from pathlib import Path


def oversized(path: Path) -> str | None:
    """What is wrong with how much an archive holds; None: nothing, or it is no archive.

    PyTorch compresses nothing that it writes, but unpacks whatever it is given. So a file may not
    hold a compressed part, nor more bytes than it has.

    Args:
        path: a file that `torch.load` will read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except Exception:  # whatever zipfile comes to: torch.load says what is wrong
        return None
    packed = [each for each in parts if each.compress_type != zipfile.ZIP_STORED]
    if packed:
        return f"its part {packed[0].filename!r:.80} is compressed, which PyTorch does not write"
    if sum(each.file_size for each in parts) > path.stat().st_size:
        return "its parts are larger than the file"
    return None
