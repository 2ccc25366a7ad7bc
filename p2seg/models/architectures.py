"""Configurations of Hugging Face transformers, copied from untrusted files by an allow list.

transformers reads more than sizes from a config.json: repositories from which it downloads
backbones, attention kernels and code, other files, and plugins. So a config.json is never passed to
transformers. Only the known settings of the models in `KINDS` are copied into a new configuration.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from p2seg.errors import UserError, shown

KINDS: dict[str, tuple[str, dict[str, tuple[str, ...]]]] = {
    "mask2former": ("Mask2FormerConfig", {"backbone_config": ("swin", "resnet")}),
    "swin": ("SwinConfig", {}),
    "resnet": ("ResNetConfig", {}),
    "sam": (
        "SamConfig",
        {
            "vision_config": ("sam_vision_model",),
            "prompt_encoder_config": ("sam_prompt_encoder",),
            "mask_decoder_config": ("sam_mask_decoder",),
        },
    ),
    "sam_vision_model": ("SamVisionConfig", {}),
    "sam_prompt_encoder": ("SamPromptEncoderConfig", {}),
    "sam_mask_decoder": ("SamMaskDecoderConfig", {}),
    "sam_hq": (
        "SamHQConfig",
        {
            "vision_config": ("sam_hq_vision_model",),
            "prompt_encoder_config": ("sam_hq_prompt_encoder",),
            "mask_decoder_config": ("sam_hq_mask_decoder",),
        },
    ),
    "sam_hq_vision_model": ("SamHQVisionConfig", {}),
    "sam_hq_prompt_encoder": ("SamHQPromptEncoderConfig", {}),
    "sam_hq_mask_decoder": ("SamHQMaskDecoderConfig", {}),
    "sam2": (
        "Sam2Config",
        {
            "vision_config": ("sam2_vision_model",),
            "prompt_encoder_config": ("sam2_prompt_encoder",),
            "mask_decoder_config": ("sam2_mask_decoder",),
        },
    ),
    "sam2_vision_model": ("Sam2VisionConfig", {"backbone_config": ("sam2_hiera_det_model",)}),
    "sam2_hiera_det_model": ("Sam2HieraDetConfig", {}),
    "sam2_prompt_encoder": ("Sam2PromptEncoderConfig", {}),
    "sam2_mask_decoder": ("Sam2MaskDecoderConfig", {}),
}
"""By `model_type`: the configuration class, and the allowed types of each nested configuration."""

ATTENTION = ("sdpa", "eager")
"""Attention implementations that torch provides. All others are downloaded or compiled."""

DTYPES = ("float32", "float16", "bfloat16")

_SETTINGS = """
    activation_function attention_downsample_rate attention_dropout attention_probs_dropout_prob
    backbone_channel_list backbone_feature_sizes blocks_per_stage class_weight common_stride
    decoder_layers depths dice_weight dim_feedforward downsample_in_bottleneck
    downsample_in_first_stage drop_path_rate dropout dynamic_multimask_stability_delta
    dynamic_multimask_stability_thresh dynamic_multimask_via_stability embed_dim
    embed_dim_per_stage embedding_size encoder_feedforward_dim encoder_layers encoder_stride
    enforce_input_projection feature_size feature_strides fpn_hidden_size fpn_kernel_size
    fpn_padding fpn_stride fpn_top_down_levels global_attention_blocks global_attn_indexes
    hidden_act hidden_dim hidden_dropout_prob hidden_size hidden_sizes ignore_value image_size
    importance_sample_ratio init_std init_xavier_std initializer_range iou_head_depth
    iou_head_hidden_dim layer_norm_eps layer_type mask_feature_size mask_input_channels
    mask_weight mlp_dim mlp_ratio no_object_weight num_attention_heads
    num_attention_heads_per_stage num_channels num_feature_levels num_heads num_hidden_layers
    num_multimask_outputs num_point_embeddings num_pos_feats num_queries num_query_pool_stages
    out_features out_indices output_auxiliary_logits output_channels oversample_ratio
    patch_kernel_size patch_padding patch_size patch_stride pre_norm qkv_bias query_stride scale
    tie_word_embeddings train_num_points use_abs_pos use_absolute_embeddings use_auxiliary_loss
    use_rel_pos vit_dim window_positional_embedding_background_size window_size
    window_size_per_stage
"""
SETTINGS = frozenset(_SETTINGS.split())
"""Allowed settings of all models: numbers, booleans, words, or lists of these."""

WORD = re.compile(r"[A-Za-z0-9_-]{0,40}")
"""A text that cannot be a repository, path or URL."""

MOST = 1000
"""Maximum length of a list, and maximum number of layers."""


def rebuilt(kind: str, settings: Any, path: Path | str, where: str = "") -> dict[str, Any]:
    """The allowed settings of a config.json.

    Args:
        kind: a key of `KINDS`.
        settings: content of a config.json, or a nested part of it. Unknown settings are dropped.
        path: path of the file, for error messages.
        where: location of `settings` in the file, such as `vision_config.`.

    Returns:
        Settings by name, for `config_of`; JSON values.

    Raises:
        UserError: a setting has an invalid value, or would load code from elsewhere.
    """
    if not isinstance(settings, dict):
        raise UserError(f"{path} has {where.rstrip('.')}={shown(settings)}; it must be an object")
    for key in ("attn_implementation", "_attn_implementation"):
        attention = settings.get(key)
        if attention is not None and attention not in ATTENTION:
            raise UserError(
                f"{path} has {where}{key}={shown(attention)}, which can load code from elsewhere; "
                f"set it to {' or '.join(ATTENTION)}, or remove it"
            )
    if settings.get("quantization_config") is not None:
        raise UserError(
            f"{path} has {where}quantization_config, which is not supported; give the weights "
            "without quantization"
        )
    parts = KINDS[kind][1]
    kept: dict[str, Any] = {"model_type": kind}
    for key, kinds in parts.items():
        if settings.get(key) is not None or len(kinds) > 1:
            kept[key] = _part(kinds, settings.get(key), path, f"{where}{key}.")
    for key in sorted(SETTINGS & settings.keys()):
        if settings[key] is None:
            continue
        layers = key.endswith(("_layers", "_depth")) or key in ("depths", "blocks_per_stage")
        if not is_plain(settings[key]) or (layers and not _are_few(settings[key])):
            raise UserError(
                f"{path} has {where}{key}={shown(settings[key])}, which is invalid for {kind}; use "
                "the config.json that belongs to the weights"
            )
        kept[key] = settings[key]
    for key in ("torch_dtype", "dtype"):
        if settings.get(key) in DTYPES:
            kept["dtype"] = settings[key]
    return kept


def config_of(kept: dict[str, Any], path: Path | str) -> Any:
    """The configuration object of transformers, which must be installed.

    Args:
        kept: returned by `rebuilt`.
        path: path of the file, for error messages.

    Raises:
        UserError: transformers rejects the settings.
    """
    import transformers

    kind = kept["model_type"]
    try:
        # nested configurations are objects, so that transformers does not look them up by name
        nested = {key: config_of(kept[key], path) for key in KINDS[kind][1] if key in kept}
        plain = {key: value for key, value in kept.items() if key != "model_type"}
        return getattr(transformers, KINDS[kind][0])(**{**plain, **nested})
    except UserError:
        raise
    except Exception as error:  # transformers raises many types of errors
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path} is not a valid configuration of {kind} ({reason:.200}); use the config.json "
            "that belongs to the weights"
        ) from error


def _part(kinds: tuple[str, ...], value: Any, path: Path | str, where: str) -> dict[str, Any]:
    kind = kinds[0]
    if len(kinds) > 1:
        model_type = value.get("model_type") if isinstance(value, dict) else None
        if model_type not in kinds:
            raise UserError(
                f"{path} has {where}model_type={shown(model_type)}; it must be {' or '.join(kinds)}"
            )
        kind = str(model_type)
    return rebuilt(kind, value, path, where)


def _are_few(layers: Any) -> bool:
    """Whether a number of layers, or a list with one number per stage, is at most `MOST`."""
    each = layers if isinstance(layers, (list, tuple)) else [layers]
    return all(isinstance(count, int) for count in each) and sum(each) <= MOST


def is_plain(value: Any, depth: int = 2) -> bool:
    """Whether a value is a finite number, a boolean, a word, or a list of these.

    Args:
        value: a JSON value.
        depth: maximum nesting depth of lists.
    """
    if isinstance(value, (list, tuple)):
        return depth > 0 and len(value) <= MOST and all(is_plain(v, depth - 1) for v in value)
    if isinstance(value, str):
        return WORD.fullmatch(value) is not None
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and abs(value) < 2**31
