"""Masks that follow from the clicks alone are distinguished from masks that follow the image."""

from __future__ import annotations

import numpy as np

from p2seg.apps.validate.prior import prior_decided, warn_of_prior
from p2seg.data.coco import Category, ImageRecord, Instance, InstanceSet, encode

SIZE = 180, 240
CLICKS = [(y, x) for y in (45, 135) for x in (40, 120, 200)]
Y, X = np.mgrid[: SIZE[0], : SIZE[1]]


def masks_of(*shapes: np.ndarray) -> InstanceSet:
    """Returns one image with one mask per click, of a single class."""
    own = [
        Instance(k, 1, encode(shape), point=click)
        for k, (shape, click) in enumerate(zip(shapes, CLICKS, strict=False))
    ]
    return InstanceSet([ImageRecord(1, "a.png", *SIZE)], [Category(5, "ant")], [own])


def disc(click: tuple[int, int], radius: float) -> np.ndarray:
    return np.hypot(Y - click[0], X - click[1]) <= radius


def test_masks_of_all_pixels_nearest_to_a_click_are_reported() -> None:
    nearest = np.argmin([np.hypot(Y - y, X - x) for y, x in CLICKS], axis=0)
    masks = masks_of(*(nearest == k for k in range(len(CLICKS))))
    assert [str(prior) for prior in prior_decided(masks)] == ["ant: 6 of 6 masks"]


def test_discs_of_the_radius_given_by_the_distance_are_reported() -> None:
    said: list[str] = []
    warn_of_prior(masks_of(*(disc(click, 0.2 * 80) for click in CLICKS)), said.append)
    assert len(said) == 1
    assert "ant: 6 of 6" in said[0]


def test_a_mask_of_the_whole_image_is_reported() -> None:
    assert [prior.similar for prior in prior_decided(masks_of(np.ones(SIZE, bool)))] == [1]


def test_masks_of_another_size_are_not_reported() -> None:
    for radius in (6, 25, 36):
        assert not prior_decided(masks_of(*(disc(click, radius) for click in CLICKS)))


def test_no_masks_give_no_report() -> None:
    assert not prior_decided(masks_of())
