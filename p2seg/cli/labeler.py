"""Labelers for pseudo masks: from the seeds, or from a trained network."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from p2seg.cli.build import build, network_input, plain
from p2seg.cli.checks import check_values
from p2seg.cli.inputs import set_classes
from p2seg.cli.networks import load_network
from p2seg.data.points import PointSet
from p2seg.engine.checkpoint import load_checkpoint
from p2seg.errors import UserError
from p2seg.method.interface import Method
from p2seg.method.rounds import MutualDistillation
from p2seg.pseudo.export import MaskRules
from p2seg.pseudo.labeler import Labeler
from p2seg.pseudo.network import NetworkLabeler
from p2seg.pseudo.seeds import SeedLabeler
from p2seg.runtime.files import sha256
from p2seg.runtime.progress import console

EXPORT: dict[type, dict[str, str]] = {
    MaskRules: {"min_pixels": "export.min_pixels", "default_box": "export.default_box"},
    NetworkLabeler: {
        "rounds": "export.rounds",
        "silhouette": "export.semantic",
        "orphans": "export.orphans",
        "foreground": "export.foreground",
        "edges": "export.edges",
        "flip": "export.flip",
        "scales": "export.scales",
        "level": "export.level",
    },
}
"""By class: parameters and the settings that they come from."""

PSEUDO = "p2seg pseudo masks"
"""`info.description` of a file of pseudo masks."""

OF_SEEDS = ("orphans", "foreground", "edges", "min_pixels", "default_box")
"""Settings of an export from seeds; the first three are parameters of `SeedLabeler`."""

NEEDED = {"step", "config", "categories", "model", "average"}
"""Entries of a checkpoint that labeling needs."""


def check_export(cfg: DictConfig) -> None:
    """Compares the settings of an export with their types.

    Raises:
        UserError: a value is invalid.
    """
    for function, settings in EXPORT.items():
        check_values(function, {p: (s, OmegaConf.select(cfg, s)) for p, s in settings.items()})


def labeler_of(
    cfg: DictConfig, points: PointSet, device: torch.device
) -> tuple[Labeler, dict[str, Any]]:
    """The labeler of the images, and its description for the result."""
    rules = plain(cfg.export)
    seeds = cfg.ckpt in (None, "none")
    if rules["foreground"] != 1 and not rules["edges"] and (seeds or rules["semantic"] == "S0"):
        note = (
            "has no effect on the initial semantic map; set export.edges or export.semantic=network"
        )
        console.print(f"export.foreground={rules['foreground']} {note}", markup=False)
    info: dict[str, Any] = {"description": PSEUDO, "export": rules}
    if seeds:
        info["export"] = {key: rules[key] for key in OF_SEEDS}
        info |= {"source": "seed", "conflict": cfg.mdm.conflict, "snap_radius": cfg.mdm.snap_radius}
        info |= {"split": cfg.mdm.split, "color_weight": cfg.mdm.color_weight}
        return SeedLabeler(build(cfg.seeder), *(rules[key] for key in OF_SEEDS[:3])), info
    set_classes(cfg, points.categories, cfg.data.points)
    path = Path(cfg.ckpt).expanduser()
    checkpoint = load_checkpoint(path, "network")
    missing = NEEDED - checkpoint.keys()
    if missing:
        raise UserError(
            f"{path} lacks {', '.join(sorted(missing))}; use a checkpoint of p2seg train"
        )
    info |= {"source": "network", "checkpoint": sha256(path), "step": checkpoint["step"]}
    info |= {"network": checkpoint["config"], "mdm": plain(cfg.mdm)}
    info["network_input"] = asdict(network_input(cfg))
    return network_labeler(cfg, load_network(cfg, checkpoint, points).to(device)), info


def network_labeler(cfg: DictConfig, network: nn.Module) -> NetworkLabeler:
    """A labeler of a network, with the settings of the export."""
    check_affinities(cfg)
    method: Method = build(cfg.method)
    return NetworkLabeler(
        network=network,
        mdm=_rounds(cfg, method.mdm),
        decode=method.decode,
        rounds=cfg.export.rounds,
        silhouette=cfg.export.semantic,
        orphans=cfg.export.orphans,
        snap_radius=cfg.mdm.snap_radius,
        split=build(cfg.seeder.split),
        foreground=cfg.export.foreground,
        edges=cfg.export.edges,
        flip=cfg.export.flip,
        scales=tuple(cfg.export.scales),
        input=network_input(cfg),
        level=cfg.export.level,
    )


def _rounds(cfg: DictConfig, mdm: MutualDistillation | None) -> MutualDistillation | None:
    """The rounds of the export, possibly with another power than in training."""
    if mdm is None or cfg.export.beta is None:
        return mdm
    return replace(mdm, beta=cfg.export.beta)


def check_affinities(cfg: DictConfig) -> None:
    """Compares the rounds of the export with the network.

    Raises:
        UserError: the export needs affinities, but the network has none.
    """
    if OmegaConf.select(cfg, "model.network.embedding"):
        return
    for key, none in (("rounds", 0), ("beta", None)):
        if cfg.export[key] != none:
            raise UserError(
                f"export.{key}={cfg.export[key]} needs affinities, which this network does not "
                "have; remove it, or train with mdm=paper"
            )
