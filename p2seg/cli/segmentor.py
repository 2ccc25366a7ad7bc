"""Objects for training, validating and predicting with segmentation models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, open_dict

from p2seg.cli.build import build, plain
from p2seg.cli.fingerprints import folder_content, images_in
from p2seg.cli.inputs import review_of, set_classes
from p2seg.cli.paths import path_of
from p2seg.cli.provenance import settings_of, weights_read
from p2seg.data.coco import Category, InstanceSet, read_instances
from p2seg.engine.trainer import Trainer
from p2seg.errors import UserError
from p2seg.evaluation import coco
from p2seg.evaluation.readers import read_ground_truth
from p2seg.models.mask_weights import refuse_checkpoint
from p2seg.pseudo.review import reviewed
from p2seg.runtime.files import fingerprint, sha256
from p2seg.runtime.progress import console
from p2seg.runtime.provenance import versions
from p2seg.runtime.ranks import Ranks
from p2seg.segmentors.data import InstanceDataset, usable
from p2seg.segmentors.limits import max_objects_for, most_objects
from p2seg.segmentors.mask2former.model import architecture_of
from p2seg.segmentors.segmentor import Segmentor
from p2seg.segmentors.training import EpochSchedule
from p2seg.segmentors.validation import Validation


def pseudo_of(cfg: DictConfig) -> InstanceSet:
    """The pseudo masks, after the decisions of the review.

    Completes the config: the number of classes, and the sizes of the model that training starts
    from, which the checkpoint must contain. Warns of frozen random weights.
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
    """Whether initial weights may come from training with masks; prints a warning if so."""
    allowed = segmentor.get("allow_mask_pretraining") is True
    if allowed:
        console.print(
            "segmentor.allow_mask_pretraining=true: the segmentor may have started from weights "
            "trained on masks, which clicks do not have; its results say so",
            markup=False,
        )
    return allowed


def trainer_of(cfg: DictConfig, trainer: Trainer, schedule: EpochSchedule, images: int) -> Trainer:
    """The trainer of a segmentation model, with its own steps, batch size, clipping and average.

    Args:
        cfg: configuration of the command.
        trainer: trainer settings of the network.
        schedule: schedule of the segmentation model.
        images: number of training images.
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
    """The training data of a segmentation model."""
    return InstanceDataset(
        instances,
        folder,
        build(cfg.segmentor.resize),
        cfg.seed,
        weights=build(cfg.segmentor.instances),
        copy_paste=cfg.segmentor.copy_paste,
    )


def limit_of(model: Segmentor, instances: InstanceSet) -> None:
    """Sets the maximum number of objects per image; reports limits of the model."""
    objects, name = most_objects(instances)
    model.limit_objects(max_objects_for(objects))
    room = model.room()
    if room is not None and objects > room.objects:
        console.print(room.message(objects, name), markup=False)


def segmentor_provenance(
    cfg: DictConfig, instances: InstanceSet, skipped: list[str], validation: Validation | None
) -> dict[str, Any]:
    """The metadata of a checkpoint: settings, classes, inputs and versions."""
    pseudo = sha256(path_of(cfg, "pseudo"))
    review = None if cfg.review is None else sha256(path_of(cfg, "review"))
    folder = path_of(cfg, "data.images")
    return {
        "kind": "segmentor",
        "validated_on": None if validation is None else validation.key,
        "config": {
            "seed": cfg.seed,
            # validation does not affect the weights
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


def validation_of(cfg: DictConfig, categories: list[Category], out: Path) -> Validation | None:
    """The validation that the config describes; None if it is off or there is no ground truth.

    Every process of the run calls this function.

    Raises:
        UserError: the ground truth has other classes, or an image cannot be read.
    """
    if cfg.segmentor.validate.every is None or not cfg.data.get("val_gt"):
        return None
    path = path_of(cfg, "data.val_gt")
    if not path.exists():
        message = f"no validation: there is no ground truth at {path}; data.val_gt=FILE names one"
        console.print(message, markup=False)
        return None
    gt = read_ground_truth(path, "val")
    if gt.categories != categories:
        raise UserError(
            f"{path} has other categories than {cfg.pseudo} ("
            f"{', '.join(c.name for c in gt.categories[:5])}..., or other ids); set ground truth "
            "of these categories with data.val_gt=FILE, or segmentor.validate.every=null"
        )
    count = cfg.segmentor.validate.images
    if count is not None and count < len(gt.images):
        console.print(
            f"validation takes the first {count} of {len(gt.images)} images of {path}; "
            "segmentor.validate.images=N sets another count",
            markup=False,
        )
    gt = replace(gt, images=gt.images[:count], instances=gt.instances[:count])
    images, known = path_of(cfg, "data.val_images"), out / "readable_val.json"
    gt, skipped = usable(gt, images, cfg.data.on_error, known)
    for sentence in skipped:
        console.print(f"validation goes on without it: {sentence}", markup=False)
    crowded = coco.crowded(gt, replace(gt, instances=[[] for _ in gt.images]))
    if crowded.images:
        console.print(
            f"{crowded.images} validation images have more than {coco.MAX_DETS} objects of a "
            f"class, up to {crowded.max_dets}: AP takes the {coco.MAX_DETS} best detections of "
            "each, as COCO does; mAP50 and mAP75 take all",
            markup=False,
        )
    key = fingerprint([len(gt.images), [vars(each) for each in gt.images], _rles(gt)])
    return Validation(gt, images, key, Ranks.started())


def _rles(gt: InstanceSet) -> list[list[str]]:
    return [[f"{each.label} {each.rle['counts']!r}" for each in own] for own in gt.instances]
