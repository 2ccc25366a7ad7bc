"""SAM, SAM 2.1 and HQ-SAM from files of the official formats, small ones made here."""

from __future__ import annotations

import builtins
import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sam_sets import small_sam, write_hq, write_sam, write_sam2
from segment_anything import SamPredictor
from semantic_sets import task

from p2seg.data.rle import decode
from p2seg.engine.finite import NotFinite
from p2seg.errors import UserError
from p2seg.runtime.files import sha256
from p2seg.sam.huggingface import HuggingFaceSam, _model
from p2seg.sam.official import OfficialSam, _predictor, build_sam, load_state
from p2seg.sam.prompts import Prompts, candidates_of
from p2seg.sam.weights import OFFICIAL

CPU, KINDS = torch.device("cpu"), {"sam2": "sam2", "hq": "sam_hq"}
SIZE = (50, 70)
YX = np.array([[5, 5], [20, 30], [44, 60]])
PROMPTS = Prompts.of(YX, np.array([1, 2, 1]), "other_class")
TASK = task(Path("a.png"), SIZE, YX, [1, 2, 1])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sams")
    return {
        "sam": write_sam(folder / "small.pth"),
        "sam2": write_sam2(folder / "sam2"),
        "hq": write_hq(folder / "hq"),
    }


@pytest.fixture
def image() -> Any:
    return np.random.default_rng(0).integers(0, 255, (*SIZE, 3)).astype(np.uint8)


def asked(prompter: Any, image: Any, prompts: Prompts = PROMPTS) -> list[Any]:
    return list(prompter(image, prompts, TASK))


def same(ours: list[Any], theirs: list[Any]) -> bool:
    return all(
        a.rle == b.rle and a.predicted_iou == pytest.approx(b.predicted_iou, abs=1e-4)
        for own, other in zip(ours, theirs, strict=True)
        for a, b in zip(own, other, strict=True)
    )


@pytest.mark.parametrize("name", ["sam", "sam2", "hq"])
def test_an_image_is_embedded_once(files: dict[str, Path], image: Any, name: str) -> None:
    def prompter() -> Any:
        kind = OfficialSam if name == "sam" else HuggingFaceSam
        return kind(str(files[name]), accelerator="cpu")

    calls: list[int] = []
    first = asked(prompter(), image)
    model = _predictor(str(files[name]), "vit_b", CPU).model if name == "sam" else None
    encoder = model.image_encoder if model else _model(str(files[name]), KINDS[name], CPU)[0]
    encoder = encoder if name == "sam" else encoder.vision_encoder
    hook = encoder.register_forward_hook(lambda *_: calls.append(1))
    assert same(asked(prompter(), image.copy()), first)
    assert not calls
    asked(prompter(), 255 - image)
    assert len(calls) == 1
    assert same(asked(prompter(), image), first)
    hook.remove()


def test_a_sam_is_built_of_its_tensors_alone(files: dict[str, Path]) -> None:
    built, made = build_sam(load_state(files["sam"], "vit_b")), small_sam()
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(built.image_encoder(x), made.image_encoder(x))
    assert [block.window_size for block in built.image_encoder.blocks] == [3, 0, 3]
    assert built.image_encoder.img_size == 64
    assert built.mask_decoder.num_mask_tokens == 4


@pytest.mark.parametrize(
    ("model", "width", "depth", "heads", "whole"),
    [
        ("vit_b", 768, 12, 12, [2, 5, 8, 11]),
        ("vit_l", 1024, 24, 16, [5, 11, 17, 23]),
        ("vit_h", 1280, 32, 16, [7, 15, 23, 31]),
    ],
)
def test_official_shapes_give_the_official_models(
    model: str, width: int, depth: int, heads: int, whole: list[int]
) -> None:
    from segment_anything import sam_model_registry

    with torch.device("meta"):
        state = sam_model_registry[model]().state_dict()
        built = build_sam(state, assign=True)
    blocks = built.image_encoder.blocks
    assert OFFICIAL[model].width == width
    assert len(blocks) == depth
    assert blocks[0].attn.num_heads == heads
    assert [b for b, block in enumerate(blocks) if block.window_size == 0] == whole
    assert {block.window_size for block in blocks} == {0, 14}
    assert built.image_encoder.img_size == 1024
    assert {k: v.shape for k, v in built.state_dict().items()} == {
        k: v.shape for k, v in state.items()
    }


def test_answers_are_those_of_the_library(files: dict[str, Path], image: Any) -> None:
    offered = asked(OfficialSam(str(files["sam"])), image)
    predictor = SamPredictor(small_sam())
    predictor.set_image(image)
    for k, candidates in enumerate(offered):
        real = PROMPTS.labels[k] >= 0
        masks, scores, _ = predictor.predict(
            PROMPTS.yx[k][real][:, ::-1], PROMPTS.labels[k][real], multimask_output=True
        )
        for candidate, mask, score in zip(candidates, masks, scores, strict=True):
            assert (decode(candidate.rle) == mask).all()
            assert candidate.predicted_iou == pytest.approx(np.clip(score, 0, 1), abs=1e-4)
    shares = [decode(each.rle).mean() for own in offered for each in own]
    assert min(shares) < 0.95
    assert max(shares) > 0.05


@pytest.mark.parametrize("kind", ["sam", "sam2", "hq"])
def test_every_segmenter_offers_three_masks_a_click(
    files: dict[str, Path], image: Any, kind: str
) -> None:
    made = OfficialSam if kind == "sam" else HuggingFaceSam
    prompter = made(str(files[kind]))
    offered = asked(prompter, image)
    assert [len(each) for each in offered] == [3, 3, 3]
    for candidate in (each for own in offered for each in own):
        assert candidate.rle["size"] == list(SIZE)
        assert 0 <= candidate.predicted_iou <= 1
        assert 0 <= candidate.stability <= 1
    assert same(asked(pickle.loads(pickle.dumps(prompter)), image), offered)
    assert {"model", "checkpoint_sha256", "precision"} <= prompter.parameters.keys()
    # clicks asked about together are answered as one by one, whatever the others' negatives
    alone = Prompts(PROMPTS.yx[1:2], PROMPTS.labels[1:2])
    lone = Prompts(PROMPTS.yx[:1, :2], PROMPTS.labels[:1, :2])
    assert PROMPTS.labels[0].tolist() == [1, 0, -1]
    assert same(asked(prompter, image, lone), offered[:1])
    assert same(asked(prompter, image, alone), offered[1:2])


def test_answers_in_parts_are_the_same(
    files: dict[str, Path], image: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompter = OfficialSam(str(files["sam"]))
    whole = asked(prompter, image)
    monkeypatch.setattr("p2seg.sam.prompts.prompts_at_once", lambda _: 2)
    assert same(asked(prompter, image), whole)


def test_half_precision_is_in_the_parameters_and_runs(files: dict[str, Path], image: Any) -> None:
    for made, kind in ((OfficialSam, "sam"), (HuggingFaceSam, "sam2"), (HuggingFaceSam, "hq")):
        prompter = made(str(files[kind]), precision="bfloat16")
        assert prompter.parameters["precision"] == "bfloat16"
        assert len(asked(prompter, image)) == 3


def test_a_file_says_whether_it_is_official(files: dict[str, Path]) -> None:
    parameters = OfficialSam(str(files["sam"])).parameters
    assert parameters["checkpoint_sha256"] == sha256(files["sam"])
    assert parameters["official"] is False


def refused(path: Any, **more: Any) -> str:
    with pytest.raises(UserError) as error:
        OfficialSam(str(path), **more)
    return str(error.value)


@pytest.mark.parametrize("model", list(OFFICIAL))
def test_a_missing_file_tells_which_is_wanted(tmp_path: Path, model: str) -> None:
    told = refused(tmp_path / "no.pth", model=model)
    assert f"no SAM checkpoint at {tmp_path}/no.pth" in told
    assert OFFICIAL[model].file in told
    assert OFFICIAL[model].sha256 in told


def test_without_a_checkpoint_the_official_file_is_taken_from_the_cache_or_downloaded(
    tmp_path: Path, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    asked = []

    def download(url: str, path: str, sha: str) -> None:
        asked.append((url, sha))
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with pytest.raises(UserError, match=r"sam_vit_b_01ec64\.pth cannot .*no network"):
        OfficialSam(None)
    [(url, sha)] = asked
    assert url.endswith(OFFICIAL["vit_b"].file)
    assert sha == OFFICIAL["vit_b"].sha256
    shutil.copy(files["sam"], tmp_path / "checkpoints" / OFFICIAL["vit_b"].file)
    assert OfficialSam(None).parameters == OfficialSam(str(files["sam"])).parameters
    assert len(asked) == 1


def test_wrong_files_tell_which_is_wanted(tmp_path: Path, files: dict[str, Path]) -> None:
    text = tmp_path / "text.pth"
    text.write_text("no checkpoint")
    assert "text.pth is no checkpoint" in refused(text)
    torch.save({"model": {}}, text)
    assert "is not a SAM in segment-anything's format" in refused(text)
    torch.save([1], text)
    assert "is not a SAM in segment-anything's format" in refused(text)
    state = torch.load(files["sam"], weights_only=True)
    state["image_encoder.pos_embed"] = torch.zeros(1, 4, 4, 1280)
    torch.save(state, text)
    told = refused(text, model="vit_b")
    assert "has 1280 channels, so it is vit_h; give semantic.sam.model=vit_h" in told
    assert "semantic.sam.model=vit_x is unknown" in refused(text, model="vit_x")


@pytest.mark.parametrize(
    "lost",
    [
        "mask_decoder.mask_tokens.weight",
        "image_encoder.neck.1.weight",
        "mask_decoder",
        "image_encoder.blocks",
    ],
)
def test_half_a_file_is_one_sentence(tmp_path: Path, files: dict[str, Path], lost: str) -> None:
    state = torch.load(files["sam"], weights_only=True)
    kept = {key: value for key, value in state.items() if not key.startswith(lost)}
    torch.save(kept, tmp_path / "half.pth")
    assert "half.pth is not a complete SAM" in refused(tmp_path / "half.pth")


@pytest.mark.parametrize("spoilt", ["image_encoder.blocks.x.foo", "rel_pos"])
def test_other_tensors_than_sam_s_are_one_sentence(
    tmp_path: Path, files: dict[str, Path], spoilt: str
) -> None:
    state = torch.load(files["sam"], weights_only=True)
    if spoilt == "rel_pos":
        state["image_encoder.blocks.0.attn.rel_pos_h"] = torch.zeros(5, 0)
    else:
        state[spoilt] = torch.zeros(1)
    torch.save(state, tmp_path / "odd.pth")
    assert "odd.pth is not a complete SAM" in refused(tmp_path / "odd.pth")


def test_weights_that_are_not_finite_are_refused(
    tmp_path: Path, files: dict[str, Path], image: Any
) -> None:
    state = torch.load(files["sam"], weights_only=True)
    key = "mask_decoder.iou_prediction_head.layers.0.weight"
    state[key][0, 0] = torch.nan
    torch.save(state, tmp_path / "nan.pth")
    with pytest.raises(UserError, match=rf"nan\.pth holds weights that are not finite: {key}"):
        asked(OfficialSam(str(tmp_path / "nan.pth")), image)
    shutil.copytree(files["sam2"], tmp_path / "sam2")
    path = tmp_path / "sam2" / "model.safetensors"
    weights = load_file(path)
    name = next(key for key, value in weights.items() if value.is_floating_point())
    weights[name].flatten()[0] = torch.inf
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(UserError, match=r"sam2 contains NaN or infinity"):
        asked(HuggingFaceSam(str(tmp_path / "sam2")), image)


@pytest.mark.parametrize("part", ["logits", "predicted_iou"])
def test_answers_that_are_not_finite_are_an_error(part: str) -> None:
    """As where an image encoder overflows in half precision: they were masks without a pixel."""
    logits, predicted_iou = torch.randn(2, 3, 8, 8), torch.rand(2, 3)
    candidates_of(logits, predicted_iou, 0.0)
    (logits if part == "logits" else predicted_iou).flatten()[3] = torch.nan
    with pytest.raises(NotFinite, match=r"give semantic\.sam\.precision=float32"):
        candidates_of(logits, predicted_iou, 0.0)


def test_an_image_that_shrinks_to_nothing_is_one_sentence(files: dict[str, Path]) -> None:
    thin = np.zeros((400, 2, 3), np.uint8)
    with pytest.raises(UserError, match=r"image a\.png is 2x400, which is too narrow for SAM"):
        asked(OfficialSam(str(files["sam"])), thin)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 9), (9, 3)])
def test_tiny_images_keep_their_size(files: dict[str, Path], size: tuple[int, int]) -> None:
    prompts = Prompts.of(np.array([[0, 0]]), np.array([1]), "none")
    small = np.zeros((*size, 3), np.uint8)
    for prompter in (
        OfficialSam(str(files["sam"])),
        HuggingFaceSam(str(files["sam2"])),
        HuggingFaceSam(str(files["hq"])),
    ):
        [own] = prompter(small, prompts, TASK)
        assert [each.rle["size"] for each in own] == [list(size)] * 3


def test_folders_of_other_models_are_refused(tmp_path: Path, files: dict[str, Path]) -> None:
    def refused_folder(name: Any) -> str:
        with pytest.raises(UserError) as error:
            HuggingFaceSam(str(name))
        return str(error.value)

    assert "no checkpoint given" in refused_folder("")
    assert f"{tmp_path}/no: no such folder" in refused_folder(tmp_path / "no")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    assert "holds a model of type bert" in refused_folder(tmp_path)
    (tmp_path / "config.json").write_text((files["sam2"] / "config.json").read_text())
    assert "has no *.safetensors" in refused_folder(tmp_path)


def test_a_folder_with_other_weights_is_one_sentence(
    tmp_path: Path, files: dict[str, Path], image: Any
) -> None:
    for file in files["sam2"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="is not a complete sam2 of transformers"):
        asked(HuggingFaceSam(str(tmp_path)), image)
    tensors = load_file(files["sam2"] / "model.safetensors")
    del tensors["mask_decoder.iou_token.weight"]
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    _model.cache_clear()
    with pytest.raises(UserError, match=r"such as mask_decoder\.iou_token\.weight"):
        asked(HuggingFaceSam(str(tmp_path)), image)


def test_a_name_on_the_hub_without_a_net(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no route\nto the hub")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(UserError, match=r"download from the hub failed \(no route\)") as error:
        HuggingFaceSam("facebook/sam2.1-hiera-large")
    assert "\n" not in str(error.value)


def test_without_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name.split(".")[0] == "transformers":
            raise ImportError(name)
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"pip install -e '\.\[sam2\]'"):
        HuggingFaceSam("some/name")
