"""Photographs with clicks, and the plain commands on them."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from p2seg.cli.main import main

PHOTOS = "my cells=1, ü"


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A folder of six drawn micrographs, and a table of their clicks, in a folder of its own."""
    home = tmp_path_factory.mktemp("start")
    photos = home / PHOTOS
    photos.mkdir()
    rows = ["image,x,y,class"]
    y, x = np.mgrid[:64, :96]
    for k in range(6):
        image = np.random.default_rng(k).normal(30, 4, (64, 96))
        for cy, cx in ((16, 14 + k), (18, 50), (44, 30), (46, 47), (40, 78)):
            image[(y - cy) ** 2 / 64 + (x - cx) ** 2 / 90 <= 1] += 150
            rows.append(f"{k}.png,{cx},{cy},cell")
        Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).convert("RGB").save(
            photos / f"{k}.png"
        )
    (home / "clicks.csv").write_text("\n".join(rows) + "\n")
    return home


@pytest.fixture
def p2seg(start, tmp_path, monkeypatch, capsys):
    """Runs a plain command in a copy of the folder: exit code and all that was printed."""
    shutil.copytree(start, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)

    def run(*words):
        capsys.readouterr()
        try:
            code = main([*map(str, words)])
        except SystemExit as end:
            code = end.code
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run


@pytest.fixture
def masks(p2seg):
    """The folder of masks that two commands make of the clicks."""
    assert p2seg("import", "clicks.csv", "--images", PHOTOS)[0] == 0
    code, text = p2seg("masks", PHOTOS)
    assert code == 0, text
    return f"{PHOTOS}_masks"
