"""The cheapest choice of one option a point when pairs of options cost something together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

Float = NDArray[np.float64]
Int = NDArray[np.int64]

NODES = 20
"""Of the search; an image that takes more gets the best choice found so far."""

MOST_EDGES = 150
"""Pairs of points that meet which count, the costliest: the time of the search has an end."""


def cheapest(cost: Float, point: Int, count: int) -> list[int | None]:
    """The cheapest option of each point by itself, the first of several.

    Args:
        cost: `[M]`.
        point: `[M]`, the point 0..K-1 that each option is for.
        count: K.

    Returns:
        For each point the index of its option, None where it has none.
    """
    chosen: list[int | None] = []
    for k in range(count):
        own = np.flatnonzero(point == k)
        chosen.append(int(own[cost[own].argmin()]) if len(own) else None)
    return chosen


def solve(unary: Float, pair: Float, point: Int, count: int) -> list[int | None]:
    """The cheapest choice with its pairs: an integer program, solved by SciPy's HiGHS.

    Args:
        unary: `[M]`, cost of each option.
        pair: `[M, M]`, symmetric, not negative: cost of two options of different points together.
        point: `[M]`, the point 0..K-1 that each option is for.
        count: K.

    Returns:
        For each point the index of its option, None where it has none.
    """
    kept = np.flatnonzero(_may_win(unary, pair, point, count))
    left = point[kept]
    cost = np.full(len(unary), np.inf)
    cost[kept] = unary[kept]
    edges = _edges(pair[np.ix_(kept, kept)], left)
    if not edges:
        return cheapest(cost, point, count)
    # one variable an option, then one a pair of options of every two points that meet; the pairs
    # of an option with all options of the other point add up to it
    costs, rows, columns, values = (
        [unary[kept]],
        [left],
        [np.arange(len(kept))],
        [np.ones(len(kept))],
    )
    height, width = count, len(kept)
    for k, l in edges:
        ours, theirs = np.flatnonzero(left == k), np.flatnonzero(left == l)
        cells = width + np.arange(len(ours) * len(theirs)).reshape(len(ours), len(theirs))
        costs.append(pair[np.ix_(kept[ours], kept[theirs])].ravel())
        for options, across in ((ours, cells), (theirs, cells.T)):
            at = height + np.arange(len(options))
            rows += [np.repeat(at, across.shape[1]), at]
            columns += [across.ravel(), options]
            values += [np.ones(across.size), -np.ones(len(options))]
            height += len(options)
        width += cells.size
    total = np.zeros(height)
    total[np.unique(left)] = 1
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    matrix = coo_array(entries, shape=(height, width)).tocsc()
    found = milp(
        np.concatenate(costs),
        integrality=(np.arange(width) < len(kept)).astype(np.int64),  # then all are whole
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(matrix, total, total),
        options={"node_limit": NODES},
    )
    if found.x is not None:
        cost[kept] = -found.x[: len(kept)]
    return cheapest(cost, point, count)


def _edges(pair: Float, point: Int) -> list[tuple[int, int]]:
    """The points whose options meet, if not too many."""
    meeting = np.argwhere(pair > 0)
    costs: dict[tuple[int, int], float] = {}
    for i, j in meeting:
        k, l = int(point[i]), int(point[j])
        if k < l:
            costs[k, l] = max(costs.get((k, l), 0.0), float(pair[i, j]))
    costliest = sorted(costs, key=lambda edge: (-costs[edge], edge))[:MOST_EDGES]
    return sorted(costliest)


def _may_win(unary: Float, pair: Float, point: Int, count: int) -> NDArray[np.bool_]:
    """`[M]` bool: options that may be the cheapest, whatever is chosen for the other points.

    An option costs at least itself and the least that it can meet in every other point, and at
    most itself and the worst.
    """
    least, most = unary.copy(), unary.copy()
    for other in np.unique(point):
        columns = pair[:, point == other]
        least += columns.min(1)
        most += columns.max(1)
    bound = np.full(count, np.inf)
    np.minimum.at(bound, point, most)
    return least <= bound[point]
