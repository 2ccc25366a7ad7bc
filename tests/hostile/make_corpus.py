"""Writes tests/hostile/corpus: small valid files of every kind, which devtools/fuzz.py damages.

python tests/hostile/make_corpus.py

Files whose names begin with `found-` were findings once; they are left as they are.
"""

from __future__ import annotations

import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from safetensors.torch import save as safetensors

from p2seg.data.rle import encode
from p2seg.runtime.files import fingerprint, write_bytes

CORPUS = Path(__file__).resolve().parent / "corpus"
HEIGHT, WIDTH = 6, 8


def main() -> None:
    """Writes all."""
    torch.manual_seed(0)
    for makers in (_json_files, _images, _arrays, _models, _weights, _others):
        for name, content in makers().items():
            write_bytes(CORPUS / name, content)


def _mask() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[1:4, 2:7] = True
    return mask


def _compressed() -> dict[str, Any]:
    code = encode(_mask())
    return {"size": code["size"], "counts": code["counts"].decode()}


def _document(annotations: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "info": {"sampler": "inner", "seed": 0, "nested": {"list": [1, 2.5, None]}},
        "images": [
            {"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT},
            {"id": 2**53 + 1, "file_name": "part/b é.jpg", "width": WIDTH, "height": HEIGHT},
        ],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "red"}, {"id": 2, "name": "blue"}],
    }


def _json_files() -> dict[str, bytes]:
    size = [HEIGHT, WIDTH]
    segmentations: dict[str, Any] = {
        "polygon": [[1, 1, 6.5, 1, 6.5, 4, 1, 4]],
        "polygons": [[1, 1, 3, 1, 3, 4], [4, 1, 7, 1, 7, 4, 5, 5]],
        "runs": {"size": size, "counts": [13, 3, 3, 3, 26]},
        "compressed": _compressed(),
        "empty": [],
    }
    masks = [
        {"id": k, "image_id": 1, "category_id": 1 + k % 2, "segmentation": each, "iscrowd": 0}
        for k, each in enumerate(segmentations.values(), start=1)
    ]
    masks[0] |= {"score": 0.5, "point": [2.5, 1], "default_box": True, "area": 15, "bbox": [1, 1]}
    clicks = [
        {"id": 7, "image_id": 1, "category_id": 1, "point": [3, 2.5]},
        {"id": 2**53 + 1, "image_id": 2**53 + 1, "category_id": 2, "point": [0, 0]},
    ]
    results = [
        {"image_id": 1, "category_id": 1, "segmentation": _compressed(), "score": 0.9},
        {"image_id": 1, "category_id": 2, "segmentation": segmentations["polygon"], "score": 0.1},
    ]
    offered = {"segmentation": _compressed(), "predicted_iou": 0.9, "stability": 0.8}
    points = [{"id": 7, "candidates": [offered, offered]}, {"id": 8, "candidates": []}]
    mask = {
        "id": 7,
        "label": 1,
        "rle": _compressed(),
        "crowd": False,
        "score": 0.5,
        "point": [2.0, 3.0],
        "default_box": False,
        "review": "",
    }
    told = {"image_id": 1}
    line = {"key": "key", "item": 1, "stamp": "", "made": {"instances": [mask]}}
    contents = {
        "points/good.json": _document(clicks),
        "instances/good.json": _document(masks),
        "predictions/list.json": results,
        "predictions/document.json": _document(masks) | {"images": _document([])["images"][:1]},
        "class_map/object.json": {"0": "background", "15": "red", "255": "ignored"},
        "class_map/list.json": ["red", "blue"],
        "candidates/good.json": {"key": "k", "digest": fingerprint(points), "points": points},
        "manifest/good.json": {
            "source": "grabcut",
            "parameters": {"margin": 0.1},
            "classes": ["red"],
            "points_sha256": "0" * 64,
            "files": {"a.png": "0" * 64},
            "skipped": {"b.png": "no"},
            "versions": {"numpy": "2.0"},
            "version": 2,
        },
        "review/good.json": {
            "info": {"pseudo": "masks.json"},
            "decisions": [
                {**told, "id": 7, "decision": "accept", "segmentation": _compressed()},
                {**told, "id": 8, "decision": "reject"},
                {**told, "id": 9, "decision": "reclick", "point": [2.0, 3.0]},
            ],
        },
        "stage/good.json": {"key": "0" * 64, "outputs": ["0" * 64], "seconds": 1.5},
        **{f"segmentation/{name}.json": each for name, each in segmentations.items()},
    }
    made = {name: json.dumps(content).encode() for name, content in contents.items()}
    made["parts/good.jsonl"] = (
        b'\n{"key": "key", "item": 0, "stamp": "stamp", "made": {"image": {}, "results": []}}'
        b'\n{"key": "key", "item": 1, "stamp": "stamp", "skipped": "no image"}'
    )
    skip = {"key": "key", "item": 2, "stamp": "", "skipped": "no image"}
    made["shards/good.jsonl"] = b"\n" + b"\n".join(
        json.dumps(each).encode() for each in (line, skip)
    )
    return made


def _images() -> dict[str, bytes]:
    gray = (np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) * 5).astype(np.uint8)
    colors = np.dstack([gray, gray[::-1], 255 - gray])
    rgb, palette = Image.fromarray(colors), Image.fromarray(gray % 3)
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    made = {}
    kinds: dict[str, tuple[Image.Image, str, dict[str, Any]]] = {
        "rgb.png": (rgb, "PNG", {"exif": exif, "icc_profile": b"profile" * 20}),
        "palette.png": (palette, "PNG", {"transparency": 0}),
        "deep.png": (Image.fromarray(gray.astype(np.uint16) * 257), "PNG", {}),
        "adam.png": (rgb.convert("RGBA"), "PNG", {}),
        "moving.png": (rgb, "PNG", {"save_all": True, "append_images": [rgb.rotate(180)]}),
        "rgb.jpg": (rgb, "JPEG", {"exif": exif, "comment": b"comment"}),
        "progressive.jpg": (rgb, "JPEG", {"progressive": True}),
        "cmyk.jpg": (rgb.convert("CMYK"), "JPEG", {}),
        "two.mpo": (rgb, "MPO", {"save_all": True, "append_images": [rgb]}),
        "rgb.webp": (rgb, "WEBP", {"lossless": True, "exif": exif}),
        "moving.webp": (rgb, "WEBP", {"save_all": True, "append_images": [rgb.rotate(180)]}),
        "raw.tif": (rgb, "TIFF", {}),
        "lzw.tif": (rgb, "TIFF", {"compression": "tiff_lzw"}),
        "fax.tif": (rgb.convert("1"), "TIFF", {"compression": "group4"}),
        "pages.tif": (rgb, "TIFF", {"save_all": True, "append_images": [rgb] * 3}),
        "float.tif": (Image.fromarray(gray.astype(np.float32)), "TIFF", {}),
        "rgb.bmp": (rgb, "BMP", {}),
        "palette.bmp": (palette, "BMP", {}),
        "rgb.ppm": (rgb, "PPM", {}),
        "moving.gif": (palette, "GIF", {"save_all": True, "append_images": [palette.rotate(180)]}),
        "rgb.jp2": (rgb, "JPEG2000", {}),
    }
    for name, (image, kind, options) in kinds.items():
        stream = io.BytesIO()
        image.save(stream, kind, **options)
        made[f"image/{name}"] = stream.getvalue()
    for name in ("palette.png", "moving.gif", "palette.bmp"):
        made[f"labels/{name}"] = made[f"image/{name}"]
    return made


def _arrays() -> dict[str, bytes]:
    scores = np.random.default_rng(0).random((3, HEIGHT, WIDTH)).astype(np.float32)
    labels = np.zeros((HEIGHT, WIDTH), np.int16)
    kinds: dict[str, dict[str, Any]] = {
        "scores": {"prob": scores},
        "keys": {"prob": scores[:2, :3], "keys": np.array([0, 2])},
        "labels": {"map": labels},
    }
    made = {}
    for name, arrays in kinds.items():
        stream = io.BytesIO()
        (np.savez_compressed if name == "keys" else np.savez)(stream, **arrays)
        made[f"array/{name}.npz"] = stream.getvalue()
    stream = io.BytesIO()
    np.save(stream, labels)
    made["array/labels.npy"] = stream.getvalue()
    return made


def _models() -> dict[str, bytes]:
    """Writes model settings of checkpoints, and config.json files of transformers."""
    common = {"backbone": "test_resnet", "pretrained": False, "short_side": 64, "long_side": 64}
    swin = {"model_type": "swin", "embed_dim": 8, "depths": [1] * 4, "num_heads": [1, 1, 2, 2]}
    swin |= {"window_size": 4, "out_features": [f"stage{k}" for k in (1, 2, 3, 4)]}
    whole = {"model_type": "mask2former", "backbone_config": swin, "num_queries": 5}
    whole |= dict.fromkeys(("hidden_dim", "feature_size", "mask_feature_size"), 64)
    whole |= {"num_attention_heads": 2, "encoder_layers": 1, "decoder_layers": 2}
    whole |= {"attn_implementation": "sdpa", "_name_or_path": "owner/name", "dtype": "float32"}
    solov2 = {"grids": [8, 6, 4, 2], "sizes": [[1, 28], [20, 44], [32, 72], [56, 512]]}
    solov2 |= {"pyramid_channels": 16, "head_channels": 16, "head_depth": 1}
    hiera = {"hidden_size": 8, "image_size": [64, 64], "embed_dim_per_stage": [8, 16, 32, 64]}
    hiera |= {"blocks_per_stage": [1] * 4, "num_attention_heads_per_stage": [1, 2, 4, 8]}
    hiera |= {"model_type": "sam2_hiera_det_model", "window_size_per_stage": [8, 4, 4, 2]}
    vision = {"model_type": "sam2_vision_model", "backbone_config": hiera, "fpn_hidden_size": 32}
    vision |= {"backbone_channel_list": [64, 32, 16, 8]}
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "mlp_dim": 32}
    small |= {"image_size": 64, "output_channels": 32}
    prompts = {"hidden_size": 32, "image_size": 64}
    decoder = {"hidden_size": 32, "mlp_dim": 32, "num_attention_heads": 4}
    sam = {"prompt_encoder_config": prompts, "mask_decoder_config": decoder}
    models: dict[str, dict[str, Any]] = {
        "good-mask_rcnn": {**common, "anchor_sizes": [8, 16, 32, 64], "mask_channels": [16]},
        "good-solov2": {**common, **solov2},
        "good-mask2former": {**common, "channels": 64, "encoder_layers": 1, "decoder_layers": 1},
        "good-whole-mask2former": {**common, "checkpoint": None, "architecture": whole},
        "hub-mask_rcnn": {**common, "backbone": "hf-hub:owner/name"},
        "folder-solov2": {**common, "backbone": "local-dir:."},
        "task-mask_rcnn": {**common, "backbone": "torchvision.ssd300_vgg16"},
    }
    architectures: dict[str, dict[str, Any]] = {
        "good-mask2former": whole,
        "good-sam": {"model_type": "sam", "vision_config": small, **sam},
        "good-sam_hq": {"model_type": "sam_hq", "vision_config": small, **sam},
        "good-sam2": {"model_type": "sam2", "vision_config": vision, **sam},
        "hub-sam2": {"model_type": "sam2", "vision_config": {"backbone": "owner/name"}},
        "kernel-mask2former": {**whole, "attn_implementation": "owner/name"},
    }
    made = {f"architecture/{name}.json": each for name, each in architectures.items()}
    for name, options in models.items():
        maker = name.split("-")[-1]
        target = {"_target_": f"p2seg.segmentors.{maker}.model.build_{maker}"}
        made[f"model/{name}.json"] = {**target, **options}
    return {name: json.dumps(content).encode() for name, content in made.items()}


def _saved(content: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, **options)
    return stream.getvalue()


def _weights() -> dict[str, bytes]:
    state = {
        "0.weight": torch.rand(2, 3, 1, 1),
        "0.bias": torch.rand(2),
        "1.bias": torch.rand(2),
        "1.weight": torch.rand(2),
        "1.running_mean": torch.rand(2),
        "1.running_var": torch.rand(2),
        "1.num_batches_tracked": torch.tensor(3),
    }
    config = {
        "segmentor": {"model": {"_target_": "p2seg.segmentors.mask_rcnn.model.build_mask_rcnn"}}
    }
    checkpoint = {
        "format": 1,
        "kind": "segmentor",
        "config": config,
        "step": 3,
        "average": None,
        "categories": [{"id": 1, "name": "red"}],
        "model": {"weight": torch.rand(2)},
    }
    sam = {
        "image_encoder.pos_embed": torch.rand(1, 2, 2, 4),
        "image_encoder.patch_embed.proj.weight": torch.rand(4, 3, 2, 2),
        "image_encoder.blocks.0.attn.rel_pos_h": torch.rand(3, 2),
        "image_encoder.neck.0.weight": torch.rand(4, 4, 1, 1),
        "image_encoder.blocks.0.mlp.lin1.weight": torch.rand(4, 4),
        "prompt_encoder.mask_downscaling.3.weight": torch.rand(2, 2, 2, 2),
    }
    return {
        "checkpoint/good.pt": _saved(checkpoint),
        "checkpoint/old.pt": _saved(checkpoint, _use_new_zipfile_serialization=False),
        "checkpoint/network.pt": _saved(checkpoint | {"kind": "network"}),
        "weights/good.pth": _saved(state),
        "weights/old.pth": _saved(state, _use_new_zipfile_serialization=False),
        "weights/nested.pth": _saved({"epoch": 3, "args": ["in1k"], "state_dict": state}),
        "safetensors/good.safetensors": safetensors(state, {"format": "pt", "note": "in1k"}),
        "sam/part.pth": _saved(sam),
    }


def _archive(kind: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=f"w:{kind}") as archive:
        folder = tarfile.TarInfo("VOC")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name in ("VOC/a.txt", "VOC/" + "long" * 40 + ".txt"):
            member = tarfile.TarInfo(name)
            member.size = 5
            archive.addfile(member, io.BytesIO(b"hello"))
        link = tarfile.TarInfo("VOC/link")
        link.type, link.linkname = tarfile.SYMTYPE, "a.txt"
        archive.addfile(link)
    return stream.getvalue()


def _others() -> dict[str, bytes]:
    made = {f"archive/{kind or 'plain'}.tar": _archive(kind) for kind in ("", "gz", "bz2", "xz")}
    made["list/good.txt"] = b"2007_000032\r\n2007_000039\n\npart/a b\n"
    picture = np.zeros((16, 16, 3), np.uint8)
    for ending, code in ((".avi", "MJPG"), (".mp4", "mp4v"), (".mkv", "MJPG")):
        path = CORPUS / "video" / f"good{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 5, (16, 16))
        for shade in range(3):
            writer.write(picture + shade * 80)
        writer.release()
        made[f"video/good{ending}"] = path.read_bytes()
    return made


if __name__ == "__main__":
    sys.exit(main())
