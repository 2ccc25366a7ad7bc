"""What the tools of segmentors share: what must fit, and provenance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from _build import build
from _common import (
    folder_content,
    images_in,
    path_of,
    plain,
    review_of,
    set_classes,
    settings_of,
    weights_read,
)
from _validation import Validation
from omegaconf import DictConfig, open_dict

from p2seg.data.coco import InstanceSet, read_instances
from p2seg.engine import Trainer
from p2seg.files import sha256
from p2seg.models.mask_weights import refuse_checkpoint
from p2seg.progress import console
from p2seg.pseudo.review import reviewed
from p2seg.runs.provenance import versions
from p2seg.segmentors.data import InstanceDataset
from p2seg.segmentors.limits import max_objects_for, most_objects
from p2seg.segmentors.mask2former import architecture_of
from p2seg.segmentors.segmentor import Segmentor
from p2seg.segmentors.training import EpochSchedule


def pseudo_of(cfg: DictConfig) -> InstanceSet:
    """The pseudo masks, which the config must fit; and random weights are better not frozen.

    A whole model to start from must be asked for; its sizes go into the config, and so into the
    checkpoint.
    """
    instances = read_instances(path_of(cfg, "pseudo"), "file of pseudo masks")
    set_classes(cfg, instances.categories, cfg.pseudo)
    review = review_of(cfg)
    if review is not None:
        instances = reviewed(instances, review)
        console.print(f"{review.path}: {review}", markup=False)
    own = cfg.segmentor
    whole = own.model.get("checkpoint")
    if whole is not None:
        refuse_checkpoint(str(whole), allowed=own.allow_mask_pretraining)
        with open_dict(own.model):
            own.model.architecture = architecture_of(str(whole))
    saw_masks(plain(own))
    if not own.pretrained and own.weights is None and own.model.get("norm") == "frozen":
        console.print(
            "the backbone starts from random weights with frozen norms, as in a dry run; to learn "
            "from them add segmentor.model.norm=group 'segmentor.model.frozen=[]'",
            markup=False,
        )
    return instances


def saw_masks(segmentor: dict[str, Any]) -> bool:
    """Whether a segmentor's config lets weights in that have seen masks; says so if it does."""
    said = segmentor.get("allow_mask_pretraining") is True
    if said:
        console.print(
            "segmentor.allow_mask_pretraining=true: the segmentor may have started from weights "
            "trained on masks, which clicks do not have; its results say so",
            markup=False,
        )
    return said


def trainer_of(cfg: DictConfig, trainer: Trainer, schedule: EpochSchedule, images: int) -> Trainer:
    """The trainer of a segmentor: its own steps, batch, clipping and average.

    Args:
        cfg: of the tool.
        trainer: the config's, of the network.
        schedule: of the segmentor.
        images: of the data set.
    """
    batch = cfg.segmentor.batch_size
    return replace(
        trainer,
        max_steps=schedule.steps(images, batch),
        batch_size=batch,
        clip_norm=cfg.segmentor.clip_norm,
        ema=cfg.segmentor.ema,
        snapshots=(),
        checkpoint_every=min(trainer.checkpoint_every, schedule.steps_of(1, images, batch)),
    )


def dataset_of(cfg: DictConfig, instances: InstanceSet, folder: Path) -> InstanceDataset:
    """What the config trains a segmentor on."""
    return InstanceDataset(
        instances,
        folder,
        build(cfg.segmentor.resize),
        cfg.seed,
        weights=build(cfg.segmentor.instances),
        copy_paste=cfg.segmentor.copy_paste,
    )


def limit_of(model: Segmentor, instances: InstanceSet) -> None:
    """Sets how many objects the model finds on an image; reports what it has no room for."""
    objects, name = most_objects(instances)
    model.limit_objects(max_objects_for(objects))
    room = model.room()
    if room is not None and objects > room.objects:
        console.print(room.told(objects, name), markup=False)


def segmentor_provenance(
    cfg: DictConfig, instances: InstanceSet, skipped: list[str], validation: Validation | None
) -> dict[str, Any]:
    """What a segmentor's checkpoint says of itself: settings, classes, inputs and versions."""
    pseudo = sha256(path_of(cfg, "pseudo"))
    review = None if cfg.review is None else sha256(path_of(cfg, "review"))
    folder = path_of(cfg, "data.images")
    return {
        "kind": "segmentor",
        "validated_on": None if validation is None else validation.key,
        "config": {
            "seed": cfg.seed,
            # validation moves no weight
            "segmentor": {k: v for k, v in plain(cfg.segmentor).items() if k != "validate"},
            "trainer": {"precision": cfg.trainer.precision},
        },
        "settings": settings_of(cfg, "train_segmentor"),
        "categories": [vars(category) for category in instances.categories],
        "inputs": {
            "pseudo": pseudo,
            "review": review,
            "pseudo_info": instances.info,
            "images": folder_content(folder, images_in(folder, instances.images)),
            "weights": weights_read(cfg, "segmentor.weights"),
        },
        "skipped": skipped,
        "objects_per_image": most_objects(instances)[0],
        "versions": versions(),
    }
