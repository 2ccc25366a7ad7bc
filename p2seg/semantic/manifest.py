"""The manifest in a folder of semantic maps or candidates, which records their origin."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from p2seg.data.schema import storable
from p2seg.errors import UserError, shown
from p2seg.runtime.files import read_json, write_json

MANIFEST = "manifest.json"
VERSION = 2
"""Version of the manifest's format."""


@dataclass(frozen=True)
class Manifest:
    """Origin and checksums of a folder of maps or candidates.

    Attributes:
        source: name of the source: "grabcut", "png", "oracle", ...
        parameters: settings of the source, and hashes of the files it read besides the images.
        classes: names; class k is `classes[k - 1]`.
        points_sha256: SHA-256 of the points file.
        files: SHA-256 of each file by its path below the folder.
        skipped: error message by image file name.
        versions: versions of the packages that affect the result.
        version: version of the format.
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
        UserError: the manifest is missing or invalid.
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
    version = content.get("version") if isinstance(content, dict) else None
    if type(version) is int and version != VERSION:
        raise UserError(
            f"{path} has format version {shown(version)} but this p2seg reads {VERSION}; run "
            "p2seg gen_semantic again, which keeps valid maps"
        )
    if (
        not isinstance(content, dict)
        or any(not isinstance(content.get(name), kind) for name, kind in types.items())
        or not all(_texts(content[name]) for name in ("classes", "files", "skipped", "versions"))
        or not storable(content)  # parts of the manifest are copied into results
    ):
        raise UserError(
            f"{path} is not a manifest of semantic maps; make the maps with p2seg gen_semantic"
        )
    return Manifest(**{name: content[name] for name in types})


def _texts(content: dict[str, Any] | list[Any]) -> bool:
    values = content.values() if isinstance(content, dict) else content
    return all(isinstance(value, str) for value in values)
