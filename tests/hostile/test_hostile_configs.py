"""Hostile model settings: none uses the network, selects code or reads other files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile_sets import segmentor_checkpoint

import p2seg
from devtools.fuzzing.network import no_network
from p2seg.errors import UserError
from p2seg.models.architectures import ATTENTION, KINDS, SETTINGS, config_of, rebuilt
from p2seg.models.backbones import build_backbone
from p2seg.sam.huggingface import HuggingFaceSam, _model
from p2seg.segmentors.mask_rcnn.model import build_mask_rcnn

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "sam"))

transformers = pytest.importorskip("transformers")

REPOSITORY = "p2seg-nobody/nothing"
BACKBONES = (
    *(
        f"hf-hub:{REPOSITORY}",
        f"hf_hub:{REPOSITORY}",
        f"HF-HUB:{REPOSITORY}",
        "hf-hub:/" + "x" * 80,
    ),
    *("local-dir:/tmp", "local-dir:.", "local-dir:{}", "LOCAL-DIR:{}", REPOSITORY, "../model"),
    *("https://nowhere.invalid/a", "file:///etc/passwd", "C:\\model", "\\\\server\\model", "a:b"),
)
"""Names that a checkpoint may not have for its backbone; `{}` is a folder that exists."""
TASKS = ("maskrcnn_resnet50_fpn", "ssd300_vgg16", "deeplabv3_resnet50", "FCN_ResNet50")
"""Networks of torchvision that download weights even if none are requested."""
MAKERS = ("mask_rcnn", "solov2", "mask2former")

ATTENTIONS = (
    *("p2seg-nobody/kernel", "p2seg-nobody/kernel@main", "p2seg-nobody/kernel:run", "paged|a/b"),
    *("flash_attention_2", "flash_attention_3", "flex_attention", "", 5, ["sdpa"], {"": "a/b"}),
)
"""Attention implementations that a file may not select."""

SWIN = {"model_type": "swin", "depths": [1, 1, 1, 1], "embed_dim": 8, "num_heads": [1, 1, 2, 2]}
SWIN |= {"window_size": 4, "out_features": ["stage1", "stage2", "stage3", "stage4"]}
MASK2FORMER = {"model_type": "mask2former", "backbone_config": SWIN, "hidden_dim": 64}
MASK2FORMER |= {"feature_size": 64, "mask_feature_size": 64, "num_attention_heads": 2}
MASK2FORMER |= {"encoder_layers": 1, "decoder_layers": 2, "num_queries": 5}
REFUSED: dict[str, dict[str, Any]] = {
    **{f"attention {each!r}": {"attn_implementation": each} for each in ATTENTIONS},
    "a private attention": {"_attn_implementation": "a/b"},
    "attention of a part": {"backbone_config": {**SWIN, "attn_implementation": "a/b"}},
    "quantization": {"quantization_config": {"quant_method": "quanto"}},
    "no backbone but a repository": {"backbone_config": None, "backbone": REPOSITORY},
    "a repository as backbone": {"backbone_config": REPOSITORY},
    "a backbone of timm": {"backbone_config": {"model_type": "timm_backbone", "backbone": "a"}},
    "a wrapper of timm": {"backbone_config": {"model_type": "timm_wrapper", "architecture": "a"}},
    "a backbone of no type": {"backbone_config": {}},
    "an activation with a path": {"activation_function": "owner/name"},
    "an activation of many": {"activation_function": {"class_name": "gelu"}},
    "a size that is a path": {"hidden_dim": "../x"},
    "a size without end": {"hidden_dim": float("inf")},
    "a size of 4,000 digits": {"hidden_dim": 10**4000},
    "layers without end": {"decoder_layers": 2_000_000_000},
    "stages without end": {"backbone_config": {**SWIN, "depths": [1, 1, 2_000_000_000, 1]}},
    "layers that are none": {"encoder_layers": "many"},
    "sizes in sizes": {"feature_strides": [[[[4]]]]},
    "too many sizes": {"feature_strides": [4] * 5000},
}
"""Rejected changes of a Mask2Former's settings."""
DROPPED: dict[str, Any] = {
    "auto_map": {"AutoModel": f"{REPOSITORY}--trap.Trap", "AutoBackbone": "trap.Trap"},
    "trust_remote_code": True,
    "_name_or_path": REPOSITORY,
    "name_or_path": REPOSITORY,
    "use_kernels": True,
    "kernel_config": {"a": REPOSITORY},
    "backbone": REPOSITORY,
    "use_pretrained_backbone": True,
    "use_timm_backbone": True,
    "backbone_kwargs": {"pretrained": True},
    "pretrained": True,
    "transformers_weights": "../model.safetensors",
    "configuration_files": ["config.4.0.0.json"],
    "fusion_config": {"a": True},
    "per_layer_config": {"0": {"attn_implementation": "a/b"}},
    "_attn_implementation_internal": "a/b",
    "_experts_implementation": "a/b",
    "experts_implementation": "a/b",
    "attn_implementation_autoset": "a/b",
    "dtype": "hub",
    "torch_dtype": "os",
    "architectures": ["os.system"],
    "model": REPOSITORY,
}
"""Settings that are removed completely."""
TABLES = {
    "names of backbones": dict.fromkeys([*BACKBONES, *TASKS]),
    "settings that ask for more than sizes": {**REFUSED, **DROPPED},
}


def checkpoint(path: Path, maker: str, **options: Any) -> Path:
    """Returns a checkpoint with these model settings."""
    target = f"p2seg.segmentors.{maker}.model.build_{maker}"
    return segmentor_checkpoint(path, target, **{"backbone": "test_resnet", **options})


def refused(path: Path, sentence: str) -> None:
    """Checks for one sentence with the file's name, and for no network request."""
    with no_network() as asked, pytest.raises(UserError) as caught:
        p2seg.load(path, device="cpu")
    assert asked == []
    assert sentence in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("name", BACKBONES)
def test_a_checkpoint_names_no_repository_and_no_folder(tmp_path, maker, name):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "config.json").write_text('{"architecture": "test_resnet"}')
    path = checkpoint(tmp_path / "last.pt", maker, backbone=name.format(theirs))
    refused(path, "names a repository or a folder")


@pytest.mark.parametrize("name", TASKS)
def test_networks_of_other_tasks_fetch_nothing(tmp_path, name):
    path = checkpoint(tmp_path / "last.pt", "mask_rcnn", backbone=f"torchvision.{name}")
    refused(path, "is not a classification network")
    with no_network() as asked, pytest.raises(UserError, match="not a classification network"):
        build_backbone(f"torchvision.{name}", pretrained=False)
    assert asked == []


@pytest.mark.parametrize("name", REFUSED)
def test_a_checkpoint_may_only_name_known_architectures(tmp_path, name):
    text = json.dumps({**MASK2FORMER, **REFUSED[name]})
    path = checkpoint(tmp_path / "last.pt", "mask2former", architecture=text)
    refused(path, "segmentor.model.architecture")


@pytest.mark.parametrize("maker", ["mask2former", "solov2"])
def test_too_many_layers_are_rejected(tmp_path, maker):
    name = "decoder_layers" if maker == "mask2former" else "head_depth"
    for count in (1001, 10**300):
        path = checkpoint(tmp_path / "last.pt", maker, **{name: count})
        refused(path, "integer from 1 to 1000")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "5", "[" * 100_000, '{"model_type": ["mask2former"]}', 5, [1]]
)
def test_an_unknown_architecture_is_rejected(tmp_path, text):
    path = checkpoint(tmp_path / "last.pt", "mask2former", architecture=text)
    refused(path, "")


def test_settings_that_are_not_sizes_are_removed():
    given = {**MASK2FORMER, **DROPPED, "backbone_config": {**SWIN, **DROPPED}}
    with no_network() as asked:
        kept = rebuilt("mask2former", given, "config.json")
        assert kept == rebuilt("mask2former", MASK2FORMER, "config.json")
        text = config_of(kept, "config.json").to_json_string(use_diff=False)
    assert asked == []
    assert "/" not in text
    for key in set(DROPPED) - {"dtype", "architectures", "_name_or_path"}:
        assert f'"{key}"' not in text


def test_attentions_of_torch_are_accepted():
    """transformers uses the first one that the model supports; a Mask2Former has no sdpa."""
    for each in ("sdpa", "eager"):
        kept = rebuilt("mask2former", {**MASK2FORMER, "attn_implementation": each}, "config.json")
        made = transformers.Mask2FormerForUniversalSegmentation(config_of(kept, "config.json"))
        assert made.config._attn_implementation == "eager"
        assert made.model.pixel_level_module.encoder.config._attn_implementation in ATTENTION


@pytest.mark.parametrize("kind", KINDS)
def test_a_known_architecture_loses_no_size(kind):
    """Fails for a new setting of transformers, which must be checked and listed."""
    made = getattr(transformers, KINDS[kind][0])
    common = set(transformers.PretrainedConfig().to_dict())
    own = set(made().to_dict()) - common - set(KINDS[kind][1])
    computed = {"image_embedding_size", "stage_names", "num_layers", "mlp_dim", "name_or_path"}
    assert own <= SETTINGS | computed
    if kind != "mask2former":  # a Mask2Former without a backbone is refused
        theirs = made().to_dict()
        kept = rebuilt(kind, json.loads(json.dumps(theirs)), "config.json")
        assert config_of(kept, "config.json").to_dict() == theirs


@pytest.fixture(scope="module")
def sam2(tmp_path_factory):
    from sam_sets import write_sam2

    return write_sam2(tmp_path_factory.mktemp("sam2"))


def copied(source: Path, folder: Path, **files: dict[str, Any]) -> Path:
    """Writes a model folder with changed or additional settings in its JSON files."""
    folder.mkdir()
    for path in source.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    for name, changes in files.items():
        path = folder / f"{name}.json"
        content = json.loads(path.read_text()) if path.is_file() else {}
        path.write_text(json.dumps({**content, **changes}))
    return folder


def opened(folder: Path) -> Any:
    _model.cache_clear()
    sam = HuggingFaceSam(str(folder))
    return _model(sam.folder, sam.kind, torch.device("cpu"))


SAM2: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"attention {each!r}": ("config", {"attn_implementation": each}) for each in ATTENTIONS},
    "attention of a part": ("config", {"prompt_encoder_config": {"attn_implementation": "a/b"}}),
    "a repository in a part": (
        "config",
        {"vision_config": {"backbone_config": None, "backbone": REPOSITORY}},
    ),
    "a part that is a repository": ("config", {"vision_config": REPOSITORY}),
    "quantization": ("config", {"quantization_config": {"quant_method": "quanto"}}),
    "an image size with a path": (
        "processor_config",
        {"image_processor": {"size": {"height": "a/b", "width": 64}}},
    ),
}
SAM2_DROPPED: dict[str, tuple[str, dict[str, Any]]] = {
    "everything": ("config", DROPPED),
    "an audio tokenizer": (
        "processor_config",
        {
            "audio_tokenizer": {
                "audio_tokenizer_class": "AutoModel",
                "audio_tokenizer_name_or_path": REPOSITORY,
            }
        },
    ),
    "a file of an audio tokenizer": (
        "audio_tokenizer_config",
        {"audio_tokenizer_class": "AutoModel", "audio_tokenizer_name_or_path": REPOSITORY},
    ),
    "an adapter": ("adapter_config", {"base_model_name_or_path": REPOSITORY, "peft_type": "LORA"}),
    "an index that leads out": (
        "model.safetensors.index",
        {"metadata": {}, "weight_map": {"a": "../../x.safetensors"}},
    ),
}
TABLES["settings of SAM 2"] = {**SAM2, **SAM2_DROPPED}


@pytest.mark.parametrize("name", SAM2)
def test_settings_of_sam2_that_are_refused(tmp_path, sam2, name):
    file, changes = SAM2[name]
    folder = copied(sam2, tmp_path / "model", **{file: changes})
    with no_network() as asked, pytest.raises(UserError) as caught:
        opened(folder)
    assert asked == []
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", SAM2_DROPPED)
def test_settings_of_sam2_that_are_dropped(tmp_path, sam2, name):
    file, changes = SAM2_DROPPED[name]
    folder = copied(sam2, tmp_path / "model", **{file: changes})
    with no_network() as asked:
        model, processor = opened(folder)
    assert asked == []
    assert model.config._attn_implementation in ("sdpa", "eager")
    assert {type(each).__module__.split(".")[0] for each in model.modules()} <= {
        "torch",
        "transformers",
    }
    assert processor.target_size == 64


def test_the_weights_of_a_split_model_are_read(tmp_path, sam2):
    from safetensors.torch import load_file, save_file

    folder = copied(sam2, tmp_path / "model")
    tensors = list(load_file(folder / "model.safetensors").items())
    (folder / "model.safetensors").unlink()
    half = len(tensors) // 2
    for number, part in enumerate((tensors[:half], tensors[half:]), start=1):
        save_file(dict(part), folder / f"model-0000{number}-of-00002.safetensors")
    made = opened(folder)[0].state_dict()
    expected = transformers.Sam2Model.from_pretrained(sam2).state_dict()
    assert made.keys() == expected.keys()
    assert all(torch.equal(made[key], expected[key]) for key in expected)


def test_the_command_refuses_with_one_sentence(tmp_path, run_tool):
    path = checkpoint(tmp_path / "last.pt", "mask_rcnn", backbone=f"hf-hub:{REPOSITORY}")
    (tmp_path / "images").mkdir()
    words = (f"ckpt={path}", f"images={tmp_path}/images", f"out={tmp_path}/out")
    with no_network() as asked:
        code, _, error = run_tool("predict", *words, "trainer.accelerator=cpu")
    assert asked == []
    assert (code, error.count("\n")) == (2, 1), error
    assert f"{path}: segmentor.backbone='hf-hub:{REPOSITORY}' names a repository" in error


def test_a_trained_segmentor_can_be_loaded():
    """Training rejects a backbone that a checkpoint may not name."""
    options = {"pretrained": False, "short_side": 64, "long_side": 64}
    with no_network() as asked, pytest.raises(UserError, match="names a repository or a folder"):
        build_mask_rcnn(2, backbone=f"hf-hub:{REPOSITORY}", **options)
    assert asked == []


def test_a_network_request_is_detected():
    import socket

    with no_network() as asked:
        with pytest.raises(OSError, match="no network"):
            socket.getaddrinfo("nowhere.invalid", 80)
        with socket.socket() as plain, pytest.raises(OSError, match="no network"):
            plain.connect(("127.0.0.1", 9))
    assert [each.split()[0] for each in asked] == ["socket.getaddrinfo", "socket.connect"]
