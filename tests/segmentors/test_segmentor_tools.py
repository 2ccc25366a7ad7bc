"""p2seg train_segmentor and p2seg predict, from pseudo masks to predictions."""

from __future__ import annotations

import importlib
import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from segmentor_sets import TINY, write_set

from p2seg.data.coco import write_instances
from p2seg.data.rle import decode
from p2seg.engine.checkpoint import load_checkpoint, save_checkpoint
from p2seg.segmentors.training import segmentor_losses

SCENES = ([(1, 6, 8, 20), (2, 34, 30, 24)], [(2, 10, 30, 18)], [])
SMALL = [
    "segmentor=mask_rcnn_lean",
    "data=custom",
    "data.num_classes=2",
    "data.workers=0",
    "trainer.accelerator=cpu",
    "segmentor.batch_size=2",
    "segmentor.schedule.epochs=2",
    "segmentor.short_side=64",
    *(
        f"segmentor.model.{key}={list(TINY[key]) if isinstance(TINY[key], tuple) else TINY[key]}"
        for key in ("pyramid_channels", "proposals_train", "proposals_test", "mask_channels")
    ),
]


def train_words(root, out, *more):
    paths = (f"pseudo={root}/pseudo.json", f"data.images={root}/images", f"out={out}")
    return [*SMALL, *paths, *more]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A set and a checkpoint of a segmentor trained on it for two epochs."""
    root = tmp_path_factory.mktemp("set é = ${x}, (1)")
    write_set(root, *SCENES)
    return root


@pytest.fixture
def checkpoint(trained, run_tool):
    path = trained / "segmentor" / "last.pt"
    if not path.is_file():
        code, out, error = run_tool("train_segmentor", *train_words(trained, path.parent))
        assert (code, error) == (0, "")
        assert "3 steps of 2 images; learning rate 0.001 = 0.002 x 2 / 4" in out
    return path


def predict(run_tool, checkpoint, images, out, *more):
    words = (f"ckpt={checkpoint}", f"images={images}", f"out={out}", "trainer.accelerator=cpu")
    return run_tool("predict", *words, *more)


def test_the_checkpoint_says_where_it_is_from(checkpoint, trained):
    content = load_checkpoint(checkpoint, "segmentor")
    assert content["categories"] == [{"id": 10, "name": "red"}, {"id": 20, "name": "blue"}]
    assert content["step"] == 3
    assert content["inputs"]["pseudo_info"] == {"source": "tiny"}
    assert len(content["inputs"]["pseudo"]) == 64
    assert content["config"]["segmentor"]["backbone"] == "test_resnet"
    assert content["versions"]["torch"]


def test_trains_in_mixed_precision(trained, tmp_path, run_tool):
    words = train_words(trained, tmp_path, "trainer.precision=bf16-mixed")
    code, _, _ = run_tool("train_segmentor", *words, "segmentor.schedule.epochs=0.1")
    assert code == 0


def test_a_folder_is_predicted_in_order(checkpoint, trained, tmp_path, run_tool):
    folder = tmp_path / "photos"
    (folder / "b").mkdir(parents=True)
    for name, size in (
        ("b/1.png", (70, 50)),
        ("a.JPG", (40, 60)),
        ("c.png", (9, 9)),
        (".h.png", (9, 9)),
    ):
        kind = "JPEG" if name.endswith("JPG") else "PNG"
        Image.fromarray(np.full((*size, 3), 90, np.uint8)).save(folder / name, kind)
    (folder / "note.txt").write_text("no image")
    score = "predict.score=0.0"
    code, _, error = predict(
        run_tool, checkpoint, folder, tmp_path / "out", score, "predict.overlay_score=0"
    )
    assert (code, error) == (0, "")
    listed = json.loads((tmp_path / "out" / "images.json").read_text())
    assert [(i["id"], i["file_name"], i["height"], i["width"]) for i in listed["images"]] == [
        (1, "a.JPG", 40, 60),
        (2, "b/1.png", 70, 50),
        (3, "c.png", 9, 9),
    ]
    assert listed["info"]["inputs"]["pseudo_info"] == {"source": "tiny"}
    results = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert {each["image_id"] for each in results} >= {1, 2}
    for each in (each for each in results if each["image_id"] < 3):
        height, width = (40, 60) if each["image_id"] == 1 else (70, 50)
        assert each["category_id"] in (10, 20)
        assert 0 <= each["score"] <= 1
        x, y, w, h = each["bbox"]
        assert min(x, y, w, h) >= 0
        assert x + w <= width + 1e-3
        assert y + h <= height + 1e-3
        rle = each["segmentation"]
        mask = decode({"size": rle["size"], "counts": rle["counts"].encode()})
        assert mask.shape == (height, width)
        assert mask.any()
        ys, xs = np.nonzero(mask)  # no pixel's center lies outside the box
        assert xs.min() + 0.5 >= x - 1e-3
        assert xs.max() + 0.5 <= x + w + 1e-3
        assert ys.min() + 0.5 >= y - 1e-3
        assert ys.max() + 0.5 <= y + h + 1e-3
    for name in ("a.JPG.png", "b/1.png.png"):
        with Image.open(tmp_path / "out" / "overlays" / name) as picture:
            assert max(picture.size) == 512


@pytest.mark.parametrize(("overlays", "count"), [("true", 3), ("false", 0), ("2", 2)])
def test_pictures_are_drawn_as_asked(checkpoint, trained, tmp_path, run_tool, overlays, count):
    words = (f"predict.overlays={overlays}",)
    code, _, _ = predict(run_tool, checkpoint, trained / "images", tmp_path / "out", *words)
    assert code == 0
    assert len(list(tmp_path.glob("out/overlays/*.png"))) == count


def test_the_images_and_ids_of_a_file(checkpoint, trained, tmp_path, run_tool):
    given = write_set(tmp_path, SCENES[0], SCENES[1])
    records = [
        type(image)(77 - k, *list(vars(image).values())[1:]) for k, image in enumerate(given.images)
    ]
    write_instances(tmp_path / "gt.json", type(given)(records, given.categories, given.instances))
    gt, score = f"gt={tmp_path}/gt.json", "predict.score=0.0"
    code, _, error = predict(run_tool, checkpoint, tmp_path / "images", tmp_path / "out", gt, score)
    assert (code, error) == (0, "")
    results = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert {each["image_id"] for each in results} == {77, 76}
    code, _, error = run_tool("eval", gt, f"pred={tmp_path}/out/predictions.json", "kind=model")
    assert (code, error) == (0, "")


def test_the_score_is_a_floor(checkpoint, trained, tmp_path, run_tool):
    def scores(floor):
        words = (f"predict.score={floor}", "predict.overlays=false")
        predict(run_tool, checkpoint, trained / "images", tmp_path / "out", *words)
        results = json.loads((tmp_path / "out" / "predictions.json").read_text())
        return sorted(each["score"] for each in results)

    everything = scores(0.0)
    floor = everything[len(everything) // 2] + 1e-5
    above = [score for score in everything if score >= floor]
    assert 0 < len(above) < len(everything)
    np.testing.assert_allclose(scores(floor), above)
    assert scores(1.0) == []


def test_training_goes_on_and_equals_no_interruption(
    checkpoint, trained, tmp_path, run_tool, monkeypatch
):
    words = train_words(trained, tmp_path, "trainer.checkpoint_every=1")

    def interrupted(model, batch, step):
        if step == 2:
            raise KeyboardInterrupt
        return segmentor_losses(model, batch, step)

    with monkeypatch.context() as patch:
        patch.setattr(
            importlib.import_module("p2seg.cli.train_segmentor"), "segmentor_losses", interrupted
        )
        code, _, _ = run_tool("train_segmentor", *words)
    assert code == 130
    assert load_checkpoint(tmp_path / "last.pt", "segmentor")["step"] == 2
    code, _, _ = run_tool("train_segmentor", *words)
    assert code == 0
    whole, parts = (load_checkpoint(p, "segmentor") for p in (checkpoint, tmp_path / "last.pt"))
    assert parts["step"] == 3
    for key, value in whole["model"].items():
        assert torch.equal(value, parts["model"][key]), key


def one_sentence(answer, *parts):
    code, _, error = answer
    assert code == 2
    assert error.count("\n") == 1
    for part in parts:
        assert part in error
    assert "Traceback" not in error


def test_wrong_input_to_training_is_one_sentence(trained, tmp_path, run_tool):
    def train(*more):
        return run_tool("train_segmentor", *train_words(trained, tmp_path / "out", *more))

    one_sentence(train("data.num_classes=20"), "2 categories", "data.num_classes=2")
    one_sentence(train("pseudo=/nowhere.json"), "/nowhere.json")
    one_sentence(train(f"data.images={tmp_path}"), "1.png")
    one_sentence(train("segmentor.weights=/nowhere.pth"), "segmentor.weights")
    empty = tmp_path / "empty"
    write_set(empty, [], [])
    one_sentence(train(f"pseudo={empty}/pseudo.json"), "has an instance")
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    one_sentence(train(f"pseudo={broken}"), "broken.json")
    assert not list((tmp_path / "out").glob("*.pt"))


def test_training_skips_what_cannot_be_read_and_says_so(trained, tmp_path, run_tool):
    write_set(tmp_path, *SCENES)
    (tmp_path / "images" / "2.png").write_bytes(b"no image")
    words = train_words(tmp_path, tmp_path / "out", "segmentor.schedule.epochs=0.1")
    one_sentence(run_tool("train_segmentor", *words), "2.png")
    code, out, _ = run_tool("train_segmentor", *words, "data.on_error=skip")
    assert code == 0
    assert "skipped: " in out
    assert "2.png" in out
    [sentence] = load_checkpoint(tmp_path / "out" / "last.pt", "segmentor")["skipped"]
    assert "2.png" in sentence


def test_wrong_input_to_prediction_is_one_sentence(checkpoint, trained, tmp_path, run_tool):
    def answer(ckpt=checkpoint, images=trained / "images", *more):
        return predict(run_tool, ckpt, images, tmp_path / "out", *more)

    one_sentence(answer(tmp_path / "no.pt"), "no.pt")
    one_sentence(answer(checkpoint, tmp_path / "nowhere"), "nowhere")
    one_sentence(answer(checkpoint, trained / "images", "predict.overlays=some"), "overlays=some")
    (tmp_path / "bare").mkdir()
    one_sentence(answer(checkpoint, tmp_path / "bare"), "no image in")
    other = tmp_path / "other"
    write_set(other, SCENES[0], names=("cat", "dog"))
    gt = f"gt={other}/pseudo.json"
    one_sentence(answer(checkpoint, other / "images", gt), "cat", "red", "categories")

    class Code:
        def __reduce__(self):
            return print, ("run!",)

    with (tmp_path / "code.pt").open("wb") as stream:
        pickle.dump(Code(), stream)
    one_sentence(answer(tmp_path / "code.pt"), "code.pt")
    content = load_checkpoint(checkpoint, "segmentor")
    save_checkpoint(tmp_path / "network.pt", {**content, "kind": "network"})
    one_sentence(answer(tmp_path / "network.pt"), "network", "segmentor")
    content["config"]["segmentor"]["model"]["_target_"] = "os.system"
    save_checkpoint(tmp_path / "system.pt", content)
    one_sentence(answer(tmp_path / "system.pt"), "os.system")
    assert not (tmp_path / "out").exists()


def test_prediction_skips_what_cannot_be_read_and_says_so(checkpoint, tmp_path, run_tool):
    write_set(tmp_path, *SCENES)
    (tmp_path / "images" / "2.png").write_bytes(b"no image")
    images, out = tmp_path / "images", tmp_path / "out"
    one_sentence(predict(run_tool, checkpoint, images, out), "2.png", "data.on_error=skip")
    assert not (out / "predictions.json").exists()
    code, said, _ = predict(run_tool, checkpoint, images, out, "data.on_error=skip")
    assert code == 0
    assert "skipped: " in said
    listed = json.loads((out / "images.json").read_text())
    assert [image["id"] for image in listed["images"]] == [1, 3]
    assert "2.png" in listed["info"]["skipped"][0]
    for name in ("1.png", "3.png"):
        (images / name).write_bytes(b"no image")
    one_sentence(predict(run_tool, checkpoint, images, out, "data.on_error=skip"), "all 3 images")
