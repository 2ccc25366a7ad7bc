"""The job of `p2seg export_masks`: masks, images and formats."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from omegaconf import DictConfig, ListConfig

from p2seg.cli.build import plain
from p2seg.cli.checks import check_values
from p2seg.cli.paths import path_of
from p2seg.data import rle as codec
from p2seg.data.coco import ImageRecord, Instance, InstanceSet, read_instances
from p2seg.data.images import check_image
from p2seg.data.video import VIDEO_SUFFIXES
from p2seg.errors import UserError, check_choice, when_skipped
from p2seg.evaluation.readers import is_results_list, read_predictions
from p2seg.formats.masks import FORMATS, Entry, Format, Options, address_of, places
from p2seg.formats.points.match_images import check_upright
from p2seg.runtime.files import fingerprint, sha256
from p2seg.runtime.progress import track
from p2seg.runtime.resume_log import Parts
from p2seg.runtime.settings import deciding

VIEWED = frozenset({"labelme", "cvat", "labelstudio", "yolo"})
"""Formats of tools that show the image rotated by its EXIF orientation."""


@dataclass(frozen=True)
class Job:
    """The images and masks to export.

    Attributes:
        masks: masks of all images.
        folder: folder of the images.
        indices: indices of the usable images.
        formats: the formats to write.
        names: names of the formats.
        score: minimum score of a mask.
        parts: log of the finished images.
        skipped: reasons for skipped images.
        count: number of masks to write.
        left: numbers of omitted masks, as text.
    """

    masks: InstanceSet
    folder: Path
    indices: list[int]
    formats: list[Format]
    names: list[str]
    score: float
    parts: Parts
    skipped: list[str]
    count: int
    left: str

    def entries(self) -> Iterator[Entry]:
        """Iterates over all images."""
        return (self.entry(index) for index in self.indices)

    def entry(self, index: int) -> Entry:
        """An image and its masks to write, best first."""
        found = [each for each in self.masks.instances[index] if not _fault(each, self.score)]
        return Entry(self.masks.images[index], sorted(found, key=lambda each: -each.score))


def job_of(cfg: DictConfig, out: Path) -> Job:
    """Prepares the job that the settings describe.

    Raises:
        UserError: a setting, file or image is invalid, or `out` has files of an earlier export.
    """
    names = _formats_of(cfg)
    folder = path_of(cfg, "images")
    if not folder.is_dir():
        raise UserError(f"no image folder at {folder}; set images=DIR, the folder of the images")
    keys = {key: (key, cfg[key]) for key in ("points", "polygons")}
    prefix = address_of(folder) if cfg.url is None else str(cfg.url)
    check_values(Options, keys)
    masks = masks_of(cfg)
    viewed = not VIEWED.isdisjoint(names)
    indices, skipped = _usable(masks, folder, cfg.data.on_error, viewed=viewed)
    info = {**masks.info, "least_score": cfg.score}
    options = Options(cfg.points, cfg.polygons, prefix, info, cfg.val)
    settings = deciding(plain(cfg), "export_masks")
    listed = [masks.images[index].file_name for index in indices]
    key = fingerprint([settings, prefix, sha256(path_of(cfg, "pred")), str(folder), listed])
    parts = Parts(out / "masks", key)
    if not parts.begun:
        if not cfg.overwrite:  # all files there are those of an earlier export, unedited
            for name in names:
                shutil.rmtree(out / name, ignore_errors=True)
        parts.begin()
    formats = [FORMATS[name](out / name, masks.categories, options) for name in names]
    faults = Counter(
        _fault(each, cfg.score) for index in indices for each in masks.instances[index]
    )
    left = ", ".join(f"{count} {fault}" for fault, count in faults.items() if fault)
    return Job(masks, folder, indices, formats, names, cfg.score, parts, skipped, faults[""], left)


def export(job: Job) -> None:
    """Writes all images, and then the files of the whole set; resumes after an interruption."""
    done = job.parts.kept().finished
    place_of = places(job.masks.images[index].file_name for index in job.indices)
    with closing(track(job.indices, "export", len(job.indices))) as shown:
        for index in shown:
            if index in done:
                continue
            entry = job.entry(index)
            name = entry.record.file_name
            for each in job.formats:
                each.write(place_of[name], entry.record, job.folder / name, entry.instances)
            job.parts.add(index, "", {})
    for each in job.formats:
        each.finish(job.entries)
    job.parts.remove()


def masks_of(cfg: DictConfig) -> InstanceSet:
    """The masks of `pred`, an instances file or a list of COCO results.

    Raises:
        UserError: the file is neither, or the images of the results are unknown.
    """
    path = path_of(cfg, "pred")
    if not is_results_list(path):
        return read_instances(path, "masks")
    beside = path.with_name("images.json")
    if cfg.gt is None and not beside.is_file():
        raise UserError(
            f"{path} is a list of results without images.json next to it, which explains the image "
            "ids; set the instances file of these ids with gt=FILE"
        )
    return read_predictions(path, read_instances(path_of(cfg, "gt") if cfg.gt else beside))


def _formats_of(cfg: DictConfig) -> list[str]:
    names = list(cfg.formats) if isinstance(cfg.formats, ListConfig) else [cfg.formats]
    for each in names:
        check_choice("formats", each, tuple(FORMATS))
    if not names:
        raise UserError(f"formats=[] is empty; choose some of {', '.join(FORMATS)}")
    return list(dict.fromkeys(names))


def _usable(
    masks: InstanceSet, folder: Path, on_error: str, *, viewed: bool
) -> tuple[list[int], list[str]]:
    """The indices of usable images, and why others are skipped; reads only image headers."""
    indices, skipped = [], []
    for index, record in enumerate(masks.images):
        try:
            _check(record, folder, viewed=viewed)
        except UserError as error:
            if on_error == "raise":
                raise
            skipped.append(when_skipped(error))
        else:
            indices.append(index)
    if not indices:
        first = skipped[0] if skipped else "the file has none"
        raise UserError(f"no image is usable, so no masks are exported: {first}")
    return indices, skipped


def _check(record: ImageRecord, folder: Path, *, viewed: bool) -> None:
    clip = Path(record.file_name).parent
    if clip.suffix.lower() in VIDEO_SUFFIXES and (folder / clip).is_file():
        raise UserError(
            f"{record.file_name} is a frame of a video, not an image file; write such files "
            "with predict.formats=[NAME] of p2seg predict"
        )
    path, size = folder / record.file_name, (record.height, record.width)
    if viewed:
        check_upright(path, size, "masks")
    else:
        check_image(path, size)


def _fault(each: Instance, score: float) -> str:
    """Why a mask is not written; empty if it is."""
    if each.crowd:
        return "rejected" if each.review == "rejected" else "crowds"
    if not np.isfinite(each.score) or each.score < score:
        return f"below score={score}"
    return "" if codec.area(each.rle) else "empty"
