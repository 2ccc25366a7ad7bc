"""p2seg predict for users: patterns, files, videos, batches, and other tools' formats."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from defusedxml import ElementTree
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from PIL import Image
from segmentor_sets import TINY, write_set
from video_sets import write_video

from p2seg.cli import predict as predict_tool
from p2seg.cli.checks import check_settings
from p2seg.cli.overrides import literal
from p2seg.cli.paths import CONFIGS
from p2seg.data.image_sources import read_frames, sources_at
from p2seg.data.rle import decode
from p2seg.data.video import Video
from p2seg.engine.checkpoint import save_checkpoint
from p2seg.errors import UserError
from p2seg.runtime.resume_log import Parts
from p2seg.segmentors.detection import Detections
from p2seg.segmentors.load import load
from p2seg.segmentors.mask_rcnn.model import build_mask_rcnn
from p2seg.segmentors.predict import Prediction, predict
from p2seg.segmentors.prefetch import prefetched

CHANGES = ["predict.score=0.0", "predict.overlay_score=0.0", "trainer.accelerator=cpu"]
BUILDER = "p2seg.segmentors.mask_rcnn.model.build_mask_rcnn"
SCENES = [[(1, 6, 8, 20), (2, 34, 30, 24)], [(2, 10, 30, 18)], [], [(1, 3, 3, 30)], [(2, 9, 9, 9)]]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Of a segmentor that has learned nothing, and finds a lot."""
    torch.manual_seed(0)
    options = {**TINY, "detections": 8}
    path = tmp_path_factory.mktemp("segmentor") / "last.pt"
    model = build_mask_rcnn(2, **options)
    save_checkpoint(
        path,
        {
            "kind": "segmentor",
            "config": {"segmentor": {"model": {"_target_": BUILDER, **options}}},
            "categories": [{"id": 10, "name": "red"}, {"id": 20, "name": "blue"}],
            "inputs": {},
            "step": 0,
            "model": model.state_dict(),
            "average": None,
        },
    )
    return path


@pytest.fixture(scope="module")
def config():
    """Of the tool, composed once: that takes longer than to predict."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose("predict", CHANGES)


@pytest.fixture
def tool(checkpoint, config, tmp_path, capsys):
    """Runs the tool with scores of any height, into `out`, as its command line would."""

    def run(images, *more, out=tmp_path / "out"):
        cfg = OmegaConf.merge(config, OmegaConf.from_dotlist(list(more)))
        paths = {"ckpt": checkpoint, "images": images, "out": out}
        for key, path in paths.items():
            OmegaConf.update(cfg, key, literal(str(path)))
        capsys.readouterr()
        try:
            check_settings(cfg)
            predict_tool.run(cfg)
        except UserError as error:
            return 2, "", f"{error}\n"
        return 0, *capsys.readouterr()

    return run


@pytest.fixture
def album(tmp_path):
    """Five images of two sizes."""
    write_set(tmp_path / "set", *SCENES)
    small = Image.open(tmp_path / "set/images/4.png").resize((50, 40))
    small.save(tmp_path / "set/images/4.png")
    return tmp_path / "set/images"


def film(path, count=5):
    """A square that wanders, over gray."""
    frames = np.full((count, 48, 64, 3), 110, np.uint8)
    for k in range(count):
        frames[k, 10:30, 5 * k : 5 * k + 20] = (230, 40, 40)
    return write_video(path, frames=list(frames))


def read(out):
    """The images and results that were written."""
    images = json.loads((out / "images.json").read_text())
    return images, json.loads((out / "predictions.json").read_text())


def done(answer):
    code, said, error = answer
    assert (code, error) == (0, "")
    return said


def refused(answer, *parts):
    code, _, error = answer
    assert code == 2
    assert error.count("\n") == 1
    assert "Traceback" not in error
    for part in parts:
        assert part in error


def test_a_pattern_and_one_image(tool, album, tmp_path):
    (album / "b [1]").mkdir()
    (album / "1.png").rename(album / "b [1]/1.png")
    for given, names in (
        (album / "**/[12].png", ["2.png", "b [1]/1.png"]),
        (album / "b [1]", ["1.png"]),
        (album / "3.png", ["3.png"]),
    ):
        done(tool(given, "predict.overlays=false"))
        images, _ = read(tmp_path / "out")
        assert [image["file_name"] for image in images["images"]] == names


def test_a_video_is_seen_frame_by_frame(tool, tmp_path):
    film(tmp_path / "clip.avi", 5)
    done(tool(tmp_path / "clip.avi", "predict.every=2", "predict.batch_size=2"))
    images, results = read(tmp_path / "out")
    assert [(i["id"], i["file_name"]) for i in images["images"]] == [
        (1, "clip.avi/000000.png"),
        (2, "clip.avi/000002.png"),
        (3, "clip.avi/000004.png"),
    ]
    assert {each["image_id"] for each in results} == {1, 2, 3}
    [overlay] = (tmp_path / "out/overlays").iterdir()
    assert overlay.name == "clip.avi.mp4"
    assert (Video(overlay).count, Video(overlay).rate) == (3, pytest.approx(5))
    assert next(Video(overlay).frames())[1].shape == (384, 512, 3)


def test_videos_and_images_together(tool, album, tmp_path):
    film(album / "2b.avi", 3)
    film(album / "3.mp4.avi", 2).rename(album / "3.mp4")  # FFmpeg looks into the file
    done(tool(album / "*", "predict.formats=[labelme,png,cvat]", "predict.overlays=6"))
    images, _ = read(tmp_path / "out")
    assert [i["id"] for i in images["images"]] == list(range(1, 11))
    overlays = {p.name for p in (tmp_path / "out/overlays").iterdir()}
    assert overlays == {"1.png.png", "2.png.png", "2b.avi.mp4", "3.mp4"}
    assert Video(tmp_path / "out/overlays/3.mp4").count == 1
    document = json.loads((tmp_path / "out/labelme/2b.avi/000002.json").read_text())
    assert cv2.imread(str(tmp_path / "out/labelme/2b.avi" / document["imagePath"])).any()
    assert (tmp_path / "out/png/instances/3.mp4/000001.png").is_file()
    beside = {each.parent.name for each in (tmp_path / "out/cvat/images").rglob("*.png")}
    assert beside == {"2b.avi", "3.mp4"}  # frames, which are no files, and no other image


def test_all_formats_hold_what_the_results_hold(tool, album, tmp_path):
    (album / "b").mkdir()
    (album / "1.png").rename(album / "b/1.png")
    Image.open(album / "2.png").save(album / "2.jpg")
    done(tool(album, "predict.formats=[coco,labelme,yolo,png,yolo,cvat,labelstudio]"))
    out = tmp_path / "out"
    images, results = read(out)
    assert len(results) > 10
    in_cvat = {
        each.get("name"): len(each)
        for each in ElementTree.parse(out / "cvat/annotations.xml").getroot().iter("image")
    }
    tasks = json.loads((out / "labelstudio/tasks.json").read_text())
    assert [each["file_name"] for each in images["images"]] == list(in_cvat)
    for image, task in zip(images["images"], tasks, strict=True):
        address, prediction = task["data"]["image"], task["predictions"][0]
        assert address == f"/data/local-files/?d={album.name}/{image['file_name']}"
        assert len(prediction["result"]) == in_cvat[image["file_name"]]
    for image in images["images"]:
        name = image["file_name"]
        own = [each for each in results if each["image_id"] == image["id"]]
        place = name if name.startswith("2.") else name.removesuffix(".png")
        assert in_cvat[name] == len(own)
        document = json.loads((out / f"labelme/{place}.json").read_text())
        assert (
            (out / "labelme" / name).parent.joinpath(document["imagePath"]).samefile(album / name)
        )
        assert len((out / f"yolo/labels/{place}.txt").read_text().splitlines()) == len(own)
        numbers = cv2.imread(str(out / f"png/instances/{place}.png"), cv2.IMREAD_UNCHANGED)
        listed = json.loads((out / f"png/instances/{place}.json").read_text())
        assert [each["category_id"] for each in listed] == [each["category_id"] for each in own]
        seen = np.zeros_like(numbers)
        for number in range(len(own), 0, -1):
            rle = own[number - 1]["segmentation"]
            seen[decode({**rle, "counts": rle["counts"].encode()})] = number
        np.testing.assert_array_equal(numbers, seen)


def test_the_overlays_score_is_that_of_what_people_look_at(tool, album, tmp_path):
    done(tool(album, "predict.formats=labelme", "predict.overlays=false"))
    scores = sorted(each["score"] for each in read(tmp_path / "out")[1])
    floor = scores[len(scores) // 2] + 1e-4
    shutil.rmtree(tmp_path / "out/labelme")
    words = ("predict.formats=[labelme]", f"predict.overlay_score={floor}")
    done(tool(album, *words, "predict.overlays=false"))
    assert sorted(each["score"] for each in read(tmp_path / "out")[1]) == scores
    files = (tmp_path / "out/labelme").glob("*.json")
    shown = [s["score"] for file in files for s in json.loads(file.read_text())["shapes"]]
    assert shown
    assert min(shown) >= round(floor, 4)


def test_every_batch_size_finds_the_same(tool, album, tmp_path):
    answers = []
    for size in ("auto", 3, 20):
        done(tool(album, f"predict.batch_size={size}", "predict.overlays=false"))
        answers.append(read(tmp_path / "out"))
    (images, first), *others = answers
    for own, results in others:
        assert own["images"] == images["images"]
        assert [each["image_id"] for each in results] == [each["image_id"] for each in first]
        for key in ("score", "bbox"):
            a, b = (np.array([each[key] for each in given]) for given in (first, results))
            np.testing.assert_allclose(a, b, atol=1e-3 if key == "bbox" else 1e-4)
        assert [e["segmentation"] for e in results] == [e["segmentation"] for e in first]


@pytest.mark.parametrize("size", [2, 10])
def test_an_image_that_cannot_be_read_spoils_nothing_else(tool, album, tmp_path, size):
    done(tool(album, "predict.overlays=false"))
    _, before = read(tmp_path / "out")
    (album / "2.png").write_bytes(b"no image")
    words = (f"predict.batch_size={size}", "data.on_error=skip", "predict.overlays=false")
    said = done(tool(album, *words))
    images, results = read(tmp_path / "out")
    assert "skipped: " in said
    assert "replace it" in said
    assert "on_error" not in said
    assert [image["id"] for image in images["images"]] == [1, 3, 4, 5]
    assert [each["image_id"] for each in results] == [
        each["image_id"] for each in before if each["image_id"] != 2
    ]


def test_a_broken_image_is_told_of_before_any_work(tool, album, tmp_path):
    (album / "5.png").write_bytes(b"no image")
    refused(tool(album, "predict.formats=[yolo]"), "5.png", "data.on_error=skip")
    assert not (tmp_path / "out").exists()


def test_what_was_written_stays_whole_when_a_later_image_is_cut_short(tool, album, tmp_path):
    done(tool(album, "predict.overlays=false"))
    before = (tmp_path / "out/predictions.json").read_bytes()
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(album / "5.png")
    (album / "5.png").write_bytes((album / "5.png").read_bytes()[:5000])
    refused(tool(album, "predict.formats=[labelme]", "predict.batch_size=3"), "5.png", "truncated")
    assert (tmp_path / "out/predictions.json").read_bytes() == before
    documents = sorted(path.name for path in (tmp_path / "out/labelme").glob("*.json"))
    assert documents == ["1.json", "2.json", "3.json", "4.json"]
    assert not list((tmp_path / "out").glob(".*"))


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        (
            "predict.formats=[coco,voc]",
            ("predict.formats=voc is unknown", "yolo or png"),
        ),
        ("predict.formats=null", ("predict.formats=None is unknown",)),
        ("predict.batch_size=0", ("predict.batch_size=0: must be an integer >= 1, or auto",)),
        ("predict.batch_size=many", ("predict.batch_size=many: must be",)),
        ("predict.every=0", ("predict.every=0: must be an integer >= 1",)),
        ("gt={}/gt.json", ("gt.json",)),
        ("data.on_error=ignore", ("data.on_error=ignore is unknown",)),
    ],
)
def test_settings_that_cannot_be_are_one_sentence(tool, album, tmp_path, word, parts):
    refused(tool(album, word.format(album)), *parts)
    assert not (tmp_path / "out").exists()


def test_paths_that_mean_nothing_are_one_sentence(tool, album, tmp_path):
    (album / "note.txt").write_text("no image")
    (album / "a.mp4").write_bytes(b"")
    refused(tool(album / "*.bmp"), "nothing matches", "*.bmp")
    refused(tool(album / "note.txt"), "note.txt is neither an image nor a video")
    refused(tool(album / "a.mp4"), "a.mp4 is not a video")
    assert not (tmp_path / "out").exists()


def test_the_command_line_takes_patterns_to_the_letter(run_tool, checkpoint, album, tmp_path):
    (album / "b [1],{2}").mkdir()
    (album / "1.png").rename(album / "b [1],{2}/1.png")
    words = (f"ckpt={checkpoint}", f"images={album}/b [1],{{2}}/*.png", f"out={tmp_path}/out")
    done(run_tool("predict", *words, *CHANGES, "predict.formats=[yolo]", "predict.batch_size=2"))
    assert (tmp_path / "out/yolo/labels/1.txt").is_file()
    refused(run_tool("predict", *words[::2], f"images={album}/*.bmp"), "nothing matches")


def test_a_file_of_images_wants_their_folder(tool, album):
    refused(tool(album / "*.png", f"gt={album.parent}/pseudo.json"), "no image folder at", "gt=")


def test_a_video_alone_that_is_skipped_leaves_nothing(tool, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"")
    refused(tool(tmp_path / "a.mp4", "data.on_error=skip"), "all 1 images were skipped", "a.mp4")


def test_no_more_than_two_batches_are_in_memory(checkpoint, album):
    """Read ahead is one batch, beside the one that is looked at."""
    taken = []

    def counted():
        for frame in read_frames(sources_at(album), 1, "raise"):
            for _ in range(4):
                taken.append(len(taken))
                yield replace(frame)

    seen = []

    def detect(images):
        seen.append((len(images), len(taken)))
        return [Detections() for _ in images]

    found = list(predict(detect, counted(), 3))
    assert len(found) == 20
    assert all(isinstance(each, Prediction) for each in found)
    assert [count for count, _ in seen] == [3] * 6 + [2]
    for batch, (_, read_so_far) in enumerate(seen):
        assert read_so_far <= 3 * (batch + 2)


def test_a_failure_comes_after_what_was_found_before(album):
    def frames():
        yield from read_frames(sources_at(album), 1, "raise")
        raise UserError("the sixth")

    found = []

    def run():
        for each in predict(lambda images: [Detections() for _ in images], frames(), 4):
            found.append(each)

    with pytest.raises(UserError, match="the sixth"):
        run()
    assert [each.frame.record.id for each in found] == [1, 2, 3, 4, 5]


def test_ahead_gives_the_same_and_stops_when_nobody_listens():
    assert list(prefetched(iter(range(9)), 4)) == list(range(9))
    closed = []

    def endless():
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    ones = prefetched(endless(), 3)
    assert next(ones) == 1
    ones.close()
    assert closed == [True]


def test_the_tool_finds_what_the_library_finds(checkpoint, tool, album, tmp_path):
    done(tool(album / "1.png", "predict.overlays=false"))
    _, results = read(tmp_path / "out")
    with pytest.warns(UserWarning, match=r"best 8 .*max_objects"):
        own = load(checkpoint, "cpu")(Path(album / "1.png"), score=0.0)
    np.testing.assert_allclose([each["score"] for each in results], [o.score for o in own], 1e-4)


@pytest.mark.parametrize("out", ["found", ".", ".."])
def test_a_second_run_does_not_look_at_what_the_first_has_drawn(tool, album, tmp_path, out):
    folder = album / out
    for _ in range(2):
        done(tool(album / "**/*.png" if out == "." else album, out=folder))
        images, _ = read(folder)
        assert [image["file_name"] for image in images["images"]] == [
            f"{k}.png" for k in range(1, 6)
        ]
    assert len(list((folder / "overlays").iterdir())) == 5


def test_a_folder_in_which_nothing_but_results_lies(tool, album):
    (album / "found").mkdir()
    for file in album.glob("*.png"):
        file.rename(album / "found" / file.name)
    refused(tool(album, out=album / "found"), "every image of", "set another out=DIR")


def test_a_run_that_was_killed_goes_on(tool, album, tmp_path, monkeypatch):
    def files():
        there = [p for p in (tmp_path / "out").rglob("*") if p.is_file() and p.name != "run.json"]
        return {p: p.read_bytes() for p in there}  # run.json tells every start

    words = ("predict.formats=[labelme,cvat]", "predict.overlays=4")
    done(tool(album, *words))
    whole = files()
    shutil.rmtree(tmp_path / "out")
    keep, kept = Parts.add, []

    def dies(self, item, stamp, made):
        if len(kept) == 2:
            raise KeyboardInterrupt
        keep(self, item, stamp, made)
        kept.append(item)

    monkeypatch.setattr(Parts, "add", dies)
    with pytest.raises(KeyboardInterrupt):
        tool(album, *words)
    [lines] = (tmp_path / "out/predictions.json.parts").glob("*.jsonl")
    lines.write_bytes(lines.read_bytes()[:-5])  # the last line is torn
    monkeypatch.setattr(Parts, "add", lambda *given: (kept.append(given[1]), keep(*given)))
    refused(tool(album, *words, "predict.score=0.3"), "out/labelme has files of an earlier run")
    done(tool(album, *words))
    assert kept == [0, 1, 1, 2, 3, 4]
    assert files() == whole


def test_an_image_that_has_changed_since_is_looked_at_again(tool, album, tmp_path, monkeypatch):
    done(tool(album, "predict.overlays=false"))
    _, before = read(tmp_path / "out")
    good = (album / "5.png").read_bytes()
    (album / "5.png").write_bytes(good[:-40])
    refused(tool(album, "predict.overlays=false"), "5.png", "truncated")
    Image.open(album / "1.png").rotate(90).save(album / "1.png")
    (album / "5.png").write_bytes(good)
    looked, keep = [], Parts.add
    monkeypatch.setattr(Parts, "add", lambda *given: (looked.append(given[1]), keep(*given)))
    done(tool(album, "predict.overlays=false"))
    assert looked == [0, 4]
    _, after = read(tmp_path / "out")
    assert [e for e in after if e["image_id"] > 1] == [e for e in before if e["image_id"] > 1]


def test_possibly_edited_files_are_not_touched(tool, album, tmp_path):
    done(tool(album, "predict.formats=[yolo]", "predict.overlays=false"))
    before = {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    answer = tool(album, "predict.formats=[labelme,yolo]")
    refused(answer, "out/yolo has files of an earlier run", "set another out=DIR, remove")
    assert {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()} == before
    done(tool(album, "predict.formats=[labelme]", "predict.overlays=false"))
