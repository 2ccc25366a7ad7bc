"""Figures of a network whose outputs are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from strategies import points_of
from torch import nn

from p2seg.apps.report.figures import (
    Scene,
    affinity_figure,
    offset_figure,
    progress_figure,
    rounds_figure,
)
from p2seg.data.network_input import NetworkInput
from p2seg.errors import UserError
from p2seg.method.i2s import affinities_of, affinity_factors
from p2seg.method.losses import offset_targets
from p2seg.method.rounds import MutualDistillation
from p2seg.method.seed import Seeder
from p2seg.pseudo.network import NetworkLabeler
from p2seg.structures import Outputs

POINTS = points_of([(24, 16), (24, 48)], [1, 1])
CELL = 64


def halves() -> torch.Tensor:
    """Returns a scene with two touching objects of class 1 on a background."""
    instances = torch.zeros(48, 64, dtype=torch.long)
    instances[8:40, 8:32] = 1
    instances[8:40, 32:56] = 2
    return instances


class Knowing(nn.Module):
    """Returns a network that predicts the two objects, with or without affinities."""

    def __init__(self, *, affinity: bool = True) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(5.0))
        self.affinity = affinity

    def forward(self, images: torch.Tensor) -> Outputs:
        del images
        whole = halves()
        cells = whole[None, None, 1::4, 1::4]
        logits = torch.cat([(cells == 0) * 9.0, (cells > 0) * 9.0], 1)
        offset = offset_targets(whole[None], [POINTS])[:, :, 1::4, 1::4] - 0.5
        offset = offset * (cells > 0)
        if not self.affinity:
            return Outputs(logits, offset, center=(cells == 1).float())
        embedding = torch.cat([(cells == k) * 3.5 - 1.2 for k in range(3)], 1)
        return Outputs(logits, offset, embedding)


@pytest.fixture
def scene():
    image = torch.randint(0, 256, (3, 48, 64), generator=torch.manual_seed(0), dtype=torch.uint8)
    truth = [(halves() == k).numpy() for k in (1, 2)]
    return Scene("two.png", image, POINTS, (halves() > 0).long(), truth)


MDM = MutualDistillation(rounds=1, beta=2.0, decode="point")


def labeler(mdm=MDM, **options):
    return NetworkLabeler(Knowing(**options), mdm, 1, "network")


def cell_of(sheet, row, column, *, rows=1, side=0):
    """Returns one picture of a titled grid of 4:3 images."""
    height = CELL * 3 // 4
    top = 8 + CELL // 10 + row * (height + 8)
    left = 8 + side + column * (CELL + 8)
    assert sheet.shape[0] == 8 + CELL // 10 + rows * (height + 8)
    return sheet[top : top + height, left : left + CELL].astype(int)


def test_affinities_of_some_pixels_are_rows_of_the_matrix():
    torch.manual_seed(3)
    outputs = Outputs(
        torch.randn(2, 2, 4, 6),
        torch.randn(2, 2, 4, 6),
        torch.randn(2, 3, 4, 6),
    )
    given = affinity_factors(outputs)
    matrix = (given @ given.transpose(1, 2)).sigmoid()
    rows = affinities_of(outputs, torch.tensor([13, 2]))
    torch.testing.assert_close(rows.flatten(2), matrix[:, [13, 2]])
    assert not torch.allclose(rows[:, 0].flatten(1), matrix[:, 12])


def test_an_affinity_map_is_light_on_the_clicked_object_only(scene):
    sheet = affinity_figure([scene], labeler(), beta=3.0, clicks=5, cell=CELL)
    assert sheet.shape[1] == 8 + 3 * (CELL + 8)
    light = [cell_of(sheet, k, 1, rows=2).mean(2) for k in (0, 1)]
    for k, other in ((0, 1), (1, 0)):
        own, rival = ((halves() == i + 1).numpy() for i in (k, other))
        assert light[k][own].mean() > 150
        assert light[k][rival].mean() < 60
    powered = cell_of(sheet, 0, 2, rows=2).mean(2)
    assert powered[(halves() == 1).numpy()].mean() < light[0][(halves() == 1).numpy()].mean()
    with pytest.raises(UserError, match="no affinity output"):
        affinity_figure([scene], labeler(None, affinity=False), 1.0, 1, CELL)


def test_correct_offsets_look_like_their_targets(scene):
    sheet = offset_figure([scene], labeler(), Seeder(), CELL)
    wanted, seen = (cell_of(sheet, 0, column) for column in (1, 2))
    inside = np.zeros((48, 64), bool)
    inside[14:34, 14:26] = inside[14:34, 38:50] = True
    inside &= np.abs(np.arange(48)[:, None] - 24) > 6  # near a click directions turn at once
    assert np.abs(wanted - seen)[inside].mean() < 12
    assert np.abs(wanted - 255)[:6].max() == 0, "nothing is asked of background"
    instances = cell_of(sheet, 0, 4)
    assert np.abs(instances[20, 18] - instances[20, 46]).sum() > 60, "two colors"


def test_the_figure_of_the_rounds(scene):
    without = Scene(scene.name, scene.image, scene.points, scene.first)
    height = CELL * 3 // 4 + 16 + CELL // 10
    sheet = rounds_figure(scene, labeler(), Seeder(), CELL)
    # clicks, map, seeds, offsets, affinity; two pictures for no round and for one; the truth
    assert sheet.shape == (2 * height, 8 + 5 * (CELL + 8), 3)
    found = rounds_figure(without, labeler(), Seeder(), CELL)
    assert (found[height:, -CELL:] == 255).all(), "no truth, no picture"
    assert (sheet[height:, -CELL:] != 255).any()
    bestie = rounds_figure(scene, labeler(None, affinity=False), Seeder(), CELL)
    assert bestie.shape[0] == 2 * height


def test_a_network_with_a_smaller_input_is_drawn_at_full_size(scene):
    """A scene of twice the size with a network input of half the size gives the same pictures."""
    image = scene.image.repeat_interleave(2, 1).repeat_interleave(2, 2)
    first = scene.first.repeat_interleave(2, 0).repeat_interleave(2, 1)
    points = points_of([(48.5, 32.5), (48.5, 96.5)], [1, 1])
    large = Scene(scene.name, image, points, first)
    small = Scene(scene.name, scene.image, scene.points, scene.first)
    half = replace(labeler(), input=NetworkInput(48))
    figures = (
        lambda each, by: affinity_figure([each], by, 3.0, 5, CELL),
        lambda each, by: offset_figure([each], by, Seeder(), CELL),
        lambda each, by: rounds_figure(each, by, Seeder(), CELL),
    )
    # drawn dots are thicker by a fraction of a pixel
    for figure in figures:
        seen, wanted = figure(large, half).astype(int), figure(small, labeler()).astype(int)
        assert np.abs(seen - wanted).mean() < 4


def test_progress_omits_missing_snapshots(scene):
    nothing, all_of_it = torch.zeros(48, 64, dtype=torch.long), halves()
    runs = {"without": {0: [nothing], 9: [nothing]}, "with": {0: [nothing], 9: [all_of_it]}}
    sheet = progress_figure([scene], runs, CELL)
    side = CELL // 10
    assert sheet.shape[1] == 8 + side + 4 * (CELL + 8)
    late = [cell_of(sheet, row, 3, rows=2, side=side) for row in (0, 1)]
    early = [cell_of(sheet, row, 2, rows=2, side=side) for row in (0, 1)]
    assert (early[0] == early[1]).all()
    assert (late[0] == early[0]).all()
    assert np.abs(late[1] - late[0])[(halves() > 0).numpy()].mean() > 20
    partial = progress_figure([scene], {"a": {0: [nothing]}, "b": {9: [nothing]}}, CELL)
    assert partial.shape == sheet.shape
