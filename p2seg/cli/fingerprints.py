"""Fingerprints of the inputs of a command: deciding settings, and the content of files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from p2seg.cli.build import plain
from p2seg.cli.inputs import clicks_sha256, semantic_source
from p2seg.cli.paths import path_of
from p2seg.data.maps import map_path
from p2seg.data.records import ImageRecord
from p2seg.runtime.content_fingerprint import cache_folder, content_of, files_below, hashes_of
from p2seg.runtime.files import fingerprint, sha256
from p2seg.runtime.settings import deciding, paths_read


def key_of(
    cfg: DictConfig,
    command: str,
    images: Sequence[ImageRecord],
    *,
    also: Iterable[str] = (),
    without: Iterable[str] = (),
) -> str:
    """A fingerprint of everything that affects the result of a command.

    Args:
        cfg: configuration of the command.
        command: name of the command, such as `gen_pseudo`.
        images: images that the command reads from `data.images`, `data.semantic` or `images`.
        also: other commands whose settings and inputs affect the result.
        without: settings, and groups of settings, to ignore.
    """
    settings: dict[str, Any] = {}
    paths: dict[str, Path] = {}
    ignored = tuple(without)
    for each in (command, *also):
        settings |= deciding(plain(cfg), each)
        paths |= inputs_of(cfg, each)
    settings = {
        key: value
        for key, value in settings.items()
        if not any(key == each or key.startswith(f"{each}.") for each in ignored)
    }
    contents = {
        key: content_at(cfg, key, path, images) for key, path in paths.items() if key not in ignored
    }
    return fingerprint([settings, contents])


def inputs_of(cfg: DictConfig, command: str) -> dict[str, Path]:
    """The paths of the inputs of a command, by setting."""
    values = {key: OmegaConf.select(cfg, key) for key in paths_read(command)}
    return {
        key: Path(value).expanduser()
        for key, value in values.items()
        if isinstance(value, str) and value not in ("", "none")
    }


def content_at(cfg: DictConfig, key: str, path: Path, images: Sequence[ImageRecord]) -> str | None:
    """A fingerprint of the file or folder at the path of a setting; None if the path is missing.

    Args:
        cfg: configuration of the command.
        key: name of the setting.
        path: value of the setting.
        images: images to read if the path is a folder of images or maps.
    """
    if path.is_file():
        return clicks_sha256(cfg) if key == "data.points" else sha256(path)
    if not path.is_dir():
        return None  # a model name, or an output that does not exist yet
    if key in ("data.images", "images"):
        return folder_content(path, images_in(path, images))
    if key == "data.semantic":
        return folder_content(path, maps_in(path, images))
    return folder_content(path, files_below(path))


def inputs_info(cfg: DictConfig, semantic: Path, stamps: dict[int, str]) -> dict[str, Any]:
    """The description of the inputs, for a file of pseudo masks.

    Args:
        cfg: configuration of the command.
        semantic: folder of the initial semantic maps.
        stamps: fingerprints of images and maps, returned by `stamps_of`.
    """
    return {
        "points": clicks_sha256(cfg),
        "semantic": {"source": semantic_source(semantic)},
        "images_and_maps": fingerprint(stamps),
    }


def stamps_of(images: Sequence[ImageRecord], folder: Path, semantic: Path) -> dict[int, str]:
    """A fingerprint of each image and its initial semantic map, by image id."""
    files, maps = images_in(folder, images), maps_in(semantic, images)
    of_files = hashes_of(files, folder, cache_folder())
    of_maps = hashes_of(maps, semantic, cache_folder())
    return {
        image.id: fingerprint([of_files[file], of_maps[map]])
        for image, file, map in zip(images, files, maps, strict=True)
    }


def contents_read(cfg: DictConfig, images: Sequence[ImageRecord]) -> dict[str, Any]:
    """Fingerprints of the points, images and maps."""
    folder, semantic = path_of(cfg, "data.images"), path_of(cfg, "data.semantic")
    return {
        "points": clicks_sha256(cfg),
        "semantic": {
            "source": semantic_source(semantic),
            "maps": folder_content(semantic, maps_in(semantic, images)),
        },
        "images": folder_content(folder, images_in(folder, images)),
    }


def folder_content(folder: Path, files: Iterable[Path]) -> str:
    """A fingerprint of the contents of files in a folder; unchanged files are not read again."""
    return content_of(files, folder, cache_folder())


def images_in(folder: Path, images: Iterable[ImageRecord]) -> list[Path]:
    """The paths of image files."""
    return [folder / each.file_name for each in images]


def maps_in(folder: Path, images: Iterable[ImageRecord]) -> list[Path]:
    """The paths of the initial semantic maps of images."""
    return [map_path(folder, each.file_name) for each in images]
