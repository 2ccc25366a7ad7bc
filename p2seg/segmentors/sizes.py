"""Sizes of segmentors that cannot be, told before anything is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from p2seg.errors import UserError

MOST_LAYERS = 1000
"""A checkpoint of others may ask for any number of them, and building them takes as long."""


def check_counts(counts: Mapping[str, int | Sequence[int]]) -> None:
    """Compares counts, channels and sides with 1, and counts of layers with `MOST_LAYERS` as well.

    Args:
        counts: by their names in `segmentor.model`; a list needs one entry or more.

    Raises:
        UserError: one that is below 1, an empty list, or too many layers.
    """
    for name, value in counts.items():
        several = isinstance(value, Sequence)
        values = value if isinstance(value, Sequence) else [value]
        if name.endswith(("_layers", "_depth")) and values and max(values) > MOST_LAYERS:
            raise UserError(
                f"segmentor.model.{name}={value!s:.60} cannot be; it is a whole number from 1 to "
                f"{MOST_LAYERS}"
            )
        if not values or min(values) < 1:
            shown = list(values) if several else value
            what = "a list of whole numbers from 1" if several else "a whole number from 1"
            raise UserError(f"segmentor.model.{name}={shown} cannot be; it is {what}")


def check_factors(factors: Mapping[str, float]) -> None:
    """Compares factors with 0.

    Raises:
        UserError: one that is not above it.
    """
    for name, value in factors.items():
        if not value > 0:
            raise UserError(f"segmentor.model.{name}={value} cannot be; it is a number above 0")


def check_shares(shares: Mapping[str, float]) -> None:
    """Compares shares with 0 and 1.

    Raises:
        UserError: one that is not between.
    """
    for name, value in shares.items():
        if not 0 <= value <= 1:
            raise UserError(f"segmentor.model.{name}={value} cannot be; it is a number from 0 to 1")


def check_pairs(name: str, pairs: Sequence[Sequence[float]]) -> None:
    """Looks whether each of some ranges has a least and a most.

    Args:
        name: in `segmentor.model`.
        pairs: (least, most) each.

    Raises:
        UserError: one that is no pair, or whose least is negative or not below its most.
    """
    for pair in pairs:
        if not isinstance(pair, Sequence) or len(pair) != 2 or not 0 <= pair[0] < pair[1]:
            shown = list(pair) if isinstance(pair, Sequence) else pair
            raise UserError(
                f"segmentor.model.{name} has {shown}, which cannot be; each is [least,most] with "
                "0 <= least < most"
            )


def check_solov2(
    *,
    grids: Sequence[int],
    sizes: Sequence[Sequence[float]],
    center: float,
    mask_weight: float,
    candidate_score: float,
    **counts: int,
) -> None:
    """What SOLOv2 can be built with; see `p2seg.segmentors.solov2.model.build_solov2`.

    Raises:
        UserError: a size, a grid, a range or a factor that cannot be.
    """
    check_counts({**counts, "grids": grids})
    check_pairs("sizes", sizes)
    check_factors({"center": center, "mask_weight": mask_weight})
    check_shares({"center": center, "candidate_score": candidate_score})
