"""Validation of the options of segmentation models before anything is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from p2seg.errors import UserError

MAX_LAYERS = 1000
"""Maximum number of layers, because an untrusted checkpoint could set any number."""


def check_counts(counts: Mapping[str, int | Sequence[int]]) -> None:
    """Checks that counts, channels and sides are >= 1, and layers at most `MAX_LAYERS`.

    Args:
        counts: values by name in `segmentor.model`; a list must have at least one entry.

    Raises:
        UserError: a value is below 1, a list is empty, or there are too many layers.
    """
    for name, value in counts.items():
        several = isinstance(value, Sequence)
        values = value if isinstance(value, Sequence) else [value]
        if name.endswith(("_layers", "_depth")) and values and max(values) > MAX_LAYERS:
            raise UserError(
                f"segmentor.model.{name}={value!s:.60}: must be an integer from 1 to {MAX_LAYERS}"
            )
        if not values or min(values) < 1:
            shown = list(values) if several else value
            what = "a list of integers >= 1" if several else "an integer >= 1"
            raise UserError(f"segmentor.model.{name}={shown}: must be {what}")


def check_factors(factors: Mapping[str, float]) -> None:
    """Checks that factors are > 0.

    Raises:
        UserError: a factor is not.
    """
    for name, value in factors.items():
        if not value > 0:
            raise UserError(f"segmentor.model.{name}={value}: must be a number > 0")


def check_shares(shares: Mapping[str, float]) -> None:
    """Checks that shares are in 0..1.

    Raises:
        UserError: a share is not.
    """
    for name, value in shares.items():
        if not 0 <= value <= 1:
            raise UserError(f"segmentor.model.{name}={value}: must be a number from 0 to 1")


def check_pairs(name: str, pairs: Sequence[Sequence[float]]) -> None:
    """Checks that each range is a pair with 0 <= minimum < maximum.

    Args:
        name: name in `segmentor.model`.
        pairs: (minimum, maximum) each.

    Raises:
        UserError: a range is not.
    """
    for pair in pairs:
        if not isinstance(pair, Sequence) or len(pair) != 2 or not 0 <= pair[0] < pair[1]:
            shown = list(pair) if isinstance(pair, Sequence) else pair
            raise UserError(
                f"segmentor.model.{name} has {shown}: each entry must be [min,max] with "
                "0 <= min < max"
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
    """Checks the options of `p2seg.segmentors.solov2.model.build_solov2`.

    Raises:
        UserError: an option is invalid.
    """
    check_counts({**counts, "grids": grids})
    check_pairs("sizes", sizes)
    check_factors({"center": center, "mask_weight": mask_weight})
    check_shares({"center": center, "candidate_score": candidate_score})
