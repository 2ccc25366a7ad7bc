"""Rejects pretrained weights that were trained on masks or boxes.

The method learns from points only, so its results must not depend on other annotations.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from p2seg.errors import UserError

PARTS = re.compile(
    r"(^|\.)(roi_heads?|rpn|proposal_generator|bbox_head|box_head|mask_head|mask_embed|mask_predictor"
    r"|masks_queries|sem_seg_head|decode_head|auxiliary_head|aux_classifier|pixel_decoder"
    r"|transformer_module|class_embed|bbox_embed|panoptic|solo|semantic_head|instance_head)"
)
"""Names of modules of detectors and segmentation models, matched at the start of a part of a tensor
name."""

NAMES = re.compile(
    # data sets with masks or boxes
    r"(?<![a-z])((ms)?coco|lvis|objects?365|o365|ade(20k)?|cityscapes|sa1b)(?![a-z])"
    # detectors and segmentation models
    r"|rcnn|mask2former|maskformer|oneformer|segformer|mask_?dino|retinanet|deeplab|upernet"
    r"|yolact|yolo(?!.*cls)|condinst|queryinst|sparseinst|panoptic"
    r"|(?<![a-z])((rt|rf)?detr|fcos|htc|solo(v2)?|cascade|seg)(?![a-z])"
    r"|^sam_vit_|^sam2_|^segmentor$"
)
"""Names of weights or files that were trained on masks or boxes."""


def refuse_mask_weights(
    name: str, group: str, *, state: Iterable[Any] = (), content: Any = None, allowed: bool = False
) -> None:
    """Rejects weights of a detector or segmentation model.

    Args:
        name: name of the file without folders, or of timm's weights.
        group: config group for the error message, `model` or `segmentor`.
        state: names of the tensors.
        content: metadata of the file.
        allowed: accepts all weights (`segmentor.allow_mask_pretraining`).

    Raises:
        UserError: the name, the tensors or the metadata show training on masks or boxes.
    """
    if allowed:
        return
    evidence = _evidence(name, state, content)
    if evidence is None:
        return
    option = (
        ", or set segmentor.allow_mask_pretraining=true, which is recorded with every result"
        if group == "segmentor"
        else ""
    )
    raise UserError(
        f"{group}: the weights {name} were trained on masks or boxes ({evidence}), but training "
        f"from points must not use them; use weights of ImageNet classification{option}"
    )


def refuse_checkpoint(checkpoint: str | None, *, allowed: bool) -> None:
    """Rejects a complete pretrained segmentation model unless it is allowed.

    Raises:
        UserError: a checkpoint is set and not allowed.
    """
    if checkpoint is not None and not allowed:
        raise UserError(
            f"segmentor.model.checkpoint={checkpoint} was trained on masks, but training from "
            "points must not use them; set it to null, or set "
            "segmentor.allow_mask_pretraining=true, which is recorded with every result"
        )


def _evidence(name: str, state: Iterable[Any], content: Any) -> str | None:
    """Why the weights were trained on masks or boxes; None if nothing shows it."""
    if NAMES.search(name.lower()):
        return "by their name"
    part = next((key for key in state if isinstance(key, str) and PARTS.search(key)), None)
    if part is not None:
        return f"they have {part}"
    word = next((word for word in _words(content) if NAMES.search(word.lower())), None)
    return None if word is None else f"their file says {' '.join(word.split())[:40]}"


def _words(content: Any) -> Iterable[str]:
    """All strings in nested metadata."""
    left, seen = [content], set()
    while left:
        each = left.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, (Mapping, list, tuple)) and id(each) not in seen:
            seen.add(id(each))  # a pickled list may contain itself
            left += reversed([*each.keys(), *each.values()] if isinstance(each, Mapping) else each)
