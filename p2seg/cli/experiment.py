"""The stages of an experiment; each stage calls a command."""

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
from p2seg.cli.overrides import literal
from p2seg.cli.paths import output_folder, path_of
from p2seg.cli.program import start_apart
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
    """An experiment in its folder `outputs/<name>`.

    Args:
        cfg: configuration of `p2seg pipeline`.
    """

    def __init__(self, cfg: DictConfig) -> None:
        self.cfg = cfg
        self.home = output_folder(cfg, "")
        self.stages = Stages(self.home / "stages", lambda s: console.print(s, markup=False))
        self.images, self.maps = path_of(cfg, "data.images"), path_of(cfg, "data.semantic")
        self.clicks, self.gt = path_of(cfg, "data.points"), path_of(cfg, "data.gt")
        self.val_gt = path_of(cfg, "data.val_gt")
        checkpoint = None if cfg.ckpt in (None, "none") else path_of(cfg, "ckpt")
        self.network = self.home / "network" / "last.pt" if checkpoint is None else checkpoint
        if checkpoint is not None:
            load_checkpoint(checkpoint, "network")  # rejects a wrong file before work starts
        if not cfg.pipeline.network and (
            checkpoint is not None or "mdm" in cfg.pipeline.segmentors
        ):
            raise UserError(
                "pipeline.network=false uses no network; remove ckpt, and set "
                "pipeline.segmentors=[] or [control]"
            )
        if cfg.pipeline.reselect and not (cfg.pipeline.network and is_prompted(cfg)):
            raise UserError(
                "pipeline.reselect=true needs candidates and a network; set semantic=sam and "
                "pipeline.network=true"
            )
        if cfg.pipeline.network:
            check_affinities(cfg)
        if "sam" in cfg.pipeline.segmentors and not is_prompted(cfg):
            raise UserError("pipeline.segmentors=[sam] needs candidates; set semantic=sam")
        self.masks: list[str] = []
        self.segmentors: list[str] = []

    def prepare(self) -> None:
        """Prepares the instance files of the data set with the command `data.prepare`."""
        if self.cfg.data.prepare is None:
            return
        command, *arguments = map(str, self.cfg.data.prepare)
        self.stages.run(
            "prepare",
            lambda: _call(command, arguments),
            key=lambda: key_of(self.cfg, "prepare", []),
            outputs=[self.gt, self.val_gt],
            makes_inputs=True,
        )

    def points(self) -> None:
        """Samples one point per ground-truth instance, unless the user provides the points file."""
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
        """The path of the manifest of the initial semantic maps."""
        return self.maps / MANIFEST

    @cached_property
    def _images(self) -> list[ImageRecord]:
        """The training images."""
        return list(read_points(self.clicks).images)

    def semantic(self) -> None:
        """Generates the initial semantic maps."""
        cfg = self.changed(out=self.maps)
        self.stages.run(
            "semantic",
            lambda: gen_semantic.make(cfg),
            key=lambda: key_of(cfg, "gen_semantic", self._images),
            outputs=[self.manifest],
        )

    def reselect(self) -> None:
        """Generates initial semantic maps from the candidates that the trained network chooses."""
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
        """Trains the network, unless `ckpt` is set."""
        if self.cfg.ckpt not in (None, "none"):
            console.print(f"network: {self.network} as it is", markup=False)
            return
        kept = sorted({0, *self.cfg.trainer.snapshots})  # 0: the untrained network
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
        """The path of the network before its training; missing if `ckpt` is set."""
        return self.home / "network" / "snapshots" / "step_000000.pt"

    def pseudo(self, stage: str) -> None:
        """Generates the masks of a stage.

        Args:
            stage: `seed`: the labels of training. `control`: the export's rules with Eq. 1, without
                a network. `geodesic`, `mixture`: like the control, with that `mdm.split`. `mdm`:
                the network. `untrained`: the network before its training. `sam`: the chosen
                candidates. `sam_network`: the candidates that the network chooses.
        """
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
            # baselines without a network; the control is Eq. 1
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
        """Trains a model on masks of a stage or on `gt`, and predicts the validation images."""
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
                without=(
                    "data.val_images",
                    "data.val_gt",
                ),  # validation does not affect the weights
            ),
            outputs=[ckpt],
            training=self.home / name,
        )
        predictions = self.predictions_file(name)
        val = {"images": path_of(self.cfg, "data.val_images"), "gt": self.val_gt}
        predicting = self.changed(ckpt=ckpt, out=predictions.parent, **val)
        self.stages.run(
            f"{name}_predict",
            lambda: predict.run(predicting),
            key=lambda: key_of(predicting, "predict", read_instances(self.val_gt).images),
            outputs=[predictions],
        )
        self.segmentors.append(name)

    def report(self) -> Path:
        """Writes the page of scores and pictures, and returns its path."""
        return write_experiment(self)

    def masks_file(self, stage: str) -> Path:
        """The path of the masks of a stage."""
        return self.home / f"{stage}.json"

    def predictions_file(self, name: str) -> Path:
        """The path of the predictions of a segmentation model."""
        return self.home / name / "val" / "predictions.json"

    def changed(self, **change: Any) -> DictConfig:
        """A copy of the config with some settings changed, by dotted name."""
        changed = deepcopy(self.cfg)
        for key, value in change.items():
            value = literal(str(value)) if isinstance(value, Path) else value
            OmegaConf.update(changed, key, value, force_add=True)
        return changed


def _call(command: str, arguments: list[str]) -> None:
    """Runs a command that prepares data in a new process."""
    with naming_parent():
        done = subprocess.run(
            start_apart(command, arguments), stderr=subprocess.PIPE, text=True, check=False
        )
    if done.returncode:
        raise UserError((done.stderr.strip().splitlines() or [f"{command} failed"])[-1])
