"""The targets of devtools/fuzz.py: every reader of external files, as a function of a path.

A reader passes if it returns, or raises a `UserError` with one readable sentence. Its result is
then used as the tools use it, so that damage that appears later is found too. No reader may use
the network.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from devtools.fuzzing import documents, models
from devtools.fuzzing.network import no_network
from devtools.fuzzing.values import CLASSES, SIZE
from p2seg.data import rle
from p2seg.data.coco import decode
from p2seg.data.images import check_image, read_image
from p2seg.data.maps import read_map
from p2seg.data.sets.download import unpack
from p2seg.data.sets.voc import read_list
from p2seg.data.video import Video
from p2seg.errors import UserError
from p2seg.pseudo.resume_log import Shards
from p2seg.runtime.files import fingerprint, write_json
from p2seg.runtime.resume_log import Parts
from p2seg.runtime.stage_cache import Stages
from p2seg.sam.candidates import read_candidates, read_key
from p2seg.semantic.arrays import labels_to_map, probabilities_to_map, read_array
from p2seg.semantic.class_map import ClassMap, Legend
from p2seg.semantic.manifest import MANIFEST, read_manifest
from p2seg.semantic.maps import read_key as read_map_key

LONGEST = 3000
"""Most characters of a readable sentence."""


@dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        read: function of the path of a file. The file is alone in a folder that may be written to.
        ending: suffix of the file name.
        seconds: limit of processor time.
    """

    read: Callable[[Path], object]
    ending: str
    seconds: float = 10.0


def judge(target: Target, path: Path) -> str:
    """Reads a file; returns "read", or the message of the rejection.

    Raises:
        Exception: any other error of the reader, and `AssertionError` for a message that is too
            long or for a network request.
    """
    message = "read"
    with no_network() as asked:
        try:
            target.read(path)
        except UserError as error:
            message = str(error)
    assert not asked, f"network request: {asked[0]}"
    assert 0 < len(message) < LONGEST, f"a message of {len(message)} characters"
    return message


def _image(path: Path) -> None:
    try:
        check_image(path)
    finally:  # the pixels can fail where the header does not
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
    class_map = ClassMap.read(str(path))
    write_json(path.with_name("again.json"), class_map.parameters)
    class_map.legend(CLASSES)


def _manifest(path: Path) -> None:
    manifest = read_manifest(path.parent)
    write_json(path.with_name("again.json"), vars(manifest))
    ", ".join(manifest.classes)


def _candidates(path: Path) -> None:
    read_key(path)
    try:
        content = json.loads(path.read_bytes())
        content["digest"] = fingerprint(content["points"])  # else the reader stops at the digest
        path.write_text(json.dumps(content))
    except (LookupError, TypeError, ValueError, RecursionError):
        pass
    for offered in read_candidates(path, SIZE).values():
        for each in offered:
            assert rle.decode(each.rle).shape == SIZE


def _stage(path: Path) -> None:
    """Reads the record of a stage, and the note that a stage was started."""
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


def _video(path: Path) -> None:
    for number, frame in Video(path).frames(2):
        assert frame.dtype == np.uint8
        if number > 20:
            return


def _archive(path: Path) -> None:
    """Unpacks an archive; nothing may appear outside the folder."""
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


def _list(path: Path) -> None:
    root = path.parent
    for name in read_list(path):
        whole = os.path.normpath(root / "SegmentationClass" / f"{name}.png")
        assert whole.startswith(f"{root}{os.sep}"), f"{name!r} leaves the folder"


TARGETS = {
    "points": Target(documents.points, ".json"),
    "instances": Target(documents.instances, ".json"),
    "review": Target(documents.review, ".json"),
    "predictions": Target(documents.predictions, ".json"),
    "segmentation": Target(documents.segmentation, ".json"),
    "image": Target(_image, ".png"),
    "labels": Target(_labels, ".png"),
    "array": Target(_array, ".npz"),
    "class_map": Target(_class_map, ".json"),
    "manifest": Target(_manifest, ".json"),
    "candidates": Target(_candidates, ".json"),
    "stage": Target(_stage, ".json"),
    "shards": Target(_shards, ".jsonl"),
    "parts": Target(_parts, ".jsonl"),
    "checkpoint": Target(models.checkpoint, ".pt"),
    "model": Target(models.model, ".json", 20.0),
    "architecture": Target(models.architecture, ".json"),
    "weights": Target(models.weights, ".pth"),
    "safetensors": Target(models.weights, ".safetensors"),
    "sam": Target(models.sam, ".pth"),
    "video": Target(_video, ".mp4"),
    "archive": Target(_archive, ".tar"),
    "list": Target(_list, ".txt"),
}
"""The targets by name; the corpus folder has the same name."""

FILE_NAMES = {"manifest": MANIFEST, "predictions": "results.json"}
"""Required file names of a target."""


def place(name: str, content: bytes, folder: Path) -> Path:
    """Writes an input to the place where its target reads it, alone in a folder.

    Args:
        name: of the target.
        content: of the file.
        folder: folder that is emptied first.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    path = folder / FILE_NAMES.get(name, f"input{TARGETS[name].ending}")
    path.write_bytes(_sealed(name, content))
    return path


def _sealed(name: str, content: bytes) -> bytes:
    """Returns the input with correct checksums, so that the reader gets beyond them."""
    if name not in ("image", "labels") or not content.startswith(b"\x89PNG\r\n\x1a\n"):
        return content
    if sum(content) % 4 == 0:  # a quarter of the inputs keeps wrong checksums
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
