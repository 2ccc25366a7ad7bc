"""Semantic maps of any other method, taken over from a folder of label maps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2seg.data.maps import SemanticMap, map_path, read_map
from p2seg.errors import UserError
from p2seg.semantic.source import MapTask


@dataclass(frozen=True)
class PngMaps:
    """Takes each map from the PNG of the same name, checked for size and labels.

    Attributes:
        maps: folder of palette or grey PNGs whose values are 0 (background), classes 1..C in the
            order of the points file's categories, or 255 (ignored).
    """

    maps: str
    name = "png"

    def __post_init__(self) -> None:
        if not self._folder.is_dir():
            raise UserError(f"no folder of maps at {self.maps}; give it with semantic.maps=DIR")

    @property
    def parameters(self) -> dict[str, Any]:
        return {"maps": self.maps}

    def inputs(self, task: MapTask) -> list[Path]:
        return [self._path(task)]

    def __call__(self, task: MapTask) -> SemanticMap:
        return read_map(self._path(task), task.size, len(task.classes))

    @property
    def _folder(self) -> Path:
        return Path(self.maps).expanduser()

    def _path(self, task: MapTask) -> Path:
        return map_path(self._folder, task.record.file_name)
