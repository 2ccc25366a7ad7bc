"""timm's backbones: their maps, their weights from a file, and what is refused."""

from __future__ import annotations

import pickle

import huggingface_hub.constants
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from p2seg.errors import UserError
from p2seg.models.backbones import build_backbone
from p2seg.models.norms import set_norms


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_efficientnet", "resnet18"])
def test_maps_have_the_channels_and_strides_it_says(name):
    backbone = build_backbone(name, pretrained=False).eval()
    assert backbone.strides == [4, 8, 16, 32]
    maps = backbone(torch.zeros(2, 3, 64, 96))
    for each, channels, stride in zip(maps, backbone.channels, backbone.strides, strict=True):
        assert each.shape == (2, channels, 64 // stride, 96 // stride)


@pytest.mark.parametrize(
    ("name", "location", "channels"),
    [
        ("hrnet_w48.ms_in1k", "", [48, 96, 192, 384]),  # the raw branches that the paper takes
        ("hrnet_w48.ms_in1k", None, [128, 256, 512, 1024]),
        ("resnet101.tv_in1k", None, [256, 512, 1024, 2048]),
    ],
)
def test_the_papers_backbones(name, location, channels):
    with torch.device("meta"):  # shapes without numbers
        backbone = build_backbone(name, pretrained=False, feature_location=location)
    assert backbone.channels == channels
    assert backbone.strides == [4, 8, 16, 32]
    own = dict(backbone.named_parameters())
    assert not any("incre_modules" in key for key in own) or location is None


def test_a_backbone_is_built_once():
    """A second one costs seconds and draws random numbers for weights that nobody uses."""
    torch.manual_seed(0)
    own = build_backbone("test_resnet", pretrained=False).body.state_dict()
    drawn = torch.rand(3)
    torch.manual_seed(0)
    wanted = timm.create_model("test_resnet", features_only=True, out_indices=(1, 2, 3, 4))
    assert all(torch.equal(own[key], value) for key, value in wanted.state_dict().items())
    assert torch.equal(drawn, torch.rand(3))


def test_a_finer_output_stride():
    backbone = build_backbone("resnet18", pretrained=False, output_stride=16).eval()
    assert max(backbone.strides) == 16
    assert backbone(torch.zeros(1, 3, 64, 64))[-1].shape[2:] == (4, 4)


def stored(name, path, wrap=None):
    """Random weights of a classification network in a file."""
    torch.manual_seed(5)
    state = timm.create_model(name, pretrained=False).state_dict()
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({wrap: state, "epoch": 3} if wrap else state, path)
    return state


@pytest.mark.parametrize("file", ["a.safetensors", "a.pth"])
@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_efficientnet"])
def test_weights_come_from_a_file(tmp_path, name, file):
    """The features are those of the classification network whose weights they are."""
    state = stored(name, tmp_path / file)
    backbone = build_backbone(name, weights=tmp_path / file).eval()
    whole = timm.create_model(name, pretrained=False)
    whole.load_state_dict(state)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        wanted = whole.eval().forward_intermediates(images, intermediates_only=True)
        for each in backbone(images):
            same = [other for other in wanted if other.shape == each.shape]
            assert any(torch.allclose(each, other, atol=1e-5) for other in same)


@pytest.mark.parametrize("wrap", ["state_dict", "model"])
def test_weights_inside_a_training_file(tmp_path, wrap):
    state = stored("test_resnet", tmp_path / "a.pth", wrap)
    backbone = build_backbone("test_resnet", weights=str(tmp_path / "a.pth"))
    key = "layer1.0.conv1.weight"
    assert torch.equal(backbone.body.state_dict()[key], state[key])


def test_weights_of_another_network_are_refused(tmp_path):
    stored("test_efficientnet", tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"a\.pth contains another network: \d+ of \d+ tensors"):
        build_backbone("test_resnet", weights=tmp_path / "a.pth")
    state = stored("test_resnet", tmp_path / "a.pth")
    key = next(k for k in state if k.startswith("layer2") and k.endswith("weight"))
    state[key] = state[key][:1]
    torch.save(state, tmp_path / "cut.pth")
    with pytest.raises(UserError, match=rf"1 of \d+ tensors .* such as {key}"):
        build_backbone("test_resnet", weights=tmp_path / "cut.pth")


@pytest.mark.parametrize("content", [torch.zeros(3), [1, 2], {"a": 1}, {}, {"model": 3}, None])
def test_a_file_without_weights_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"a\.pth contains "):
        build_backbone("test_resnet", weights=tmp_path / "a.pth")


@pytest.mark.parametrize("file", ["a.safetensors", "a.pth"])
def test_an_unreadable_file_is_refused(tmp_path, file):
    (tmp_path / file).write_bytes(b"no weights")
    with pytest.raises(UserError, match=rf"{file} is not a readable weights file"):
        build_backbone("test_resnet", weights=tmp_path / file)


@pytest.mark.parametrize("file", ["a.safetensors", "a.pth"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, file, value):
    state = stored("test_resnet", tmp_path / file)
    state["fc.weight"][0] = value  # of a head that is dropped
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "a.pth")
    build_backbone("test_resnet", weights=tmp_path / file)
    state["layer1.0.bn1.running_var"][0] = value
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"NaN or infinity in layer1\.0\.bn1\.running_var") as error:
        build_backbone("test_resnet", weights=tmp_path / file)
    assert file in str(error.value)
    assert "\n" not in str(error.value)


class Trap:
    """Runs code when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_pickle_that_would_run_code_is_refused_and_does_not(tmp_path):
    trap = Trap(tmp_path / "sprung")
    torch.save({"model": trap}, tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(pickle.dumps(trap))
    for name in ("a.pth", "b.pth"):
        with pytest.raises(UserError, match=f"{name} is not a readable weights file"):
            build_backbone("test_resnet", weights=tmp_path / name)
    assert not (tmp_path / "sprung").exists()


def test_a_missing_file_names_the_option(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.pth.*model\.weights=PATH.*pretrained=false"):
        build_backbone("test_resnet", weights=tmp_path / "nowhere.pth")
    with pytest.raises(UserError, match=r"segmentor\.weights=PATH"):
        build_backbone("test_resnet", weights=tmp_path / "nowhere.pth", group="segmentor")


def test_pretrained_weights_that_cannot_be_had_name_the_options(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        UserError, match=r"resnet10t.*model\.weights=PATH, or .*model\.pretrained=false"
    ):
        build_backbone("resnet10t.c3_in1k")


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("resnet_of_mine", {}, r"model\.backbone=resnet_of_mine: Unknown model"),
        ("test_resnet", {"feature_location": ""}, r"model\.feature_location is supported"),
        ("test_vit", {}, r"model\.backbone=test_vit has feature maps of strides \[16\]"),
        ("test_mambaout", {}, "channels last"),
    ],
)
def test_a_backbone_that_does_not_fit_is_refused(name, options, sentence):
    with pytest.raises(UserError, match=sentence):
        build_backbone(name, pretrained=False, **options)


def torchvisions(name, tmp_path, **options):
    """A torchvision network, and our backbone with its weights from a file."""
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, weights=None)
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    ours = build_backbone(f"torchvision.{name}", weights=tmp_path / "weights.pth", **options)
    return network.eval(), ours.eval()


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("resnet18", ["layer1", "layer2", "layer3", "layer4"]),
        ("mobilenet_v3_small", ["features.1", "features.3", "features.8", "features.12"]),
        ("shufflenet_v2_x0_5", ["maxpool", "stage2", "stage3", "conv5"]),
    ],
)
def test_torchvisions_networks_give_the_end_of_every_stage(name, stages, tmp_path):
    network, ours = torchvisions(name, tmp_path)
    seen = {}
    for stage in stages:
        network.get_submodule(stage).register_forward_hook(
            lambda _module, _given, made, stage=stage: seen.update({stage: made})
        )
    images = torch.randn(1, 3, 96, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        maps = ours(images)
        network(images)
    assert ours.strides == [4, 8, 16, 32]
    assert ours.channels == [each.shape[1] for each in maps]
    for stage, made in zip(stages, maps, strict=True):
        torch.testing.assert_close(made, seen[stage], msg=stage)


def test_torchvisions_norms_and_parts_are_as_timms(tmp_path):
    _, ours = torchvisions("resnet18", tmp_path)
    set_norms(ours, "frozen")
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in ours.modules())
    assert {"conv1", "layer1", "layer4"} <= {name for name, _ in ours.body.named_children()}
    assert ours.train()(torch.zeros(1, 3, 64, 64))[0].shape == (1, 64, 16, 16)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nothing", "segmentor.backbone=torchvision.nothing is not a classification network"),
        ("alexnet", "has no feature map of each stride from 4 to 32"),
        ("vit_b_16", "has no feature maps"),
    ],
)
def test_torchvision_names_that_do_not_fit_are_told(name, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        build_backbone(f"torchvision.{name}", pretrained=False, group="segmentor")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="output_stride"):
        build_backbone(f"torchvision.{name}", pretrained=False, output_stride=16)
