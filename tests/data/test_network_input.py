"""What a network sees of an image: its contrast."""

from __future__ import annotations

import pytest
import torch
from networks import tiny_network
from strategies import points_of

from p2seg.data.network_input import NetworkInput
from p2seg.pseudo.network import NetworkLabeler


def noisy(low: int, high: int) -> torch.Tensor:
    """`[3, 40, 60]`, every value from `low` to `high`, and one pixel far above."""
    values = torch.randint(low, high + 1, (3, 40, 60), generator=torch.Generator().manual_seed(0))
    image = values.to(torch.uint8)
    image[:, 0, 0] = 255
    return image


@pytest.mark.parametrize(("low", "high"), [(3, 40), (0, 255), (200, 220)])
def test_stretched_values_fill_the_range_whatever_a_few_pixels_have(low: int, high: int) -> None:
    seen = NetworkInput(stretch=True).apply(noisy(low, high))
    assert seen.dtype == torch.uint8
    assert seen.shape == (3, 40, 60)
    assert seen.min() <= 2
    assert seen.max() == 255
    assert abs(float(seen.float().mean()) - 127) < 10


def test_stretching_keeps_the_order_and_the_balance_of_the_channels() -> None:
    image = noisy(10, 60)
    image[0] //= 2
    seen = NetworkInput(stretch=True).apply(image).int()
    order = image.flatten().int().argsort(stable=True)
    assert (seen.flatten()[order].diff() >= 0).all()
    assert seen[0].float().mean() < seen[1].float().mean() - 40


def test_an_image_of_one_color_stays_in_range() -> None:
    plain = torch.full((3, 8, 8), 77, dtype=torch.uint8)
    assert NetworkInput(stretch=True).apply(plain).unique().numel() == 1
    assert (NetworkInput(short_side=4).apply(plain) == 77).all()


def test_a_dim_copy_of_an_image_is_labeled_as_the_image() -> None:
    """At export too the network sees the stretched image."""
    bright = noisy(0, 250)
    bright[:, 0, 0] = 250
    points = points_of([(20, 20)], [1])
    network = tiny_network().eval()
    dim = (bright.int() // 10).to(torch.uint8)
    apart = {}
    for stretch in (False, True):
        labeler = NetworkLabeler(network, None, input=NetworkInput(stretch=stretch))
        outputs = [labeler.outputs(each, points).class_logits.softmax(1) for each in (bright, dim)]
        apart[stretch] = float((outputs[0] - outputs[1]).detach().abs().mean())
    assert apart[False] > 10 * apart[True]
