"""p2seg annotate rejects wrong inputs with one sentence before it starts."""

from __future__ import annotations

import json

import pytest
from annotate_sets import scene
from PIL import Image
from tool_sets import refused


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(scene(64, 48)).save(folder / "a.png")
    return folder


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["classes=[]"], ("photos_clicks.json", "classes=[cat,dog]")),
        (["classes=[a,a]"], ("classes lists a twice",)),
        (["classes=3"], ("classes=3 is not a list of names",)),
        (["classes=[a,b c"], ("classes=[a,b c is not a list", "not closed")),
        (["preview=best"], ("preview=best is unknown; choose",)),
        (["preview=sam"], ("give semantic=sam or semantic=sam2",)),
        (["preview=network"], ("add ckpt=FILE.pt",)),
        (["ckpt=x.pt"], ("add preview=network",)),
        (["preview=network", "ckpt=missing.pt"], ("missing.pt",)),
        (["preview=none", "port=70000"], ("port=70000: must be",)),
        (["preview=none", "host=203.0.113.9"], ("host=203.0.113.9 is not an address",)),
        (["preview_side=3"], ("preview_side=3: must be",)),
    ],
)
def test_invalid_settings_are_rejected(run_tool, folder, words, parts):
    if not words[0].startswith("classes"):
        words = ["classes=[a]", *words]
    answer = run_tool("annotate", f"images={folder}", "port=0", "browser=false", *words)
    refused(answer, *parts)
    assert sorted(each.name for each in folder.parent.iterdir()) == ["photos"]


def test_empty_folders_are_rejected(run_tool, tmp_path):
    (tmp_path / "empty").mkdir()
    refused(run_tool("annotate", f"images={tmp_path}/no", "classes=[a]"), "no image folder at")
    refused(run_tool("annotate", f"images={tmp_path}/empty", "classes=[a]"), "no image in")
    refused(run_tool("annotate", "classes=[a]"), "images is not set")


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"\xff\xfe\x00",
        b'{"images": 3, "annotations": [], "categories": []}',
        b"[" * 100_000,
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "../a.png", "width": 3, "height": 3}],
                "annotations": [],
                "categories": [],
            }
        ).encode(),
    ],
)
def test_invalid_points_files_are_not_changed(run_tool, folder, content):
    path = folder.parent / "clicks.json"
    path.write_bytes(content)
    refused(run_tool("annotate", f"images={folder}", f"out={path}", "classes=[a]"), str(path))
    assert path.read_bytes() == content


def test_a_folder_in_place_of_the_file(run_tool, folder):
    words = (f"images={folder}", f"out={folder}", "classes=[a]")
    refused(run_tool("annotate", *words), "is a folder")


def test_without_the_package_that_makes_the_page(run_tool, folder, monkeypatch):
    monkeypatch.setattr("p2seg.cli.annotate_settings.find_spec", lambda _: None)
    answer = run_tool("annotate", f"images={folder}", "classes=[a]")
    refused(answer, "pip install 'p2seg[annotate]'")


def test_a_history_of_other_points_is_reported(run_tool, folder, tmp_path):
    """The history is then ignored."""
    words = [f"images={folder}", "browser=false", "preview=none", f"out={tmp_path}/clicks.json"]
    elsewhere = "host=203.0.113.9"  # no page is served
    _, said, _ = run_tool("annotate", *words, "classes=[a]", elsewhere)
    assert "history" not in said
    (tmp_path / "clicks.history.json").write_text("{}")
    _, said, _ = run_tool("annotate", *words, "classes=[a]", elsewhere)
    assert f"{tmp_path}/clicks.history.json" in said
