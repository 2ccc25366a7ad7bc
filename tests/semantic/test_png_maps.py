"""Label maps and probabilities of other methods as NumPy files, and class maps."""

from __future__ import annotations

import contextlib
import json
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from semantic_sets import CLASSES, task

from p2seg.errors import UserError
from p2seg.semantic.class_map import ClassMap
from p2seg.semantic.generate import MAPS, Job, make_one
from p2seg.semantic.maps import paths_of
from p2seg.semantic.png import PngMaps

LABELS = np.array([[0, 1, 2], [255, 2, 0]])
TASK = task(Path("elsewhere/a.jpg"), (2, 3))


def read(folder: Path, class_map: Any = None, background: float | None = None) -> Any:
    """The map of the one image, `[2, 3]`, through a class map of this content."""
    if class_map is not None:
        (folder / "classes.json").write_text(json.dumps(class_map))
        class_map = str(folder / "classes.json")
    return PngMaps.read(str(folder), class_map, background)(TASK)


def channels(*rows: list[float]) -> Any:
    """Probabilities `[n, 2, 3]`, float16: each channel of six values."""
    return np.array(rows, np.float16).reshape(-1, 2, 3)


# background is most probable in columns 0, ball in 1, box in 2
THREE = channels([0.7, 0.2, 0.1] * 2, [0.2, 0.5, 0.1] * 2, [0.1, 0.3, 0.8] * 2)
ANSWER = [[0, 1, 2]] * 2


def refused(folder: Path, *parts: str, **how: Any) -> None:
    """One sentence, of all these parts."""
    with pytest.raises(UserError) as error:
        read(folder, **how)
    said = str(error.value)
    assert "\n" not in said
    assert all(part in said for part in parts), said


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, ">i2"])
@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_labels_of_any_whole_type(tmp_path: Path, ending: str, dtype: Any) -> None:
    array = LABELS.astype(dtype)
    np.save(tmp_path / "a.npy", array) if ending == "npy" else np.savez(tmp_path / "a.npz", array)
    made = read(tmp_path)
    assert made.dtype == np.uint8
    assert made.tolist() == LABELS.tolist()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
@pytest.mark.parametrize("name", ["prob", "arr_0", "whatever"])
def test_probabilities_with_background_first(tmp_path: Path, name: str, dtype: Any) -> None:
    np.savez_compressed(tmp_path / "a.npz", **{name: THREE.astype(dtype)})
    made = read(tmp_path)
    assert made.dtype == np.uint8
    assert made.tolist() == ANSWER


def test_probabilities_without_background_have_a_threshold(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", THREE[1:])
    assert read(tmp_path, background=0.3).tolist() == ANSWER
    assert read(tmp_path, background=0.6).tolist() == [[0, 0, 2]] * 2
    assert read(tmp_path, background=0.5).tolist() == [[0, 0, 2]] * 2  # a tie is background
    assert read(tmp_path, background=0).tolist() == [[1, 1, 2]] * 2


def test_keys_name_the_channels(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", prob=THREE[[2, 0]], keys=[2, 0])
    assert read(tmp_path).tolist() == [[0, 2, 2]] * 2
    np.savez(tmp_path / "a.npz", keys=np.array([2]), prob=THREE[2:])
    assert read(tmp_path, background=0.2).tolist() == [[0, 2, 2]] * 2
    np.savez(tmp_path / "a.npz", keys=[], prob=np.zeros((0, 2, 3)))
    assert read(tmp_path, background=0.2).tolist() == [[0, 0, 0]] * 2


def test_the_background_channel_needs_no_threshold(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", THREE)
    assert read(tmp_path, background=0.9).tolist() == ANSWER


def test_small_probabilities_are_enlarged_bilinearly(tmp_path: Path) -> None:
    # one row of two pixels, ball 0 and 1, enlarged to eight: 0 0 .125 .375 .625 .875 1 1
    np.save(tmp_path / "a.npy", np.array([[[0.0, 1.0]], [[0.0, 0.0]]]))
    wide = task(Path("a.jpg"), (2, 8))
    made = [PngMaps(str(tmp_path), None, share)(wide).tolist() for share in (0.1, 0.5, 0.9)]
    assert made == [[[0] * zeros + [1] * (8 - zeros)] * 2 for zeros in (2, 4, 6)]


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32 - 1))
def test_the_most_probable_equals_its_slow_twin(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 6))
    keys = rng.permutation(9)[:count]
    # eighths, so that sums are exact and ties are common
    values = rng.integers(0, 9, (count, 2, 3)) / 8
    targets = {str(k): str(rng.choice([*CLASSES, "background", "ignored"])) for k in range(9)}
    np.savez(tmp_path / "a.npz", prob=values, keys=keys)
    made = read(tmp_path, targets, 0.25)
    for y, x in np.ndindex(2, 3):
        scores = {} if 0 in keys else {0: 0.25}
        for key, value in zip(keys, values[:, y, x], strict=True):
            our = {"background": 0, "ball": 1, "box": 2, "ignored": 255}[targets[str(key)]]
            scores[our] = scores.get(our, 0.0) + value
        best = max(scores.values())
        assert made[y, x] == min(our for our, score in scores.items() if score == best)


@pytest.mark.parametrize("ending", ["png", "npy"])
def test_a_class_map_renames_and_merges_labels(tmp_path: Path, ending: str) -> None:
    array = np.array([[0, 15, 7], [255, 3, 15]], np.uint8)
    if ending == "png":
        Image.fromarray(array).save(tmp_path / "a.png")
    else:
        np.save(tmp_path / "a.npy", array)
    names = {"0": "background", "15": "box", "7": "ball", "3": "ball", "255": "ignored"}
    assert read(tmp_path, names).tolist() == [[0, 2, 1], [255, 1, 2]]
    assert read(tmp_path, names | {"3": "ignored", "7": "background"}).tolist() == [
        [0, 2, 0],
        [255, 255, 2],
    ]
    del names["7"]
    refused(tmp_path, f"a.{ending} has label 7", "is not in class map", class_map=names)


def test_negative_and_large_labels_can_be_named(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[-1, 0, 1200], [0, 0, 255]]))
    names = {"-1": "ignored", "0": "background", "1200": "box", "255": "ball"}
    assert read(tmp_path, names).tolist() == [[255, 0, 2], [0, 0, 1]]


def test_a_list_of_names_is_of_labels_from_1_on(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[0, 1, 2], [3, 255, 1]]))
    names = ["box", "background", "ball"]
    assert read(tmp_path, names).tolist() == [[0, 2, 0], [1, 255, 2]]
    np.save(tmp_path / "a.npy", np.array([[0, 1, 4], [3, 255, 1]]))
    refused(tmp_path, "has label 4", class_map=names)


def test_probabilities_of_merged_classes_add(tmp_path: Path) -> None:
    # of four classes, 1 and 3 are both ball: neither beats 2 alone
    values = channels([0.1] * 6, [0.25] * 6, [0.4] * 6, [0.25] * 6)
    names = {"0": "background", "1": "ball", "2": "box", "3": "ball", "255": "ignored"}
    np.save(tmp_path / "a.npy", values)
    assert (read(tmp_path, names) == 1).all()
    assert (read(tmp_path, names | {"3": "ignored"}) == 2).all()
    assert (read(tmp_path, names | {"2": "ignored"}) == 1).all()
    assert (read(tmp_path, names | {"1": "ignored", "3": "ignored"}) == 255).all()
    np.save(tmp_path / "a.npy", values[1:])  # without background: labels 1..3
    assert (read(tmp_path, names, 0.45) == 1).all()
    assert (read(tmp_path, names, 0.55) == 0).all()


def test_one_file_an_image(tmp_path: Path) -> None:
    refused(tmp_path, "no semantic map at", "a.png, nor .npz or .npy", "data.on_error=skip")
    assert PngMaps(str(tmp_path)).inputs(TASK) == [tmp_path / "a.png"]
    np.save(tmp_path / "a.npy", LABELS)
    assert PngMaps(str(tmp_path)).inputs(TASK) == [tmp_path / "a.npy"]
    np.savez(tmp_path / "a.npz", LABELS)
    refused(tmp_path, "image a.jpg has two maps", "a.npz and a.npy", "move one of them away")


def archive(path: Path, **files: bytes) -> None:
    with zipfile.ZipFile(path, "w") as out:
        for name, content in files.items():
            out.writestr(name, content)


HIGH = {"keys": np.array([1]), "high_res": np.zeros((1, 2, 3))}


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.npy", lambda path: np.save(path, HIGH)),
        ("a.npz", lambda path: np.savez(path, prob=HIGH)),
        ("a.npy", lambda path: path.write_bytes(pickle.dumps(HIGH))),
    ],
)
def test_pickles_are_not_read(tmp_path: Path, name: str, write: Any) -> None:
    write(tmp_path / name)
    refused(tmp_path, name, "pickle", "np.savez(path, prob=d['high_res'], keys=d['keys'] + 1)")


class Trap:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("sprung"),)


def test_no_code_of_a_pickle_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "a.npy", {"prob": Trap()})
    refused(tmp_path, "pickle")
    assert not Path("sprung").exists()
    np.load(tmp_path / "a.npy", allow_pickle=True)  # what it would have done
    assert Path("sprung").exists()


NAN, INFINITE, NEGATIVE = THREE.copy(), THREE.copy(), THREE.copy()
NAN[1, 0, 0], INFINITE[2, 1, 1], NEGATIVE[0, 1, 2] = np.nan, np.inf, -0.25


@pytest.mark.parametrize(
    ("arrays", "background", "parts"),
    [
        ({"prob": NAN}, None, ["nan or infinity in channel 1"]),
        ({"prob": INFINITE}, None, ["nan or infinity in channel 2"]),
        ({"prob": THREE.astype(np.float64) * 1e300}, None, ["infinity"]),
        ({"prob": NEGATIVE}, None, ["-0.25 in channel 0", "softmax"]),
        ({"prob": THREE[:1]}, None, ["1 channels", "highest class is 2", "3 (background first)"]),
        ({"prob": THREE[[0, 1, 2, 2]]}, 0.3, ["4 channels", "or 2 (without)"]),
        ({"prob": THREE[1:]}, None, ["no channel for background", "semantic.background=0.3"]),
        ({"prob": THREE[1:] * 9}, 0.3, ["has 7.19", "probabilities 0..1", "maximum"]),
        ({"prob": THREE, "cam": THREE}, None, ["one array", "cam, prob", "np.savez"]),
        ({"keys": [0, 1, 2]}, None, ["one array", "holds none"]),
        ({"prob": THREE[0]}, None, ["float16 of shape [2, 3]", "whole numbers [H, W]"]),
        ({"prob": np.ones((3, 2, 3), int)}, None, ["int64 of shape [3, 2, 3]", "floats"]),
        ({"prob": LABELS > 1}, None, ["bool of shape [2, 3]"]),
        ({"prob": THREE + 1j}, None, ["complex", "floats"]),
        ({"prob": np.array(["a"])}, None, ["<U1 of shape [1]"]),
        ({"prob": LABELS, "keys": [0, 1]}, None, ["keys next to labels"]),
        ({"prob": THREE, "keys": [0, 1]}, None, ["keys of int64 and shape [2] for 3 channels"]),
        ({"prob": THREE, "keys": [0, 1, 1]}, None, ["one unique integer per channel"]),
        ({"prob": THREE, "keys": [0, 1, 2.5]}, None, ["keys of float64"]),
        ({"prob": THREE, "keys": [0, 1, 3]}, None, ["has label 3 but there are 2 classes"]),
        ({"prob": np.ones((3, 2, 4))}, None, ["channels of 4x2", "image is 3x2"]),
        ({"prob": np.ones((3, 3, 3))}, None, ["channels of 3x3", "image is 3x2"]),
        ({"prob": np.ones((3, 0, 3))}, None, ["channels of 3x0"]),
        ({"prob": LABELS.T}, None, ["a.npz is 2x3, but its image is 3x2"]),
        ({"prob": LABELS + 1}, None, ["has label 3 but there are 2 classes", "class_map"]),
        ({"prob": LABELS - 1}, None, ["has label -1"]),
    ],
)
def test_what_cannot_be_a_map(
    tmp_path: Path, arrays: Any, background: float | None, parts: list[str]
) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    refused(tmp_path, "a.npz", *parts, background=background)


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00", b"PK\x03\x04no zip"])
@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_what_is_no_numpy_file(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    refused(tmp_path, f"{name} is not a readable NumPy file")


def test_an_archive_of_other_files(tmp_path: Path) -> None:
    archive(tmp_path / "a.npz", **{"notes.txt": b"text"})
    refused(tmp_path, "a.npz", "not arrays")


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_damaged_file_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    """Cut or with a byte changed: never another exception."""
    name = data.draw(st.sampled_from(["a.npy", "a.npz"]))
    for each in tmp_path.iterdir():
        each.unlink()
    if name == "a.npy":
        np.save(tmp_path / name, THREE)
    else:
        np.savez_compressed(tmp_path / name, prob=THREE, keys=[0, 1, 2])
    content = bytearray((tmp_path / name).read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        del content[at:]
    else:
        content[at] = data.draw(st.integers(0, 255))
    (tmp_path / name).write_bytes(content)
    with contextlib.suppress(UserError):
        assert read(tmp_path).shape == (2, 3)


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("{", ["classes.json is not a readable class map"]),
        ("3", ["must hold an object such as"]),
        ("{}", ["must hold an object such as"]),
        ('{"person": "ball"}', ["has the key 'person'", "labels of the other method"]),
        ('{"1.5": "ball"}', ["has the key '1.5'"]),
        ('{"1": 2}', ["maps label 1 to 2", "name of a class"]),
        ('["ball", null]', ["maps label 2 to None"]),
        ('{"1": "ball", "01": "box"}', ["label 1 twice"]),
        ('{"1": "person"}', ["maps label 1 to 'person'", "use ball, box"]),
        (json.dumps(["ball"] * 255), ["lists 255 names"]),
    ],
)
def test_a_class_map_that_is_none(tmp_path: Path, content: str, parts: list[str]) -> None:
    (tmp_path / "classes.json").write_text(content)
    np.save(tmp_path / "a.npy", LABELS)
    with pytest.raises(UserError) as error:
        PngMaps.read(str(tmp_path), str(tmp_path / "classes.json"))(TASK)
    for part in [*parts, "classes.json"]:
        assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_a_class_map_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no class map at .*none\.json"):
        ClassMap.read(str(tmp_path / "none.json"))


def test_maps_are_made_again_when_what_decides_them_changes(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", THREE[1:])
    names = tmp_path / "classes.json"
    job = Job(TASK, paths_of(tmp_path / "out", [TASK.record])[0], tmp_path / "out", MAPS)

    def made(content: list[str], background: float) -> bool:
        names.write_text(json.dumps(content))
        outcome = make_one(PngMaps.read(str(tmp_path), str(names), background), job)
        assert outcome.error is None
        return outcome.is_new

    assert made(["ball", "box"], 0.3)
    assert not made(["ball", "box"], 0.3)
    assert made(["ball", "ignored"], 0.3)
    assert made(["ball", "ignored"], 0.4)
    names.rename(tmp_path / "moved.json")
    source = PngMaps.read(str(tmp_path), str(tmp_path / "moved.json"), 0.4)
    assert not make_one(source, job).is_new
    np.savez(tmp_path / "a.npz", THREE)
    assert "two maps" in str(make_one(source, job).error)


def test_without_a_class_map_the_parameters_are_as_before(tmp_path: Path) -> None:
    assert PngMaps.read(str(tmp_path)).parameters == {"maps": str(tmp_path)}
    whole = replace(PngMaps(str(tmp_path)), class_map=ClassMap("c", {2: "box", 0: "background"}))
    assert whole.parameters["class_map"] == {"0": "background", "2": "box"}
