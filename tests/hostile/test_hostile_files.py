"""Hostile archives, damaged records of p2seg, YAML files, and the corpus of the fuzzer."""

from __future__ import annotations

import io
import json
import os
import random
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devtools import fuzz
from devtools.fuzzing import child, targets
from devtools.fuzzing.mutate import mutate, read_corpus
from devtools.fuzzing.targets import TARGETS, judge, place
from p2seg.data.sets.download import unpack
from p2seg.data.sets.voc import read_list
from p2seg.errors import UserError
from p2seg.sam.candidates import read_candidates, read_key
from p2seg.semantic.class_map import ClassMap
from p2seg.semantic.manifest import read_manifest

HERE = Path(__file__).resolve().parent
CORPUS = HERE / "corpus"
FILES = [path.relative_to(CORPUS).as_posix() for path in sorted(CORPUS.glob("*/*"))]
MUTATIONS = 12
"""Of each reader in the default run; `devtools/fuzz.py` tries as many as there is time for."""


def member(name: str, **options: Any) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    for key, value in options.items():
        setattr(made, key, value)
    return made


def archive(*members: tarfile.TarInfo, kind: str = "") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=f"w:{kind}", format=tarfile.PAX_FORMAT) as made:
        for each in members:
            made.addfile(each, io.BytesIO(b"x" * each.size))
    return stream.getvalue()


def declaring(size: int) -> bytes:
    """Returns an archive with a file of a wrong declared size."""
    info = member("bomb")
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)


LINK, HARD = {"type": tarfile.SYMTYPE}, {"type": tarfile.LNKTYPE}
ARCHIVES: dict[str, bytes] = {
    "up": archive(member("../out.txt", size=1)),
    "up and up": archive(member("a/../../out.txt", size=1)),
    "far up": archive(member("../" * 40 + "tmp/out.txt", size=1)),
    "a folder above": archive(member("../out", type=tarfile.DIRTYPE)),
    "a link up": archive(member("link", linkname="../..", **LINK)),
    "a link to the root": archive(member("link", linkname="/", **LINK)),
    "a file behind a link": archive(
        member("link", linkname="..", **LINK), member("link/out.txt", size=1)
    ),
    "a hard link up": archive(member("link", linkname="../../out.txt", **HARD)),
    "a hard link to the root": archive(member("link", linkname="/etc/passwd", **HARD)),
    "a device": archive(member("device", type=tarfile.CHRTYPE, devmajor=1, devminor=5)),
    "a disk": archive(member("device", type=tarfile.BLKTYPE)),
    "a pipe": archive(member("pipe", type=tarfile.FIFOTYPE)),
    "2^62 bytes": declaring(2**62),
    "65 GB": declaring(65 << 30),
    "cut short": archive(member("a", size=5000))[:1500],
    "cut short, packed": archive(member("a", size=5000), kind="gz")[:60],
    "no archive": b"<!doctype html><p>not found",
    "nothing": b"",
    "a zip": b"PK\x03\x04" + bytes(600),
    "a wrong sum": archive(member("a", size=5)).replace(b"ustar", b"ustax", 1),
}
"""Archives that must not be unpacked as they are."""
HARMLESS: dict[str, bytes] = {
    "an absolute name": archive(member("/out.txt", size=1)),
    "a link inside": archive(member("a", size=1), member("b", linkname="a", **LINK)),
    "links in a circle": archive(
        member("a", linkname="b", **LINK), member("b", linkname="a", **LINK)
    ),
    "a file twice": archive(member("a", size=1), member("a", size=2)),
    "for the owner alone": archive(member("a", size=1, mode=0o000)),
    "with rights of root": archive(member("a", size=1, mode=0o6777, uid=0)),
    "of the year 10,000": archive(member("a", size=1, mtime=2**38)),
}
"""Archives that are unpacked without their harmful parts."""


@pytest.mark.parametrize("name", [*ARCHIVES, *HARMLESS])
def test_nothing_leaves_the_folder_of_an_archive(tmp_path, name):
    path, folder = tmp_path / "a.tar", tmp_path / "in" / "deep"
    path.write_bytes({**ARCHIVES, **HARMLESS}[name])
    if name in ARCHIVES:
        with pytest.raises(UserError, match="cannot be unpacked"):
            unpack(path, folder)
    else:
        unpack(path, folder)
        assert any(folder.iterdir()) or "circle" in name
    for each in tmp_path.rglob("*"):
        assert not each.is_symlink()
        assert each.is_dir() or each == path or folder in each.parents
        assert each.is_dir() or each.stat().st_mode & 0o7022 == 0 or each == path


MANIFEST = {
    "source": "grabcut",
    "parameters": {"a": 1},
    "classes": ["red"],
    "points_sha256": "0",
    "files": {"a.png": "0"},
    "skipped": {},
    "versions": {"numpy": "2"},
    "version": 2,
}
MANIFESTS: dict[str, Any] = {
    **{
        f"{key} is {value!r}": {**MANIFEST, key: value} for key in MANIFEST for value in (3.5, None)
    },
    "classes of numbers": {**MANIFEST, "classes": [1]},
    "classes of half a letter": {**MANIFEST, "classes": ["\ud800"]},
    "files of lists": {**MANIFEST, "files": {"a.png": []}},
    "skipped without a reason": {**MANIFEST, "skipped": {"a.png": None}},
    "parameters with NaN": {**MANIFEST, "parameters": {"a": float("nan")}},
    "a version of text": {**MANIFEST, "version": "2"},
    "another version": {**MANIFEST, "version": 10**30},
    "a list": [MANIFEST],
}
CLASS_MAPS: dict[str, Any] = {
    "nothing": {},
    "an empty list's list": [[]],
    "a number": 5,
    "a list of numbers": [1, 2],
    "255 names": ["red"] * 255,
    "a key of letters": {"red": "red"},
    "a key with a space": {" 1": "red"},
    "a key of other digits": {"\u0661": "red"},
    "a key with a fraction": {"1.0": "red"},
    "a key of 5,000 digits": {"9" * 5000: "red"},
    "a label twice": {"1": "red", "01": "blue"},
    "a name of null": {"1": None},
    "a name of lists": {"1": [["red"]]},
    "half a letter": {"1": "\ud800"},
}
OFFER = {
    "segmentation": {"size": [6, 8], "counts": [48]},
    "predicted_iou": 0.5,
    "stability": 0.5,
}


def offered(**change: Any) -> list[Any]:
    return [{"id": 7, "candidates": [{**OFFER, **change}]}]


CANDIDATES: dict[str, Any] = {
    "an id of text": [{"id": "7", "candidates": []}],
    "an id of 7.9": [{"id": 7.9, "candidates": []}],
    "an id of infinity": [{"id": 1e999, "candidates": []}],
    "an id that is true": [{"id": True, "candidates": []}],
    "no id": [{"candidates": []}],
    "no candidates": [{"id": 7}],
    "candidates of null": [{"id": 7, "candidates": None}],
    "candidates of numbers": [{"id": 7, "candidates": [1]}],
    "points of null": None,
    "points of text": "points",
    "points in an object": {"id": 7},
    "another size": offered(segmentation={"size": [8, 6], "counts": [48]}),
    "a code too long": offered(segmentation={"size": [6, 8], "counts": [49]}),
    "no code": offered(segmentation=None),
    "a score of 2": offered(predicted_iou=2),
    "a score of NaN": offered(stability=float("nan")),
    "a score of text": offered(stability="0.5"),
}
LISTS: dict[str, bytes] = {
    "nothing": b"",
    "empty lines": b"\r\n\n \n",
    "up": b"a\n../b\n",
    "up within": b"a/../../b\n",
    "the root": b"/etc/passwd\n",
    "twice": b"a\na\n",
    "bytes": b"\xff\xfe\x00",
}
CONFIGS: dict[str, bytes] = {
    "ten million values": b"a: &a [1,1,1,1,1,1,1,1,1,1]\n"
    + b"".join(
        f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n".encode()
        for before, name in zip("abcdef", "bcdefg", strict=True)
    ),
    "an alias of itself": b"a: &a [*a]\n",
    "3,000 levels": b"a: " + b"[" * 3000 + b"]" * 3000,
    "a tag of Python": b"a: !!python/object/apply:os.system ['true']\n",
    "a tag of one's own": b"a: !x 1\n",
    "bytes": b"a: \xff\x00\n",
    "an alias of nothing": b"a: *b\n",
    "two documents": b"a: 1\n---\nb: 1\n",
    "two megabytes": b"a: '" + b"x" * (2 << 20) + b"'\n",
    "not closed": b"a: [1\n",
}
TABLES = {
    "archives": {**ARCHIVES, **HARMLESS},
    "manifests": MANIFESTS,
    "class maps": CLASS_MAPS,
    "files of candidates": CANDIDATES,
    "lists of images": LISTS,
    "YAML configs": CONFIGS,
    "damages of the corpus": {f"{name} {k}": 0 for name in TARGETS for k in range(MUTATIONS)},
    "files that were findings": {name: 0 for name in FILES if "/found-" in name},
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_invalid_manifests_are_rejected(tmp_path, name):
    (tmp_path / "manifest.json").write_text(json.dumps(MANIFESTS[name]))
    with pytest.raises(UserError, match=r"manifest\.json"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("name", CLASS_MAPS)
def test_invalid_class_maps_are_rejected(tmp_path, name):
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(CLASS_MAPS[name]))
    with pytest.raises(UserError, match=r"classes\.json") as caught:
        ClassMap.read(str(path)).legend(("green",))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", CANDIDATES)
def test_invalid_candidates_are_rejected(tmp_path, name):
    """Their checksum is correct, as in a deliberate change."""
    from p2seg.runtime.files import fingerprint

    path, points = tmp_path / "a.json", CANDIDATES[name]
    content = {"key": "key", "digest": fingerprint(points), "points": points}
    for spoilt in (content, {**content, "digest": "0"}, {"points": points}, points):
        path.write_text(json.dumps(spoilt))
        read_key(path)
        with pytest.raises(UserError, match="candidates"):
            read_candidates(path, (6, 8))


@pytest.mark.parametrize("name", LISTS)
def test_invalid_lists_are_rejected(tmp_path, name):
    (tmp_path / "train.txt").write_bytes(LISTS[name])
    with pytest.raises(UserError, match=r"train\.txt"):
        read_list(tmp_path / "train.txt")


def test_a_list_with_windows_line_ends(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfa b\r\n\xc3\xa9/c\r\n")
    assert read_list(tmp_path / "a.txt") == ["a b", "é/c"]


@pytest.mark.parametrize("name", CONFIGS)
def test_foreign_configs_are_checked_first(tmp_path, name, run_tool):
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / "theirs.yaml").write_bytes(b"# @package _global_\n" + CONFIGS[name])
    began = time.process_time()
    code, _, error = run_tool("make_points", "--config-dir", str(tmp_path), "+exp=theirs")
    assert (code, error.count("\n")) == (2, 1), error
    assert "theirs.yaml is no" in error
    assert time.process_time() - began < 20


def test_a_valid_foreign_config_is_used(tmp_path, run_tool):
    (tmp_path / "exp").mkdir()
    text = "# @package _global_\nseed: &s 3\nname: '*s'\n"
    (tmp_path / "exp" / "theirs.yaml").write_text(text)
    code, _, error = run_tool("make_points", "--config-dir", str(tmp_path), "+exp=theirs")
    assert code == 2
    assert "out is not set" in error


@pytest.mark.parametrize("name", FILES)
def test_the_corpus_is_read_or_rejected(tmp_path, name):
    target = name.split("/")[0]
    path = place(target, (CORPUS / name).read_bytes(), tmp_path / "input")
    said = judge(TARGETS[target], path)
    if "/good" in name and target != "checkpoint":
        assert said == "read"


@pytest.mark.parametrize("target", TARGETS)
def test_damaged_files_are_read_or_rejected(tmp_path, target):
    corpus = read_corpus(CORPUS / target)
    for number in range(MUTATIONS):
        content = mutate(random.Random(f"test/{target}/{number}"), corpus)
        judge(TARGETS[target], place(target, content, tmp_path / "input"))


def test_the_corpus_is_small():
    assert sum(path.stat().st_size for path in CORPUS.rglob("*")) < 200_000
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)


def test_a_fuzz_run_finds_and_replays(tmp_path, monkeypatch):
    """The reader fails, hangs or crashes, depending on the input."""

    def fragile(path: Path) -> None:
        content = path.read_bytes()
        if len(content) % 5 == 1:
            raise KeyError("lost")
        if len(content) % 5 == 3:
            os._exit(3)

    readers: dict[str, Callable[[Path], None]] = {"class_map": fragile}
    broken = {**TARGETS, "class_map": type(TARGETS["points"])(readers["class_map"], ".json", 2)}
    for module in (child, fuzz, targets):
        monkeypatch.setattr(module, "TARGETS", broken)
    words = ["--minutes", "0.03", "--target", "class_map", "--engine", "mutation"]
    with pytest.raises(SystemExit):
        fuzz.main([*words, "--out", str(tmp_path)])
    found = sorted((tmp_path / "class_map").glob("*.json"))
    told = [path.with_suffix(".txt").read_text() for path in found]
    assert len(found) == 2
    assert {"KeyError" in each or "exit code 3" in each for each in told} == {True}
    for path in found:
        with pytest.raises(SystemExit):
            fuzz.main(["--replay", str(path)])
    monkeypatch.undo()
    assert fuzz.main(["--replay", str(found[0])]) == 0
