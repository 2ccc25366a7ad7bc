"""What devtools/fuzz.py feeds: every reader of files from outside, each as a function of a path.

A reader does well when it returns, or raises a `UserError` of one readable sentence. Where it
returns, what it gave is used as the tools use it, so that damage is not only postponed. None may
ask the network for anything.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import warnings
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from devtools.fuzzing.network import no_network
from p2seg.checkpoint import load_checkpoint
from p2seg.data import rle
from p2seg.data.coco import Category, ImageRecord, Instance, InstanceSet, decode, read_instances
from p2seg.data.coco import write_instances as write_set
from p2seg.data.download import unpack
from p2seg.data.images import check_image, read_image
from p2seg.data.maps import map_path, read_map
from p2seg.data.points import read_points, write_points
from p2seg.data.video import Video
from p2seg.data.voc import _sbd_masks, read_list
from p2seg.errors import UserError, shown
from p2seg.evaluation.readers import read_predictions
from p2seg.files import fingerprint, read_json, write_json
from p2seg.formats.masks import places
from p2seg.models.architectures import config_of, rebuilt
from p2seg.models.backbones import load_backbone_weights
from p2seg.pseudo.review import read_review, reviewed
from p2seg.pseudo.shards import Shards
from p2seg.runs.parts import Parts
from p2seg.runs.stages import Stages
from p2seg.sam.candidates import read_candidates, read_key
from p2seg.sam.official import build_sam, load_state
from p2seg.segmentors.load import predictor_of
from p2seg.semantic.arrays import labels_to_map, probabilities_to_map, read_array
from p2seg.semantic.class_map import ClassMap, Legend
from p2seg.semantic.manifest import MANIFEST, read_manifest
from p2seg.semantic.maps import paths_of
from p2seg.semantic.maps import read_key as read_map_key

SIZE = (6, 8)
"""(height, width) of the corpus's images, pixels."""
CLASSES = ("red", "blue")
MODELS = {
    "mask2former": "Mask2FormerForUniversalSegmentation",
    "sam": "SamModel",
    "sam_hq": "SamHQModel",
    "sam2": "Sam2Model",
}
LONGEST = 3000
"""Characters of a sentence that somebody can still read."""


@dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        read: takes the path of a file, which lies alone in a folder that it may write to.
        ending: of the file's name.
        seconds: of a core within which it must be done.
    """

    read: Callable[[Path], object]
    ending: str
    seconds: float = 10.0


def judge(target: Target, path: Path) -> str:
    """Reads a file: "read", or the sentence that refused it.

    Raises:
        Exception: whatever else the reader came to, and `AssertionError` of an endless sentence or
            of a request to the network.
    """
    said = "read"
    with no_network() as asked:
        try:
            target.read(path)
        except UserError as error:
            said = str(error)
    assert not asked, f"it asked the network: {asked[0]}"
    assert 0 < len(said) < LONGEST, f"a sentence of {len(said)} characters"
    return said


def _points(path: Path) -> None:
    points = read_points(path)
    _check_names(path.parent, points.images)
    write_points(path.with_name("again.json"), points)
    again = read_points(path.with_name("again.json"))
    assert again.images == points.images, "images came back changed"
    assert again.categories == points.categories, "categories came back changed"
    ids = [each.ids.tolist() for each in points.points]
    assert [each.ids.tolist() for each in again.points] == ids, "ids came back changed"


def _instances(path: Path) -> None:
    instances = read_instances(path)
    _check_names(path.parent, instances.images)
    for record, group in zip(instances.images, instances.instances, strict=True):
        for each in group[:20]:
            assert rle.area(each.rle) <= record.height * record.width, "an area beyond the image"
            if record.height * record.width < 10**6:
                assert decode(each).shape == (record.height, record.width), "a mask of another size"
    write_set(path.with_name("again.json"), instances)
    assert read_instances(path.with_name("again.json")).images == instances.images


def _check_names(folder: Path, records: Sequence[ImageRecord]) -> None:
    """Whatever is written beside or for an image stays in its folder."""
    names = [record.file_name for record in records]
    made = [map_path(folder, name) for name in names]
    made += [folder / f"{name}.png" for name in names]
    made += [folder / f"{place}.txt" for place in places(names).values()]
    for path in (*made, *paths_of(folder, records, ".json")):
        whole = os.path.normpath(path)
        assert whole.startswith(f"{folder}{os.sep}"), f"{path} leaves the folder"


def _review(path: Path) -> None:
    """A review meets the masks that it is of."""
    review = read_review(path)
    empty = rle.encode(np.zeros(SIZE, bool))
    own = [Instance(id, 1, empty, point=(2.0, 3.0)) for id in (7, 8, 9)]
    masks = replace(_truth(), instances=[own])
    for each in reviewed(masks, review).instances[0]:
        assert decode(each).shape == SIZE
        assert not each.crowd or each.review == "rejected"


def _truth() -> InstanceSet:
    categories = [Category(k, name) for k, name in enumerate(CLASSES, start=1)]
    return InstanceSet([ImageRecord(1, "a.png", *SIZE)], categories, [[]])


def _predictions(path: Path) -> None:
    for group in read_predictions(path, _truth()).instances:
        for each in group:
            assert decode(each).shape == SIZE


def _segmentation(path: Path) -> None:
    """A segmentation alone, as JSON: what is accepted must be what a literal decoder finds."""
    content = read_json(path, "segmentation")
    try:
        code = rle.from_segmentation(content, *SIZE)
    except ValueError as error:
        raise UserError(str(error)) from error
    mask = rle.decode(code)
    assert mask.shape == SIZE
    if isinstance(content, dict):
        counts = content["counts"]
        runs = counts if isinstance(counts, list) else literal_runs(counts)
        flat = [k % 2 for k, run in enumerate(runs) for _ in range(run)]
        assert mask.T.reshape(-1).tolist() == [bool(each) for each in flat], "another mask"


def literal_runs(text: str) -> list[int]:
    """COCO's compressed run lengths, character by character, with Python's whole numbers."""
    runs: list[int] = []
    place = 0
    while place < len(text):
        value, shift, more = 0, 0, True
        while more:
            unit = ord(text[place]) - 48
            value |= (unit & 31) << shift
            shift += 5
            more = bool(unit & 32)
            place += 1
            if not more and unit & 16:
                value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
    return runs


def _image(path: Path) -> None:
    try:
        check_image(path)
    finally:  # what the head hides, the pixels may show
        image = read_image(path)
    assert image.dtype == np.uint8
    assert image.shape[2] == 3
    try:
        read_image(path, SIZE)
    except UserError:
        return


def _labels(path: Path) -> None:
    read_map_key(path)
    read_map(path, SIZE, len(CLASSES))


def _array(path: Path) -> None:
    legend = Legend.plain(CLASSES)
    stored = read_array(path, SIZE, legend)
    if stored.values.ndim == 2:
        labels_to_map(stored.values, path, SIZE, legend)
    else:
        probabilities_to_map(stored, path, SIZE, legend, 0.3)


def _class_map(path: Path) -> None:
    made = ClassMap.read(str(path))
    write_json(path.with_name("again.json"), made.parameters)
    made.legend(CLASSES)


def _manifest(path: Path) -> None:
    manifest = read_manifest(path.parent)
    write_json(path.with_name("again.json"), vars(manifest))
    ", ".join(manifest.classes)


def _candidates(path: Path) -> None:
    read_key(path)
    try:
        content = json.loads(path.read_bytes())
        content["digest"] = fingerprint(content["points"])  # else nothing behind it is reached
        path.write_text(json.dumps(content))
    except (LookupError, TypeError, ValueError, RecursionError):
        pass
    for offered in read_candidates(path, SIZE).values():
        for each in offered:
            assert rle.decode(each.rle).shape == SIZE


def _stage(path: Path) -> None:
    """A record of a stage, and the note that one was begun."""
    out = path.with_name("out")
    shutil.copyfile(path, path.with_name("stage.begun.json"))
    shutil.copyfile(path, path.with_name("stage.json"))
    for _ in range(2):
        stages = Stages(path.parent, lambda _: None)
        stages.run("stage", lambda: out.write_text("made"), key=lambda: "1", outputs=[out])
        assert out.read_text() == "made"


def _shards(path: Path) -> None:
    shards = Shards(path.parent / "out.json", "key", 0)
    shards.folder.mkdir(exist_ok=True)
    shutil.copyfile(path, shards.folder / "0.jsonl")
    shards.skipped()
    for instances in shards.finished().values():
        for each in instances:
            decode(each)


def _parts(path: Path) -> None:
    parts = Parts(path.parent / "out.json", "key")
    parts.folder.mkdir(exist_ok=True)
    shutil.copyfile(path, parts.folder / "0.jsonl")
    for stamps in (None, {0: "stamp", 1: "stamp"}):
        kept = parts.kept(stamps)
        for number in kept.finished:
            kept.content(number)


def _checkpoint(path: Path) -> None:
    cpu = torch.device("cpu")
    for kind in ("network", "segmentor"):
        try:
            content = load_checkpoint(path, kind)
        except UserError as error:
            refused = error
            continue
        if kind == "segmentor":
            predictor_of(path, content, cpu)
        return
    raise refused


def _model(path: Path) -> None:
    """What a checkpoint says of its model, with an architecture that is no text yet."""
    options = read_json(path, "settings of a model")
    if isinstance(options, dict) and isinstance(options.get("architecture"), (dict, list)):
        options["architecture"] = json.dumps(options["architecture"])
    categories = [{"id": 1, "name": "red"}, {"id": 2, "name": "blue"}]
    content: dict[str, Any] = {"categories": categories, "model": {}, "average": None}
    content["config"] = {"segmentor": {"model": options}}
    try:
        with torch.device("meta"):  # no weights
            predictor_of(path, content, torch.device("meta"))
    except UserError as error:
        if "Missing key" not in str(error):  # it was built, and has no weights here
            raise


def _architecture(path: Path) -> None:
    """A config.json of transformers."""
    import transformers

    settings = read_json(path, "config.json of a transformers model")
    kind = settings.get("model_type") if isinstance(settings, dict) else None
    if kind not in list(MODELS):
        raise UserError(f"no model of type {shown(kind)}")
    config = config_of(rebuilt(kind, settings, path), path)
    with torch.device("meta"), contextlib.suppress(Exception):  # which the tools tell in a sentence
        getattr(transformers, MODELS[kind])(config)


def _weights(path: Path) -> None:
    torch.manual_seed(0)
    load_backbone_weights(nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)), path)


def _sam(path: Path) -> None:
    state = load_state(path, "vit_b")
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, of tensors of nothing
            build_sam(state, assign=True)
    except (LookupError, RuntimeError, AttributeError, ArithmeticError, ValueError) as error:
        raise UserError(f"no SAM: {error!s:.200}") from error


def _video(path: Path) -> None:
    for number, frame in Video(path).frames(2):
        assert frame.dtype == np.uint8
        if number > 20:
            return


def _archive(path: Path) -> None:
    """Nothing appears outside the folder that it is unpacked in."""
    inside = path.parent / "in" / "deep"
    before = {each.name for each in path.parent.iterdir()}
    try:
        unpack(path, inside)
    finally:
        for each in inside.rglob("*") if inside.is_dir() else ():
            assert not each.is_symlink(), f"a link {each}"
            assert each.is_file() or each.is_dir(), f"a special file {each}"
        there = {each.name for each in path.parent.iterdir()}
        assert there - before <= {"in"}, f"{there - before} appeared outside"
        assert not (path.parent / "in").is_dir() or os.listdir(path.parent / "in") in ([], ["deep"])  # noqa: PTH208


def _mat(path: Path) -> None:
    _sbd_masks(path)


def _list(path: Path) -> None:
    root = path.parent
    for name in read_list(path):
        whole = os.path.normpath(root / "SegmentationClass" / f"{name}.png")
        assert whole.startswith(f"{root}{os.sep}"), f"{name!r} leaves the folder"


TARGETS = {
    "points": Target(_points, ".json"),
    "instances": Target(_instances, ".json"),
    "review": Target(_review, ".json"),
    "predictions": Target(_predictions, ".json"),
    "segmentation": Target(_segmentation, ".json"),
    "image": Target(_image, ".png"),
    "labels": Target(_labels, ".png"),
    "array": Target(_array, ".npz"),
    "class_map": Target(_class_map, ".json"),
    "manifest": Target(_manifest, ".json"),
    "candidates": Target(_candidates, ".json"),
    "stage": Target(_stage, ".json"),
    "shards": Target(_shards, ".jsonl"),
    "parts": Target(_parts, ".jsonl"),
    "checkpoint": Target(_checkpoint, ".pt"),
    "model": Target(_model, ".json", 20.0),
    "architecture": Target(_architecture, ".json"),
    "weights": Target(_weights, ".pth"),
    "safetensors": Target(_weights, ".safetensors"),
    "sam": Target(_sam, ".pth"),
    "video": Target(_video, ".mp4"),
    "archive": Target(_archive, ".tar"),
    "mat": Target(_mat, ".mat"),
    "list": Target(_list, ".txt"),
}
"""By name, which is also that of the folder of its corpus."""

FILE_NAMES = {"manifest": MANIFEST, "predictions": "results.json"}
"""What a target's file must be called, where that matters."""


def place(name: str, content: bytes, folder: Path) -> Path:
    """Puts an input where its target reads it: alone in a folder.

    Args:
        name: of the target.
        content: of the file.
        folder: is emptied first.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    path = folder / FILE_NAMES.get(name, f"input{TARGETS[name].ending}")
    path.write_bytes(_sealed(name, content))
    return path


def _sealed(name: str, content: bytes) -> bytes:
    """The input with the checksums that a damaged file of this kind would fail at at once."""
    if name not in ("image", "labels") or not content.startswith(b"\x89PNG\r\n\x1a\n"):
        return content
    if sum(content) % 4 == 0:  # a quarter keeps its damage
        return content
    out, at = bytearray(content), 8
    while at + 12 <= len(out):
        length = int.from_bytes(out[at : at + 4], "big")
        end = at + 8 + length
        if end + 4 > len(out):
            break
        out[end : end + 4] = zlib.crc32(out[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(out)


def hostile_values() -> list[Any]:
    """Values that a JSON reader does not expect."""
    return [
        *(None, True, False, 0, -1, 1.0, -0.0, 0.5, 1e999, -1e999, float("nan"), 1e-320),
        *(2**31, 2**32, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63), 10**300, 10**4000),
        *("", "0", "1", " ", "\0", "a\nb", "\x1b[31m", "\u202e", "\ud800", "é", "e\u0301", "😀"),
        *("..", "../x", "/x", "C:\\x", "\\\\x\\y", "a/../../b", "x" * 300, "x/" * 3000, "<b>"),
        *([], {}, [[]], [{}], [None], {"a": 1}, [0] * 2000, [[0, 0]], {"": ""}, "NaN"),
        *(
            "hf-hub:owner/name",
            "hf_hub:owner/name",
            "local-dir:.",
            "owner/name",
            "owner/name@main:a",
        ),
        *("https://nowhere.invalid/a", "torchvision.ssd300_vgg16", "../a.safetensors", "os.system"),
        *("flash_attention_2", "paged|owner/name", "timm_backbone", "swin", "torchvision.resnet18"),
        {"model_type": "timm_backbone", "backbone": "owner/name"},
        {"AutoModel": "owner/name--module.Class"},
        [[-1e30, 0, 5, 5, 1e30, 0]],
        {"size": list(SIZE), "counts": [0, SIZE[0] * SIZE[1]]},
        {"size": list(SIZE), "counts": "ooooooo0"},
    ]


HOSTILE_KEYS = (
    *("attn_implementation", "_attn_implementation", "auto_map", "backbone", "backbone_config"),
    *("backbone_kwargs", "dtype", "model_type", "name_or_path", "per_layer_config", "pretrained"),
    *("quantization_config", "transformers_weights", "trust_remote_code", "use_kernels", "weights"),
    *("use_pretrained_backbone", "use_timm_backbone", "checkpoint", "architecture", "_target_"),
)
"""Names of settings by which a file asks for more than numbers."""
