"""The job of `p2seg predict`: images, batches and formats."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, ListConfig

from p2seg.cli.build import plain
from p2seg.cli.inputs import report_inputs
from p2seg.cli.outputs import check_folders
from p2seg.cli.paths import path_of
from p2seg.cli.segmentor import saw_masks
from p2seg.data.coco import Category, read_instances
from p2seg.data.image_notes import notes_on
from p2seg.data.image_sources import Source, check_sources, sources_at
from p2seg.errors import UserError, check_choice
from p2seg.formats.masks import FORMATS
from p2seg.runtime.content_fingerprint import cache_folder, hashes_of
from p2seg.runtime.files import fingerprint, sha256
from p2seg.runtime.progress import console
from p2seg.runtime.provenance import versions
from p2seg.runtime.ranks import Ranks
from p2seg.runtime.resume_log import Parts
from p2seg.runtime.settings import deciding
from p2seg.segmentors.limits import check_max_objects, cut_message
from p2seg.segmentors.predict import Written
from p2seg.segmentors.segmentor import Segmentor
from p2seg.segmentors.views import VIEWS

GPU_BATCH = 8
"""Images per batch on a GPU for `predict.batch_size=auto`."""


def sources_of(cfg: DictConfig, categories: list[Category], out: Path) -> list[Source]:
    """The images and videos of `images`, or the images of the file `gt` below that folder.

    Files below the output folder are from an earlier run and are ignored. The headers of all images
    are read first with `data.on_error=raise`.

    Raises:
        UserError: there are no images, `gt` has other categories, or an image cannot be read.
    """
    check_choice("predict.views", cfg.predict.views, tuple(VIEWS))
    images = path_of(cfg, "images")
    sources = _walked(images, out) if cfg.gt is None else _listed(cfg, images, categories)
    if cfg.data.on_error == "raise":
        check_sources(sources)
    return sources


def formats_of(cfg: DictConfig) -> list[str]:
    """The names in `predict.formats` except COCO, which is always written.

    Raises:
        UserError: a format is unknown.
    """
    value = cfg.predict.formats
    names = list(value) if isinstance(value, ListConfig) else [value]
    for each in names:
        check_choice("predict.formats", each, tuple(FORMATS))
    return [each for each in dict.fromkeys(names) if each != "coco"]


@dataclass(frozen=True)
class Job:
    """The share of the images that this process predicts.

    Attributes:
        sources: images and videos in order.
        items: by image: its index in the whole set, and the stamp of its file.
        names: file names of all sources, including those of other processes and finished ones.
        stamps: stamps of all images; None if there are videos.
        parts: log of the results.
    """

    sources: list[Source]
    items: Iterable[tuple[int, str]]
    names: list[str]
    stamps: dict[int, str] | None
    parts: Parts


def job_of(cfg: DictConfig, sources: list[Source], checkpoint: str, out: Path, ranks: Ranks) -> Job:
    """The share of this process in the images that no earlier run has finished.

    If there are videos, the number of frames is unknown. Then the first process predicts everything
    from the start.

    Args:
        cfg: configuration of the command.
        sources: all images and videos.
        checkpoint: SHA-256 of the checkpoint.
        out: folder of the results.
        ranks: processes that share the images; none writes before all have their jobs.

    Raises:
        UserError: an earlier run of another job has left files in `out`.
    """
    names, path = [source.name for source in sources], out / "predictions.json"
    settings = deciding(plain(cfg), "predict")
    files = [each.path for each in sources]
    of_files = hashes_of(files, path_of(cfg, "images"), cache_folder())
    hashes = [of_files[file] for file in files]
    if any(source.is_video for source in sources):
        listed: list[list[Any]] = [
            [each.name, content] for each, content in zip(sources, hashes, strict=True)
        ]
        parts = Parts(path, fingerprint([checkpoint, settings, listed]), ranks.rank)
        _begin(out, cfg, parts, ranks)
        if ranks.first:  # the number of frames is unknown, so all frames are predicted again
            parts.remove()
            parts.begin()
        ranks.wait()
        own = sources if ranks.first else []
        return Job(own, ((number, "") for number in count()), names, None, parts)
    numbered = [
        replace(each, id=number if each.id is None else each.id)
        for number, each in enumerate(sources, start=1)
    ]
    listed = [[each.name, each.id, each.size] for each in numbered]
    parts = Parts(path, fingerprint([checkpoint, settings, listed, versions()]), ranks.rank)
    stamps = {number: str(content) for number, content in enumerate(hashes)}
    done = parts.kept(stamps).finished
    _begin(out, cfg, parts, ranks)
    left = ranks.share([number for number in range(len(numbered)) if number not in done])
    items = [(number, stamps[number]) for number in left]
    return Job([numbered[number] for number in left], items, names, stamps, parts)


def _begin(out: Path, cfg: DictConfig, parts: Parts, ranks: Ranks) -> None:
    """Rejects existing files, except those of an earlier run of the same job."""
    if not parts.begun:
        check_folders(cfg, out, formats_of(cfg))
    ranks.wait()
    if ranks.first:
        parts.begin()
    ranks.wait()


def info_of(
    cfg: DictConfig, path: Path, checkpoint: dict[str, Any], max_objects: int
) -> dict[str, Any]:
    """The description of the predictions, for `images.json`.

    Args:
        cfg: configuration of the command.
        path: path of the checkpoint.
        checkpoint: content of the checkpoint.
        max_objects: maximum number of objects per image.
    """
    return {
        "description": "images of predictions.json",
        "checkpoint": sha256(path),
        "step": checkpoint["step"],
        "segmentor": checkpoint["config"],
        "inputs": checkpoint["inputs"],
        "mask_pretraining": saw_masks(checkpoint["config"]["segmentor"]),
        "score": cfg.predict.score,
        "views": cfg.predict.views,
        "max_objects": max_objects,
        "versions": versions(),
    }


def report_written(cfg: DictConfig, job: Job, written: Written, max_objects: int) -> None:
    """Prints which images were skipped, cut, or converted."""
    report_inputs(written.skipped)
    if written.cut:
        settings = "predict.max_objects=N", "predict.score"
        console.print(
            cut_message(written.cut, written.images, max_objects, *settings), markup=False
        )
    stills = [each.path for each in job.sources if not each.is_video]
    for sentence in notes_on(stills, path_of(cfg, "images") if cfg.gt is None else None):
        console.print(sentence, markup=False)


def batch_size_of(cfg: DictConfig, device: torch.device) -> int:
    """The number of images per batch; `auto` is 8 on a GPU and 1 on the CPU."""
    if cfg.predict.batch_size == "auto":
        return GPU_BATCH if device.type == "cuda" else 1
    return int(cfg.predict.batch_size)


def max_objects_of(cfg: DictConfig) -> int | None:
    """The maximum number of objects per image; None: derived from the training set.

    Raises:
        UserError: `predict.max_objects` is neither auto nor an integer >= 1.
    """
    value = None if cfg.predict.max_objects == "auto" else cfg.predict.max_objects
    check_max_objects(value, "predict.max_objects")
    return value


def tell_room(model: Segmentor, wanted: int) -> None:
    """Reports that a model finds at most fewer objects per image than wanted."""
    room = model.room()
    if room is not None and room.also_found and wanted > room.objects:
        console.print(
            f"{wanted} objects per image are wanted (predict.max_objects, or the training set), "
            f"but {room.what} find at most {room.objects}; train again with "
            f"{room.setting(wanted)}",
            markup=False,
        )


def overlays_of(cfg: DictConfig) -> int | None:
    """The number of pictures with masks that are drawn; None: all."""
    return None if cfg.predict.overlays is True else int(cfg.predict.overlays)


def _walked(images: Path, out: Path) -> list[Source]:
    """The images and videos of `images`, without files that a run into `out` has written."""
    sources = sources_at(images)
    start = sources[0].path.parents[len(Path(sources[0].name).parts) - 1].resolve()
    out = out.resolve()
    inside = start in out.parents
    written = [out] if inside else [out / name for name in ("overlays", *FORMATS)]
    written = [folder for folder in written if start in folder.parents]
    kept = [
        source
        for source in sources
        if not any((start / source.name).is_relative_to(folder) for folder in written)
    ]
    if not kept:
        raise UserError(
            f"every image of {images} is in the output folder out={out}, where images are ignored; "
            "set another out=DIR"
        )
    return kept


def _listed(cfg: DictConfig, folder: Path, categories: list[Category]) -> list[Source]:
    """The images of the file `gt`."""
    if not folder.is_dir():
        raise UserError(
            f"no image folder at {folder}; gt=FILE needs the folder of its images, images=DIR"
        )
    gt = read_instances(path_of(cfg, "gt"))
    if gt.categories != categories:
        raise UserError(
            f"{cfg.ckpt} was trained on {len(categories)} categories "
            f"({', '.join(c.name for c in categories[:5])}...) but {cfg.gt} has "
            f"{len(gt.categories)} ({', '.join(c.name for c in gt.categories[:5])}...), or "
            "other ids; use a checkpoint of these categories"
        )
    return [
        Source(folder / image.file_name, image.file_name, image.id, (image.height, image.width))
        for image in gt.images
    ]
