"""scripts/loop.py: the simulated user, and the table of a miniature."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from p2seg.data.coco import Category, ImageRecord, Instance, InstanceSet, encode, write_instances
from p2seg.structures import Points

SCRIPTS = Path(__file__).resolve().parent.parent.parent / "scripts"


@pytest.fixture
def cells(tmp_path):
    """Six drawn micrographs of 64 x 96 with five round objects each, and their instances file."""
    folder = tmp_path / "cells"
    (folder / "train").mkdir(parents=True)
    y, x = np.mgrid[:64, :96]
    images, instances = [], []
    for k in range(6):
        image, own = np.random.default_rng(k).normal(30, 4, (64, 96)), []
        for cy, cx in ((16, 14 + k), (18, 50), (44, 30), (46, 50), (40, 78)):
            mask = (y - cy) ** 2 / 64 + (x - cx) ** 2 / 90 <= 1
            image[mask] += 150
            own.append(Instance(5 * k + len(own) + 1, 1, encode(mask)))
        pixels = np.clip(image, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).convert("RGB").save(folder / "train" / f"{k}.png")
        images.append(ImageRecord(k + 1, f"{k}.png", 64, 96))
        instances.append(own)
    write_instances(folder / "gt.json", InstanceSet(images, [Category(1, "cell")], instances))
    return folder


@pytest.fixture
def loop(script, cells, tmp_path):
    """Runs the loop in small: exit code, stderr, and the table's rows by name."""
    out = tmp_path / "out"
    small = ("--clicked", 2, "--rounds", 2, "--seed", 0, "--steps", 2, "--out", out)

    def run(*words):
        code, _, errors = script("loop", cells / "train", cells / "gt.json", *small, *words)
        file = out / "table_loop.json"
        content = json.loads(file.read_text()) if file.is_file() else {"rows": []}
        rows = content["rows"]
        means = {r["row"]: {c: v["mean"] for c, v in r["ours"].items()} for r in rows}
        return code, errors, means

    run.out = out
    return run


def points(*rows):
    """Points of rows (y, x, class), with ids from 1."""
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 3)
    return Points(table[:, :2], table[:, 2].long(), torch.arange(1, 1 + len(table)))


def test_the_user_accepts_removes_and_clicks(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    corrected = importlib.import_module("simulated_user").corrected
    left, right = np.zeros((2, 8, 16), bool)
    left[1:7, 1:7] = right[1:7, 9:15] = True
    truths = [Instance(1, 1, encode(left)), Instance(2, 2, encode(right))]
    clicks = points((2, 2, 1), (3, 12, 2))

    after, actions = corrected(truths, clicks, points((5, 5, 1), (4, 4, 1), (4, 12, 1), (0, 0, 2)))
    assert after.yx.tolist() == [[5, 5], [3, 12]], "right class, first click of its object"
    assert after.ids.tolist() == [1, 2]
    assert actions == {"clicks": 1, "removals": 3, "keys": 1}

    after, actions = corrected(truths, clicks, points((5, 5, 1), (4, 12, 2)))
    assert after.yx.tolist() == [[5, 5], [4, 12]]
    assert actions == {"clicks": 0, "removals": 0, "keys": 1}

    after, actions = corrected(truths, clicks, None)
    assert torch.equal(after.yx, clicks.yx)
    assert actions == {"clicks": 2, "removals": 0, "keys": 0}


@pytest.mark.slow
def test_the_table_counts_actions_up_to_all_images(loop):
    code, errors, rows = loop()
    assert code == 0, errors
    assert list(rows) == ["2 clicked images", "round 1", "round 2", "all 6 images clicked"]
    assert [row["corrected images"] for row in rows.values()] == [2, 4, 6, 6]
    first, one, two, everything = rows.values()
    assert (first["clicks"], first["actions"], everything["actions"]) == (10, 10, 30)
    for row in rows.values():
        assert row["actions"] == row["clicks"] + row["removals"] + row["keys"]
        assert row["share of all clicks"] == pytest.approx(100 * row["actions"] / 30)
    assert one["actions"] <= two["actions"]
    assert two["AP50"] > 90, "all images have one mask per object"
    assert everything["AP50"] > 90


@pytest.mark.slow
def test_a_stopped_loop_resumes_with_the_same_table(loop, monkeypatch, tmp_path):
    module = importlib.import_module("loop")
    commands, whole = [], module.p2seg

    def stopping(words):
        commands.append(words[0])
        return 130 if commands.count("propose") == 2 else whole(words)

    monkeypatch.setattr(module, "p2seg", stopping)
    code, _, rows = loop()
    assert (code, rows) == (130, {})
    monkeypatch.setattr(module, "p2seg", lambda words: commands.append(words[0]) or whole(words))
    commands.clear()
    code, errors, resumed = loop()
    assert code == 0, errors
    assert commands == ["propose", "masks", "masks"]
    commands.clear()
    assert loop()[2] == resumed
    assert commands == [], "finished rows are kept"
    code, errors, _ = loop("--out", tmp_path / "fresh")
    assert code == 0, errors
    assert (
        json.loads((tmp_path / "fresh" / "table_loop.json").read_text())["rows"]
        == (json.loads((loop.out / "table_loop.json").read_text())["rows"])
    )


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--images", 2], ["2 images", "--images", "--clicked"]),
        (["--rounds", 0], ["--rounds 0"]),
        (["--conf", 2], ["--conf 2"]),
        (["--seeds", 1, 1], ["--seeds"]),
    ],
)
def test_mistakes_are_one_sentence(loop, words, parts):
    code, errors, _ = loop(*words)
    assert code == 2
    assert errors.count("\n") == 1
    for part in parts:
        assert part in errors


def test_other_settings_need_another_folder(loop):
    (loop.out / "seed_0").mkdir(parents=True)
    (loop.out / "seed_0" / "settings.json").write_text("{}")
    code, errors, _ = loop()
    assert code == 2
    assert "--out" in errors
