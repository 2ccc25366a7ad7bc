"""Semantic maps of other methods, read from a folder of label maps or probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2seg.data.maps import SemanticMap, map_path, read_map
from p2seg.errors import UserError
from p2seg.semantic.arrays import labels_to_map, probabilities_to_map, read_array
from p2seg.semantic.class_map import ClassMap, Legend
from p2seg.semantic.source import MapTask
from p2seg.structures import IGNORED

ENDINGS = (".png", ".npz", ".npy")


@dataclass(frozen=True)
class PngMaps:
    """The source that reads the map file with the name of each image.

    A palette or gray PNG contains labels. An `.npz` or `.npy` contains labels `[H, W]` or
    probabilities `[n, h, w]` (`p2seg.semantic.arrays`).

    Attributes:
        maps: the folder.
        class_map: classes of the labels; None: 0 is background, 1..C are the classes of the points
            file, and 255 is ignored.
        background: probability 0..1 of background for files without a background channel.
    """

    maps: str
    class_map: ClassMap | None = None
    background: float | None = None
    name = "png"

    def __post_init__(self) -> None:
        if not self._folder.is_dir():
            raise UserError(f"no folder of maps at {self.maps}; give it with semantic.maps=DIR")

    @staticmethod
    def read(maps: str, class_map: str | None = None, background: float | None = None) -> PngMaps:
        """The maps of a folder.

        Args:
            maps: the folder.
            class_map: path of a class map (`ClassMap.read`), or None.
            background: see `PngMaps`.

        Raises:
            UserError: the folder does not exist, or the class map is unreadable.
        """
        return PngMaps(maps, None if class_map is None else ClassMap.read(class_map), background)

    @property
    def parameters(self) -> dict[str, Any]:
        parameters: dict[str, Any] = {"maps": self.maps}
        if self.class_map is not None:
            parameters["class_map"] = self.class_map.parameters
        if self.background is not None:
            parameters["background"] = self.background
        return parameters

    def inputs(self, task: MapTask) -> list[Path]:
        paths = self._paths(task)
        return [path for path in paths if path.is_file()] or paths[:1]

    def __call__(self, task: MapTask) -> SemanticMap:
        path = self._path(task)
        if path.suffix == ".png" and self.class_map is None:
            return read_map(path, task.size, len(task.classes))
        legend = Legend.plain(task.classes)
        if self.class_map is not None:
            legend = self.class_map.legend(task.classes)
        if path.suffix == ".png":
            return labels_to_map(read_map(path, task.size, IGNORED), path, task.size, legend)
        stored = read_array(path, task.size, legend)
        if stored.values.ndim == 2:
            return labels_to_map(stored.values, path, task.size, legend)
        return probabilities_to_map(stored, path, task.size, legend, self.background)

    @property
    def _folder(self) -> Path:
        return Path(self.maps).expanduser()

    def _paths(self, task: MapTask) -> list[Path]:
        path = map_path(self._folder, task.record.file_name)
        return [path.with_suffix(ending) for ending in ENDINGS]

    def _path(self, task: MapTask) -> Path:
        """The path of the map.

        Raises:
            UserError: no map or several maps exist.
        """
        files = [path for path in self._paths(task) if path.is_file()]
        if not files:
            raise UserError(
                f"no semantic map at {self._paths(task)[0]}, nor .npz or .npy; make it, or skip "
                "its image with data.on_error=skip"
            )
        if len(files) > 1:
            raise UserError(
                f"image {task.record.file_name} has two maps, {files[0]} and {files[1].name}; move "
                "one of them away"
            )
        return files[0]
