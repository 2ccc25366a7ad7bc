"""Benchmarks label making next to NumPy loops over images, classes and regions."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra
from scipy.spatial.distance import cdist
from torch import Tensor

from devtools.benchmarks.measure import Row, bandwidth, compared
from p2seg.method.losses import offset_targets
from p2seg.method.regions import regions_of
from p2seg.method.s2i import semantic_to_instances
from p2seg.method.seed import Seeder
from p2seg.ops.geodesic import geodesic_owners
from p2seg.structures import PointBatch, Points

BATCH, SIZE, CLASSES = 8, 416, 20
EIGHT = np.ones((3, 3))
SCENES = {"smooth": 0.0, "ragged": 0.55}


def scene(seed: int, holes: float) -> tuple[Tensor, Tensor, list[Points]]:
    """Returns maps with blobs of 20 classes, offsets, and 1 to 60 clicks per image on the blobs.

    A share of the pixels becomes background. This gives small specks, as in maps of GrabCut or of
    an untrained network.
    """
    rng = np.random.default_rng(seed)
    semantic = np.zeros((BATCH, SIZE, SIZE), np.int64)
    points = []
    y, x = np.mgrid[:SIZE, :SIZE]
    for own in semantic:
        count = int(rng.integers(1, 61))
        labels = rng.integers(1, CLASSES + 1, count)
        yx = rng.integers(0, SIZE, (count, 2)).astype(np.float32)
        for (cy, cx), label in zip(yx, labels, strict=True):
            ry, rx = rng.integers(8, 60, 2)
            own[((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1] = label
        own[rng.random(own.shape) < holes] = 0
        points.append(
            Points(torch.from_numpy(yx), torch.from_numpy(labels), torch.arange(1, count + 1))
        )
    offset = torch.from_numpy(rng.normal(0, 12, (BATCH, 2, SIZE, SIZE)).astype(np.float32))
    return torch.from_numpy(semantic), offset, points


def ours(semantic: Tensor, offset: Tensor, points: list[Points]) -> list[Tensor]:
    """Returns seeds, one round of S2I, and its offset targets."""
    seeds = Seeder(snap_radius=0)(semantic, points)
    instances = semantic_to_instances(semantic, offset, points, decode="point")
    return [seeds.instances, instances, offset_targets(instances, points)]


def rival(semantic: Tensor, offset: Tensor, points: list[Points]) -> list[np.ndarray]:
    """Returns the same from NumPy and SciPy, one image, class and region at a time."""
    labels: list[list[np.ndarray]] = [[], [], []]
    maps = zip(semantic.numpy(), offset.numpy(), points, strict=True)
    for own, moved, clicks in maps:
        each = _rival_of_one(own, moved, clicks.yx.numpy(), clicks.labels.numpy())
        for kept, one in zip(labels, each, strict=True):
            kept.append(one)
    return [np.stack(each) for each in labels]


def _rival_of_one(
    semantic: np.ndarray, offset: np.ndarray, yx: np.ndarray, labels: np.ndarray
) -> list[np.ndarray]:
    seed = np.zeros_like(semantic)
    instances = np.zeros_like(semantic)
    pixel = np.floor(yx).astype(np.int64)
    for label in np.unique(labels):
        regions, count = ndimage.label(semantic == label, structure=EIGHT)
        own = np.flatnonzero(labels == label)
        seen: dict[tuple[int, ...], int] = {}  # the first of two clicks on a pixel owns it
        for k in own.tolist():
            seen.setdefault(tuple(pixel[k]), k)
        region_of = {k: regions[at] for at, k in seen.items()}
        for region in range(1, count + 1):
            at = np.argwhere(regions == region)
            here = np.array([k for k in own.tolist() if region_of.get(k) == region], dtype=np.int64)
            where = tuple(at.T)
            landing = at + offset[:, at[:, 0], at[:, 1]].T
            instances[where] = own[cdist(landing, yx[own]).argmin(1)] + 1
            if len(here) == 1:
                seed[where] = here[0] + 1
            elif len(here) > 1:
                seed[where] = here[cdist(at, yx[here]).argmin(1)] + 1
    for k in reversed(range(len(labels))):
        instances[tuple(pixel[k])] = k + 1
    targets = np.zeros((2, *semantic.shape), np.float32)
    for k in range(len(labels)):
        y, x = np.nonzero(instances == k + 1)
        targets[0, y, x], targets[1, y, x] = yx[k, 0] - y, yx[k, 1] - x
    return [seed, instances, targets]


def suite(device: torch.device, repeats: int) -> list[Row]:
    """Yields rows for seeds, S2I and offset targets of 8 images of 416 px, and geodesic seeds."""
    rows = [_row(name, holes, device, repeats) for name, holes in SCENES.items()]
    return [*rows, _geodesic_row(device, repeats)]


def rival_geodesic(regions: Tensor, starts: Tensor, guide: Tensor) -> list[np.ndarray]:
    """Returns the nearest start of every pixel by SciPy's Dijkstra, from all starts at once."""
    labels = []
    for own, begin, values in zip(regions.numpy(), starts.numpy(), guide.numpy(), strict=True):
        number = np.arange(own.size).reshape(own.shape)
        edges = []
        for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
            here = (slice(0, SIZE - dy), slice(max(0, -dx), SIZE - max(0, dx)))
            there = (slice(dy, SIZE), slice(max(0, dx), SIZE + min(0, dx)))
            joined = (own[here] == own[there]) & (own[here] > 0)
            change = ((values[(slice(None), *here)] - values[(slice(None), *there)]) ** 2).sum(0)
            step = np.sqrt(dy * dy + dx * dx + change)[joined]
            edges.append((step, number[here][joined], number[there][joined]))
        step, a, b = (np.concatenate(each) for each in zip(*edges, strict=True))
        graph = csr_matrix((step, (a, b)), (own.size, own.size))
        real = np.flatnonzero(begin < own.size)
        real = real[np.unique(begin[real], return_index=True)[1]]
        _, _, source = dijkstra(
            graph, directed=False, indices=begin[real], min_only=True, return_predecessors=True
        )
        owner_at = np.zeros(own.size + 1, np.int64)
        owner_at[begin[real]] = real + 1
        labels.append(np.where(source >= 0, owner_at[source], 0).reshape(own.shape))
    return [np.stack(labels)]


def _geodesic_row(device: torch.device, repeats: int) -> Row:
    semantic, _, points = scene(0, 0.0)
    random = np.random.default_rng(0)
    colors = torch.from_numpy(random.normal(0, 4, (BATCH, 3, SIZE, SIZE)).astype(np.float32))
    batch = PointBatch.of(points, torch.device("cpu"))
    regions = regions_of(semantic, batch, 0.0)
    starts = batch.cells(SIZE, SIZE).where(regions.region_of > 0, SIZE**2)
    arguments = regions.labels, starts, colors
    tensors = [each.to(device) for each in arguments]
    own, rivals = geodesic_owners(*tensors).cpu(), rival_geodesic(*arguments)
    _check_equal([own], rivals)
    return compared(
        lambda: geodesic_owners(*tensors),
        lambda: rival_geodesic(*arguments),
        device,
        repeats,
        other_device=torch.device("cpu"),
        name="geodesic distance",
        dtype="float32",
        h=SIZE,
        d=0,
        batch=BATCH,
        rival="SciPy's Dijkstra (CPU)",
        limit_seconds=None,
    )


def _row(name: str, holes: float, device: torch.device, repeats: int) -> Row:
    semantic, offset, points = scene(0, holes)
    tensors = semantic.to(device), offset.to(device)
    near = [Points(p.yx.to(device), p.labels.to(device), p.ids) for p in points]
    _check_equal(ours(*tensors, near), rival(semantic, offset, points))
    # reads the map twice and the offsets; writes two owner maps, and targets
    moved = BATCH * SIZE**2 * (2 * 8 + 8 + 2 * 8 + 8)
    return compared(
        lambda: ours(*tensors, near),
        lambda: rival(semantic, offset, points),
        device,
        repeats,
        other_device=torch.device("cpu"),
        name=f"seed + S2I + offset targets, {name} maps",
        dtype="float32",
        h=SIZE,
        d=0,
        batch=BATCH,
        rival="NumPy, cdist a class and region (CPU)",
        limit_seconds=moved / bandwidth(device),
    )


def _check_equal(labels: list[Tensor], wanted: list[np.ndarray]) -> None:
    """Checks equality; float32 and float64 distances may break ties differently in few pixels."""
    for one, other in zip(labels, wanted, strict=True):
        apart = (one.cpu().double().numpy() - other) != 0
        if one.is_floating_point():
            apart = np.abs(one.cpu().numpy() - other) > 1e-3
        assert apart.mean() < 1e-3, f"the reference disagrees in {apart.mean():.4f} of the pixels"
