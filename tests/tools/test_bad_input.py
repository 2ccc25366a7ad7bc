"""Bad input, each kind through the tools it concerns: one sentence and exit code 2, or it works."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_end_to_end import NETWORK, SEGMENTOR
from training_sets import training_set

from p2seg.checkpoint import load_checkpoint, save_checkpoint
from p2seg.data.coco import InstanceSet, decode, encode, read_instances, write_instances
from p2seg.data.labels import read_labels, write_labels
from p2seg.data.points import read_points

QUICK = [*NETWORK, "trainer.max_steps=1"]


@pytest.fixture
def made(tmp_path):
    """Four good images; each test spoils them."""
    return training_set(tmp_path / "set")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("trained")


@pytest.fixture
def ckpt(home, run_tool):
    """A network trained for a step on the good images."""
    path = home / "network" / "last.pt"
    if not path.is_file():
        own = training_set(home / "set")
        code, _, error = run_tool("train", *own.words, *QUICK, f"out={path.parent}")
        assert (code, error) == (0, "")
    return path


@pytest.fixture
def tools(made, ckpt, tmp_path, run_tool):
    """Runs a tool on the spoilt set."""
    outputs = {
        "gen_semantic": ("semantic=grabcut", f"out={tmp_path}/maps"),
        "train": (f"out={tmp_path}/network",),
        "gen_pseudo": (f"ckpt={ckpt}", f"out={tmp_path}/pseudo.json"),
        "seeds": ("ckpt=none", f"out={tmp_path}/seeds.json"),
    }

    def run(name, *more):
        tool = "gen_pseudo" if name == "seeds" else name
        return run_tool(tool, *made.words, *QUICK, *outputs[name], *more)

    return run


def refused(answer, *parts):
    """One sentence that names what is wrong, and nothing else on stderr."""
    code, _, error = answer
    assert code == 2, error
    assert error.count("\n") == 1, error
    assert "Traceback" not in error
    for part in parts:
        assert part in error, error


def works(answer):
    code, out, error = answer
    assert (code, error) == (0, ""), error
    return out


def change(path, edit):
    """Edits a JSON file."""
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))


READERS = ("gen_semantic", "train", "gen_pseudo")
"""The tools that read images; seeds need none."""
ALL = (*READERS, "seeds")


@pytest.mark.parametrize("tool", READERS)
def test_a_missing_image(made, tools, tool):
    (made.images / "part/2.png").unlink()
    refused(tools(tool), "no image at", "part/2.png")


@pytest.mark.parametrize("tool", READERS)
def test_a_truncated_jpeg(made, tools, tool):
    path = made.images / "part/1.png"
    noise = np.random.default_rng(0).integers(0, 255, (40, 48, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, "JPEG", quality=95)
    path.write_bytes(path.read_bytes()[:1500])
    refused(tools(tool), "part/1.png is broken or cut short", "data.on_error=skip")


@pytest.mark.parametrize(
    ("tool", "content"), list(zip(READERS, [b"", b"hello", b"\x89PNG\r\n\x1a\n\x00"], strict=True))
)
def test_a_file_that_is_no_image(made, tools, tool, content):
    (made.images / "part/0.png").write_bytes(content)
    refused(tools(tool), "part/0.png", "data.on_error=skip")


@pytest.mark.parametrize("tool", READERS)
def test_grey_cmyk_and_16_bit_images_work(made, tools, tool):
    grey = np.full((40, 48), 90, np.uint8)
    Image.fromarray(grey).save(made.images / "part/0.png")
    inks = np.dstack([grey] * 4)
    Image.fromarray(inks, mode="CMYK").save(made.images / "part/1.png", "JPEG")
    Image.fromarray(grey.astype(np.uint16) * 257).save(made.images / "part/2.png")
    Image.fromarray(np.dstack([grey] * 4)).save(made.images / "part/3.png")
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


@pytest.mark.parametrize("tool", ALL)
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


@pytest.mark.parametrize("tool", ALL)
def test_an_unknown_category(made, tools, tool):
    change(made.file, lambda document: document["annotations"][0].update(category_id=99))
    refused(tools(tool), "points.json", "annotation 1 is of category 99, which is not listed")


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
        ("train", OTHER_SIZE, "part/2.png is 49x40 but its image is 48x40"),
        ("gen_pseudo", OTHER_SIZE, "part/2.png is 49x40 but its image is 48x40"),
        ("seeds", OTHER_SIZE, "part/2.png is 49x40 but its image is 48x40"),
        ("train", OTHER_LABEL, "part/2.png has label 3 but there are 2 classes"),
        ("seeds", None, "no semantic map at"),
        ("train", b"no map", "part/2.png is no readable PNG"),
        ("gen_pseudo", "RGB", "part/2.png is an image of mode RGB"),
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
    """Their labels are numbers: another order of the classes would not be seen in them."""
    manifest = made.semantic / "manifest.json"
    manifest.write_text(json.dumps({"source": "png", "classes": ["blue", "red"]}))
    refused(tools(tool), "are of the classes blue, red but", "points.json has red, blue")
    for content in ('{"source": "png"}', "[]", '{"classes": ["red", "blue"]}'):
        manifest.write_text(content)
        works(tools(tool, "trainer.resume=false"))
    manifest.write_text("{")
    refused(tools(tool), "manifest.json is not a readable manifest")


@pytest.mark.parametrize("tool", ALL)
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
        refused(run_tool("train_segmentor", *words, f"out={tmp_path}/x"), "nothing to train on")
    assert not (tmp_path / "p.json").exists()


@pytest.mark.parametrize("tool", ALL)
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


@pytest.mark.parametrize("tool", ALL)
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


@pytest.mark.parametrize("size", [(1, 1), (3, 6000)], ids=str)
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
        works(tools(tool, "export.semantic=fused"))
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


def test_a_checkpoint_of_another_model(tools, tmp_path):
    refused(tools("gen_pseudo", "model.width=16"), "last.pt", "another model", "+exp")
    refused(
        tools("gen_pseudo", "model.backbone=resnet18"),
        "model.backbone was test_resnet and is resnet18",
    )


def test_a_checkpoint_of_another_class_count(made, tools):
    change(made.file, lambda d: d["categories"].append({"id": 11, "name": "green"}))
    refused(tools("gen_pseudo"), "points.json has 3 categories but data.num_classes is 2")
    refused(tools("gen_pseudo", "data.num_classes=3"), "last.pt was trained on 2 classes", "green")


def test_a_checkpoint_of_other_classes(made, tools):
    change(made.file, lambda d: d["categories"][0].update(name="cat"))
    refused(tools("gen_pseudo"), "last.pt was trained on 2 classes (red, blue", "cat")


def test_a_checkpoint_that_is_none(tools, tmp_path, ckpt):
    refused(tools("gen_pseudo", f"ckpt={tmp_path}/none.pt"), "no checkpoint at", "none.pt")
    (tmp_path / "cut.pt").write_bytes(ckpt.read_bytes()[:5000])
    refused(tools("gen_pseudo", f"ckpt={tmp_path}/cut.pt"), "cut.pt is not a checkpoint of p2seg")
    content = load_checkpoint(ckpt, "network")
    save_checkpoint(tmp_path / "other.pt", content | {"kind": "segmentor"})
    refused(tools("gen_pseudo", f"ckpt={tmp_path}/other.pt"), "a segmentor, but a network")
    for missing in ("categories", "model", "step", "config"):
        partial = {key: value for key, value in content.items() if key != missing}
        save_checkpoint(tmp_path / "part.pt", partial)
        refused(tools("gen_pseudo", f"ckpt={tmp_path}/part.pt"), "part.pt", missing)


def test_skip_goes_on_and_lists_what_it_skipped(made, tools, tmp_path):
    (made.images / "part/1.png").unlink()
    (made.images / "part/2.png").write_bytes(b"no image")
    for tool in READERS:
        out = works(tools(tool, "data.on_error=skip"))
        skipped = [line for line in out.splitlines() if line.startswith("skipped")]
        assert len(skipped) == 2
        assert "part/1.png" in skipped[0]
        assert "part/2.png" in skipped[1]
    saved = load_checkpoint(tmp_path / "network" / "last.pt", "network")
    assert len(saved["skipped"]) == 2
    masks = read_instances(tmp_path / "pseudo.json")
    assert [image.file_name for image in masks.images] == ["part/0.png", "part/3.png"]
    assert len(masks.info["skipped"]) == 2


@pytest.mark.parametrize("tool", READERS)
def test_skipping_everything_is_an_error(made, tools, tool):
    for k in range(4):
        (made.images / f"part/{k}.png").unlink()
    refused(tools(tool, "data.on_error=skip"), "no image at", "part/0.png")


@pytest.mark.parametrize("tool", ALL)
def test_on_error_is_raise_or_skip(tools, tool):
    refused(tools(tool, "data.on_error=ignore"), "data.on_error=ignore is unknown")


@pytest.mark.parametrize(
    ("tool", "key"),
    [
        ("gen_semantic", "data.images"),
        ("train", "data.points"),
        ("gen_pseudo", "data.semantic"),
        ("seeds", "data.images"),
    ],
)
def test_a_folder_or_file_that_is_not_there(tools, tool, key, tmp_path):
    refused(tools(tool, f"{key}={tmp_path}/nowhere"), f"{tmp_path}/nowhere")
    refused(tools(tool, f"{key}="), f"{key} is not given; add {key}=PATH to the command")


@pytest.mark.parametrize(
    ("tool", "word", "sentence"),
    [
        ("train", "mdm.decode=guess", "mdm.decode=guess cannot be; it is point or vote"),
        ("train", "mdm.conflict=fight", "mdm.conflict=fight cannot be; it is points_first or"),
        ("train", "mdm.rounds=-1", "mdm.rounds=-1"),
        ("train", "mdm.beta=0", "mdm.beta=0"),
        ("train", "mdm.prior=S1", "mdm.prior=S1 cannot be; it is network or S0"),
        ("train", "affinity.position=here", "affinity.position=here cannot be; it is none or"),
        ("train", "model.norm=layer", "model.norm=layer cannot be; it is batch, group or frozen"),
        ("train", "model.width=wide", "model.width=wide cannot be; it is a whole number"),
        ("train", "model.backbone=no_net", "model.backbone=no_net: Unknown model"),
        ("train", "model.feature_location=''", "model.feature_location is for HRNets"),
        ("train", "model.weights=/no.pth", "no backbone weights at /no.pth"),
        ("train", "loss.balance=none", "loss.balance=none cannot be; it is group or pairs"),
        ("train", "loss.hard_pixel_ratio=0", "loss.hard_pixel_ratio=0"),
        ("train", "optim.lr=fast", "optim.lr=fast cannot be; it is a number"),
        ("train", "optim.lr=-1", "optim.lr=-1"),
        ("train", "trainer.max_steps=0", "trainer.max_steps=0"),
        ("train", "trainer.max_steps=many", "trainer.max_steps=many cannot be"),
        ("train", "trainer.batch_size=0", "trainer.batch_size=0"),
        ("train", "trainer.precision=half", "trainer.precision=half"),
        ("train", "trainer.accelerator=abacus", "trainer.accelerator=abacus"),
        ("train", "+trainer.speed=9", "there is no setting trainer.speed"),
        ("train", "data.augment.crop=50", "crop=50; it must be a multiple of 4"),
        ("train", "data.augment.scale=1", "data.augment.scale=1 cannot be; it is a list of 2"),
        ("train", "data.workers=-1", "data.workers=-1"),
        ("train", "data.num_classes=20", "data.num_classes is 20; add data.num_classes=2"),
        ("train", "seed=now", "seed=now cannot be"),
        ("gen_pseudo", "export.semantic=S1", "export.semantic=S1 cannot be; it is S0, network or"),
        ("gen_pseudo", "export.scales=[]", "export.scales=[]"),
        ("gen_pseudo", "export.scales=[0]", "export.scales=[0]"),
        ("gen_pseudo", "export.scales=1", "export.scales=1 cannot be; it is a list of numbers"),
        ("gen_pseudo", "export.flip=maybe", "export.flip=maybe cannot be; it is true or false"),
        ("seeds", "export.orphans=keep", "export.orphans=keep cannot be; it is nearest or drop"),
        ("seeds", "export.default_box=0", "export.default_box=0"),
        ("seeds", "export.min_pixels=few", "export.min_pixels=few cannot be"),
        ("seeds", "mdm.snap_radius=near", "mdm.snap_radius=near cannot be; it is a number"),
    ],
)
def test_a_value_that_cannot_be(tools, tool, word, sentence):
    refused(tools(tool, word), sentence)


def test_an_output_that_is_a_folder_or_below_a_file(tools, tmp_path):
    (tmp_path / "folder.json").mkdir()
    refused(tools("seeds", f"out={tmp_path}/folder.json"), "folder.json")
    (tmp_path / "file").write_text("mine")
    refused(tools("seeds", f"out={tmp_path}/file/pseudo.json"), f"{tmp_path}/file")
    refused(tools("train", f"out={tmp_path}/file"), f"{tmp_path}/file")
    assert (tmp_path / "file").read_text() == "mine"


def test_nothing_is_lost(made, tools, tmp_path):
    """What earlier runs have written is still there, whole, after a mistake."""
    for tool in ALL:
        works(tools(tool))
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    (made.images / "part/2.png").write_bytes(b"no image")
    more = {"gen_pseudo": "export.flip=true", "train": "trainer.max_steps=2"}
    for tool in READERS:
        refused(tools(tool, *([more[tool]] if tool in more else [])), "part/2.png")
    (made.semantic / "part/2.png").unlink()
    refused(tools("seeds", "mdm.snap_radius=3"), "part/2.png")
    refused(tools("train", "mdm.beta=7", "data.on_error=skip"), "trained with other settings")
    for path, content in kept.items():
        if path.suffix in (".pt", ".json") and path.name != "manifest.json":
            assert path.read_bytes() == content, path


def test_weights_of_another_network_for_training(tools, tmp_path):
    torch.save({"conv1.weight": torch.zeros(2)}, tmp_path / "a.pth")
    refused(tools("train", f"model.weights={tmp_path}/a.pth"), "a.pth holds another network")


def test_a_name_with_a_newline_stays_on_one_line(tools, tmp_path):
    refused(tools("train", f"data.points={tmp_path}/a\nb.json"), "a b.json")


def test_a_loss_that_is_not_finite(tools, monkeypatch):
    from p2seg.losses import P2SegLoss

    call = P2SegLoss.__call__
    monkeypatch.setattr(
        P2SegLoss,
        "__call__",
        lambda *a: {name: loss * float("nan") for name, loss in call(*a).items()},
    )
    refused(tools("train"), "the loss of step 0 is not finite", "part/", "learning rate")


def test_a_training_whose_images_break_on_the_way(made, tools, monkeypatch):
    """After the first look at all of them; here and behind a worker process."""
    import train

    path: Path = made.images / "part/0.png"
    look = train.usable

    def look_and_break(*arguments):
        looked = look(*arguments)
        for k in range(4):
            (made.images / f"part/{k}.png").write_bytes(b"no image")
        return looked

    content = path.read_bytes()
    monkeypatch.setattr(train, "usable", look_and_break)
    for workers in (0, 1):
        for k in range(4):
            (made.images / f"part/{k}.png").write_bytes(content)
        refused(tools("train", f"data.workers={workers}"), "is not an image")


@pytest.mark.parametrize(
    ("tool", "word", "sentence"),
    [
        (
            "train",
            "mdm.start_step=abc",
            "mdm.start_step=abc cannot be; it is a whole number from 0",
        ),
        ("train", "trainer.clip_norm=-1", "it is a number above 0 or null"),
        ("train", "model.width=0", "model.width=0 cannot be; it is a whole number from 1"),
        ("train", "model.embedding=0", "model.embedding=0 cannot be"),
        ("train", "loss.border=-3", "loss.border=-3 cannot be"),
        ("train", "seed=99999999999999999999999", "cannot be; it is a whole number from 0 to"),
        ("train", "data.workers=abc", "data.workers=abc cannot be"),
        ("gen_pseudo", "trainer.accelerator=tpu", "it is one of auto, cpu, cuda"),
        (
            "seeds",
            "export.min_pixels=0",
            "export.min_pixels=0 cannot be; it is a whole number from 1",
        ),
        ("seeds", "export.rounds=-1", "export.rounds=-1 cannot be"),
        ("seeds", "mdm.snap_radius=-5", "mdm.snap_radius=-5 cannot be; it is a number from 0"),
        ("gen_semantic", "semantic.workers=-1", "semantic.workers=-1 cannot be"),
        ("gen_semantic", "semantic.source.lone=-1", "lone=-1 cannot be; GrabCut's settings are"),
        ("gen_semantic", "semantic.source.iterations=0", "iterations=0 cannot be"),
        ("gen_semantic", "semantic.source.max_side=1", "max_side at least 16"),
    ],
)
def test_a_number_that_cannot_be(tools, tool, word, sentence):
    refused(tools(tool, word), sentence)


def test_a_folder_where_a_file_is_written_is_seen_before_the_work(made, tools, tmp_path):
    refused(tools("seeds", f"out={made.images}"), "is a folder, but a file is written")
    assert not list(made.images.parent.glob("*.parts"))


def test_a_number_can_be_a_name(tools, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    works(tools("seeds", "name=2024", "out=null"))
    assert (tmp_path / "outputs/2024/pseudo.json").is_file()


def test_settings_that_differ_from_the_checkpoints_are_named(tools):
    said = works(tools("gen_pseudo", "mdm.beta=3"))
    assert "mdm.beta was" in said
    assert "and is 3" in said
    refused(tools("gen_pseudo", "model.embedding=9"), "model.embedding was", "and is 9")


def test_a_training_says_what_it_goes_on_from_and_that_no_round_takes_part(tools):
    said = works(tools("train", "mdm.start_step=5", "optim.warmup_steps=0"))
    assert "no round of MDM takes part: mdm.start_step=5 is not reached" in said
    said = works(tools("train", "mdm.start_step=5", "optim.warmup_steps=0"))
    assert "is at step 1 of 1: there is nothing left to do" in said
