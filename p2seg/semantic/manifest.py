"""The file beside a folder of semantic maps, or of candidates, that says where they are from."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from p2seg.data.schema import storable
from p2seg.errors import UserError, shown
from p2seg.runtime.files import read_json, write_json

MANIFEST = "manifest.json"
VERSION = 2
"""Of the manifest's format."""


@dataclass(frozen=True)
class Manifest:
    """What a folder of maps or candidates says of itself.

    Attributes:
        source: what made the maps: "grabcut", "png", "oracle", ...
        parameters: all settings of the source, and hashes of the files it read beside the images.
        classes: names; class k is `classes[k - 1]`.
        points_sha256: of the points file.
        files: SHA-256 of every map's or candidates' file, by its path below the folder.
        skipped: the sentence that told why, by image file name.
        versions: of the packages that decide the result.
        version: of this format.
    """

    source: str
    parameters: dict[str, Any]
    classes: list[str]
    points_sha256: str
    files: dict[str, str]
    skipped: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    version: int = VERSION


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes `manifest` to `folder`/manifest.json."""
    write_json(folder / MANIFEST, asdict(manifest), indent=1)


def read_manifest(folder: Path) -> Manifest:
    """Reads the manifest of a folder of maps.

    Raises:
        UserError: there is none, or it is not of this form.
    """
    path = folder / MANIFEST
    content = read_json(path, "manifest of semantic maps")
    types: dict[str, type] = {
        "source": str,
        "parameters": dict,
        "classes": list,
        "points_sha256": str,
        "files": dict,
        "skipped": dict,
        "versions": dict,
        "version": int,
    }
    given = content.get("version") if isinstance(content, dict) else None
    if type(given) is int and given != VERSION:
        raise UserError(
            f"{path} is of format {shown(given)} but this p2seg reads {VERSION}; run "
            "p2seg gen_semantic again, which keeps the maps that are good"
        )
    if (
        not isinstance(content, dict)
        or any(not isinstance(content.get(name), kind) for name, kind in types.items())
        or not all(_texts(content[name]) for name in ("classes", "files", "skipped", "versions"))
        or not storable(content)  # parts of it are copied into results
    ):
        raise UserError(
            f"{path} is not a manifest of semantic maps; make the maps with p2seg gen_semantic"
        )
    return Manifest(**{name: content[name] for name in types})


def _texts(content: dict[str, Any] | list[Any]) -> bool:
    """Whether all values are texts."""
    values = content.values() if isinstance(content, dict) else content
    return all(isinstance(value, str) for value in values)
