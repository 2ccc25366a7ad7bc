"""Maps that ranks share are those of one process."""

from __future__ import annotations

from pathlib import Path

import pytest
from rank_sets import together
from semantic_sets import Counting, contents, draw

from p2seg.errors import UserError
from p2seg.semantic.generate import MAPS, generate
from p2seg.semantic.grabcut import GrabCut
from p2seg.semantic.manifest import MANIFEST


def make(source, drawn, out: Path, ranks=None, **options):
    points = drawn.point_set
    return generate(
        source, points, drawn.images, out, MAPS, points_sha256="ab", ranks=ranks, **options
    )


@pytest.mark.parametrize("world", [2, 5])
def test_the_files_are_those_of_one_process(tmp_path, world):
    drawn = draw(tmp_path)
    alone = make(GrabCut(), drawn, tmp_path / "alone")
    shared = together(world, lambda ranks: make(GrabCut(), drawn, tmp_path / "shared", ranks))
    assert shared == [alone] * world
    assert contents(tmp_path / "shared") == contents(tmp_path / "alone")


def test_what_is_there_is_kept_by_another_number_of_ranks(tmp_path):
    drawn, source = draw(tmp_path, 7), Counting(tmp_path / "log")
    together(3, lambda ranks: make(source, drawn, tmp_path / "out", ranks))
    before = contents(tmp_path / "out")
    for lost in ("part/1.png", "part/5.png", MANIFEST):  # as if a rank had died
        (tmp_path / "out" / lost).unlink()
    log = (tmp_path / "log").read_text()
    together(2, lambda ranks: make(source, drawn, tmp_path / "out", ranks))
    again = (tmp_path / "log").read_text()[len(log) :].split()
    assert sorted(again) == ["part/1.png", "part/5.png"]
    assert contents(tmp_path / "out") == before


def test_bad_images_of_all_ranks_are_told(tmp_path):
    drawn = draw(tmp_path, 5)
    for bad in (1, 4):
        (drawn.images / f"part/{bad}.png").write_bytes(b"no image")
    [(manifest, made), _] = together(
        2, lambda ranks: make(GrabCut(), drawn, tmp_path / "out", ranks, on_error="skip")
    )
    assert list(manifest.skipped) == ["part/1.png", "part/4.png"]
    assert made == 3
    with pytest.raises(UserError, match=r"part/[14]\.png"):
        together(2, lambda ranks: make(GrabCut(), drawn, tmp_path / "other", ranks))
    assert not (tmp_path / "other" / MANIFEST).exists()
