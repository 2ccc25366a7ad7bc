"""Runs all checks of a data set."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from p2seg.apps.validate.annotations import Clicks, read_clicks
from p2seg.apps.validate.findings import Findings
from p2seg.apps.validate.images import ImageFile, check_images
from p2seg.apps.validate.maps import check_semantic
from p2seg.apps.validate.masks import check_pseudo, check_truth
from p2seg.apps.validate.overlap import check_split, held_images
from p2seg.apps.validate.points import check_points
from p2seg.errors import UserError
from p2seg.semantic.check import MapCheck

MIN_FREE = 2e9
"""A disk with fewer free bytes is reported as nearly full."""
GRABCUT = 0.06
"""Approximate seconds of GrabCut per point on one core."""

Progress = Callable[[Iterable[Any], str, int], Iterable[Any]]
"""Wraps an iteration, given the items, a noun for them, and their number."""


@dataclass(frozen=True)
class Inputs:
    """The parts of a data set.

    Attributes:
        images: folder of the images.
        points: the points file.
        semantic: folder of the initial semantic maps; None: they are not checked.
        gt: instances file of the training images, or None.
        pseudo: file of pseudo masks to check, or None.
        val_images: folder of the validation images, or None.
        val_gt: instances file of the validation images, or None.
    """

    images: Path
    points: Path
    semantic: Path | None
    gt: Path | None = None
    pseudo: Path | None = None
    val_images: Path | None = None
    val_gt: Path | None = None


@dataclass(frozen=True)
class Inspection:
    """The result of all checks.

    Attributes:
        inputs: the checked data set.
        clicks: the points.
        files: the file properties of each image.
        findings: the problems.
        facts: figures as text, by name.
        maps: the agreement of initial semantic maps and points, or None without maps.
    """

    inputs: Inputs
    clicks: Clicks
    files: list[ImageFile]
    findings: Findings
    facts: dict[str, str]
    maps: MapCheck | None

    @property
    def usable(self) -> bool:
        """Whether training on the data set is possible."""
        return not self.findings.stopping


def inspect(inputs: Inputs, out: Path, progress: Progress) -> Inspection:
    """Runs all checks; raises only if nothing can be checked.

    Args:
        inputs: the data set.
        out: folder of the report, to check the free space.
        progress: wraps the iterations over the images.

    Raises:
        UserError: the image folder is missing, or the points file has no readable part.
    """
    if not inputs.images.is_dir():
        raise UserError(f"no image folder at {inputs.images}; set data.images=DIR")
    findings = Findings()
    clicks = read_clicks(inputs.points, findings)
    check_points(clicks, findings)
    count = len(clicks.images)
    held = []
    if inputs.val_gt is not None and inputs.val_images is not None:
        held = held_images(inputs.val_images, inputs.val_gt, findings)
    files = check_images(
        inputs.images,
        clicks.images,
        findings,
        lambda each: progress(each, "images", count),
        set(held).__contains__,
    )
    facts = _facts(clicks, files)
    with_points = len(np.unique(clicks.places))
    maps: MapCheck | None = None
    if inputs.semantic is not None:
        maps = check_semantic(
            inputs.semantic,
            inputs.images,
            inputs.points,
            clicks,
            findings,
            lambda each: progress(each, "initial semantic maps", with_points),
        )
    if maps is not None:
        facts["initial semantic maps"] = (
            f"{maps.maps} of {maps.images}: {maps.labeled:.0%} of the pixels have a class, "
            f"{maps.background:.0%} are background, {maps.ignored:.0%} ignored"
        )
    _masks(inputs, clicks, findings, facts)
    if held:
        check_split(inputs.images, clicks.images, files, held, findings)
        facts["validation"] = f"{len(held)} image{'' if len(held) == 1 else 's'}"
    free = shutil.disk_usage(_existing(out)).free
    facts["free disk"] = f"{free / 1e9:.0f} GB"
    if free < MIN_FREE:
        findings.add("disk.low", f"{free / 1e9:.1f} GB")
    return Inspection(inputs, clicks, files, findings, facts, maps)


def _masks(inputs: Inputs, clicks: Clicks, findings: Findings, facts: dict[str, str]) -> None:
    if inputs.pseudo is not None:
        masks = check_pseudo(inputs.pseudo, clicks, findings)
        if masks is not None:
            facts["pseudo masks"] = f"{sum(map(len, masks.instances))}"
    if inputs.gt is not None:
        truth = check_truth(inputs.gt, clicks, findings)
        if truth is not None:
            facts["ground truth"] = f"{sum(map(len, truth.instances))} objects"


def _facts(clicks: Clicks, files: list[ImageFile]) -> dict[str, str]:
    facts = {
        "images": f"{len(clicks.images):,}",
        "points": f"{len(clicks.ids):,}",
        "classes": f"{len(clicks.categories)}",
    }
    counts = np.bincount(clicks.places, minlength=len(clicks.images))
    if len(counts):
        facts["points per image"] = (
            f"mean {counts.mean():.1f}, median {int(np.median(counts))}, maximum {counts.max()}"
        )
    readable = [each for each in files if each.bytes and each.error is None]
    if readable:
        pixels = np.array([each.size[0] * each.size[1] for each in readable], np.float64)
        widths, heights = ([each.size[axis] for each in readable] for axis in (1, 0))
        facts["sizes"] = (
            f"{min(widths)}x{min(heights)} to {max(widths)}x{max(heights)}, "
            f"median {np.median(pixels) / 1e6:.2f} megapixels"
        )
        facts["bytes"] = f"{sum(each.bytes for each in readable) / 1e6:,.1f} MB"
        seconds = sum(each.seconds for each in readable)
        facts["reading"] = f"{1000 * seconds / len(readable):.1f} ms per image and thread"
        minutes = (GRABCUT * len(clicks.ids) + seconds) / 60
        facts["time for GrabCut maps"] = f"about {max(1, round(minutes))} min on one core"
    return facts


def _existing(path: Path) -> Path:
    path = path.absolute()
    return next(each for each in (path, *path.parents) if each.is_dir())
