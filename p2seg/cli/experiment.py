"""The stages of an experiment: each calls the tool that does it alone."""

from __future__ import annotations

import subprocess
from copy import deepcopy
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from p2seg.cli import gen_pseudo, gen_semantic, make_points, predict, train, train_segmentor
from p2seg.cli.candidates import is_prompted
from p2seg.cli.experiment_report import write_experiment
from p2seg.cli.fingerprints import key_of
from p2seg.cli.labeler import check_affinities
from p2seg.cli.paths import output_folder, path_of
from p2seg.cli.program import start_apart
from p2seg.cli.words import literal
from p2seg.data.coco import read_instances
from p2seg.data.points import read_points
from p2seg.data.records import ImageRecord
from p2seg.engine.checkpoint import load_checkpoint
from p2seg.errors import UserError
from p2seg.runtime.lifetime import naming_parent
from p2seg.runtime.progress import console
from p2seg.runtime.stage_cache import Stages
from p2seg.semantic.manifest import MANIFEST


class Experiment:
    """One experiment in its folder `outputs/<name>`.

    Args:
        cfg: of p2seg pipeline.
    """

    def __init__(self, cfg: DictConfig) -> None:
        self.cfg = cfg
        self.home = output_folder(cfg, "")
        self.stages = Stages(self.home / "stages", lambda s: console.print(s, markup=False))
        self.images, self.maps = path_of(cfg, "data.images"), path_of(cfg, "data.semantic")
        self.clicks, self.gt = path_of(cfg, "data.points"), path_of(cfg, "data.gt")
        self.val_gt = path_of(cfg, "data.val_gt")
        given = None if cfg.ckpt in (None, "none") else path_of(cfg, "ckpt")
        self.network = self.home / "network" / "last.pt" if given is None else given
        if given is not None:
            load_checkpoint(given, "network")  # a wrong one is told before any work
        if not cfg.pipeline.network and (given is not None or "mdm" in cfg.pipeline.segmentors):
            raise UserError(
                "pipeline.network=false makes no masks of MDM and takes no checkpoint; leave ckpt "
                "out and give pipeline.segmentors=[], or [control]"
            )
        if cfg.pipeline.reselect and not (cfg.pipeline.network and is_prompted(cfg)):
            raise UserError(
                "pipeline.reselect=true lets a trained network choose among candidates; give "
                "semantic=sam and pipeline.network=true"
            )
        if cfg.pipeline.network:
            check_affinities(cfg)
        if "sam" in cfg.pipeline.segmentors and not is_prompted(cfg):
            raise UserError("pipeline.segmentors=[sam] is of chosen candidates; give semantic=sam")
        self.masks: list[str] = []
        self.segmentors: list[str] = []

    def prepare(self) -> None:
        """Instance files of the data set, by the command that `data.prepare` names."""
        if self.cfg.data.prepare is None:
            return
        command, *words = map(str, self.cfg.data.prepare)
        self.stages.run(
            "prepare",
            lambda: _call(command, words),
            key=lambda: key_of(self.cfg, "prepare", []),
            outputs=[self.gt, self.val_gt],
            makes_inputs=True,
        )

    def points(self) -> None:
        """Clicks: an existing file that this stage did not make, or that was edited since; else one
        per instance of the ground truth."""
        if self.clicks.is_file() and not self.stages.are_made("points", [self.clicks]):
            console.print(f"points: {self.clicks} as it is", markup=False)
            return
        cfg = self.changed(gt=self.gt, out=self.clicks, images=None)
        self.stages.run(
            "points",
            lambda: make_points.run(cfg),
            key=lambda: key_of(cfg, "make_points", []),
            outputs=[self.clicks],
        )

    @property
    def manifest(self) -> Path:
        """Of the first maps."""
        return self.maps / MANIFEST

    @cached_property
    def _images(self) -> list[ImageRecord]:
        """The training images."""
        return list(read_points(self.clicks).images)

    def semantic(self) -> None:
        """First semantic maps."""
        cfg = self.changed(out=self.maps)
        self.stages.run(
            "semantic",
            lambda: gen_semantic.make(cfg),
            key=lambda: key_of(cfg, "gen_semantic", self._images),
            outputs=[self.manifest],
        )

    def reselect(self) -> None:
        """First maps of the masks that the trained network chooses; exports go on from these."""
        maps = self.home / "maps_network"
        self.cfg = self.changed(**{"semantic.select": "network", "data.semantic": maps})
        cfg = self.changed(out=maps, ckpt=self.network)
        self.stages.run(
            "reselect",
            lambda: gen_semantic.make(cfg),
            key=lambda: key_of(
                cfg, "gen_semantic", self._images, also=("gen_pseudo",), without=("data.semantic",)
            ),
            outputs=[maps / MANIFEST],
        )
        self.maps = maps

    def train(self) -> None:
        """The network, unless `ckpt` gives one."""
        if self.cfg.ckpt not in (None, "none"):
            console.print(f"network: {self.network} as it is", markup=False)
            return
        kept = sorted({0, *self.cfg.trainer.snapshots})  # 0: what the untrained network is
        cfg = self.changed(**{"out": self.home / "network", "trainer.snapshots": kept})
        self.stages.run(
            "train",
            lambda: train.run(cfg),
            key=lambda: key_of(cfg, "train", self._images),
            outputs=[self.network],
            training=self.home / "network",
        )

    @property
    def untrained(self) -> Path:
        """The weights that the training began with; there is none of a network from elsewhere."""
        return self.home / "network" / "snapshots" / "step_000000.pt"

    def pseudo(self, stage: str) -> None:
        """Masks: `seed` (as trained on), `control` (the export's rules, Eq. 1, no network),
        `geodesic` and `mixture` (as the control, by that `mdm.split`), `mdm`, `untrained` (as
        `mdm`, by the network before its training), `sam` (the chosen candidates as they are),
        `sam_network` (those that the network chooses)."""
        asks = stage in ("mdm", "untrained", "sam_network")
        chooses, without = stage.startswith("sam"), set[str]()
        change: dict[str, Any] = {"out": self.masks_file(stage)}
        network = self.untrained if stage == "untrained" else self.network
        change["ckpt"] = network if asks else "none"
        change["export.masks"] = "sam" if chooses else "mdm"
        if stage not in ("mdm", "untrained"):
            change |= {"export.foreground": 1.0, "export.edges": 0, "export.snap": "none"}
        if stage == "seed":
            change["export.orphans"] = "drop"
        if stage in ("control", "geodesic", "mixture"):
            # the yardsticks of every experiment, no network; the control is Eq. 1
            split = "euclidean" if stage == "control" else stage
            change |= {"mdm.split": split, "mdm.conflict": "points_first"}
        if not asks:
            without |= {"model"}
        if not is_prompted(self.cfg):
            without |= {"data.candidates"}
        cfg = self.changed(**change)
        self.stages.run(
            stage,
            lambda: gen_pseudo.run(cfg),
            key=lambda: key_of(
                cfg,
                "gen_pseudo",
                self._images,
                also=("gen_semantic",) if chooses else (),
                without=without,
            ),
            outputs=[self.masks_file(stage)],
        )
        self.masks.append(stage)

    def segmentor(self, masks: str) -> None:
        """A segmentor on masks of a stage, or on `gt`, and what it finds in the val images."""
        name = "segmentor" if masks == "mdm" else f"segmentor_{masks}"
        source = self.gt if masks == "gt" else self.masks_file(masks)
        ckpt = self.home / name / "last.pt"
        cfg = self.changed(pseudo=source, out=self.home / name)
        self.stages.run(
            name,
            lambda: train_segmentor.run(cfg),
            key=lambda: key_of(
                cfg,
                "train_segmentor",
                read_instances(source).images,
                without=("data.val_images", "data.val_gt"),  # a validation moves no weight
            ),
            outputs=[ckpt],
            training=self.home / name,
        )
        found = self.predictions_file(name)
        val = {"images": path_of(self.cfg, "data.val_images"), "gt": self.val_gt}
        predicting = self.changed(ckpt=ckpt, out=found.parent, **val)
        self.stages.run(
            f"{name}_predict",
            lambda: predict.run(predicting),
            key=lambda: key_of(predicting, "predict", read_instances(self.val_gt).images),
            outputs=[found],
        )
        self.segmentors.append(name)

    def report(self) -> Path:
        """Writes the page of scores and pictures, and gives it."""
        return write_experiment(self)

    def masks_file(self, stage: str) -> Path:
        """Where the masks of a stage are."""
        return self.home / f"{stage}.json"

    def predictions_file(self, name: str) -> Path:
        """Where the predictions of a segmentor are."""
        return self.home / name / "val" / "predictions.json"

    def changed(self, **change: Any) -> DictConfig:
        """The config with some keys changed; their names may have dots."""
        changed = deepcopy(self.cfg)
        for key, value in change.items():
            value = literal(str(value)) if isinstance(value, Path) else value
            OmegaConf.update(changed, key, value, force_add=True)
        return changed


def _call(command: str, words: list[str]) -> None:
    """Runs a command that prepares data in a process of its own."""
    with naming_parent():
        done = subprocess.run(
            start_apart(command, words), stderr=subprocess.PIPE, text=True, check=False
        )
    if done.returncode:
        raise UserError((done.stderr.strip().splitlines() or [f"{command} failed"])[-1])
