"""All settings: effect on results, commands, and allowed values. A setting has one row.

The default of a setting and its line of help are in `configs/`. A group, such as `mdm`, has a row
for all its settings without a row of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from p2seg.runtime.settings.values import Choice, Number

Effect: TypeAlias = Literal["result", "rounding", "nothing", "content"]


@dataclass(frozen=True)
class Setting:
    """The row of a setting, or of a group of settings.

    Attributes:
        effect: `result`: affects the result. `rounding`: affects the result up to rounding.
            `nothing`: does not affect the result. `content`: a path, of which only the content
            affects the result.
        commands: names of the commands whose result is affected, or that read the path.
        values: allowed values. None for a group, and for a setting that is checked elsewhere:
            against the type hint of a constructor (`p2seg.cli.checks`), or by its command.
    """

    effect: Effect
    commands: frozenset[str] = frozenset()
    values: Number | Choice | None = None


COUNT, AT_LEAST_ONE = Number(0), Number(1)
AT_LEAST_ONE_OR_NULL = Number(1, also=(None,))
SHARE, SHARE_OR_NULL = Number(0, 1, whole=False), Number(0, 1, whole=False, also=(None,))
NOT_NEGATIVE, POSITIVE = Number(0, whole=False), Number(0, whole=False, above=True)
POSITIVE_OR_NULL = Number(0, whole=False, above=True, also=(None,))
SWITCH = Choice((True, False))


def _rows(
    effect: Effect, commands: str, keys: str, values: Number | Choice | None = None
) -> dict[str, Setting]:
    """Rows with equal content.

    Args:
        effect: see `Setting`.
        commands: names of commands, separated by spaces.
        keys: dotted names of settings or groups, separated by spaces.
        values: see `Setting`.
    """
    return dict.fromkeys(keys.split(), Setting(effect, frozenset(commands.split()), values))


def _choice(values: str) -> Choice:
    """A choice between names, separated by spaces."""
    return Choice(tuple(values.split()))


def _table(*groups: dict[str, Setting]) -> dict[str, Setting]:
    table: dict[str, Setting] = {}
    for rows in groups:
        duplicates = rows.keys() & table.keys()
        assert not duplicates, f"settings in two rows: {duplicates}"
        table |= rows
    return table


SETTINGS = _table(
    # The method.
    _rows("result", "train gen_pseudo", "mdm method seeder model"),
    _rows("result", "train gen_pseudo", "mdm.rounds mdm.start_step mdm.min_region", COUNT),
    _rows("result", "train gen_pseudo", "mdm.snap_radius mdm.color_weight", NOT_NEGATIVE),
    _rows("result", "train gen_pseudo", "model.width model.embedding", AT_LEAST_ONE),
    _rows("result", "train gen_pseudo", "model.network.embedding model.detail", COUNT),
    _rows("result", "train", "loss optim data.augment"),
    _rows("result", "train", "optim.warmup_steps", Number(0, also=(None,))),
    _rows("result", "train gen_pseudo", "data.short_side data.long_side", AT_LEAST_ONE_OR_NULL),
    _rows("result", "train gen_pseudo", "data.stretch"),
    # Pseudo masks.
    _rows("result", "gen_pseudo", "export"),
    _rows("result", "gen_pseudo", "export.masks", _choice("mdm sam")),
    _rows("result", "gen_pseudo", "export.snap", _choice("none sam")),
    _rows("result", "gen_pseudo", "export.unclaimed", _choice("seed box")),
    _rows("result", "gen_pseudo", "export.rounds export.edges", COUNT),
    _rows("result", "gen_pseudo", "export.min_pixels", AT_LEAST_ONE),
    _rows("result", "gen_pseudo", "export.level", SHARE_OR_NULL),
    _rows("result", "gen_pseudo", "export.beta", POSITIVE_OR_NULL),
    _rows("result", "gen_pseudo", "export.ema", SWITCH),
    # Initial semantic maps.
    _rows("result", "gen_semantic", "semantic"),
    _rows("result", "gen_semantic", "semantic.background", SHARE_OR_NULL),
    _rows(
        "result",
        "gen_semantic",
        "semantic.select",
        _choice("score largest smallest consistent network"),
    ),
    _rows("result", "gen_semantic", "semantic.negatives", _choice("other_class all none")),
    _rows("result", "gen_semantic", "semantic.overlap", _choice("score smaller")),
    # Segmentation models.
    _rows("result", "train_segmentor", "segmentor"),
    _rows("result", "train_segmentor", "segmentor.short_side segmentor.long_side", AT_LEAST_ONE),
    _rows(
        "result",
        "train_segmentor",
        "segmentor.resize.short_side segmentor.resize.long_side segmentor.batch_size",
        AT_LEAST_ONE,
    ),
    _rows("result", "train_segmentor", "segmentor.clip_norm", POSITIVE_OR_NULL),
    _rows("result", "train_segmentor", "segmentor.copy_paste", SHARE),
    _rows("result", "train_segmentor", "segmentor.instances.score_power", NOT_NEGATIVE),
    _rows(
        "result",
        "train_segmentor",
        "segmentor.instances.default_boxes",
        _choice("mask box ignore"),
    ),
    _rows(
        "result",
        "train_segmentor",
        "segmentor.schedule.epochs segmentor.schedule.lr",
        POSITIVE,
    ),
    _rows("result", "train_segmentor", "segmentor.schedule.lr_batch", AT_LEAST_ONE),
    _rows("result", "train_segmentor", "segmentor.schedule.warmup_steps", COUNT),
    _rows("result", "train_segmentor", "segmentor.ema segmentor.allow_mask_pretraining", SWITCH),
    # Training, and several commands.
    _rows(
        "result",
        "make_points import_points gen_semantic train train_segmentor",
        "seed",
        Number(0, 2**63 - 1),
    ),
    _rows("result", "train train_segmentor", "deterministic", SWITCH),
    _rows("result", "train gen_pseudo train_segmentor predict", "trainer.precision"),
    _rows("result", "train", "trainer.batch_size trainer.max_steps trainer.ema"),
    _rows("result", "train", "trainer.clip_norm", POSITIVE_OR_NULL),
    _rows("result", "prepare", "data.prepare data.every"),
    # The same result up to rounding.
    _rows("rounding", "", "ops method.mdm.way semantic.prompter.accelerator"),
    _rows("rounding", "", "trainer.accelerator", _choice("auto cpu cuda gpu mps")),
    _rows("rounding", "", "trainer.channels_last trainer.compile trainer.devices"),
    _rows("rounding", "", "predict.batch_size", Number(1, also=("auto",))),
    _rows("rounding", "", "versions threads"),
    # No effect on results.
    _rows("nothing", "", "name out pipeline data.name data.root segmentor.validate"),
    _rows("nothing", "", "overwrite check browser pipeline.reselect pipeline.network", SWITCH),
    _rows("nothing", "", "resume", _choice("auto changed never")),
    _rows("nothing", "", "data.on_error", _choice("raise skip")),
    _rows("nothing", "", "data.workers semantic.workers trainer.picture_every", COUNT),
    _rows("nothing", "", "segmentor.validate.every", POSITIVE_OR_NULL),
    _rows("nothing", "", "segmentor.validate.images compare", AT_LEAST_ONE),
    _rows("nothing", "", "trainer._target_ trainer.resume trainer.keep trainer.log_every"),
    _rows("nothing", "", "trainer.checkpoint_every trainer.snapshots"),
    _rows("nothing", "", "host"),
    _rows("nothing", "", "port", Number(0, 65535)),
    _rows("nothing", "", "preview", _choice("grabcut sam network none")),
    _rows("nothing", "", "preview_side", Number(64, 4096)),
    # The number of classes is read from the points file, whose categories are part of the key.
    _rows("nothing", "", "data.num_classes model.network.num_classes"),
    # Paths, of which only the content matters.
    _rows("content", "prepare pipeline", "data.source"),
    _rows(
        "content",
        "gen_semantic train gen_pseudo train_segmentor validate visualize pipeline",
        "data.images",
    ),
    _rows(
        "content",
        "export_points gen_semantic train gen_pseudo validate visualize pipeline",
        "data.points",
    ),
    _rows("content", "train gen_pseudo validate visualize gallery", "data.semantic"),
    _rows("content", "gen_pseudo", "data.candidates"),
    _rows("content", "validate visualize pipeline", "data.gt"),
    _rows("content", "train_segmentor validate pipeline", "data.val_images data.val_gt"),
    _rows(
        "content", "export_points gen_semantic train gen_pseudo train_segmentor gallery", "review"
    ),
    _rows("content", "gen_semantic", "semantic.maps semantic.gt semantic.class_map"),
    _rows("content", "gen_semantic", "semantic.sam.checkpoint"),
    _rows("content", "train pipeline", "model.weights"),
    _rows("content", "train_segmentor pipeline", "segmentor.weights"),
    _rows(
        "content",
        "gen_semantic gen_pseudo predict export annotate gallery visualize pipeline",
        "ckpt",
    ),
    _rows("content", "make_points predict export_masks eval gallery", "gt"),
    _rows("content", "export_masks eval gallery", "pred"),
    _rows("content", "train_segmentor validate", "pseudo"),
    _rows(
        "content",
        "make_points import_points export_points predict export_masks export annotate gallery",
        "images",
    ),
    _rows("content", "import_points", "in"),
    # Copies of a path above, for the object that is built from it.
    _rows("nothing", "", "semantic.source.maps semantic.source.class_map semantic.source.gt"),
    _rows("nothing", "", "semantic.prompter.gt semantic.prompter.checkpoint"),
    _rows("nothing", "", "model.network.backbone.weights segmentor.model.weights"),
    # Settings of single commands.
    _rows("result", "make_points import_points", "sampler"),
    _rows("result", "make_points import_points", "jitter", SHARE),
    _rows("result", "import_points", "attribute classes keypoint"),
    _rows("result", "import_points", "empty", _choice("keep drop")),
    _rows("result", "import_points", "pixels", _choice("auto center edge")),
    _rows("result", "import_points", "first_class", Choice((0, 1, None))),
    _rows("result", "import_points export_points", "format"),
    _rows("result", "export_points export_masks", "url"),
    _rows("result", "export_masks", "formats points polygons"),
    _rows("result", "export_masks", "score val", SHARE),
    _rows("result", "predict", "predict"),
    _rows("result", "predict", "predict.score predict.overlay_score", SHARE),
    _rows("result", "predict", "predict.overlays", Number(0, also=(True, False))),
    _rows("result", "predict", "predict.every", AT_LEAST_ONE),
    _rows("result", "predict", "predict.ema", SWITCH),
    _rows("result", "eval", "kind split"),
    _rows("result", "eval", "void", _choice("count ignore")),
    _rows("result", "gallery", "stages", Choice(("auto", True, False))),
    _rows("result", "visualize", "figure masks names runs titles"),
    _rows("result", "visualize", "truth", Choice((True, False, None))),
    _rows("result", "visualize", "clicks count", AT_LEAST_ONE),
    _rows("result", "visualize", "cell", Number(32)),
    # Entries of a checkpoint that are not settings.
    _rows("result", "train train_segmentor", "inputs categories skipped"),
)
"""Rows by setting or group; the longest matching key applies."""
