"""The whole look at a data set, one check after the other."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from p2seg.apps.validate.annotations import Clicks, read_clicks
from p2seg.apps.validate.findings import Findings
from p2seg.apps.validate.images import Seen, check_images
from p2seg.apps.validate.maps import check_semantic
from p2seg.apps.validate.masks import check_pseudo, check_truth
from p2seg.apps.validate.overlap import check_split, held_images
from p2seg.apps.validate.points import check_points
from p2seg.errors import UserError
from p2seg.semantic.check import MapCheck

LITTLE = 2e9
"""Bytes free below which a disk is nearly full."""
GRABCUT = 0.06
"""Seconds that GrabCut takes for a point on one core, about: it works on a crop around each."""

Progress = Callable[[Iterable[Any], str, int], Iterable[Any]]
"""Sees items go by: items, what they are, how many."""


@dataclass(frozen=True)
class Inputs:
    """Where the parts of a data set lie.

    Attributes:
        images: folder.
        points: file.
        semantic: folder of first maps.
        gt: instances file of the training images, if there is one.
        pseudo: pseudo masks, if they are to be looked at.
        val_images: folder of the validation images.
        val_gt: instances file of validation, if there is one.
    """

    images: Path
    points: Path
    semantic: Path
    gt: Path | None = None
    pseudo: Path | None = None
    val_images: Path | None = None
    val_gt: Path | None = None


@dataclass(frozen=True)
class Inspection:
    """What was seen.

    Attributes:
        inputs: what was looked at.
        clicks: the points.
        seen: of each image its file.
        findings: what is wrong.
        facts: figures, in words, by what they are.
        maps: how the first maps agree with the points, where there are some.
    """

    inputs: Inputs
    clicks: Clicks
    seen: list[Seen]
    findings: Findings
    facts: dict[str, str]
    maps: MapCheck | None

    @property
    def usable(self) -> bool:
        """Whether one can train on it."""
        return not self.findings.stopping


def inspect(inputs: Inputs, out: Path, progress: Progress) -> Inspection:
    """Looks at everything and raises for nothing but what leaves nothing to look at.

    Args:
        inputs: the data set.
        out: where the report will be written, to see how much room there is.
        progress: sees the images go by.

    Raises:
        UserError: there is no image folder, or the points file has nothing that can be read.
    """
    if not inputs.images.is_dir():
        raise UserError(f"no image folder at {inputs.images}; give it with data.images=DIR")
    findings = Findings()
    clicks = read_clicks(inputs.points, findings)
    check_points(clicks, findings)
    count = len(clicks.images)
    held = []
    if inputs.val_gt is not None and inputs.val_images is not None:
        held = held_images(inputs.val_images, inputs.val_gt, findings)
    seen = check_images(
        inputs.images,
        clicks.images,
        findings,
        lambda each: progress(each, "images", count),
        set(held).__contains__,
    )
    facts = _facts(clicks, seen)
    with_points = len(np.unique(clicks.places))
    maps = check_semantic(
        inputs.semantic,
        inputs.images,
        inputs.points,
        clicks,
        findings,
        lambda each: progress(each, "first maps", with_points),
    )
    if maps is not None:
        facts["first maps"] = (
            f"{maps.maps} of {maps.images}: {maps.labeled:.0%} of the pixels of a class, "
            f"{maps.background:.0%} background, {maps.ignored:.0%} ignored"
        )
    _masks(inputs, clicks, findings, facts)
    if held:
        check_split(inputs.images, clicks.images, seen, held, findings)
        facts["validation"] = f"{len(held)} images"
    free = shutil.disk_usage(_existing(out)).free
    facts["free disk"] = f"{free / 1e9:.0f} GB"
    if free < LITTLE:
        findings.add("disk.low", f"{free / 1e9:.1f} GB")
    return Inspection(inputs, clicks, seen, findings, facts, maps)


def _masks(inputs: Inputs, clicks: Clicks, findings: Findings, facts: dict[str, str]) -> None:
    if inputs.pseudo is not None:
        masks = check_pseudo(inputs.pseudo, clicks, findings)
        if masks is not None:
            facts["pseudo masks"] = f"{sum(map(len, masks.instances))}"
    if inputs.gt is not None:
        truth = check_truth(inputs.gt, clicks, findings)
        if truth is not None:
            facts["ground truth"] = f"{sum(map(len, truth.instances))} objects"


def _facts(clicks: Clicks, seen: list[Seen]) -> dict[str, str]:
    """What the set is, in figures."""
    facts = {
        "images": f"{len(clicks.images):,}",
        "points": f"{len(clicks.ids):,}",
        "classes": f"{len(clicks.categories)}",
    }
    counts = np.bincount(clicks.places, minlength=len(clicks.images))
    if len(counts):
        facts["points an image"] = (
            f"{counts.mean():.1f} on average, {int(np.median(counts))} in the middle, "
            f"at most {counts.max()}"
        )
    read = [each for each in seen if each.bytes and each.error is None]
    if read:
        pixels = np.array([each.size[0] * each.size[1] for each in read], np.float64)
        widths, heights = ([each.size[axis] for each in read] for axis in (1, 0))
        facts["sizes"] = (
            f"{min(widths)}x{min(heights)} to {max(widths)}x{max(heights)}, "
            f"{np.median(pixels) / 1e6:.2f} megapixels in the middle"
        )
        facts["bytes"] = f"{sum(each.bytes for each in read) / 1e6:,.1f} MB"
        spent = sum(each.seconds for each in read) / len(read)
        facts["reading"] = f"{1000 * spent:.1f} ms an image in a thread"
        minutes = (GRABCUT * len(clicks.ids) + sum(each.seconds for each in read)) / 60
        facts["first maps by GrabCut"] = f"about {max(1, round(minutes))} min on one core"
    return facts


def _existing(path: Path) -> Path:
    """The folder above that is there."""
    path = path.absolute()
    return next(each for each in (path, *path.parents) if each.is_dir())
