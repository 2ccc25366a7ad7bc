"""The scripts that prepare data sets, run in this process on miniature sets."""

from __future__ import annotations

import importlib
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import voc_sets
from PIL import Image

from p2seg.cli.main import main
from p2seg.data.coco import decode, read_instances
from p2seg.data.sets.download import Archive, md5

ROOT = Path(__file__).resolve().parents[2]
RunScript = Callable[..., tuple[int, str]]


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> RunScript:
    """Runs a script in `tmp_path`: `run("prepare_voc", "--sbd", "x")` -> (exit code, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(name: str, *words: object) -> tuple[int, str]:
        capsys.readouterr()
        code = main([name, *map(str, words)])
        return code, capsys.readouterr().err

    return run


def labels_of(path: Path) -> list[list[int]]:
    return [[i.label for i in group] for group in read_instances(path).instances]


def test_voc(run: RunScript, tmp_path: Path) -> None:
    voc_sets.write_voc(tmp_path / "kit" / "VOCdevkit" / "VOC2012")
    code, said = run("prepare_voc", "--devkit", "kit")
    assert code == 0, said
    out = tmp_path / "data" / "voc2012"
    assert labels_of(out / "instances_train.json") == [[15, 15], [20, 1]]
    assert labels_of(out / "instances_val.json") == [[8, 12]]
    assert not (out / "instances_trainaug.json").exists()
    assert (out / "images").is_symlink()
    assert (out / "images" / "2007_000003.jpg").is_file()
    assert "instances_train.json: 2 images, 4 instances of 20 classes" in said
    assert run("prepare_voc", "--devkit", "kit")[0] == 0, "twice is safe"


def test_trainaug(run: RunScript, tmp_path: Path) -> None:
    voc_sets.write_voc(tmp_path / "VOC2012")
    voc_sets.write_sbd(tmp_path / "sbd" / "dataset", tmp_path / "VOC2012")
    code, said = run("prepare_voc", "--devkit", "VOC2012", "--sbd", "sbd", "--out", "o ut")
    assert code == 0, said
    found = labels_of(tmp_path / "o ut" / "instances_trainaug.json")
    assert found == [[15, 15], [20, 1], [2, 19], [2, 19]]
    assert (tmp_path / "o ut" / "images" / "2008_000004.jpg").is_file()


def test_download(run: RunScript, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The archives are fetched, verified and unpacked once."""
    made = tmp_path / "made"
    voc = made / "VOCdevkit" / "VOC2012"
    voc_sets.write_voc(voc)
    voc_sets.write_sbd(made / "benchmark_RELEASE" / "dataset", voc)
    script = importlib.import_module("p2seg.cli.prepare_voc")
    for name, folder in [("VOC2012", "VOCdevkit"), ("SBD", "benchmark_RELEASE")]:
        with tarfile.open(tmp_path / f"{name}.tar", "w") as archive:
            archive.add(made / folder, folder)
        path = tmp_path / f"{name}.tar"
        monkeypatch.setattr(script, name, Archive(path.as_uri(), md5(path)))
    code, said = run("prepare_voc", "--download", "--devkit", "got")
    assert code == 0, said
    assert len(labels_of(tmp_path / "data" / "voc2012" / "instances_trainaug.json")) == 4
    for name in ("VOC2012", "SBD"):
        (tmp_path / f"{name}.tar").unlink()
        (tmp_path / "got" / f"{name}.tar").unlink()
    assert run("prepare_voc", "--download", "--devkit", "got")[0] == 0
    code, said = run("prepare_voc", "--download", "--devkit", "elsewhere")
    assert code == 2
    assert "the download of file://" in said


def test_another_set_in_vocs_layout(run: RunScript, tmp_path: Path) -> None:
    voc_sets.write_image(tmp_path / "My Set", "a", *voc_sets.two_objects(2, 1))
    voc_sets.write_split(tmp_path / "My Set", "all", ["a"])
    words = ("--devkit", "My Set", "--classes", "fruit,leaf")
    code, said = run("prepare_voc", *words, "--splits", "all")
    assert code == 0, said
    read = read_instances(tmp_path / "data" / "my set" / "instances_all.json")
    assert [category.name for category in read.categories] == ["fruit", "leaf"]
    code, said = run("prepare_voc", *words)
    assert code == 2
    assert "no list of images at" in said
    assert "choose from all" in said


def write_coco(folder: Path, split: str, annotations: list[dict[str, object]]) -> None:
    """One image of 10 x 8 in COCO's own layout."""
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    (folder / split).mkdir()
    Image.new("RGB", (10, 8)).save(folder / split / "000000000009.jpg")
    content = {
        "info": {"year": 2017},
        "images": [{"id": 9, "file_name": "000000000009.jpg", "width": 10, "height": 8}],
        "annotations": annotations,
        "categories": [{"id": 44, "name": "bottle"}, {"id": 1, "name": "person"}],
    }
    (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


POLYGON = {"id": 70, "image_id": 9, "category_id": 44, "segmentation": [[1, 1, 8, 1, 8, 6, 1, 6]]}
CROWD = {"id": 71, "image_id": 9, "category_id": 1, "iscrowd": 1,
         "segmentation": {"size": [8, 10], "counts": [70, 10]}}  # fmt: skip


def test_coco(run: RunScript, tmp_path: Path) -> None:
    write_coco(tmp_path / "coco", "train2017", [POLYGON, CROWD])
    write_coco(tmp_path / "coco", "val2017", [])
    code, said = run("prepare_coco", "--root", "coco")
    assert code == 0, said
    out = tmp_path / "data" / "coco"
    read = read_instances(out / "instances_train2017.json")
    assert [(i.id, i.label, i.crowd) for i in read.instances[0]] == [(70, 2, False), (71, 1, True)]
    assert read.info["year"] == 2017
    assert len(read.info["source_sha256"]) == 64
    assert (out / "train2017" / read.images[0].file_name).is_file()
    assert read_instances(out / "instances_val2017.json").instances == [[]]
    assert "1 images, 1 instances of 2 classes, 1 crowd regions" in said


def test_a_coco_style_set(run: RunScript, tmp_path: Path) -> None:
    write_coco(tmp_path / "in", "photos", [POLYGON])
    source = "in/annotations/instances_photos.json"
    words = ("--json", source, "--images", "in/photos", "--split", "val", "--out", "set")
    code, said = run("prepare_coco", *words)
    assert code == 0, said
    assert len(read_instances(tmp_path / "set" / "instances_val.json").instances[0]) == 1
    assert (tmp_path / "set" / "val" / "000000000009.jpg").is_file()
    (tmp_path / "in" / "photos" / "000000000009.jpg").unlink()
    code, said = run("prepare_coco", *words)
    assert code == 2
    assert "1 of 1 images are missing in in/photos, such as 000000000009.jpg" in said


@pytest.mark.parametrize("kept", [1, 2])
def test_a_set_with_train_and_val_folders(run: RunScript, tmp_path: Path, kept: int) -> None:
    """`--every 2` keeps the first and the third training image, and all of val."""
    for split in ("train", "val"):
        (tmp_path / "in" / split).mkdir(parents=True)
        images = []
        for k in (1, 2, 3):
            Image.new("RGB", (10, 8)).save(tmp_path / "in" / split / f"{k}.png")
            images.append({"id": k, "file_name": f"{k}.png", "width": 10, "height": 8})
        categories = [{"id": 44, "name": "bottle"}]
        own = [{**POLYGON, "id": 70 + k, "image_id": k} for k in (1, 2, 3)]
        content = {"images": images, "annotations": own, "categories": categories}
        (tmp_path / "in" / f"instances_{split}.json").write_text(json.dumps(content))
    code, said = run("prepare_coco", "--root", "in", "--out", "set", "--every", kept)
    assert code == 0, said
    found = {
        split: read_instances(tmp_path / "set" / f"instances_{split}.json")
        for split in ("train", "val")
    }
    assert [each.id for each in found["train"].images] == [1, 2, 3][::kept]
    assert [each[0].id for each in found["train"].instances] == [71, 72, 73][::kept]
    assert len(found["val"].images) == 3
    assert (tmp_path / "set" / "train" / "3.png").is_file()


def test_voc_keeps_every_second_training_image(run: RunScript, tmp_path: Path) -> None:
    code, said = run("prepare_synthetic", "--out", "demo", "--train", 3, "--val", 2, "--size", 64)
    assert code == 0, said
    classes = "--classes", "fruit,leaf,star,ring"
    code, said = run("prepare_voc", "--devkit", "demo/voc", *classes, "--out", "few", "--every", 2)
    assert code == 0, said
    whole, few = (
        read_instances(tmp_path / name / "instances_train.json") for name in ("demo", "few")
    )
    assert [each.id for each in few.images] == [each.id for each in whole.images][::2]
    assert len(read_instances(tmp_path / "few" / "instances_val.json").images) == 2


def test_synthetic(run: RunScript, tmp_path: Path) -> None:
    words = ("--train", 3, "--val", 2, "--size", 64, "--seed", 1)
    code, said = run("prepare_synthetic", "--out", "drawn", *words)
    assert code == 0, said
    read = read_instances(tmp_path / "drawn" / "instances_train.json")
    assert len(read.images) == 3
    assert read.info["seed"] == 1
    assert (tmp_path / "drawn" / "images" / read.images[0].file_name).is_file()
    code, said = run(
        "prepare_voc", "--devkit", "drawn/voc", "--classes", "fruit,leaf,star,ring", "--out", "new"
    )
    assert code == 0, said
    assert read_instances(tmp_path / "new" / "instances_train.json").instances == read.instances


def test_demo(run: RunScript, tmp_path: Path) -> None:
    """The real images of the package: all readable, none in both splits, and small."""
    for _ in range(2):  # twice is safe
        code, said = run("prepare_demo", "--out", "set")
        assert code == 0, said
    assert "instances_train.json: 40 images, 1563 instances of 1 classes" in said
    assert "instances_val.json: 20 images, 731 instances of 1 classes" in said
    names = []
    for split in ("train", "val"):
        read = read_instances(tmp_path / "set" / f"instances_{split}.json")
        assert [each.name for each in read.categories] == ["nucleus"]
        for record, own in zip(read.images, read.instances, strict=True):
            assert len(own) >= 12
            with Image.open(tmp_path / "set" / "images" / record.file_name) as image:
                assert image.size == (record.width, record.height)
                image.load()
            assert all(decode(each).shape == (record.height, record.width) for each in own)
        names += [record.file_name for record in read.images]
    assert len(set(names)) == 60
    assert sum(name.startswith("colour") for name in names) == 12
    shipped = [file for file in (ROOT / "p2seg" / "demo").rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in shipped) < 3e6
    assert {file.name for file in shipped if file.suffix == ".png"} == set(names)


def test_mistakes_are_one_sentence(run: RunScript, tmp_path: Path) -> None:
    voc_sets.write_voc(tmp_path / "VOC2012")
    (tmp_path / "bad.json").write_text("{}")
    (tmp_path / "file").write_text("")
    for sentence, *words in [
        ("the folder of VOC is not set; add --devkit", "prepare_voc"),
        ("no VOC20xx/ImageSets/Segmentation in nowhere", "prepare_voc", "--devkit", "nowhere"),
        ("unrecognized arguments: --devkits", "prepare_voc", "--devkits", "x"),
        ("invalid choice: 2008", "prepare_voc", "--year", 2008),
        ("remove --classes", "prepare_voc", "--devkit", "VOC2012", "--sbd", "s", "--classes=a"),
        ("no folder inst in", "prepare_voc", "--devkit", "VOC2012", "--sbd", "s"),
        ("refused file", "prepare_voc", "--devkit", "VOC2012", "--out", "file"),
        ("give either --root", "prepare_coco"),
        ("give either --root", "prepare_coco", "--root", "x", "--json", "y"),
        ("no instances file at", "prepare_coco", "--root", "x"),
        ("--every 0: must be at least 1", "prepare_voc", "--devkit", "VOC2012", "--every", 0),
        ("has no 'images'", "prepare_coco", "--json", "bad.json", "--images", "."),
        ("--seed must be >= 0", "prepare_synthetic", "--seed", -1),
    ]:
        code, said = run(*words)
        sentences = [line for line in said.splitlines() if "━" not in line and line.strip()]
        assert code == 2, words
        assert len(sentences) == 1, said
        assert sentence in said


@pytest.mark.realdata
def test_real_sets(run: RunScript, realdata: Path, tmp_path: Path) -> None:
    assert run("prepare_voc", "--devkit", realdata / "VOCdevkit")[0] == 0
    out = tmp_path / "data" / "voc2007"
    assert [len(labels_of(out / f"instances_{s}.json")) for s in ("train", "val")] == [20, 24]
    assert run("prepare_coco", "--root", realdata / "coco")[0] == 0
    out = tmp_path / "data" / "coco"
    counts = [sum(map(len, labels_of(out / f"instances_{s}2017.json"))) for s in ("train", "val")]
    assert counts == [1814, 877]
