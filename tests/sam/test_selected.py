"""What is made of chosen masks: maps, pseudo masks, borders; and what a network says of masks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import tiny_network
from sam_sets import block, candidate
from semantic_sets import task
from strategies import points_of

from p2seg.data.network_input import NetworkInput
from p2seg.data.rle import decode
from p2seg.errors import UserError
from p2seg.method.seed import Seeder
from p2seg.pseudo.export import MaskRules, masks_of
from p2seg.pseudo.network import NetworkLabeler
from p2seg.pseudo.seeds import SeedLabeler
from p2seg.sam.candidates import CandidateFolder, write_candidates
from p2seg.sam.choose import Chooser
from p2seg.sam.evidence import Evidence, on_grid, predicted_objects, soft_iou
from p2seg.sam.selected import Choice, ChosenLabeler, ChosenMaps, Selection, Snapped
from p2seg.semantic.manifest import Manifest, write_manifest
from p2seg.structures import Outputs, pixel_grid

SIZE = (40, 60)
YX = [(20, 15), (20, 35)]
LEFT, RIGHT = block(10, 6, 30, 24), block(10, 26, 30, 44)
BOTH = LEFT | RIGHT


def folder(path: Path, *offered: Any) -> CandidateFolder:
    """Candidates of one image, whose points have the ids 1, 2, ..."""
    write_candidates(path / "a.json", {k + 1: list(own) for k, own in enumerate(offered)}, "key")
    write_manifest(path, Manifest("test", {}, ["a"], "", {}))
    return CandidateFolder(path, {k + 1: (path / "a.json", SIZE) for k in range(len(offered))})


def borders(candidates: CandidateFolder) -> Selection:
    return Selection(candidates, Chooser("consistent"))


def points(labels: tuple[int, ...] = (1, 2)) -> Any:
    made = points_of(YX[: len(labels)], list(labels))
    return replace(made, ids=torch.arange(1, len(labels) + 1))


def test_pixels_claimed_by_several_follow_the_score_and_clicks_stay() -> None:
    masks, yx = np.stack([BOTH, RIGHT]), np.array(YX)
    owner = Choice(masks, np.array([0.6, 0.8])).owners(yx, "score")
    assert (owner[LEFT] == 1).all()
    assert (owner[RIGHT] == 2).all()
    owner = Choice(masks, np.array([0.9, 0.8])).owners(yx, "score")
    assert owner[20, 35] == 2  # its own pixel
    assert (owner == 2).sum() == 1
    assert (owner[BOTH] > 0).all()
    assert (owner[~BOTH] == 0).all()
    same = Choice(masks, np.array([0.5, 0.5])).owners(np.array([(20, 15), (20, 15)]), "score")
    assert same[20, 15] == 1  # of several clicks on a pixel the first
    assert same[20, 35] == 1  # of equal scores the first


def test_pixels_claimed_by_several_are_the_smaller_mask_s() -> None:
    for masks, expected in (([BOTH, RIGHT], (1, 2)), ([LEFT, BOTH], (1, 2))):
        owner = Choice(np.stack(masks), np.array([0.9, 0.8])).owners(np.array(YX), "smaller")
        assert (owner[LEFT] == expected[0]).all()
        assert (owner[RIGHT] == expected[1]).all()


def test_maps_are_painted_of_the_chosen_masks(tmp_path: Path) -> None:
    candidates = folder(tmp_path, [candidate(LEFT)], [candidate(BOTH, 0.8), candidate(RIGHT, 0.5)])
    source = ChosenMaps(Selection(candidates, Chooser("score")), "sam", {"model": "vit_b"})
    asked = task(Path("a.png"), SIZE, YX, [1, 2])
    semantic = source(asked)
    assert semantic.dtype == np.uint8
    assert (semantic == np.where(LEFT, 1, np.where(RIGHT, 2, 0))).all()
    assert source.name == "sam"
    assert source.parameters == {
        "candidates": {"model": "vit_b"},
        "select": "score",
        "overlap": "smaller",
    }
    assert source.inputs(asked) == [tmp_path / "a.json"]
    empty = task(Path("a.png"), SIZE)
    assert source.inputs(empty) == []
    assert not source(empty).any()


def test_pseudo_masks_straight_from_the_chosen(tmp_path: Path) -> None:
    candidates = folder(tmp_path, [candidate(LEFT, 0.7)], [])
    labeler = ChosenLabeler(Selection(candidates, Chooser("score")))
    assert not labeler.needs_image
    labeled = labeler(None, points(), torch.zeros(SIZE, dtype=torch.long))
    first, second = masks_of(labeled, points(), MaskRules())
    assert (decode(first.rle) == LEFT).all()
    assert first.score == pytest.approx(0.7)
    assert second.default_box  # no candidates: one pixel is too few


def test_masks_take_a_candidate_s_borders_where_they_agree(tmp_path: Path) -> None:
    rough = block(12, 8, 30, 24)  # most of the left object
    other = block(0, 26, 9, 44)  # far from the right one
    candidates = folder(tmp_path, [candidate(LEFT)], [candidate(other)])
    first = torch.from_numpy(np.where(rough, 1, np.where(RIGHT, 2, 0)))
    seeds = SeedLabeler(Seeder())
    snapped = Snapped(seeds, borders(candidates), 0.6)
    assert (snapped.needs_image, snapped.on_gpu) == (seeds.needs_image, seeds.on_gpu)
    labeled = snapped(None, points(), first)
    assert (labeled.instances.numpy() == np.where(LEFT, 1, np.where(RIGHT, 2, 0))).all()
    strict = Snapped(seeds, borders(candidates), 0.95)(None, points(), first)
    assert (strict.instances.numpy() == np.where(rough, 1, np.where(RIGHT, 2, 0))).all()
    assert torch.equal(labeled.semantic, first)


def test_where_snapped_masks_meet_the_smaller_lies_on_top(tmp_path: Path) -> None:
    wide = block(10, 6, 30, 28)  # spills two columns over the right object
    candidates = folder(tmp_path, [candidate(wide)], [])
    first = torch.from_numpy(np.where(LEFT, 1, np.where(RIGHT, 2, 0)))
    labeled = Snapped(SeedLabeler(Seeder()), borders(candidates), 0.6)(None, points(), first)
    owner = labeled.instances.numpy()
    assert (owner[RIGHT] == 2).all()
    assert (owner[wide & ~RIGHT] == 1).all()


def test_costs_have_a_say_in_whose_borders_are_taken(tmp_path: Path) -> None:
    """Of two that agree alike with the mask, the one that the segmenter believes in."""
    high, low = block(8, 6, 30, 24), block(10, 6, 32, 24)
    first = torch.from_numpy(np.where(LEFT, 1, 0))
    for scores, expected in (((0.9, 0.5), high), ((0.5, 0.9), low)):
        offered = [candidate(high, scores[0]), candidate(low, scores[1])]
        snapped = Snapped(SeedLabeler(Seeder()), borders(folder(tmp_path, offered)), 0.6)
        assert (snapped(None, points((1,)), first).instances.numpy() == expected).all()
    assert snapped.parameters["iou"] == 0.6
    assert snapped.parameters["candidates"]["source"] == "test"


def test_masks_snap_to_unions(tmp_path: Path) -> None:
    top, bottom = block(10, 6, 20, 24), block(20, 6, 30, 24)
    candidates = folder(tmp_path, [candidate(top), candidate(bottom)])
    first = torch.from_numpy(np.where(block(11, 6, 29, 23), 1, 0))
    labeled = Snapped(SeedLabeler(Seeder()), borders(candidates), 0.6)(None, points((1,)), first)
    assert (labeled.instances.numpy() == LEFT).all()


@pytest.mark.parametrize("iou", [0.0, 1.5])
def test_an_iou_that_cannot_be_is_refused(tmp_path: Path, iou: float) -> None:
    with pytest.raises(UserError, match=r"export\.snap_iou="):
        Snapped(SeedLabeler(Seeder()), borders(folder(tmp_path, [])), iou)


def outputs(border: int) -> Outputs:
    """A network that sees class 1 in both boxes, and which of them is which.

    Args:
        border: the column of cells from which on cells point to the right box's click.
    """
    height, width = SIZE[0] // 4, SIZE[1] // 4
    seen = torch.from_numpy(on_grid(BOTH, (height, width)))
    logits = torch.stack([torch.zeros_like(seen), (2 * seen - 1) * 9, -9 * torch.ones_like(seen)])
    goal = torch.tensor([YX[0]] * border + [YX[1]] * (width - border)).T[:, None]
    offset = goal - (pixel_grid(seen) * 4 + 1.5)
    return Outputs(logits[None], offset[None])


def test_a_class_is_shared_among_its_points_by_where_cells_point() -> None:
    near = points((1, 1))
    seen = predicted_objects(outputs(25 // 4), near).numpy()
    assert seen.shape == (2, 10, 15)
    assert seen.sum(0).max() <= 1 + 1e-6
    assert seen[0, 5, 3] > 0.95
    assert seen[1, 5, 3] < 0.05
    assert seen[1, 5, 8] > 0.95
    assert seen[0, 0, 0] < 0.01  # background
    other = predicted_objects(outputs(25 // 4), points((1, 2))).numpy()
    assert other[0, 5, 8] > 0.95  # a point of another class takes nothing


def test_masks_on_the_grid_and_their_agreement() -> None:
    grid = on_grid(LEFT, (10, 15))
    assert grid.shape == (10, 15)
    assert grid.sum() * 16 == pytest.approx(LEFT.sum())
    odd = on_grid(np.ones((5, 6), bool), (2, 2))  # sides that 4 does not divide
    np.testing.assert_allclose(odd, [[1, 0.5], [0.25, 0.125]])
    assert soft_iou(grid, grid) == pytest.approx(1)
    assert soft_iou(grid, 0 * grid) == 0
    assert soft_iou(0 * grid, 0 * grid) == 0
    assert soft_iou(grid, grid / 2) == pytest.approx(0.5)


class Seeing(torch.nn.Module):
    """A network with the same answer to every image."""

    def __init__(self, answer: Outputs) -> None:
        super().__init__()
        self.answer, self.parameter = answer, torch.nn.Parameter(torch.zeros(()))

    def forward(self, _: torch.Tensor) -> Outputs:
        return self.answer


def test_the_network_chooses_the_granularity(tmp_path: Path) -> None:
    """Scores prefer the pair of objects; the network knows where one ends."""
    part = block(16, 10, 24, 20)
    offered = [candidate(part, 0.9), candidate(LEFT, 0.6), candidate(BOTH, 0.95)]
    lone = points((1,))
    evidence = Evidence(NetworkLabeler(Seeing(outputs(25 // 4)), None), {"of": "test"})
    image = torch.zeros(3, *SIZE, dtype=torch.uint8)
    both = points((1, 1))
    candidates = folder(tmp_path, offered, [candidate(RIGHT)])
    by_score = Selection(candidates, Chooser("score"))(both, SIZE, None)
    assert (by_score.masks[0] == BOTH).all()
    selection = Selection(candidates, Chooser("network"), evidence)
    choice = selection(both, SIZE, image)
    assert (choice.masks[0] == LEFT).all()
    assert choice.score[0] > 0.8
    assert selection.parameters["network"] == {"of": "test"}
    alone = selection(lone, SIZE, image)
    assert (alone.masks[0] == BOTH).all()  # nobody else's: the class is all its own
    source = ChosenMaps(selection, "sam", {})
    asked = task(Path("a.png"), SIZE, YX, [1, 1])
    assert source.inputs(asked) == [tmp_path / "a.json", Path("a.png")]
    assert ChosenLabeler(selection).needs_image


def test_agreement_of_a_real_network_is_in_range() -> None:
    evidence = Evidence(NetworkLabeler(tiny_network().eval(), None), {})
    image = torch.randint(0, 255, (3, 43, 57), dtype=torch.uint8)
    masks = np.stack([block(3, 4, 30, 40, (43, 57)), block(0, 0, 43, 57, (43, 57))])
    found = evidence(image, points(), masks, np.array([0, 1]))
    assert found.shape == (2,)
    assert ((found >= 0) & (found <= 1)).all()


def test_agreement_is_of_what_a_network_sees() -> None:
    """Twice as large and seen at half the size: the same agreement."""
    small = torch.randint(0, 255, (3, 40, 60), generator=torch.manual_seed(2)).byte()
    large = small.repeat_interleave(2, 1).repeat_interleave(2, 2)
    masks, of = np.stack([LEFT, RIGHT]), np.array([0, 1])
    network = tiny_network().eval()
    wanted = Evidence(NetworkLabeler(network, None), {})(small, points(), masks, of)
    there = replace(points(), yx=points().yx * 2 + 0.5)
    evidence = Evidence(NetworkLabeler(network, None, input=NetworkInput(40)), {})
    found = evidence(large, there, masks.repeat(2, 1).repeat(2, 2), of)
    np.testing.assert_allclose(found, wanted, atol=0.01)
