"""Hostile files of weights: none runs code, whichever setting names it."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hostile_sets import segmentor_checkpoint
from torch import nn

import p2seg
from p2seg.engine.checkpoint import load_checkpoint
from p2seg.errors import UserError
from p2seg.models.backbones import build_backbone, load_backbone_weights
from p2seg.sam.huggingface import HuggingFaceSam
from p2seg.sam.official import OfficialSam, load_state
from p2seg.semantic.arrays import read_array
from p2seg.semantic.class_map import Legend

LEGEND = Legend.plain(("red", "blue"))


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, place: Path, way: str = "mkdir") -> None:
        self.place, self.way = place, way

    def __reduce__(self) -> tuple[Any, ...]:
        ways: dict[str, tuple[Any, ...]] = {
            "mkdir": (os.mkdir, (str(self.place),)),
            "system": (os.system, (f"mkdir '{self.place}'",)),
            "eval": (eval, (f"__import__('os').mkdir({str(self.place)!r})",)),
            "exec": (exec, (f"import os; os.mkdir({str(self.place)!r})",)),
        }
        return ways[self.way]


def _legacy(content: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


def _saved(content: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def _numpy(content: Any, packed: bool) -> bytes:
    stream = io.BytesIO()
    array = np.array([content], dtype=object)
    if packed:
        np.savez(stream, prob=array)
    else:
        np.save(stream, array)
    return stream.getvalue()


def _script() -> bytes:
    """TorchScript, a zip of code."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/constants.pkl", pickle.dumps((), protocol=2))
        archive.writestr("archive/data.pkl", pickle.dumps({}, protocol=2))
        archive.writestr("archive/code/__torch__.py", "import os")
        archive.writestr("archive/version", "3\n")
    return stream.getvalue()


TRAPS: dict[str, Callable[[Trap], bytes]] = {
    **{f"a pickle of protocol {p}": lambda trap, p=p: pickle.dumps(trap, p) for p in range(6)},
    "a pickle among good": lambda trap: pickle.dumps({"format": 1, "kind": "segmentor", "x": trap}),
    "a checkpoint": lambda trap: _saved({"format": 1, "kind": "segmentor", "model": trap}),
    "a checkpoint of old": lambda trap: _legacy({"format": 1, "kind": "network", "model": trap}),
    "weights": lambda trap: _saved({"0.weight": torch.rand(2), "0.bias": trap}),
    "weights of old": lambda trap: _legacy({"state_dict": {"0.weight": trap}}),
    "a key": lambda trap: _saved({trap: 1}),
    "a whole module": lambda trap: _saved(nn.ModuleList([nn.Linear(1, 1)])) + pickle.dumps(trap),
    "an array": lambda trap: _numpy(trap, packed=False),
    "packed arrays": lambda trap: _numpy(trap, packed=True),
    "code of TorchScript": lambda _: _script(),
}
"""Files that would create a folder if their code were run."""
WAYS = ("mkdir", "system", "eval", "exec")

CONTENTS: dict[str, Any] = {
    "a number": 5,
    "a text": "weights",
    "a list": [1, 2],
    "nothing": {},
    "a format of text": {"format": "1", "kind": "segmentor"},
    "a format of many numbers": {"format": torch.ones(3), "kind": "segmentor"},
    "a format that is true": {"format": True, "kind": "segmentor"},
    "a kind of many numbers": {"format": 1, "kind": torch.ones(3)},
    "a kind of lists": {"format": 1, "kind": [["segmentor"]]},
    "categories of texts": {"format": 1, "kind": "segmentor", "categories": ["red"]},
    "categories of numbers": {"format": 1, "kind": "segmentor", "categories": 3},
    "ids that are tensors": {
        "format": 1,
        "kind": "segmentor",
        "categories": [{"id": torch.ones(2), "name": "red"}],
    },
    "a config of text": {"format": 1, "kind": "segmentor", "config": "p2seg"},
    "settings with tensors": {
        "format": 1,
        "kind": "segmentor",
        "config": {},
        "settings": {"loss.border": torch.ones(2)},
    },
    "a config with tensors": {"format": 1, "kind": "segmentor", "config": {"a": torch.ones(2)}},
    "weights of numbers": {"format": 1, "kind": "segmentor", "model": {"a": 1}},
    "weights in a list": {"format": 1, "kind": "segmentor", "model": [torch.ones(2)]},
    "a step of text": {"format": 1, "kind": "segmentor", "step": "3"},
}
"""Data that p2seg does not write."""
MAKERS = (
    *("os.system", "p2seg.segmentors.load.load", "p2seg.runtime.files.write_text", "builtins.exec"),
    *("p2seg.segmentors.mask_rcnn.model.build_", "p2seg.segmentors.nothing.build_nothing"),
    *("p2seg.segmentors.mask_rcnn.model.build_mask_rcnn;os.system", "../x", "", "None"),
)
"""Names of functions that a checkpoint may not choose."""
TABLES = {
    "pickles": {f"{name} by {way}": 0 for name in TRAPS for way in WAYS},
    "data of no checkpoint": CONTENTS,
    "makers of models": dict.fromkeys(MAKERS),
}


def loaders(folder: Path, content: bytes) -> dict[str, Callable[[], object]]:
    """Returns all readers of weights or arrays, by the setting that names the file."""
    paths = {e: folder / f"file{e}" for e in (".pt", ".pth", ".safetensors", ".npy", ".npz")}
    for path in paths.values():
        path.write_bytes(content)
    whole = folder / "model"
    whole.mkdir()
    for name in ("model.safetensors", "pytorch_model.bin"):
        (whole / name).write_bytes(content)
    (whole / "config.json").write_text(json.dumps({"model_type": "sam2"}))
    body = nn.Sequential(nn.Conv2d(3, 2, 1))

    def backbone(path: Path) -> object:
        return build_backbone("test_resnet", pretrained=False, weights=path)

    def transformers_sam() -> object:
        from p2seg.sam.huggingface import _model

        sam = HuggingFaceSam(str(whole))
        return _model(sam.folder, sam.kind, torch.device("cpu"))

    return {
        "ckpt of a network": lambda: load_checkpoint(paths[".pt"], "network"),
        "ckpt of a segmentor": lambda: p2seg.load(paths[".pt"]),
        "model.weights": lambda: backbone(paths[".pth"]),
        "model.weights, safetensors": lambda: backbone(paths[".safetensors"]),
        "segmentor.weights": lambda: load_backbone_weights(body, paths[".pth"], "segmentor"),
        "semantic.sam.checkpoint": lambda: OfficialSam(str(paths[".pth"])),
        "semantic=sam2": transformers_sam,
        "semantic.maps, npy": lambda: read_array(paths[".npy"], (6, 8), LEGEND),
        "semantic.maps, npz": lambda: read_array(paths[".npz"], (6, 8), LEGEND),
    }


@pytest.mark.parametrize("name", TRAPS)
def test_no_file_runs_anything(tmp_path, name):
    sprung = tmp_path / "sprung"
    ways = WAYS if "pickle of protocol" in name else WAYS[:1]
    for way in ways:
        folder = tmp_path / way
        folder.mkdir()
        for setting, load in loaders(folder, TRAPS[name](Trap(sprung, way))).items():
            if setting == "semantic=sam2" and way != "mkdir":
                continue  # the slowest, with the same file
            with pytest.raises(UserError):
                load()
            assert not sprung.exists(), setting


def test_the_traps_are_traps(tmp_path):
    """Each of them runs code if pickles are loaded without protection."""
    for way in WAYS:
        pickle.loads(pickle.dumps(Trap(tmp_path / way, way)))
        assert (tmp_path / way).is_dir()


@pytest.mark.parametrize("name", CONTENTS)
def test_data_that_is_no_checkpoint(tmp_path, name):
    path = tmp_path / "last.pt"
    torch.save(CONTENTS[name], path)
    with pytest.raises(UserError):
        p2seg.load(path)
    with pytest.raises(UserError):
        load_state(path, "vit_b")
    with pytest.raises(UserError):
        load_backbone_weights(nn.Sequential(nn.Conv2d(3, 2, 1)), path)


@pytest.mark.parametrize("maker", MAKERS)
def test_a_checkpoint_chooses_no_function(tmp_path, maker):
    path = segmentor_checkpoint(tmp_path / "last.pt", maker, path=str(tmp_path / "sprung"))
    with pytest.raises(UserError):
        p2seg.load(path)
    assert not (tmp_path / "sprung").exists()


def test_a_list_that_contains_itself_is_read(tmp_path):
    endless: list[Any] = ["in1k"]
    endless.append(endless)
    path = tmp_path / "weights.pth"
    torch.save({"args": endless, "state_dict": {"0.weight": torch.rand(2)}}, path)
    with pytest.raises(UserError, match="another network"):
        load_backbone_weights(nn.Sequential(nn.Conv2d(3, 2, 1)), path)
    torch.save({"format": 1, "kind": "network", "config": {"a": endless}}, path)
    with pytest.raises(UserError, match="changed since"):
        load_checkpoint(path, "network")


def test_a_checkpoint_needs_no_request_to_the_hub():
    """A checkpoint has all settings of a Mask2Former as text."""
    pytest.importorskip("transformers")
    from p2seg.segmentors.mask2former.pretrained import load_whole

    for backbone in (None, "microsoft/resnet-50", {"model_type": "timm_backbone"}):
        given = {"model_type": "mask2former", "backbone": "microsoft/resnet-50"}
        given |= {"use_pretrained_backbone": True, "backbone_config": backbone}
        with pytest.raises(UserError, match="backbone_config"):
            load_whole(2, None, json.dumps(given), {})


def test_a_models_folder_runs_no_code(tmp_path, monkeypatch):
    """`auto_map` and the module that it names are ignored."""
    pytest.importorskip("transformers")
    monkeypatch.syspath_prepend(Path(__file__).resolve().parent.parent / "sam")
    from sam_sets import write_sam2

    from p2seg.sam.huggingface import _model

    write_sam2(tmp_path / "model")
    code = f"import os\nos.mkdir({str(tmp_path / 'sprung')!r})\nclass Trap: pass\n"
    (tmp_path / "model" / "trap.py").write_text(code)
    for path in (tmp_path / "model").glob("*.json"):
        content = json.loads(path.read_text())
        content["auto_map"] = dict.fromkeys(
            ("AutoConfig", "AutoModel", "AutoProcessor", "AutoImageProcessor"), "trap.Trap"
        )
        path.write_text(json.dumps(content))
    sam = HuggingFaceSam(str(tmp_path / "model"))
    _model(sam.folder, sam.kind, torch.device("cpu"))
    assert not (tmp_path / "sprung").exists()
