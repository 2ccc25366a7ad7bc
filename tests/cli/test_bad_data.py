"""Bad images, clicks and maps, through the tools: one sentence and exit code 2, or it works."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from tool_sets import ALL, EACH, EACH_READER, QUICK, READERS, SEGMENTOR, change, refused, works

from p2seg.data.coco import InstanceSet, decode, encode, read_instances, write_instances
from p2seg.data.labels import read_labels, write_labels
from p2seg.data.points import read_points


@pytest.mark.parametrize("tool", EACH_READER)
def test_a_missing_image(made, tools, tool):
    (made.images / "part/2.png").unlink()
    refused(tools(tool), "no image at", "part/2.png")


@pytest.mark.parametrize("tool", EACH_READER)
def test_a_truncated_jpeg(made, tools, tool):
    path = made.images / "part/1.png"
    noise = np.random.default_rng(0).integers(0, 255, (40, 48, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, "JPEG", quality=95)
    path.write_bytes(path.read_bytes()[:1500])
    refused(tools(tool), "part/1.png is damaged or truncated", "data.on_error=skip")


@pytest.mark.parametrize(
    ("tool", "content"), list(zip(READERS, [b"", b"hello", b"\x89PNG\r\n\x1a\n\x00"], strict=True))
)
def test_a_file_that_is_no_image(made, tools, tool, content):
    (made.images / "part/0.png").write_bytes(content)
    refused(tools(tool), "part/0.png", "data.on_error=skip")


@pytest.mark.parametrize("tool", EACH_READER)
def test_gray_cmyk_and_16_bit_images_work(made, tools, tool):
    gray = np.full((40, 48), 90, np.uint8)
    Image.fromarray(gray).save(made.images / "part/0.png")
    inks = np.dstack([gray] * 4)
    Image.fromarray(inks, mode="CMYK").save(made.images / "part/1.png", "JPEG")
    Image.fromarray(gray.astype(np.uint16) * 257).save(made.images / "part/2.png")
    Image.fromarray(np.dstack([gray] * 4)).save(made.images / "part/3.png")
    works(tools(tool))


@pytest.mark.parametrize(
    ("tool", "stored", "accepted"),
    [
        ("train", (40, 48), True),
        ("train", (48, 40), True),
        *((tool, (41, 48), False) for tool in READERS),
    ],
)
def test_exif_rotation(made, tools, tool, stored, accepted):
    """Applied where the annotation is of the turned image, ignored where of the stored one."""
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.zeros((*stored, 3), np.uint8)
    Image.fromarray(pixels).save(made.images / "part/0.png", exif=exif)
    answer = tools(tool)
    if accepted:
        works(answer)
    else:
        refused(answer, "part/0.png is 48x41 but its annotation says 48x40")


def without_points(document):
    gone = document["images"][1]["id"]
    document["annotations"] = [a for a in document["annotations"] if a["image_id"] != gone]


@pytest.mark.parametrize("tool", EACH)
def test_an_image_without_points_works(made, tools, tool, tmp_path):
    change(made.file, without_points)
    if tool != "gen_semantic":  # its map has classes that nobody clicked
        write_labels(made.semantic / "part/1.png", np.ones((40, 48), np.uint8))
    works(tools(tool))
    for name in ("pseudo.json", "seeds.json"):
        if (tmp_path / name).exists():
            masks = read_instances(tmp_path / name)
            assert [len(group) for group in masks.instances] == [3, 0, 3, 3]


@pytest.mark.parametrize(
    ("tool", "xy"), list(zip(ALL, [[48, 10], [10, 40], [-0.5, 3], [700, 12]], strict=True))
)
def test_a_point_outside_its_image(made, tools, tool, xy):
    change(made.file, lambda document: document["annotations"][4].update(point=xy))
    refused(tools(tool), "points.json", "part/1.png", "of 48x40", f"({xy[0]:g}, {xy[1]:g})")


@pytest.mark.parametrize("tool", EACH)
def test_an_unknown_category(made, tools, tool):
    change(made.file, lambda document: document["annotations"][0].update(category_id=99))
    refused(tools(tool), "points.json", "annotation 1 has category_id 99")


@pytest.mark.parametrize(
    ("tool", "content", "sentence"),
    [
        ("train", b"{", "points.json is not a readable points file"),
        ("gen_semantic", b"", "points.json is not a readable points file"),
        ("gen_pseudo", b"[1, 2]", "it is a list, not a JSON object"),
        ("seeds", b"{}", "it has no 'images'"),
        (
            "train",
            b'{"images": 3, "annotations": [], "categories": []}',
            "its 'images' is a number",
        ),
        ("seeds", b"\xff\xd8\xff", "points.json is not a readable points file"),
    ],
)
def test_a_json_that_is_not_one(made, tools, tool, content, sentence):
    made.file.write_bytes(content)
    refused(tools(tool), sentence, "points.json")


OTHER_SIZE = np.zeros((40, 49), np.uint8)
OTHER_LABEL = np.full((40, 48), 3, np.uint8)


@pytest.mark.parametrize(
    ("tool", "spoil", "sentence"),
    [
        ("train", OTHER_SIZE, "part/2.png is 49x40, but its image is 48x40"),
        ("gen_pseudo", OTHER_SIZE, "part/2.png is 49x40, but its image is 48x40"),
        ("seeds", OTHER_SIZE, "part/2.png is 49x40, but its image is 48x40"),
        ("train", OTHER_LABEL, "part/2.png has label 3, but there are 2 classes"),
        ("seeds", None, "no initial semantic map at"),
        ("train", b"no map", "part/2.png is not a readable PNG"),
        ("gen_pseudo", "RGB", "part/2.png has the color mode RGB"),
    ],
    ids=str,
)
def test_a_map_that_does_not_fit(made, tools, tool, spoil, sentence):
    path = made.semantic / "part/2.png"
    if spoil is None:
        path.unlink()
    elif isinstance(spoil, bytes):
        path.write_bytes(spoil)
    elif isinstance(spoil, str):
        Image.new(spoil, (48, 40)).save(path)
    else:
        write_labels(path, spoil)
    refused(tools(tool), sentence)


@pytest.mark.parametrize("tool", ["train", "seeds"])
def test_maps_of_other_classes(made, tools, tool):
    """Maps have class numbers, so only the manifest shows another order of the classes."""
    manifest = made.semantic / "manifest.json"
    manifest.write_text(json.dumps({"source": "png", "classes": ["blue", "red"]}))
    refused(tools(tool), "have the classes blue, red, but", "points.json has red, blue")
    contents = ['{"source": "png"}', "[]", '{"classes": ["red", "blue"]}']
    for content in contents[:1] if tool == "train" else contents[1:]:
        manifest.write_text(content)
        works(tools(tool, "resume=never"))
    manifest.write_text("{")
    refused(tools(tool), "manifest.json is not a readable manifest")


@pytest.mark.parametrize("tool", EACH)
def test_an_empty_data_set(made, tools, tool, tmp_path):
    def empty(document):
        document["images"] = document["annotations"] = []

    change(made.file, empty)
    refused(tools(tool), "no image" if tool != "train" else "none of the 0 images")
    assert not (tmp_path / "pseudo.json").exists()
    assert not (tmp_path / "seeds.json").exists()


def test_a_data_set_without_a_point(made, tools):
    change(made.file, lambda document: document.update(annotations=[]))
    refused(tools("train"), "none of the 4 images of the points file has a point")


def test_instances_files_without_anything(made, tmp_path, run_tool):
    empty = InstanceSet([], made.points.categories, [])
    write_instances(tmp_path / "empty.json", empty)
    nothing = replace(empty, images=made.points.images, instances=[[]] * 4)
    write_instances(tmp_path / "nothing.json", nothing)
    for name in ("empty", "nothing"):
        gt = f"gt={tmp_path}/{name}.json"
        refused(
            run_tool("make_points", gt, f"out={tmp_path}/p.json"), f"{name}.json has no instance"
        )
        refused(run_tool("eval", gt, f"pred={tmp_path}/{name}.json", "kind=pseudo"), name)
        words = [*made.words, *QUICK, *SEGMENTOR, f"pseudo={tmp_path}/{name}.json"]
        refused(run_tool("train_segmentor", *words, f"out={tmp_path}/x"), "has an instance")
    assert not (tmp_path / "p.json").exists()


@pytest.mark.parametrize("tool", EACH)
def test_a_class_with_one_pixel_works(made, tools, tool, tmp_path):
    semantic = np.zeros((40, 48), np.uint8)
    semantic[20, 30] = 2
    write_labels(made.semantic / "part/0.png", semantic)

    def edit(document):
        document["annotations"] = document["annotations"][2:]
        document["annotations"][0] |= {"point": [30, 20], "category_id": 9}

    change(made.file, edit)
    works(tools(tool))
    if (tmp_path / "seeds.json").exists():
        [only] = read_instances(tmp_path / "seeds.json").instances[0]
        assert only.default_box
        assert decode(only)[20, 30]


def test_a_mask_of_one_pixel_works(made, tmp_path, run_tool):
    mask = np.zeros((40, 48), bool)
    mask[39, 47] = True
    [first, *_] = made.points.images
    seeds = read_instances_of(made, tmp_path, run_tool)
    instance = replace(seeds.instances[0][0], rle=encode(mask), point=None)
    whole = replace(seeds, images=[first], instances=[[instance]])
    write_instances(tmp_path / "gt.json", whole)
    works_aloud = run_tool("make_points", f"gt={tmp_path}/gt.json", f"out={tmp_path}/p.json")
    assert works_aloud[0] == 0
    assert read_points(tmp_path / "p.json").points[0].yx.tolist() == [[39, 47]]
    words = [*made.words, *QUICK, *SEGMENTOR, f"pseudo={tmp_path}/gt.json"]
    works(run_tool("train_segmentor", *words, f"out={tmp_path}/segmentor"))


def read_instances_of(made, tmp_path, run_tool):
    works(run_tool("gen_pseudo", *made.words, f"out={tmp_path}/seeds.json"))
    return read_instances(tmp_path / "seeds.json")


@pytest.mark.parametrize("tool", EACH)
def test_300_points_in_an_image_work(made, tools, tool, tmp_path):
    def edit(document):
        document["annotations"] += [
            {
                "id": 1000 + k,
                "image_id": 10,
                "category_id": 7 + 2 * (k % 2),
                "point": [k % 48, k // 48 * 5],
            }
            for k in range(297)
        ]

    change(made.file, edit)
    works(tools(tool))
    for name in ("pseudo.json", "seeds.json"):
        if (tmp_path / name).exists():
            assert len(read_instances(tmp_path / name).instances[0]) == 300


@pytest.mark.parametrize("size", [(1, 1), pytest.param((3, 6000), marks=pytest.mark.slow)], ids=str)
def test_a_tiny_and_a_very_wide_image_work(made, tools, size, tmp_path, run_tool):
    height, width = size
    Image.new("RGB", (width, height)).save(made.images / "part/0.png")
    semantic = np.ones(size, np.uint8)
    write_labels(made.semantic / "part/0.png", semantic)
    x, y = width - 1, height - 1

    def edit(document):
        document["images"][0] |= {"height": height, "width": width}
        document["annotations"] = document["annotations"][2:]
        document["annotations"][0]["point"] = [x, y]

    change(made.file, edit)
    for tool in ALL:
        works(tools(tool, "export.semantic=S0"))
    for name in ("pseudo.json", "seeds.json"):
        [only] = read_instances(tmp_path / name).instances[0]
        assert decode(only)[y, x]
    assert read_labels(tmp_path / "maps/part/0.png").shape == size
    words = [*made.words, *QUICK, *SEGMENTOR, f"pseudo={tmp_path}/seeds.json"]
    works(run_tool("train_segmentor", *words, f"out={tmp_path}/segmentor"))
    works(
        run_tool(
            "predict",
            f"ckpt={tmp_path}/segmentor/last.pt",
            f"images={made.images}",
            f"out={tmp_path}/found",
            "trainer.accelerator=cpu",
        )
    )
    gt, pred = f"gt={tmp_path}/seeds.json", f"pred={tmp_path}/pseudo.json"
    works(run_tool("eval", gt, pred, "kind=pseudo", f"out={tmp_path}/scores"))


@pytest.mark.parametrize("tool", ["gen_pseudo", "predict", "export", "train"])
def test_a_checkpoint_that_is_not_finite(made, tmp_path, run_tool, tool):
    """It made default boxes alone, and no sentence."""
    kind = "network" if tool in ("gen_pseudo", "train") else "segmentor"
    content = {"format": 1, "kind": kind, "step": 1, "config": {}, "categories": []}
    path = tmp_path / "out" / "last.pt"
    path.parent.mkdir()
    weights = {"model": {"w": torch.ones(2)}, "average": {"w": torch.tensor([1, float("nan")])}}
    torch.save(content | weights, path)
    given = {
        "gen_pseudo": (*made.words, *QUICK, f"ckpt={path}", f"out={tmp_path}/pseudo.json"),
        "predict": (f"ckpt={path}", f"images={made.images}", f"out={tmp_path}/predictions"),
        "export": (f"ckpt={path}", f"out={tmp_path}/model.onnx"),
        "train": (*made.words, *QUICK, f"out={path.parent}"),
    }
    answer = run_tool(tool, *given[tool])
    refused(answer, "last.pt is not usable: 'average.w' is not finite (NaN or infinity)")
    if tool == "train":
        refused(answer, "no checkpoint of this training is usable", "resume=never")
    written = {each.name for each in tmp_path.rglob("*")}
    assert not written & {"pseudo.json", "predictions.json", "images.json", "model.onnx"}
