"""Inputs of `p2seg gallery`: masks, ground truth, and intermediate results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from omegaconf import DictConfig, OmegaConf

from p2seg.apps.gallery.inputs import Material, truth_of
from p2seg.apps.gallery.stages import Stages, clicks_of
from p2seg.cli.build import build, plain
from p2seg.cli.inputs import reader_of
from p2seg.cli.labeler import check_export, labeler_of
from p2seg.cli.overrides import literal
from p2seg.cli.paths import path_of
from p2seg.data.coco import InstanceSet, read_instances
from p2seg.data.maps import map_path
from p2seg.data.schema import naming
from p2seg.errors import UserError
from p2seg.evaluation.readers import is_results_list, read_predictions
from p2seg.pseudo.network import NetworkLabeler
from p2seg.pseudo.review import Review, read_review
from p2seg.runtime.files import fingerprint, sha256
from p2seg.runtime.settings import deciding

HOW = "give the settings that the masks were made with (+exp=NAME or data.semantic=DIR)"


def material_of(cfg: DictConfig, device: torch.device) -> tuple[Material, str]:
    """The inputs of the gallery, and why intermediate results are missing (empty: none is missing).

    Raises:
        UserError: a file or folder is missing, or files do not belong together.
    """
    images = path_of(cfg, "images")
    if not images.is_dir():
        raise UserError(f"no image folder at {images}; set images=DIR")
    cfg.data.images = literal(str(images))  # intermediate results are computed from these images
    path = path_of(cfg, "pred")
    clicked = not is_results_list(path)
    pred = _masks(path) if clicked else _predictions(cfg, path)
    if not pred.images:
        raise UserError(f"{path} has no images; set another pred=FILE")
    truth = None
    if cfg.gt is not None:
        gt = path_of(cfg, "gt")
        with naming(gt):
            truth = truth_of(read_instances(gt, "ground-truth file").rasterized(), pred, clicked)
    stages, hint = _stages(cfg, pred, clicked, device)
    return Material(pred, images, clicked, truth, stages), hint


def review_of(cfg: DictConfig, pred: InstanceSet) -> Review | None:
    """The existing decisions of the review.

    Raises:
        UserError: a decision is invalid, or its image is unknown.
    """
    if cfg.review is None:
        return None
    review = read_review(path_of(cfg, "review"))
    images = {image.id: image for image in pred.images}
    with naming(review.path):
        for each in review.decisions.values():
            image = images.get(each.image_id)
            if image is not None:
                each.check(image)
    return review


def stages_key(cfg: DictConfig) -> str:
    """A fingerprint of the settings and the checkpoint that affect intermediate results."""
    settings = deciding(plain(cfg), "gen_pseudo")
    network = None if cfg.ckpt in (None, "none") else sha256(path_of(cfg, "ckpt"))
    return fingerprint([settings, network])


def _masks(path: Path) -> InstanceSet:
    """The pseudo masks, with polygons rasterized; without crowds and rejected masks."""
    pred = read_instances(path, "file of masks").rasterized()
    kept = [[each for each in group if not each.crowd or each.review] for group in pred.instances]
    return replace(pred, instances=kept)


def _predictions(cfg: DictConfig, path: Path) -> InstanceSet:
    """The predictions of a segmentation model, numbered from 1 in the order of the file."""
    beside = path.with_name("images.json")
    listed = beside if beside.is_file() else cfg.gt and path_of(cfg, "gt")
    if listed is None:
        raise UserError(
            f"{path} is a list of results without images.json next to it; keep the two files of "
            "p2seg predict together, or set gt=FILE"
        )
    pred = read_predictions(path, read_instances(listed, "list of images"))
    found = [[replace(each, id=-each.id) for each in group] for group in pred.instances]
    return replace(pred, instances=found)


def _stages(
    cfg: DictConfig, pred: InstanceSet, clicked: bool, device: torch.device
) -> tuple[Stages | None, str]:
    """The intermediate results, and why some of them are missing."""
    with_network = cfg.ckpt not in (None, "none")
    requested = cfg.stages is True or with_network
    if requested and (not clicked or cfg.stages is False):
        reason = "stages=false" if clicked else f"{cfg.pred}, which holds a segmentor's findings"
        raise UserError(f"there are no stages with {reason}; leave ckpt= and stages=true out")
    if not clicked:
        return None, "A segmentor finds masks in one step: there are no stages."
    if cfg.stages is False:
        return None, f"Stages were left out (stages=false). To see them, {HOW}."
    semantic = OmegaConf.select(cfg, "data.semantic", throw_on_missing=False)
    if not requested and not (semantic and Path(semantic).expanduser().is_dir()):
        return None, f"To see the semantic map and the seed, {HOW}; with ckpt=FILE the rounds, too."
    try:
        check_export(cfg)
        points = clicks_of(pred)
        stages = Stages(points, reader_of(cfg, points), build(cfg.seeder))
        _check_maps(stages)
    except UserError as error:
        if requested:
            raise
        return None, f"No stages are shown: {error}."
    if with_network:
        stages.labeler = cast(NetworkLabeler, labeler_of(cfg, points, device)[0])
        return stages, ""
    return stages, "To see the network's rounds, make the gallery with ckpt=FILE, too."


def _check_maps(stages: Stages) -> None:
    """Rejects a folder of maps that lacks the map of an image with masks."""
    folder = stages.reader.semantic
    for image, own in zip(stages.points.images, stages.points.points, strict=True):
        if len(own) and not map_path(folder, image.file_name).is_file():
            raise UserError(f"{folder} has no map of {image.file_name}; {HOW}")
