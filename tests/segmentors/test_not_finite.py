"""A segmentor whose outputs are NaN or infinite finds nothing: it says on which image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from segmentor_sets import NAMES, SCENES, SOLO, TINY, make_set

import p2seg
from p2seg.data.coco import ImageRecord
from p2seg.data.image_sources import read_frames, sources_at
from p2seg.engine.checkpoint import load_checkpoint
from p2seg.engine.finite import NotFinite, check_outputs
from p2seg.errors import UserError
from p2seg.runtime.resume_log import Parts
from p2seg.segmentors.load import Predictor
from p2seg.segmentors.mask_rcnn.model import build_mask_rcnn
from p2seg.segmentors.predict import Outputs, predict, write_predictions
from p2seg.segmentors.segmentor import Segmentor
from p2seg.segmentors.solov2.model import build_solov2
from p2seg.segmentors.validation import Validation


def mask2former():
    pytest.importorskip("transformers", reason="the extra [mask2former] is not here")
    from p2seg.segmentors.mask2former.model import build_mask2former

    sizes = {"queries": 6, "channels": 64, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}
    body = {"backbone": "test_resnet", "pretrained": False, "norm": "group"}
    return build_mask2former(2, **body, **sizes, short_side=64, long_side=128)


MODELS = {
    "mask_rcnn": lambda: build_mask_rcnn(2, **TINY),
    "solov2": lambda: build_solov2(2, **SOLO),
    "mask2former": mask2former,
}
PARTS = {
    "mask_rcnn": (
        "rpn.head.cls_logits.weight",
        "rpn.head.bbox_pred.weight",
        "roi_heads.box_predictor.cls_score.weight",
        "roi_heads.box_predictor.bbox_pred.weight",
        "roi_heads.mask_predictor.mask_fcn_logits.weight",
        "backbone",
    ),
    "solov2": ("head", "mask_feature", "backbone"),
    "mask2former": ("heads", "backbone"),
}
"""Where weights are finite, and what they give is not."""


@pytest.mark.parametrize("views", ["one", "flip"])
@pytest.mark.parametrize(
    ("name", "part"), [(name, part) for name, parts in PARTS.items() for part in parts]
)
def test_no_segmentor_drops_what_is_not_finite(name, part, views):
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    image = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)
    predictor = Predictor(model, NAMES, torch.device("cpu"))
    predictor.detect([image], 0.0, views)
    own = [p for key, p in model.named_parameters() if key.startswith(part) and p.ndim > 1]
    with torch.no_grad():
        for each in own:
            each.fill_(3e38)
    assert own
    with pytest.raises(NotFinite, match="the model's outputs on an image are not finite"):
        predictor.detect([image], 0.0, views)


class Dividing(Segmentor):
    """Finds nothing, and divides by the brightness of an image."""

    short_side = 64
    long_side = 64

    def losses(self, batch):
        raise NotImplementedError

    def find(self, images, sizes, score):  # noqa: ARG002
        check_outputs(images / images.amax((1, 2, 3), keepdim=True))
        return [[] for _ in sizes]


@pytest.fixture
def model():
    made = Dividing()
    made.parameter = torch.nn.Parameter(torch.zeros(()))
    return made.eval()


def test_the_images_are_those_that_fail_alone(model):
    """Also in a batch of images of several sizes."""
    bright, black = torch.full((3, 8, 8), 200, dtype=torch.uint8), torch.zeros(3, 8, 8).byte()
    wide = torch.zeros(3, 8, 16).byte()
    images = [bright, black, bright, black]
    with pytest.raises(NotFinite) as error:
        model.predict(images)
    assert [*error.value.images] == [1, 3]
    with pytest.raises(NotFinite) as error:
        model.predict([bright, bright, wide])
    assert [*error.value.images] == [2]
    names = ["a.png", "b.png", "c.png"]
    assert str(error.value.on(names)).startswith("the model's outputs on c.png are not finite")


def test_predict_names_the_image_after_what_was_found_before(model, tmp_path):
    made = make_set(tmp_path / "album", [], [], [], [])
    Image.new("RGB", (64, 64)).save(tmp_path / "album" / made.images[2].file_name)
    predictor = Predictor(model, NAMES, torch.device("cpu"))
    frames = read_frames(sources_at(tmp_path / "album"), 1, "raise")
    found = predict(lambda images: predictor.detect(images, 0.5), frames, 2)
    assert [next(found).frame.record.file_name for _ in range(2)] == ["1.png", "2.png"]
    with pytest.raises(UserError, match=r"the model's outputs on 3\.png are not finite"):
        next(found)


def test_a_predictor_names_the_file(model, tmp_path):
    predictor = Predictor(model, NAMES, torch.device("cpu"))
    black = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(UserError, match="the model's outputs on the image are not finite"):
        predictor(black)
    Image.fromarray(black).save(tmp_path / "black.png")
    with pytest.raises(UserError, match=r"outputs on \S+black\.png are not finite"):
        predictor(tmp_path / "black.png")


def test_a_validation_names_the_image(model, tmp_path):
    gt = make_set(tmp_path, *SCENES)
    Image.new("RGB", (64, 64)).save(tmp_path / gt.images[1].file_name)
    with pytest.raises(UserError, match=r"the model's outputs on 2\.png are not finite"):
        Validation(gt, tmp_path, "key")(model)


@pytest.mark.parametrize("key", ["model", "average"])
def test_a_checkpoint_that_is_not_finite_is_refused(solov2_checkpoint, key):
    content = load_checkpoint(solov2_checkpoint, "segmentor")
    weights = {name: value.clone() for name, value in content["model"].items()}
    next(iter(weights.values())).flatten()[0] = torch.nan
    torch.save({**content, key: weights}, solov2_checkpoint)
    with pytest.raises(UserError, match=r"is not usable: .* is not finite") as error:
        p2seg.load(solov2_checkpoint, device="cpu")
    assert "\n" not in str(error.value)


def test_an_image_without_results_is_an_error_with_its_name(tmp_path):
    """It was left out of the list without a word."""
    parts = Parts(tmp_path / "predictions.json", "key")
    record = vars(ImageRecord(1, "1.png", 4, 4))
    parts.add(0, "a", {"image": record, "results": [], "cut": False})
    parts.skip(1, "b", "2.png is no image")
    outputs = Outputs(tmp_path, [], 0, 0.5, NAMES, ["1.png", "2.png", "3.png"])
    stamps = {0: "a", 1: "b", 2: "c"}
    with pytest.raises(UserError, match=r"1 images, such as 3\.png, have no results"):
        write_predictions(tmp_path, parts, stamps, NAMES, {}, outputs)
    assert not (tmp_path / "predictions.json").exists()
    parts.skip(2, "c", "3.png is no image")
    assert write_predictions(tmp_path, parts, stamps, NAMES, {}, outputs).images == 1
