"""Maps of the rounds at full size, with and without a detail head."""

from __future__ import annotations

import torch
from strategies import points_of

from p2seg.method.grid import upsample
from p2seg.method.i2s import at_full_size, class_probabilities
from p2seg.structures import Outputs

POINTS = [points_of([(3, 3), (9, 20)], [1, 3])]
SIZE = (16, 24)


def outputs(*, detail: bool) -> Outputs:
    random = torch.Generator().manual_seed(0)
    whole = torch.randn(1, 4, *SIZE, generator=random) * 3
    coarse = torch.nn.functional.avg_pool2d(whole, 4)
    return Outputs(coarse, torch.zeros(1, 2, 4, 6), detailed_logits=whole if detail else None)


def test_without_detail_a_map_is_brought_up_bilinearly():
    given = outputs(detail=False)
    first = class_probabilities(given.class_logits, POINTS)
    assert torch.equal(at_full_size(first, given, POINTS, SIZE), upsample(first, SIZE))


def test_a_map_that_no_round_has_changed_is_the_networks_own():
    given = outputs(detail=True)
    own = class_probabilities(given.detailed_logits, POINTS)
    first = class_probabilities(given.class_logits, POINTS)
    torch.testing.assert_close(at_full_size(first, given, POINTS, SIZE), own)
    channels = torch.tensor([[0, 1, 3]])
    made = at_full_size(first, given, POINTS, SIZE, channels)
    torch.testing.assert_close(made, own[:, [0, 1, 3]])


def test_what_a_round_has_changed_multiplies_the_odds_of_every_pixel_of_the_cell():
    given = outputs(detail=True)
    first = class_probabilities(given.class_logits, POINTS)
    own = class_probabilities(given.detailed_logits, POINTS)
    changed = first * torch.tensor([1.0, 3.0, 1.0, 1.0])[:, None, None]
    changed = changed / changed.sum(1, keepdim=True)
    made = at_full_size(changed, given, POINTS, SIZE)
    torch.testing.assert_close(made.sum(1), torch.ones(1, *SIZE))
    odds, before = made[:, 1] / made[:, 3], own[:, 1] / own[:, 3]
    # three times as likely where neither is near zero, less where a cell hardly has the class
    both = (upsample(first[:, [1, 3]], SIZE).amin(1) > 0.1) & (before > 1e-3)
    torch.testing.assert_close(
        (odds / before)[both], torch.full_like(odds[both], 3.0), rtol=0.1, atol=0
    )
    assert (odds > before).all()
