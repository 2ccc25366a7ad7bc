"""The effect of each setting on results, for caching, resuming and `run.json`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Effect: TypeAlias = Literal["result", "rounding", "nothing", "content"]


@dataclass(frozen=True)
class Setting:
    """The effect of a setting, or of a group of settings.

    Attributes:
        effect: `result`: affects the result. `rounding`: affects the result up to rounding.
            `nothing`: does not affect the result. `content`: a path, of which only the content
            affects the result.
        commands: names of the commands whose result is affected, or that read the path.
    """

    effect: Effect
    commands: frozenset[str] = frozenset()


def _rows(effect: Effect, commands: str, *keys: str) -> dict[str, Setting]:
    return dict.fromkeys(keys, Setting(effect, frozenset(commands.split())))


def _table(*groups: dict[str, Setting]) -> dict[str, Setting]:
    table: dict[str, Setting] = {}
    for rows in groups:
        duplicates = rows.keys() & table.keys()
        assert not duplicates, f"settings in two rows: {duplicates}"
        table |= rows
    return table


SETTINGS = _table(
    # The method. The row of a group applies to all its settings without a row of their own.
    _rows("result", "train gen_pseudo", "mdm", "method", "seeder", "model"),
    _rows("result", "train", "loss", "optim", "data.augment"),
    _rows("result", "train gen_pseudo", "data.short_side", "data.long_side", "data.stretch"),
    _rows("result", "gen_pseudo", "export"),
    _rows("result", "gen_semantic", "semantic"),
    _rows("result", "train_segmentor", "segmentor"),
    _rows("result", "make_points import_points gen_semantic train train_segmentor", "seed"),
    _rows("result", "train train_segmentor", "deterministic"),
    _rows("result", "train gen_pseudo train_segmentor predict", "trainer.precision"),
    _rows("result", "train", "trainer.batch_size", "trainer.max_steps"),
    _rows("result", "train", "trainer.clip_norm", "trainer.ema"),
    _rows("result", "prepare", "data.prepare", "data.every"),
    # The same result up to rounding.
    _rows("rounding", "", "ops", "method.mdm.way", "semantic.prompter.accelerator"),
    _rows("rounding", "", "trainer.accelerator", "trainer.channels_last", "trainer.compile"),
    _rows("rounding", "", "trainer.devices", "predict.batch_size", "versions", "threads"),
    # No effect on results.
    _rows("nothing", "", "name", "out", "overwrite", "resume", "check", "pipeline"),
    _rows("nothing", "", "data.name", "data.root", "data.workers", "data.on_error"),
    _rows("nothing", "", "semantic.workers", "segmentor.validate"),
    _rows("nothing", "", "trainer._target_", "trainer.resume", "trainer.keep"),
    _rows("nothing", "", "trainer.log_every", "trainer.picture_every"),
    _rows("nothing", "", "trainer.checkpoint_every", "trainer.snapshots"),
    _rows("nothing", "", "browser", "host", "port", "preview", "preview_side", "compare"),
    # The number of classes is read from the points file, whose categories are part of the key.
    _rows("nothing", "", "data.num_classes", "model.network.num_classes"),
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
    _rows("content", "train_segmentor validate pipeline", "data.val_images", "data.val_gt"),
    _rows(
        "content", "export_points gen_semantic train gen_pseudo train_segmentor gallery", "review"
    ),
    _rows("content", "gen_semantic", "semantic.maps", "semantic.gt", "semantic.class_map"),
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
    _rows("nothing", "", "semantic.source.maps", "semantic.source.class_map"),
    _rows("nothing", "", "semantic.source.gt", "semantic.prompter.gt"),
    _rows("nothing", "", "semantic.prompter.checkpoint"),
    _rows("nothing", "", "model.network.backbone.weights", "segmentor.model.weights"),
    # Settings of single commands.
    _rows("result", "make_points import_points", "sampler", "jitter"),
    _rows("result", "import_points", "attribute", "classes", "empty", "first_class"),
    _rows("result", "import_points", "keypoint", "pixels"),
    _rows("result", "import_points export_points", "format"),
    _rows("result", "export_points export_masks", "url"),
    _rows("result", "export_masks", "formats", "points", "polygons", "score", "val"),
    _rows("result", "predict", "predict"),
    _rows("result", "eval", "kind", "split", "void"),
    _rows("result", "gallery", "stages"),
    _rows("result", "visualize", "figure", "masks", "names", "runs", "titles", "truth"),
    _rows("result", "visualize", "cell", "clicks", "count"),
    # Entries of a checkpoint that are not settings.
    _rows("result", "train train_segmentor", "inputs", "categories", "skipped"),
)
"""Effect by setting or group; the longest matching key applies."""


def setting_of(key: str) -> Setting | None:
    """The row of a setting, or of the smallest group that contains it; None without a row.

    Args:
        key: dotted name, such as `data.workers`.
    """
    while key not in SETTINGS:
        key, dot, _ = key.rpartition(".")
        if not dot:
            return None
    return SETTINGS[key]


def effect_of(key: str) -> Effect:
    """The effect of a setting; `result` for one without a row."""
    row = setting_of(key)
    return "result" if row is None else row.effect


def deciding(config: Mapping[str, Any], command: str) -> dict[str, Any]:
    """The settings that affect the result of a command.

    Args:
        config: configuration of the command, as nested dicts and lists.
        command: name of the command, such as `gen_pseudo`.

    Returns:
        Values by dotted name.
    """
    rows = {key: (setting_of(key), value) for key, value in flat(config).items()}
    return {
        key: value
        for key, (row, value) in rows.items()
        if row is None or (row.effect == "result" and command in row.commands)
    }


def rounding(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that affect rounding only, by dotted name."""
    rows = {key: (setting_of(key), value) for key, value in flat(config).items()}
    return {
        key: value
        for key, (row, value) in rows.items()
        if row is not None and row.effect == "rounding"
    }


def paths_read(command: str) -> list[str]:
    """The settings that name inputs of a command."""
    return [
        key for key, row in SETTINGS.items() if row.effect == "content" and command in row.commands
    ]


def path_settings() -> frozenset[str]:
    """All settings that name inputs."""
    return frozenset(key for key, row in SETTINGS.items() if row.effect == "content")


def flat(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Flattens nested dicts and lists into one dict with dotted keys."""
    return dict(_flat("", tree))


def _flat(prefix: str, value: object) -> Iterable[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), item)
    elif isinstance(value, list):
        yield from _flat(prefix, {str(index): item for index, item in enumerate(value)})
    else:
        yield prefix, value
