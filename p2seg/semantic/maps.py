"""Writes initial semantic maps; `p2seg.data.maps` reads them.

A PNG text chunk has the fingerprint of the map's inputs and the hash of its pixels. A resumed run
thereby recognizes finished maps and maps that p2seg did not write.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from p2seg.data.coco import ImageRecord
from p2seg.data.images import opened_image
from p2seg.data.labels import voc_palette
from p2seg.data.maps import SemanticMap, map_path
from p2seg.errors import UserError
from p2seg.runtime.files import atomic_path

NOTE = "p2seg"
"""Name of the text chunk."""


def paths_of(folder: Path, records: Sequence[ImageRecord], ending: str = ".png") -> list[Path]:
    """One unique output path per image.

    Args:
        folder: folder of the outputs.
        records: the images.
        ending: file suffix.

    Raises:
        UserError: two images would share a file.
    """
    owners: dict[str, str] = {}
    paths = []
    for record in records:
        path = map_path(folder, record.file_name).with_suffix(ending)
        owner = owners.setdefault(os.path.normpath(path), record.file_name)
        if owner != record.file_name:
            raise UserError(
                f"images {owner} and {record.file_name} would share {path.name}; rename one of them"
            )
        paths.append(path)
    return paths


def write_map(path: Path, semantic: SemanticMap, key: str) -> None:
    """Writes a map as a palette PNG in VOC's colors, atomically.

    Args:
        path: the file.
        semantic: `[H, W]` uint8.
        key: fingerprint of the map's inputs, which `read_key` returns.
    """
    image = Image.fromarray(semantic)
    image.putpalette(voc_palette().tobytes())  # this changes the mode to P
    note = PngInfo()
    note.add_text(NOTE, f"{key} {_digest(semantic)}")
    with atomic_path(path) as temporary:
        image.save(temporary, pnginfo=note)


def read_key(path: Path) -> str | None:
    """The fingerprint of a map, or None if `write_map` did not write these pixels."""
    try:
        with opened_image(path) as image:
            image.load()
            key, _, digest = str(image.info.get(NOTE, "")).rpartition(" ")
            return key if image.mode == "P" and digest == _digest(np.asarray(image)) else None
    except Exception:  # Pillow raises many types for files of other tools
        return None


def _digest(semantic: SemanticMap) -> str:
    return hashlib.sha256(np.ascontiguousarray(semantic).tobytes()).hexdigest()
