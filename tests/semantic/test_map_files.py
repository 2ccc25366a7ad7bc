"""Writing maps, and what stands beside them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from p2seg.data.coco import ImageRecord
from p2seg.data.labels import voc_palette
from p2seg.data.maps import map_path, read_map
from p2seg.errors import UserError
from p2seg.semantic.manifest import Manifest, read_manifest, write_manifest
from p2seg.semantic.maps import paths_of, read_key, write_map

MAP = np.array([[0, 1, 2], [255, 2, 0]], np.uint8)


def test_map_round_trips_as_a_palette_png(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.png"
    write_map(path, MAP, "the key")
    assert (read_map(path, (2, 3), 2) == MAP).all()
    assert read_key(path) == "the key"
    with Image.open(path) as image:
        assert image.mode == "P"
        colors = np.asarray(image.convert("RGB"))
    assert (colors == voc_palette()[MAP]).all()


def test_the_key_is_lost_when_pixels_change(tmp_path: Path) -> None:
    path = tmp_path / "b.png"
    write_map(path, MAP, "key")
    with Image.open(path) as image:
        image.load()
        image.putpixel((0, 0), 2)
        note = image.info
        image.save(path, pnginfo=_text(note))
    assert read_key(path) is None


def _text(info: dict[str, str]) -> object:
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_text("p2seg", info["p2seg"])
    return text


@pytest.mark.parametrize("content", [b"", b"no png", None])
def test_a_foreign_file_has_no_key(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "b.png"
    if content is None:
        Image.fromarray(MAP).save(path)
    else:
        path.write_bytes(content)
    assert read_key(path) is None


@pytest.mark.parametrize(
    ("first", "second"), [("a.jpg", "a.png"), ("d/a.jpg", "d/a.jpeg"), ("d/a.jpg", "d/./a.png")]
)
def test_two_images_may_not_share_a_map(first: str, second: str) -> None:
    records = [ImageRecord(1, first, 2, 3), ImageRecord(2, second, 2, 3)]
    with pytest.raises(UserError, match=r"would share a\.png; rename"):
        paths_of(Path("maps"), records)


def test_paths_are_those_of_the_reader() -> None:
    names = ["a.jpg", "d/a.jpg", "b.png"]
    records = [ImageRecord(k, name, 2, 3) for k, name in enumerate(names)]
    folder = Path("maps")
    assert paths_of(folder, records) == [map_path(folder, name) for name in names]


def test_manifest_round_trips(tmp_path: Path) -> None:
    manifest = Manifest(
        source="grabcut",
        parameters={"lone": 0.5},
        classes=["ball", "böx"],
        points_sha256="12",
        files={"a/b.png": "34"},
        skipped={"c.jpg": "is broken"},
        versions={"numpy": "2"},
    )
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == manifest


@pytest.mark.parametrize(
    "change", [{"version": 99}, {"version": 1}, {"files": []}, {"source": None}]
)
def test_another_manifest_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    write_manifest(tmp_path, Manifest("png", {}, [], "", {}))
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(
        UserError, match=r"manifest\.json (has format version (99|1) |is not a manifest)"
    ):
        read_manifest(tmp_path)


def test_no_manifest_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no manifest of semantic maps"):
        read_manifest(tmp_path)
