"""A network sees an image at the size of its training; masks have the image's own size."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from networks import Beacon, lamp, tiny_network
from strategies import points_of
from torch import nn

from p2seg.data.network_input import NetworkInput
from p2seg.data.transforms import Augment
from p2seg.method.rounds import MutualDistillation
from p2seg.pseudo.network import NetworkLabeler
from p2seg.structures import Labels, Outputs

MDM = MutualDistillation()


SIZES = [NetworkInput(90), NetworkInput(30), NetworkInput(long_side=40), NetworkInput(90, 70)]


def scene_of_size(height, width):
    image = torch.randint(0, 255, (3, height, width), generator=torch.manual_seed(5)).byte()
    first = torch.zeros(height, width, dtype=torch.long)
    first[8:24, 8:40] = 1
    first[30:40, 8:16] = 2
    first[:4] = 255
    return image, points_of([(15, 14), (16, 33), (35, 12)], [1, 1, 2]), first


@pytest.mark.parametrize("detail", [0, 4])
@pytest.mark.parametrize("silhouette", ["S0", "network"])
def test_an_images_own_size_changes_nothing(detail, silhouette):
    image, points, first = scene_of_size(45, 61)
    network = tiny_network(2, detail=detail).eval()
    options = {"flip": True, "scales": (0.5, 1.0), "edges": 3, "foreground": 2.0}

    def labeled(size):
        labeler = NetworkLabeler(network, MDM, 2, silhouette, input=size, **options)
        return labeler(image, points, first)

    plain = labeled(NetworkInput())
    for size in (
        NetworkInput(45),
        NetworkInput(long_side=61),
        NetworkInput(45, 61),
        NetworkInput(None, 900),
    ):
        made = labeled(size)
        assert torch.equal(made.semantic, plain.semantic)
        assert torch.equal(made.instances, plain.instances)
        assert torch.equal(made.scores, plain.scores)


@pytest.mark.parametrize("size", SIZES)
def test_a_network_sees_an_image_at_the_size_of_its_training(size):
    """Outputs and rounds are those of an image that was resized by the augmentation's rule."""
    image, points, first = scene_of_size(45, 61)
    plain = Augment(size, crop=128, scale=(1, 1), flip=False, photometric=False)
    labels = Labels(first, first * 0)
    there, moved, labels = plain(image, points, labels, torch.Generator())
    height, width = size.size_of(45, 61)
    assert (height, width) != (45, 61)
    there, seen = there[:, :height, :width], labels.semantic[:height, :width]
    network = tiny_network(2).eval()
    labeler = NetworkLabeler(network, MDM, 2, flip=True, scales=(1.0, 2.0))
    wanted = labeler.outputs(there, moved)
    resizing = replace(labeler, input=size)
    outputs = resizing.outputs(image, points)
    assert torch.equal(outputs.class_logits, wanted.class_logits)
    assert torch.equal(outputs.offset, wanted.offset)
    pairs = zip(
        resizing.maps(outputs, points, first), labeler.maps(wanted, moved, seen), strict=True
    )
    assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("detail", [False, True])
def test_masks_have_the_images_own_size(size, detail):
    image, points = lamp(45, 61, top=8, left=12, bottom=32, right=44), points_of([(15, 20)], [1])
    labeler = NetworkLabeler(Beacon(detail=detail), MDM, 0, "network", input=size)
    made = labeler(image, points, torch.zeros(45, 61, dtype=torch.long))
    found, lit = made.instances == 1, image[0] > 128
    assert found.shape == (45, 61)
    assert (found & lit).sum() / (found | lit).sum() > 0.75


class Crossing(nn.Module):
    """All is class 1; the left half points to the right click, and the right half to the left."""

    def __init__(self):
        super().__init__()
        self.parameter = nn.Parameter(torch.zeros(()))

    def forward(self, images):
        h, w = (side // 4 for side in images.shape[2:])
        x = (torch.arange(w) * 4 + 1.5).expand(1, 1, h, w)
        goal = torch.where(x < 2 * w, 3 * w, w)  # at 3/4 and 1/4 of the width
        offset = torch.cat([0 * x, goal - x], 1)
        logits = torch.tensor([-5.0, 5.0]).view(1, 2, 1, 1).expand(1, 2, h, w)
        return Outputs(logits, offset, torch.zeros(1, 2, h, w))


@pytest.mark.parametrize(
    "size", [NetworkInput(), NetworkInput(32), NetworkInput(16), NetworkInput(128)]
)
def test_offsets_are_of_the_images_own_pixels(size):
    labeler = NetworkLabeler(Crossing(), MDM, 0, "network", decode="point", input=size)
    points = points_of([(32, 16), (32, 48)], [1, 1])
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    made = labeler(image, points, torch.zeros(64, 64, dtype=torch.long)).instances
    # beside the clicks' own pixels, and what bilinear interpolation blurs in the middle
    assert (made[:30, :26] == 2).all()
    assert (made[:30, 38:] == 1).all()
