"""Segmentors as files of other runtimes."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from segmentor_sets import NAMES, SCENES, make_set

from p2seg.data.images import read_image
from p2seg.engine.checkpoint import load_checkpoint
from p2seg.errors import UserError
from p2seg.segmentors import export
from p2seg.segmentors.augment import resized
from p2seg.segmentors.export import agreement, export_onnx, export_program, onnx_session
from p2seg.segmentors.load import Predictor
from p2seg.segmentors.mask2former.model import build_mask2former
from p2seg.segmentors.onnx_graph import Graph, Instances, boxes_of, graph_of
from p2seg.segmentors.resample import interpolation, resample, shrinking


@pytest.fixture(
    scope="module",
    params=[pytest.param("learned_mask_rcnn", marks=pytest.mark.slow), "learned_solov2"],
)
def exported(request, tmp_path_factory):
    """A predictor and its ONNX file."""
    model = request.getfixturevalue(request.param)
    predictor = Predictor(model, NAMES, torch.device("cpu"))
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    export_onnx(predictor, path, {"step": 3})
    return predictor, path


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """The scenes the models know, and the same in other sizes."""
    folder = tmp_path_factory.mktemp("scenes")
    made = make_set(folder, *SCENES)
    images = [read_image(folder / record.file_name) for record in made.images]
    for size in ((100, 64), (64, 150), (200, 180)):
        images += [np.asarray(Image.fromarray(image).resize(size)) for image in images[:2]]
    return images


def test_an_onnx_file_finds_what_pytorch_finds(exported, photographs):
    predictor, path = exported
    told = agreement(predictor, onnx_session(path), photographs)
    assert told.images == len(photographs)
    assert told.detections >= 2 * len(photographs) // 2
    assert told.boxes < 0.01
    assert told.scores < 1e-4
    assert told.masks < 1e-3
    assert f"{told.detections} detections of {told.images} images" in str(told)


def test_five_lines_outside_the_package(exported, photographs):
    _, path = exported
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    image = photographs[0]
    given = {"image": image, "score": np.array(0.3, np.float32)}
    boxes, labels, scores, masks = session.run(None, given)
    assert boxes.shape == (len(scores), 4)
    assert masks.shape == (len(scores), *image.shape[:2])
    assert masks.dtype == bool
    assert sorted(labels.tolist()) == [1, 2]
    assert (scores >= 0.3).all()
    assert (np.diff(scores) <= 0).all()
    told = {each.key: json.loads(each.value) for each in onnx.load(path).metadata_props}
    assert told == {"names": ["red", "bleu é"], "max_objects": 100, "step": 3}


def test_nothing_found_is_an_empty_answer(exported):
    _, path = exported
    made = onnx_session(path)(np.zeros((50, 70, 3), np.uint8), 0.999)
    assert [each.shape for each in made] == [(0, 4), (0,), (0,), (0, 50, 70)]


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (33, 64)])
def test_odd_sizes_come_back(exported, size):
    _, path = exported
    *_, masks = onnx_session(path)(np.full((*size, 3), 90, np.uint8), 0.0)
    assert masks.shape[1:] == size


@pytest.mark.parametrize("part", ["boxes", "scores", "masks", "labels", "missing"])
def test_a_difference_is_told(exported, photographs, part):
    predictor, path = exported
    runs = onnx_session(path)

    def wrong(image, score):
        made = Instances(*runs(image, score))
        if part == "missing":
            return tuple(each[1:] for each in made)
        change = {
            "boxes": lambda: made.boxes + 0.2,
            "scores": lambda: made.scores - 0.02,
            "masks": lambda: np.roll(made.masks, 1, axis=1),
            "labels": lambda: 3 - made.labels,
        }[part]
        return made._replace(**{part: change()})

    told = part if part in export.TOLERANCES else "masks"
    with pytest.raises(UserError, match=f"differ on .* images .*{told}") as caught:
        agreement(predictor, wrong, photographs[:2])
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_network_of_solov2_is_a_program_of_any_size(
    learned_solov2, solov2_checkpoint, tmp_path, run_tool
):
    code, out, error = run_tool("export", f"ckpt={solov2_checkpoint}", f"out={tmp_path}/model.pt2")
    assert (code, error) == (0, "")
    assert "up to matrix NMS" in out
    program = torch.export.load(tmp_path / "model.pt2").module()
    for size in ((64, 64), (96, 160)):
        images = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            expected = learned_solov2.forward_features(images)
        for made, own in zip(program(images), expected, strict=True):
            torch.testing.assert_close(made, own, rtol=1e-4, atol=1e-5)


def test_mask_rcnn_is_no_program(learned_mask_rcnn, tmp_path):
    with pytest.raises(
        UserError, match=r"MaskRCNN cannot be exported.*only SOLOv2 can.*out=FILE\.onnx"
    ):
        export_program(learned_mask_rcnn, tmp_path / "model.pt2")


def test_mask2formers_graph_finds_what_it_finds(photographs, tmp_path, monkeypatch):
    pytest.importorskip("transformers", reason="the extra [mask2former] is not installed")
    torch.manual_seed(0)
    sizes = {"queries": 6, "channels": 64, "encoder_channels": 64, "decoder_channels": 64}
    few = {"encoder_layers": 1, "decoder_layers": 1, "heads": 2, "points": 64}
    model = build_mask2former(
        2, backbone="test_resnet", pretrained=False, norm="group", short_side=64, **sizes, **few
    )
    predictor = Predictor(model.eval(), NAMES, torch.device("cpu"))
    path = tmp_path / "model.onnx"
    export_onnx(predictor, path, {})
    [found] = predictor.detect([torch.from_numpy(photographs[3].copy()).permute(2, 0, 1)], 0.0)
    monkeypatch.setattr(export, "COMPARED", found[2].score)  # nothing is learned: scores are low
    monkeypatch.setitem(export.TOLERANCES, "scores", 1e-4)
    told = agreement(predictor, onnx_session(path), photographs)
    assert told.detections >= 3
    assert told.masks < 1e-3


def test_nothing_compared_is_said(exported, monkeypatch):
    predictor, path = exported
    monkeypatch.setattr(export, "COMPARED", 0.999)
    told = agreement(predictor, onnx_session(path), [np.zeros((40, 40, 3), np.uint8)])
    assert "nothing: 1 images have no detection with a score of at least 0.999" in str(told)


def test_a_segmentor_without_a_graph_is_told():
    with pytest.raises(UserError, match="cannot be exported; the model must be one of MaskRCNN"):
        graph_of(torch.nn.Identity())


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 900), st.integers(1, 900), st.integers(1, 900), st.integers(1, 1500))
def test_sizes_are_those_of_predict(height, width, short, long):
    class Sizes(Graph):
        def find(self, asked):
            h, w = (int(each) for each in asked.resized_to)
            masks = torch.ones(1, 1, 1, dtype=torch.bool)
            return Instances(torch.tensor([[h, w]]), torch.ones(1), torch.ones(1), masks)

    model = torch.nn.Identity()
    model.short_side, model.long_side = short, max(short, long)
    model.max_objects = 100
    made = Sizes(model)(torch.zeros(height, width, 1, dtype=torch.uint8).expand(-1, -1, 3), None)
    assert made.boxes[0].tolist() == list(resized(height, width, short, max(short, long)))


def test_boxes_of_masks():
    masks = torch.zeros(3, 6, 8, dtype=torch.bool)
    masks[0, 2:4, 3:7] = True
    masks[1, 0, 7] = True
    assert boxes_of(masks).tolist() == [[3, 2, 7, 4], [7, 0, 8, 1], [0, 0, 0, 0]]
    assert boxes_of(masks[:0]).shape == (0, 4)


@pytest.mark.parametrize(("size", "to"), [(9, 4), (9, 9), (9, 20), (1, 5), (50, 3)])
def test_resizing_is_interpolates(size, to):
    maps = torch.rand(2, 3, size, size + 2, generator=torch.Generator().manual_seed(0))
    made = resample(maps, shrinking(size, to, maps), shrinking(size + 2, to + 1, maps))
    expected = torch.nn.functional.interpolate(
        maps, (to, to + 1), mode="bilinear", align_corners=False, antialias=True
    )
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-5)


def test_interpolation_by_hand():
    made = interpolation(torch.tensor([-3.0, 0.25, 1.0, 9.0]), 3)
    assert made.tolist() == [[1, 0, 0], [0.75, 0.25, 0], [0, 1, 0], [0, 0, 1]]


def test_the_tool_writes_compares_and_says_so(solov2_checkpoint, tmp_path, run_tool):
    make_set(tmp_path / "images", *SCENES)
    words = (f"ckpt={solov2_checkpoint}", f"images={tmp_path}/images", "compare=2")
    code, out, error = run_tool("export", *words)
    assert (code, error) == (0, "")
    assert "as PyTorch on 3 detections of 2 images" in out
    assert (tmp_path / "last.onnx").is_file()


def test_the_tools_mistakes_are_one_sentence(solov2_checkpoint, tmp_path, run_tool, monkeypatch):
    def told(*words):
        code, _, error = run_tool("export", *words)
        assert code == 2
        assert error.count("\n") == 1
        return error

    assert "ends in .onnx or .pt2" in told(f"ckpt={solov2_checkpoint}", f"out={tmp_path}/model.bin")
    assert "no checkpoint at" in told(f"ckpt={tmp_path}/none.pt")
    assert "no image folder" in told(f"ckpt={solov2_checkpoint}", f"images={tmp_path}/none")
    monkeypatch.setitem(export.TOLERANCES, "boxes", -1.0)
    make_set(tmp_path / "images", *SCENES)
    error = told(f"ckpt={solov2_checkpoint}", f"images={tmp_path}/images")
    assert "no file was written" in error
    assert not (tmp_path / "last.onnx").exists()

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(export, "import_module", missing)
    assert "onnx is not installed: pip install -e '.[export]'" in told(f"ckpt={solov2_checkpoint}")
    assert load_checkpoint(solov2_checkpoint, "segmentor")["step"] == 70
