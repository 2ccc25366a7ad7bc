"""Weights that have seen masks: a network that learns from clicks must not start from them."""

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
"""What detectors and segmentors call their parts, at the start of a name between two dots."""

NAMES = re.compile(
    # what they were trained on
    r"(?<![a-z])((ms)?coco|lvis|objects?365|o365|ade(20k)?|cityscapes|sa1b)(?![a-z])"
    # detectors and segmentors
    r"|rcnn|mask2former|maskformer|oneformer|segformer|mask_?dino|retinanet|deeplab|upernet"
    r"|yolact|yolo(?!.*cls)|condinst|queryinst|sparseinst|panoptic"
    r"|(?<![a-z])((rt|rf)?detr|fcos|htc|solo(v2)?|cascade|seg)(?![a-z])"
    r"|^sam_vit_|^sam2_|^segmentor$"
)
"""What names files and weights after masks they were trained on."""


def refuse_mask_weights(
    name: str, group: str, *, state: Iterable[Any] = (), content: Any = None, allowed: bool = False
) -> None:
    """Refuses weights that show a detector or segmentor, or name COCO's masks.

    Args:
        name: of the file, without its folders, or of timm's weights.
        group: the config group that the error names, `model` or `segmentor`.
        state: the names of the tensors.
        content: whatever else the file says of itself.
        allowed: whether they may have seen masks; a segmentor alone is ever asked.

    Raises:
        UserError: they have.
    """
    if allowed:
        return
    sign = _sign(name, state, content)
    if sign is None:
        return
    way = (
        "; segmentor.allow_mask_pretraining=true takes them, and every result then says so"
        if group == "segmentor"
        else ""
    )
    raise UserError(
        f"{group}: the weights {name} were trained on masks or boxes ({sign}), which clicks do not "
        f"have; give weights of ImageNet classification{way}"
    )


def refuse_checkpoint(checkpoint: str | None, *, allowed: bool) -> None:
    """Refuses a whole segmentor to start from, where nobody asked for one.

    Raises:
        UserError: there is a checkpoint, and it is not allowed.
    """
    if checkpoint is not None and not allowed:
        raise UserError(
            f"segmentor.model.checkpoint={checkpoint} was trained on masks, which clicks do not "
            "have; leave it null, or add segmentor.allow_mask_pretraining=true, and every result "
            "says so"
        )


def _sign(name: str, state: Iterable[Any], content: Any) -> str | None:
    """What gives the weights away; None where nothing does."""
    if NAMES.search(name.lower()):
        return "by their name"
    part = next((key for key in state if isinstance(key, str) and PARTS.search(key)), None)
    if part is not None:
        return f"they have {part}"
    word = next((word for word in _words(content) if NAMES.search(word.lower())), None)
    return None if word is None else f"their file says {' '.join(word.split())[:40]}"


def _words(content: Any) -> Iterable[str]:
    """The texts in what a file says of itself, at any depth."""
    left, seen = [content], set()
    while left:
        each = left.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, (Mapping, list, tuple)) and id(each) not in seen:
            seen.add(id(each))  # a pickle may hold a list that holds itself
            left += reversed([*each.keys(), *each.values()] if isinstance(each, Mapping) else each)
