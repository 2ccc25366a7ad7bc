"""Commands start in a blink: they import nothing slow that they do not need."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

RUN = """
import json, sys
from p2seg.cli.main import main
for words in json.loads(sys.argv[1]):
    try:
        code = main(words)
    except SystemExit as ended:
        code = ended.code
    assert not code, (words, code)
print(json.dumps(sorted(sys.modules)))
"""
SLOW = frozenset(
    (
        *("torchvision", "timm", "kornia", "lightning_fabric", "torchmetrics", "transformers"),
        *("segment_anything", "skimage", "matplotlib", "tensorboard", "nicegui", "onnx"),
        *("torch._dynamo", "torch._inductor"),
    )
)
"""Modules that take from half a second to several."""
NO_NETWORK = (
    ("prepare_demo", "--out", "set"),
    ("make_points", "gt=set/instances_val.json", "out=points.json"),
    ("export_points", "data.points=points.json", "images=set/images", "format=csv", "out=a.csv"),
    ("import_points", "in=a.csv", "images=set/images", "out=again.json"),
    ("eval", "gt=set/instances_val.json", "pred=set/instances_val.json", "kind=pseudo"),
    ("validate", "data=demo", "data.root=set", "data.points=points.json", "out=page"),
    ("export_masks", "pred=set/instances_val.json", "images=set/images", "formats=[coco]", "out=m"),
)


@pytest.fixture
def imported(tmp_path):
    """Runs commands in a process of their own, and returns the names of all imported modules."""

    def run(*commands):
        done = subprocess.run(
            [sys.executable, "-c", RUN, json.dumps(commands)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return set(json.loads(done.stdout.splitlines()[-1]))

    return run


def test_the_list_of_commands_imports_nothing(imported):
    found = imported(["--help"], ["--version"], ["demo", "--help"])
    assert not found & {"torch", "numpy", "cv2", "hydra", "omegaconf", *SLOW}


def test_the_help_of_a_command_imports_no_torch(imported):
    assert not imported(["train", "--help"]) & {"torch", "cv2", *SLOW}


def test_commands_without_a_network_import_no_library_of_networks(imported):
    assert not imported(*NO_NETWORK) & SLOW
