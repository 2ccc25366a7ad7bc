"""Assignment of one option to each point with minimal unary and pairwise costs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

Float = NDArray[np.float64]
Int = NDArray[np.int64]

NODES = 20
"""Node limit of the search. A larger search returns the best choice so far."""

MAX_EDGES = 150
"""Pairs of points with the highest costs that are considered, to limit the search time."""


def cheapest(cost: Float, point: Int, count: int) -> list[int | None]:
    """The option with the lowest unary cost of each point; ties go to the first.

    Args:
        cost: `[M]`.
        point: `[M]`, the point 0..K-1 of each option.
        count: K.

    Returns:
        The index of each point's option, or None for a point without options.
    """
    chosen: list[int | None] = []
    for k in range(count):
        own = np.flatnonzero(point == k)
        chosen.append(int(own[cost[own].argmin()]) if len(own) else None)
    return chosen


def solve(unary: Float, pair: Float, point: Int, count: int) -> list[int | None]:
    """The choice with the lowest total cost, as an integer program solved by SciPy's HiGHS.

    Args:
        unary: `[M]`, cost of each option.
        pair: `[M, M]`, symmetric, not negative: joint cost of two options of different points.
        point: `[M]`, the point 0..K-1 of each option.
        count: K.

    Returns:
        The index of each point's option, or None for a point without options.
    """
    kept = np.flatnonzero(_may_be_optimal(unary, pair, point, count))
    point_of = point[kept]
    cost = np.full(len(unary), np.inf)
    cost[kept] = unary[kept]
    edges = _edges(pair[np.ix_(kept, kept)], point_of)
    if not edges:
        return cheapest(cost, point, count)
    # One variable per option, then one per pair of options of every edge. The pairs of an option
    # with all options of the other point sum up to the option's variable.
    costs, rows, columns, values = (
        [unary[kept]],
        [point_of],
        [np.arange(len(kept))],
        [np.ones(len(kept))],
    )
    height, width = count, len(kept)
    for k, l in edges:
        first, second = np.flatnonzero(point_of == k), np.flatnonzero(point_of == l)
        cells = width + np.arange(len(first) * len(second)).reshape(len(first), len(second))
        costs.append(pair[np.ix_(kept[first], kept[second])].ravel())
        for options, pairs in ((first, cells), (second, cells.T)):
            at = height + np.arange(len(options))
            rows += [np.repeat(at, pairs.shape[1]), at]
            columns += [pairs.ravel(), options]
            values += [np.ones(pairs.size), -np.ones(len(options))]
            height += len(options)
        width += cells.size
    total = np.zeros(height)
    total[np.unique(point_of)] = 1
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    matrix = coo_array(entries, shape=(height, width)).tocsc()
    result = milp(
        np.concatenate(costs),
        integrality=(np.arange(width) < len(kept)).astype(np.int64),  # implies integer pairs
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(matrix, total, total),
        options={"node_limit": NODES},
    )
    if result.x is not None:
        cost[kept] = -result.x[: len(kept)]
    return cheapest(cost, point, count)


def _edges(pair: Float, point: Int) -> list[tuple[int, int]]:
    """The pairs of points with a pairwise cost, at most `MAX_EDGES`."""
    costs: dict[tuple[int, int], float] = {}
    for i, j in np.argwhere(pair > 0):
        k, l = int(point[i]), int(point[j])
        if k < l:
            costs[k, l] = max(costs.get((k, l), 0.0), float(pair[i, j]))
    costliest = sorted(costs, key=lambda edge: (-costs[edge], edge))[:MAX_EDGES]
    return sorted(costliest)


def _may_be_optimal(unary: Float, pair: Float, point: Int, count: int) -> NDArray[np.bool_]:
    """`[M]` bool: options whose lower bound is at most the smallest upper bound of their point.

    The bounds are the unary cost plus the smallest or largest pairwise cost with each other point.
    """
    lower, upper = unary.copy(), unary.copy()
    for other in np.unique(point):
        columns = pair[:, point == other]
        lower += columns.min(1)
        upper += columns.max(1)
    bound = np.full(count, np.inf)
    np.minimum.at(bound, point, upper)
    return lower <= bound[point]
