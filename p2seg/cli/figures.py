"""Draws the figures of `p2seg visualize` and of the report."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from omegaconf import DictConfig, ListConfig, OmegaConf
from torch import Tensor

from p2seg.apps.report.figures import (
    Scene,
    affinity_figure,
    offset_figure,
    progress_figure,
    rounds_figure,
    scene_of,
)
from p2seg.apps.report.grids import grid
from p2seg.apps.report.pictures import Mask, Picture
from p2seg.apps.report.rows import MaskColumn, crowded, report_rows
from p2seg.cli.build import build
from p2seg.cli.inputs import clicks_of, reader_of
from p2seg.cli.labeler import check_export, labeler_of
from p2seg.cli.overrides import literal
from p2seg.cli.paths import path_of
from p2seg.cli.trained import follow
from p2seg.data.coco import InstanceSet, decode, read_instances
from p2seg.errors import UserError
from p2seg.pseudo.network import NetworkLabeler
from p2seg.runtime.devices import device_of


class Figures:
    """Draws figures of the images of a data set.

    Args:
        cfg: configuration of `p2seg visualize`.

    Raises:
        UserError: a setting is invalid, or files do not belong together.
    """

    def __init__(self, cfg: DictConfig) -> None:
        check_export(cfg)
        self.cfg = cfg
        self.points = clicks_of(cfg)
        self.reader = reader_of(cfg, self.points)
        self.truth = self._truth()
        self.chosen = self._chosen()

    def masks(self) -> Picture:
        """Every image with the masks of several files, in columns. Paper: Fig. 7."""
        files = [Path(each).expanduser() for each in self._list("masks")]
        if not files:
            raise UserError("figure=masks needs instance files; set masks=[FILE.json,FILE.json]")
        columns = [
            MaskColumn(title, read_instances(file))
            for title, file in zip(self._titles([f.stem for f in files]), files, strict=True)
        ]
        if self.truth is not None:
            columns.append(MaskColumn("ground truth", self.truth))
        for column in columns:
            self._check_images(column.title, column.instances)
        rows = report_rows(self.points, self.reader, columns, self.chosen)
        titles = list(dict.fromkeys(title for row in rows for title in row.images))
        blank = torch.full((1, 1, 3), 255, dtype=torch.uint8).numpy()
        pictures = [[row.images.get(title, blank) for title in titles] for row in rows]
        return grid(pictures, titles, self.cfg.cell)

    def progress(self) -> Picture:
        """Instances of the snapshots of one or more trainings. Paper: Fig. 8."""
        folders = [Path(each).expanduser() for each in self._list("runs")]
        if not folders:
            raise UserError("figure=progress needs folders of trainings; set runs=[DIR,DIR]")
        scenes = self._scenes()
        runs: dict[str, dict[int, list[Tensor]]] = {}
        names = [f.parent.name if f.name == "network" else f.name for f in folders]
        for title, folder in zip(self._titles(names), folders, strict=True):
            files = sorted(folder.glob("snapshots/step_*.pt"))
            if not files:
                raise UserError(
                    f"{folder} has no snapshots; train with trainer.snapshots=[0,STEP,STEP]"
                )
            runs[title] = dict(self._found(file, scenes) for file in files)
        return progress_figure(scenes, runs, self.cfg.cell)

    def rounds(self) -> Picture:
        """The first chosen image: seeds, network outputs, and the instances of each round."""
        [scene] = self._scenes(1)
        return rounds_figure(scene, self._labeler()[0], build(self.cfg.seeder), self.cfg.cell)

    def offset(self) -> Picture:
        """The offset fields of the network."""
        labeler, _ = self._labeler()
        return offset_figure(self._scenes(), labeler, build(self.cfg.seeder), self.cfg.cell)

    def affinity(self) -> Picture:
        """Affinities of all pixels to the clicked pixels, with and without the export power."""
        cfg, labeler = self.cfg, self._labeler()[0]
        beta = OmegaConf.select(cfg, "export.beta") or OmegaConf.select(cfg, "mdm.beta") or 1.0
        return affinity_figure(self._scenes(), labeler, beta, cfg.clicks, cfg.cell)

    def _truth(self) -> InstanceSet | None:
        """The ground truth, if it is requested or exists."""
        wanted, given = self.cfg.truth, OmegaConf.select(self.cfg, "data.gt")
        if wanted is None:
            wanted = given is not None and path_of(self.cfg, "data.gt").is_file()
        return read_instances(path_of(self.cfg, "data.gt")) if wanted else None

    def _found(self, ckpt: Path, scenes: list[Scene]) -> tuple[int, list[Tensor]]:
        """The step of a snapshot, and its instances in each scene."""
        cfg = deepcopy(self.cfg)
        cfg.ckpt = literal(str(ckpt))
        follow(cfg, ckpt)
        cfg.export.semantic = "network"  # shows the silhouette of the network, not the input
        labeler, info = self._labeler(cfg)
        found = [labeler(s.image, s.points, s.first).instances for s in scenes]
        return int(info["step"]), found

    def _labeler(self, of: DictConfig | None = None) -> tuple[NetworkLabeler, dict[str, Any]]:
        cfg = deepcopy(of or self.cfg)  # `labeler_of` changes the config
        if cfg.ckpt in (None, "none"):
            raise UserError(f"figure={cfg.figure} needs a trained network; add ckpt=FILE.pt")
        device = device_of(cfg.trainer.accelerator)
        labeler, info = labeler_of(cfg, self.points, device)
        return cast(NetworkLabeler, labeler), info

    def _list(self, key: str) -> list[str]:
        """The value of a setting that is a string or a list of strings, as a list."""
        value = self.cfg[key]
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, (list, ListConfig)) or not all(isinstance(t, str) for t in texts):
            raise UserError(f"{key}={value}: must be a list of strings in square brackets")
        return list(texts)

    def _titles(self, names: list[str]) -> list[str]:
        titles = self._list("titles") or names
        taken = {"image and clicks", "initial semantic map", "ground truth"} & set(titles)
        if taken:
            raise UserError(f"titles has {', '.join(taken)}: another column has this title")
        if len(titles) != len(names) or len(set(titles)) != len(titles):
            raise UserError(
                f"{len(names)} columns or rows need as many different titles, but titles has "
                f"{', '.join(titles)}; set titles=[NAME,NAME]"
            )
        return titles

    def _chosen(self) -> list[int]:
        """The images to draw."""
        names = self._list("names")
        if not names:
            labels = [own.labels.tolist() for own in self.points.points]
            found = crowded(self.points.images, labels, self.cfg.count)
            some = [i for i, own in enumerate(self.points.points) if len(own)]
            if not some:
                raise UserError(
                    f"no image of {self.cfg.data.points} has a point; use another data set"
                )
            return found or some[: self.cfg.count]
        place = {image.file_name: i for i, image in enumerate(self.points.images)}
        missing = [name for name in names if name not in place]
        if missing:
            raise UserError(f"{self.cfg.data.points} has no image {', '.join(missing)}")
        empty = [name for name in names if not len(self.points.points[place[name]])]
        if empty:
            raise UserError(f"{', '.join(empty)} has no point; choose images with points")
        return [place[name] for name in names]

    def _scenes(self, count: int | None = None) -> list[Scene]:
        if self.truth is not None:
            self._check_images("the ground truth", self.truth)
        return [
            scene_of(self.points, self.reader, index, self._true_masks(index))
            for index in self.chosen[:count]
        ]

    def _check_images(self, title: str, instances: InstanceSet) -> None:
        """Rejects masks of other images than the drawn ones."""
        theirs = {image.id: image for image in instances.images}
        for index in self.chosen:
            own = self.points.images[index]
            if theirs.get(own.id) != own:
                raise UserError(
                    f"{title} has no masks of image {own.id}, {own.file_name} of {own.width}x"
                    f"{own.height} pixels; use files of the images of {self.cfg.data.points}"
                )

    def _true_masks(self, index: int) -> list[Mask] | None:
        """The ground-truth mask of every click; empty if there is none."""
        if self.truth is None:
            return None
        record, own = self.points.images[index], self.points.points[index]
        place = next(i for i, each in enumerate(self.truth.images) if each.id == record.id)
        masks = {each.id: decode(each) for each in self.truth.instances[place]}
        nothing = np.zeros((record.height, record.width), dtype=bool)
        return [masks.get(number, nothing) for number in own.ids.tolist()]


FIGURES: dict[str, Callable[[Figures], Picture]] = {
    "masks": Figures.masks,
    "progress": Figures.progress,
    "rounds": Figures.rounds,
    "offset": Figures.offset,
    "affinity": Figures.affinity,
}
