"""Borders of silhouettes: the guided filter against its definition, and what it is for."""

from __future__ import annotations

import numpy as np
import torch
from networks import tiny_network
from strategies import points_of

from p2seg.method.rounds import MutualDistillation
from p2seg.method.seed import Seeder
from p2seg.pseudo.edges import EDGE_NOISE, aligned_map, to_edges
from p2seg.pseudo.network import NetworkLabeler
from p2seg.pseudo.seeds import SeedLabeler

MDM = MutualDistillation()


def test_edges_equal_the_guided_filter_as_it_is_defined():
    """In every window the best affine function of the colors; a pixel takes their mean."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (3, 9, 11)).astype(np.uint8)
    p = rng.random((9, 11))
    radius, eps = 2, EDGE_NOISE
    colors = np.pad(image / 255, ((0, 0), (2, 2), (2, 2)), mode="reflect")
    given = np.pad(p, 2, mode="reflect")
    a, b = np.zeros((9, 11, 3)), np.zeros((9, 11))
    for y, x in np.ndindex(9, 11):
        window = colors[:, y : y + 5, x : x + 5].reshape(3, -1)
        values = given[y : y + 5, x : x + 5].ravel()
        spread = np.cov(window, bias=True) + eps * np.eye(3)
        together = (window * values).mean(1) - window.mean(1) * values.mean()
        a[y, x] = np.linalg.solve(spread, together)
        b[y, x] = values.mean() - a[y, x] @ window.mean(1)
    wanted = np.zeros((9, 11))
    a, b = (np.pad(each, ((2, 2), (2, 2), (0, 0))[: each.ndim], mode="reflect") for each in (a, b))
    for y, x in np.ndindex(9, 11):
        mean = a[y : y + 5, x : x + 5].reshape(-1, 3).mean(0)
        wanted[y, x] = mean @ (image[:, y, x] / 255) + b[y : y + 5, x : x + 5].mean()
    both = torch.from_numpy(np.stack([wanted, 1 - wanted])).clamp(min=1e-6)
    maps = torch.from_numpy(np.stack([p, 1 - p])).float()
    made = to_edges(maps, torch.from_numpy(image), radius)
    torch.testing.assert_close(made.double(), both / both.sum(0), rtol=0, atol=2e-4)


def test_edges_are_the_images():
    image = torch.full((3, 24, 32), 60, dtype=torch.uint8)
    image[:, 6:18, 10:22] = 200
    p = torch.zeros(24, 32)
    p[8:20, 12:24] = 1  # two pixels off
    maps = torch.stack([1 - p, p])
    made = to_edges(maps, image, 8)
    torch.testing.assert_close(made.sum(0), torch.ones(24, 32))
    wrong = [((each == 1) != (image[0] == 200)).sum() for each in (p, made.argmax(0))]
    assert wrong[1] <= 8 < 80 < wrong[0]
    assert torch.equal(to_edges(maps, image, 0), maps)
    for size in ((1, 32), (3, 2), (24, 1)):  # windows no larger than the image
        part = to_edges(maps[:, : size[0], : size[1]], image[:, : size[0], : size[1]], 8)
        assert part.shape == (2, *size)
        assert part.isfinite().all()


def test_an_aligned_map_has_the_borders_of_the_image_and_keeps_unknown_pixels():
    image = torch.full((3, 24, 32), 60, dtype=torch.uint8)
    image[:, 6:18, 10:22] = 200
    points = points_of([(12, 16)], [3])
    eroded = torch.zeros(24, 32, dtype=torch.long)
    eroded[8:16, 12:20] = 3
    eroded[:2, :2] = 255
    right = image[0] == 200
    whole = aligned_map(eroded, image, points, 3.0, 8)
    assert ((whole == 3) != right).sum() < 12 < ((eroded == 3) != right).sum() / 5
    assert torch.equal(whole == 255, eroded == 255)
    assert set(whole.unique().tolist()) == {0, 3, 255}
    assert torch.equal(aligned_map(eroded, image, points, 3.0, 0), eroded)
    assert torch.equal(aligned_map(eroded, image, points_of([], []), 3.0, 8) > 0, eroded == 255)
    more, less = (aligned_map(eroded, image, points, odds, 8) == 3 for odds in (3.0, 1.0))
    assert (less & ~more).sum() == 0
    # both labelers take it, with the first map's silhouette
    seeds = SeedLabeler(Seeder(), foreground=3.0, edges=8)
    assert seeds.needs_image
    assert torch.equal(seeds(image, points, eroded).semantic, whole)
    network = NetworkLabeler(tiny_network(3).eval(), MDM, 0, "S0", foreground=3.0, edges=8)
    made = network(image, points, eroded).semantic
    assert torch.equal(made[whole != 255], whole[whole != 255])
