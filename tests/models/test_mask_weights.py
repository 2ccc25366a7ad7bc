"""Weights that have seen masks are refused as those of a backbone."""

from __future__ import annotations

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

from p2seg.errors import UserError
from p2seg.models.backbones import build_backbone
from p2seg.models.mask_weights import NAMES, PARTS, refuse_mask_weights


@pytest.fixture(scope="module")
def weights():
    return timm.create_model("test_resnet").state_dict()


@pytest.mark.parametrize(
    "key",
    [
        "roi_heads.mask_head.0.weight",
        "module.rpn.head.conv.weight",
        "sem_seg_head.predictor.query_feat.weight",
        "model.transformer_module.queries_features.weight",
        "predictor.mask_embed.layers.0.weight",
        "panoptic_head.weight",
        "decode_head.conv_seg.weight",
        "solo_head.weight",
    ],
)
@pytest.mark.parametrize("group", ["model", "segmentor"])
def test_parts_of_a_segmentor_give_them_away(tmp_path, weights, key, group):
    torch.save({"state_dict": {**weights, key: torch.zeros(1)}}, tmp_path / "a.pth")
    with pytest.raises(UserError, match="trained on masks or boxes") as caught:
        build_backbone("test_resnet", weights=tmp_path / "a.pth", group=group)
    assert "\n" not in str(caught.value)
    assert key in str(caught.value)
    assert ("allow_mask_pretraining=true" in str(caught.value)) is (group == "segmentor")
    build_backbone("test_resnet", weights=tmp_path / "a.pth", group=group, allow_masks=True)


@pytest.mark.parametrize("name", ["maskrcnn_r50_coco.pth", "r50-COCO.pth", "r50_mscoco2017.pth"])
def test_so_does_the_name_of_a_file_but_not_of_its_folder(tmp_path, weights, name):
    (tmp_path / "coco").mkdir()
    torch.save(weights, tmp_path / "coco" / "cocoa.pth")
    build_backbone("test_resnet", weights=tmp_path / "coco" / "cocoa.pth")
    torch.save(weights, tmp_path / name)
    with pytest.raises(UserError, match="by their name"):
        build_backbone("test_resnet", weights=tmp_path / name)


@pytest.mark.parametrize(
    "name",
    [
        *("resnet50_lvis.pth", "fasterrcnn_resnet50.pth", "detr_r50.pth", "r50_objects365.pth"),
        *("r50_ade20k.pth", "solov2_r50.pth", "cascade_r50.pth", "maskdino.pth"),
        *("yolov8n-seg.pth", "yolo11n.pt", "sam_vit_b_01ec64.pth", "deeplabv3_r101.pth"),
    ],
)
def test_names_of_detectors_segmentors_and_their_data(name):
    with pytest.raises(UserError, match="by their name"):
        refuse_mask_weights(name, "segmentor")
    refuse_mask_weights(name, "segmentor", allowed=True)


def test_no_name_of_imagenets_weights_is_taken_for_a_segmentor():
    seen = [name for name in timm.list_pretrained() if NAMES.search(name)]
    others = [name for name in seen if not name.startswith("sam2_")]
    assert all(name.endswith((".sa1b", "_refcoco_seg")) for name in others)
    for name in ("resnet50-0676ba61.pth", "yolov8n-cls.pth", "segnext_in1k.pth", "facade.pth"):
        refuse_mask_weights(name, "model")


def test_so_does_what_a_file_says_of_itself(tmp_path, weights):
    save_file(weights, tmp_path / "a.safetensors", {"trained_on": "COCO 2017 instances"})
    torch.save({"model": weights, "meta": {"dataset": ["ms_coco"]}}, tmp_path / "a.pth")
    torch.save({"model": weights, "kind": "segmentor"}, tmp_path / "b.pth")
    for name in ("a.safetensors", "a.pth", "b.pth"):
        with pytest.raises(UserError, match="their file says"):
            build_backbone("test_resnet", weights=tmp_path / name)
    save_file(weights, tmp_path / "c.safetensors", {"format": "pt"})
    build_backbone("test_resnet", weights=tmp_path / "c.safetensors")


def test_weights_of_timm_that_saw_masks():
    with pytest.raises(UserError, match=r"sam2_hiera_tiny\.fb_r896 were trained on masks"):
        build_backbone("sam2_hiera_tiny.fb_r896", group="segmentor")
    refuse_mask_weights("vit_base_patch16_224.sam_in1k", "model")  # an optimizer of that name


def test_no_classifier_is_taken_for_a_segmentor():
    for name in ("resnet18", "mobilenetv2_100", "test_convnext", "test_vit", "test_efficientnet"):
        with torch.device("meta"):
            keys = timm.create_model(name).state_dict()
        assert not [key for key in keys if PARTS.search(key)], name


@pytest.mark.parametrize("backbone", ["resnet18", "torchvision.resnet18"])
def test_where_it_is_allowed_the_backbone_of_a_detector_is_taken(tmp_path, backbone):
    body = resnet_fpn_backbone(backbone_name="resnet18", weights=None)
    detector = MaskRCNN(body, 3, box_head=nn.Identity(), mask_head=nn.Identity())
    state = detector.state_dict()
    path = tmp_path / "maskrcnn_resnet18_fpn.pth"
    torch.save(state, path)
    with pytest.raises(UserError, match="were trained on masks or boxes"):
        build_backbone(backbone, weights=path, group="segmentor")
    own = build_backbone(backbone, weights=path, group="segmentor", allow_masks=True)
    for key, value in own.body.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(value, state[f"backbone.body.{key}"]), key


@pytest.mark.parametrize("prefix", ["backbone.bottom_up.", "backbone.", "module."])
def test_other_places_of_a_backbone_in_a_file(tmp_path, weights, prefix):
    torch.save({f"{prefix}{k}": v for k, v in weights.items()}, tmp_path / "a.pth")
    own = build_backbone("test_resnet", weights=tmp_path / "a.pth").body.state_dict()
    assert all(torch.equal(value, weights[key]) for key, value in own.items())
