"""p2seg export_masks: every format of pseudo masks and of predictions, and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
from format_sets import mask_of
from PIL import Image
from set_readers import read_cvat, read_label_studio
from tool_sets import refused, works

from p2seg.data.coco import (
    Category,
    ImageRecord,
    Instance,
    InstanceSet,
    decode,
    encode,
    read_instances,
    write_instances,
)
from p2seg.formats.masks.labelme import LabelMe

LEFT, RIGHT = mask_of("11... 11... ....."), mask_of("...11 ....1 .....")
SOME = "formats=[coco,labelme,cvat,labelstudio,yolo,png]"


@pytest.fixture
def made(tmp_path):
    """Two images and their pseudo masks: a sure one, an unsure one, an empty one, a crowd."""
    records = [ImageRecord(4, "b/a 1.png", 3, 5), ImageRecord(9, "c.png", 3, 5)]
    for each in records:
        (tmp_path / "photos" / each.file_name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (5, 3)).save(tmp_path / "photos" / each.file_name)
    groups = [
        [
            Instance(3, 1, encode(LEFT), score=0.4, point=(1.0, 0.0)),
            Instance(5, 2, encode(RIGHT), score=0.9, point=(0.0, 3.0)),
        ],
        [Instance(6, 1, encode(LEFT * 0)), Instance(7, 1, encode(LEFT), crowd=True)],
    ]
    categories = [Category(10, "red"), Category(20, "blue")]
    write_instances(tmp_path / "masks.json", InstanceSet(records, categories, groups, {"seed": 1}))
    return tmp_path


def words(made, *more, pred="masks.json", out="out"):
    return [f"pred={made / pred}", f"images={made / 'photos'}", f"out={made / out}", *more]


def all_files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def test_pseudo_masks_as_everything(made, run_tool):
    out = works(run_tool("export_masks", *words(made, SOME, "points=true")))
    assert "2 masks of 2 images" in out
    assert "1 empty" in out
    assert "1 crowds" in out
    shown = read_cvat(made / "out/cvat/annotations.xml")
    assert [(each[0], each[2], each[3]) for each in shown["b/a 1.png"]] == [
        ("blue", (3.5, 0.5), 0.9),
        ("red", (0.5, 1.5), 0.4),
    ]
    tasks = read_label_studio(made / "out/labelstudio/tasks.json")
    assert list(tasks) == [
        f"/data/local-files/?d=photos/{each}" for each in ("b/a%201.png", "c.png")
    ]
    for masks in (shown["b/a 1.png"], tasks["/data/local-files/?d=photos/b/a%201.png"]):
        np.testing.assert_array_equal(masks[0][1], RIGHT)
        np.testing.assert_array_equal(masks[1][1], LEFT)
    coco = read_instances(made / "out/coco/instances.json")
    assert [[each.id for each in group] for group in coco.instances] == [[5, 3], []]
    assert coco.info == {"seed": 1, "least_score": 0}
    files = all_files(made / "out")
    assert {"labelme/b/a 1.json", "yolo/labels/c.txt", "png/instances/c.png", "run.json"} <= files
    assert not any("parts" in each for each in files)


def test_a_least_score(made, run_tool):
    out = works(run_tool("export_masks", *words(made, "formats=cvat", "score=0.5")))
    assert "1 masks of 2 images" in out
    assert "1 below score=0.5" in out
    [[only], []] = read_cvat(made / "out/cvat/annotations.xml").values()
    np.testing.assert_array_equal(only[1], RIGHT)


def predictions(made, name="predictions.json"):
    counts = encode(RIGHT)["counts"].decode()
    result = {"image_id": 4, "category_id": 20, "score": 0.7}
    results = [result | {"segmentation": {"size": [3, 5], "counts": counts}}]
    (made / name).write_text(json.dumps(results))


def test_predictions_with_their_list_of_images(made, run_tool):
    predictions(made)
    command = words(made, "formats=[coco,labelstudio]", pred="predictions.json")
    refused(run_tool("export_masks", *command), "without images.json next to it", "gt=FILE")
    works(run_tool("export_masks", *command, f"gt={made / 'masks.json'}"))
    document = json.loads((made / "masks.json").read_text()) | {"annotations": []}
    (made / "images.json").write_text(json.dumps(document))
    works(run_tool("export_masks", *command, f"out={made / 'second'}"))
    for out in ("out", "second"):
        coco = read_instances(made / out / "coco/instances.json")
        [[only], []] = coco.instances
        assert (only.id, only.label, only.score) == (1, 2, 0.7)
        np.testing.assert_array_equal(decode(only), RIGHT)


def test_edited_files_are_not_written_over(made, run_tool):
    command = words(made, "formats=[labelme]")
    works(run_tool("export_masks", *command))
    document = json.loads((made / "masks.json").read_text())
    document["images"] = document["images"][:1]
    kept = {each["id"] for each in document["images"]}
    document["annotations"] = [e for e in document["annotations"] if e["image_id"] in kept]
    whole = (made / "masks.json").read_text()
    (made / "masks.json").write_text(json.dumps(document))
    works(run_tool("export_masks", *command))
    assert len([*(made / "out/labelme").rglob("*.json")]) == 1, "files of other masks are removed"
    (made / "masks.json").write_text(whole)
    works(run_tool("export_masks", *command))
    (made / "out/labelme/c.json").write_text("edited")
    refused(run_tool("export_masks", *command), "c.json exists and is not as", "out=PATH")
    assert (made / "out/labelme/c.json").read_text() == "edited"
    works(run_tool("export_masks", *command, "overwrite=true"))
    (made / "out/labelme/own.txt").write_text("of the user")
    refused(run_tool("export_masks", *command), "own.txt", "out=PATH")
    assert (made / "out/labelme/own.txt").exists()


def test_a_killed_export_goes_on(made, run_tool, monkeypatch):
    command = words(made, "formats=[labelme,cvat]")
    write = LabelMe._write

    def dies(self, place, record, source, instances):
        if record.file_name == "c.png":
            raise KeyboardInterrupt
        write(self, place, record, source, instances)

    with monkeypatch.context() as patch:
        patch.setattr(LabelMe, "_write", dies)
        assert run_tool("export_masks", *command)[0] == 130
    assert not (made / "out/cvat").exists()
    written = (made / "out/labelme/b/a 1.json").stat().st_mtime_ns
    works(run_tool("export_masks", *command))
    assert (made / "out/labelme/b/a 1.json").stat().st_mtime_ns == written
    assert len(read_cvat(made / "out/cvat/annotations.xml")) == 2
    assert not (made / "out/masks.parts").exists()


def test_images_that_cannot_be_used(made, run_tool):
    (made / "photos/c.png").unlink()
    command = words(made, "formats=[cvat]")
    refused(run_tool("export_masks", *command), "no image at", "c.png")
    out = works(run_tool("export_masks", *command, "data.on_error=skip"))
    assert "skipped: no image at" in out
    assert list(read_cvat(made / "out/cvat/annotations.xml")) == ["b/a 1.png"]


def test_masks_of_a_picture_that_tools_would_turn(made, run_tool):
    image = Image.new("RGB", (5, 3))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(made / "photos/c.png", exif=exif)
    said = ("c.png is rotated by its EXIF", "show it as 3x5", "masks are for 5x3")
    refused(run_tool("export_masks", *words(made, "formats=[coco,labelme]")), *said)
    works(run_tool("export_masks", *words(made, "formats=[coco,png]")))


def test_frames_of_a_video_are_sent_to_predict(made, run_tool):
    document = json.loads((made / "masks.json").read_text())
    document["images"][1]["file_name"] = "clip.mp4/000003.png"
    (made / "masks.json").write_text(json.dumps(document))
    (made / "photos/clip.mp4").write_bytes(b"")
    refused(run_tool("export_masks", *words(made)), "frame of a video", "predict.formats")


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("formats=[xml]", ("formats=xml is unknown", "labelstudio")),
        ("formats=[]", ("formats=[] is empty", "cvat")),
        ("score=2", ("score=2", "0 to 1")),
        ("points=5", ("points=5", "true or false")),
        ("polygons=maybe", ("polygons=maybe", "true or false")),
        ("images=nowhere", ("no image folder at nowhere",)),
        ("pred=nowhere.json", ("no masks at nowhere.json",)),
    ],
)
def test_mistakes_in_the_command(made, run_tool, word, parts):
    refused(run_tool("export_masks", *words(made), word), *parts)
    assert not (made / "out/masks.parts").exists()


@pytest.mark.parametrize("text", ["{", "[1]", "\xff\xfe", "[{}]"])
def test_files_that_hold_no_masks(made, run_tool, text):
    (made / "masks.json").write_bytes(text.encode("latin-1"))
    gt = made / "gt.json"
    gt.write_text('{"images": [], "annotations": [], "categories": []}')
    refused(run_tool("export_masks", *words(made), f"gt={gt}"), "masks.json")
