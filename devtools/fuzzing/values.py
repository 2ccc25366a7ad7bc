"""Unexpected values and keys for a JSON reader."""

from __future__ import annotations

from typing import Any

SIZE = (6, 8)
"""(height, width) of the corpus images in pixels."""
CLASSES = ("red", "blue")


def hostile_values() -> list[Any]:
    """Returns values that a JSON reader does not expect."""
    return [
        *(None, True, False, 0, -1, 1.0, -0.0, 0.5, 1e999, -1e999, float("nan"), 1e-320),
        *(2**31, 2**32, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63), 10**300, 10**4000),
        *("", "0", "1", " ", "\0", "a\nb", "\x1b[31m", "\u202e", "\ud800", "é", "e\u0301", "😀"),
        *("..", "../x", "/x", "C:\\x", "\\\\x\\y", "a/../../b", "x" * 300, "x/" * 3000, "<b>"),
        *([], {}, [[]], [{}], [None], {"a": 1}, [0] * 2000, [[0, 0]], {"": ""}, "NaN"),
        *(
            "hf-hub:owner/name",
            "hf_hub:owner/name",
            "local-dir:.",
            "owner/name",
            "owner/name@main:a",
        ),
        *("https://nowhere.invalid/a", "torchvision.ssd300_vgg16", "../a.safetensors", "os.system"),
        *("flash_attention_2", "paged|owner/name", "timm_backbone", "swin", "torchvision.resnet18"),
        {"model_type": "timm_backbone", "backbone": "owner/name"},
        {"AutoModel": "owner/name--module.Class"},
        [[-1e30, 0, 5, 5, 1e30, 0]],
        {"size": list(SIZE), "counts": [0, SIZE[0] * SIZE[1]]},
        {"size": list(SIZE), "counts": "ooooooo0"},
    ]


HOSTILE_KEYS = (
    *("attn_implementation", "_attn_implementation", "auto_map", "backbone", "backbone_config"),
    *("backbone_kwargs", "dtype", "model_type", "name_or_path", "per_layer_config", "pretrained"),
    *("quantization_config", "transformers_weights", "trust_remote_code", "use_kernels", "weights"),
    *("use_pretrained_backbone", "use_timm_backbone", "checkpoint", "architecture", "_target_"),
)
"""Names of settings by which a file requests more than numbers."""
