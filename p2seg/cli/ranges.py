"""Ranges of the settings that commands read themselves; `build` checks those of objects."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from p2seg.errors import UserError


@dataclass(frozen=True)
class Number:
    """A number, whole or not, in a range; or also null."""

    low: float
    high: float = math.inf
    whole: bool = True
    null: bool = False
    above: bool = False

    def takes(self, value: Any) -> bool:
        """Whether a value is one of these."""
        if value is None:
            return self.null
        fits = type(value) is int if self.whole else type(value) in (int, float)
        return fits and self.low <= value <= self.high and not (self.above and value == self.low)

    def __str__(self) -> str:
        kind = "an integer" if self.whole else "a number"
        if math.isinf(self.high) or self.above:
            bounds = f"{'>' if self.above else '>='} {self.low}"
            bounds += "" if math.isinf(self.high) else f" and <= {self.high}"
        else:
            bounds = f"from {self.low} to {self.high}"
        return f"{kind} {bounds}" + (", or null" if self.null else "")


COUNT, AT_LEAST_ONE = Number(0), Number(1)
SHARE = Number(0, 1, whole=False)
NUMBERS = {
    "seed": Number(0, 2**63 - 1),
    "data.workers": COUNT,
    "data.short_side": Number(1, null=True),
    "data.long_side": Number(1, null=True),
    "semantic.workers": COUNT,
    "semantic.background": Number(0, 1, whole=False, null=True),
    "trainer.picture_every": COUNT,
    "trainer.clip_norm": Number(0, whole=False, null=True, above=True),
    "mdm.rounds": COUNT,
    "mdm.start_step": COUNT,
    "mdm.snap_radius": Number(0, whole=False),
    "mdm.min_region": COUNT,
    "mdm.color_weight": Number(0, whole=False),
    "optim.warmup_steps": Number(0, null=True),
    "model.width": AT_LEAST_ONE,
    "model.embedding": AT_LEAST_ONE,
    "model.network.embedding": COUNT,
    "model.detail": COUNT,
    "export.rounds": COUNT,
    "export.edges": COUNT,
    "export.min_pixels": AT_LEAST_ONE,
    "export.level": Number(0, 1, whole=False, null=True),
    "export.beta": Number(0, whole=False, null=True, above=True),
    "predict.score": SHARE,
    "val": SHARE,
    "predict.overlay_score": SHARE,
    "predict.every": AT_LEAST_ONE,
    "segmentor.short_side": AT_LEAST_ONE,
    "segmentor.long_side": AT_LEAST_ONE,
    "segmentor.resize.short_side": AT_LEAST_ONE,
    "segmentor.resize.long_side": AT_LEAST_ONE,
    "segmentor.batch_size": AT_LEAST_ONE,
    "segmentor.clip_norm": Number(0, whole=False, null=True, above=True),
    "segmentor.copy_paste": SHARE,
    "segmentor.validate.every": Number(0, whole=False, null=True, above=True),
    "segmentor.validate.images": AT_LEAST_ONE,
    "segmentor.instances.score_power": Number(0, whole=False),
    "segmentor.schedule.epochs": Number(0, whole=False, above=True),
    "segmentor.schedule.lr": Number(0, whole=False, above=True),
    "segmentor.schedule.lr_batch": AT_LEAST_ONE,
    "segmentor.schedule.warmup_steps": COUNT,
    "jitter": SHARE,
    "compare": AT_LEAST_ONE,
    "count": AT_LEAST_ONE,
    "score": SHARE,
    "clicks": AT_LEAST_ONE,
    "cell": Number(32),
    "port": Number(0, 65535),
    "preview_side": Number(64, 4096),
}
CHOICES = {
    "deterministic": (True, False),
    "overwrite": (True, False),
    "resume": ("auto", "changed", "never"),
    "trainer.accelerator": ("auto", "cpu", "cuda", "gpu", "mps"),
    "segmentor.ema": (True, False),
    "segmentor.allow_mask_pretraining": (True, False),
    "segmentor.instances.default_boxes": ("mask", "box", "ignore"),
    "predict.ema": (True, False),
    "export.unclaimed": ("seed", "box"),
    "export.ema": (True, False),
    "pipeline.reselect": (True, False),
    "check": (True, False),
    "truth": (True, False, None),
    "pipeline.network": (True, False),
    "browser": (True, False),
    "stages": ("auto", True, False),
}


def check_ranges(cfg: DictConfig) -> None:
    """Compares settings with what they can be, where the tool has them.

    Raises:
        UserError: a value is invalid.
    """
    for key, number in NUMBERS.items():
        value = OmegaConf.select(cfg, key, default=_ABSENT, throw_on_missing=False)
        if value is not _ABSENT and not number.takes(value):
            raise UserError(f"{key}={_shown(value)}: must be {number}")
    for key, choices in CHOICES.items():
        value = OmegaConf.select(cfg, key, default=_ABSENT)
        fits = any(type(value) is type(each) and value == each for each in choices)
        if value is not _ABSENT and not fits:
            known = ", ".join(str(each).lower() for each in choices)
            raise UserError(f"{key}={_shown(value)} is unknown; choose one of {known}")


_ABSENT = object()


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)
