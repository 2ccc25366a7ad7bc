"""Whose every pixel is: by the seeds, or by a network seen at several scales and mirrored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import tiny_network
from strategies import points_of, scenes
from torch import nn
from torch.nn import functional as F

from p2seg.data.coco import decode
from p2seg.data.network_input import NetworkInput
from p2seg.data.transforms import MEAN_COLOUR, Augment
from p2seg.errors import UserError
from p2seg.finite import NotFinite
from p2seg.mdm.grid import upsample
from p2seg.mdm.i2s import class_probabilities
from p2seg.mdm.rounds import MutualDistillation
from p2seg.mdm.s2i import semantic_to_instances
from p2seg.mdm.seed import Seeder
from p2seg.pseudo.export import MaskRules, masks_of
from p2seg.pseudo.infer import (
    Labelled,
    NetworkLabeller,
    SeedFallback,
    SeedLabeller,
)
from p2seg.structures import Labels, Outputs

MDM = MutualDistillation()


class Beacon(nn.Module):
    """An equivariant network made by hand: everything follows the brightness of the image.

    Bright pixels are class 1, dark ones background, and every pixel points to the middle of the
    bright ones, wherever that is in the image it is shown and however large it is.
    """

    def __init__(self, *, detail=False):
        super().__init__()
        self.parameter = nn.Parameter(torch.zeros(()))
        self.shown = []
        self.detail = detail

    def forward(self, images):
        self.shown.append(tuple(images.shape[2:]))
        height, width = images.shape[2:]
        mean = MEAN_COLOUR[0] / 255
        bright = F.pad(images[:, :1].float() / 255, (0, -width % 4, 0, -height % 4), value=mean)
        p = F.avg_pool2d(bright, 4).clamp(0.02, 0.98)
        lit = (bright > 0.75).float()
        y, x = torch.meshgrid(
            torch.arange(bright.shape[2]).float(),
            torch.arange(bright.shape[3]).float(),
            indexing="ij",
        )
        middle = [(lit[:, 0] * each).sum((1, 2)) / lit[:, 0].sum((1, 2)) for each in (y, x)]
        h, w = p.shape[2:]
        cell_y = (torch.arange(h) * 4 + 1.5)[:, None].expand(h, w)
        cell_x = (torch.arange(w) * 4 + 1.5)[None].expand(h, w)
        offset = torch.stack(
            [middle[0][:, None, None] - cell_y, middle[1][:, None, None] - cell_x], 1
        )
        logits = torch.cat([(1 - p).log(), p.log()], 1)
        made = Outputs(logits, offset, torch.zeros(len(p), 2, h, w))
        p = bright[..., :height, :width].clamp(0.02, 0.98)
        whole = torch.cat([(1 - p).log(), p.log()], 1)
        return made._replace(detailed_logits=whole) if self.detail else made


def lamp(height, width, top=8, left=12, bottom=28, right=40):
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    image[:, top:bottom, left:right] = 255
    return image


# 50 and 61: neither 32 nor 4 divides them, so that a mirrored grid has another rest
@pytest.mark.parametrize("size", [(64, 64), (64, 50), (45, 61), (33, 47)])
@pytest.mark.parametrize("scales", [(1.0,), (0.5, 1.0, 2.0), (0.75, 1.0)])
@pytest.mark.parametrize("flip", [False, True])
def test_an_equivariant_network_gives_what_it_gives_once(size, scales, flip):
    """Averaging over mirror images and scales puts every part back where it belongs."""
    network = Beacon()
    image, points = lamp(*size), points_of([(15, 20)], [1])
    once = NetworkLabeller(network, MDM).outputs(image, points)
    many = NetworkLabeller(network, MDM, flip=flip, scales=scales).outputs(image, points)
    assert many.class_logits.shape == once.class_logits.shape
    exact = scales == (1.0,)  # at another size edges are less sharp
    torch.testing.assert_close(many.offset, once.offset, rtol=0, atol=1e-3 if exact else 1)
    p, q = (class_probabilities(each.class_logits, [points])[0, 1] for each in (once, many))
    torch.testing.assert_close(p, q, rtol=0, atol=1e-3 if exact else 0.5)
    assert (q[3:6, 4:9] > 0.9).all()
    assert (q[-2, :-1] < 0.3).all()
    assert (q[:-1, -2] < 0.3).all()


@pytest.mark.parametrize("size", [(64, 64), (45, 61)])
@pytest.mark.parametrize("scales", [(1.0,), (1.0, 2.0)])
def test_detail_is_averaged_over_mirror_images_and_scales_too(size, scales):
    image, points = lamp(*size, top=9, left=13, bottom=27, right=38), points_of([(15, 20)], [1])
    labeller = NetworkLabeller(Beacon(detail=True), MDM, 0, "network", flip=True, scales=scales)
    made = labeller(image, points, torch.zeros(size, dtype=torch.long))
    assert torch.equal(made.instances > 0, image[0] > 128)  # to the pixel
    labeller = NetworkLabeller(Beacon(), MDM, 0, "network", flip=True, scales=scales)
    coarse = labeller(image, points, torch.zeros(size, dtype=torch.long))
    assert not torch.equal(coarse.instances > 0, image[0] > 128)


def test_flips_and_scales_are_shown_to_the_network():
    network = Beacon()
    NetworkLabeller(network, MDM).outputs(lamp(60, 50), points_of([(15, 20)], [1]))
    assert network.shown == [(60, 50)]
    network.shown.clear()
    labeller = NetworkLabeller(network, MDM, flip=True, scales=(1.0, 2.0))
    labeller.outputs(lamp(60, 50), points_of([(15, 20)], [1]))
    assert network.shown == [(60, 50), (64, 64), (128, 128), (128, 128)]


def test_the_average_is_of_probabilities_and_of_offsets():
    class Alternating(nn.Module):
        """Says one thing first, and another thing of the mirrored image."""

        def __init__(self):
            super().__init__()
            self.parameter = nn.Parameter(torch.zeros(()))
            self.calls = 0

        def forward(self, images):  # noqa: ARG002
            p, dx = ((0.9, 8.0), (0.5, 4.0))[self.calls]
            self.calls += 1
            logits = torch.tensor([1 - p, p]).log().view(1, 2, 1, 1).expand(1, 2, 8, 8)
            offset = torch.tensor([3.0, dx]).view(1, 2, 1, 1).expand(1, 2, 8, 8)
            return Outputs(logits, offset, torch.full((1, 2, 8, 8), float(self.calls)))

    made = NetworkLabeller(Alternating(), MDM, flip=True).outputs(
        torch.zeros(3, 32, 32, dtype=torch.uint8), points_of([(1, 1)], [1])
    )
    assert made.class_logits.exp()[0, 1, 2, 3] == pytest.approx(0.7)
    assert made.offset[0, 0, 2, 3] == pytest.approx(3)
    assert made.offset[0, 1, 2, 3] == pytest.approx((8 - 4) / 2)  # mirrored dx turns its sign
    assert (made.embedding == 1).all()  # affinity from scale 1, not mirrored


@pytest.mark.parametrize("mdm", [MDM, None])
def test_foreground_raises_the_odds_of_classes_before_the_rounds(mdm):
    class Doubtful(nn.Module):
        """Sees class 1 with 40 % in the left half and 10 % in the right one."""

        def __init__(self):
            super().__init__()
            self.parameter = nn.Parameter(torch.zeros(()))

        def forward(self, images):  # noqa: ARG002
            p = torch.full((1, 1, 8, 8), 0.1)
            p[..., :4] = 0.4
            logits = torch.cat([1 - p, p], 1).log()
            alike = torch.zeros(1, 2, 8, 8)  # no affinity tells pixels apart: a round is a mean
            return Outputs(logits, alike, alike)

    image, points = torch.zeros(3, 32, 32, dtype=torch.uint8), points_of([(16, 8)], [1])
    first = torch.zeros(32, 32, dtype=torch.long)

    def labelled(foreground, rounds=0):
        labeller = NetworkLabeller(Doubtful(), mdm, rounds, "network", foreground=foreground)
        outputs = labeller.outputs(image, points)
        maps = labeller.maps(outputs, points, first)
        return maps, labeller(image, points, first)

    for odds in (1.0, 3.0):
        [given], made = labelled(odds)
        assert given[0, 1, 0, 0] == pytest.approx(0.4 * odds / (0.6 + 0.4 * odds))
        assert given[0, 1, 0, 7] == pytest.approx(0.1 * odds / (0.9 + 0.1 * odds))
        area = (made.instances == 1).sum()
        assert (area > 400) if odds == 3 else (area <= 4)
    if mdm is MDM:
        given, spread = (each.detach() for each in labelled(3.0, 1)[0])
        assert float(spread[0, 1].mean()) == pytest.approx(float(given[0, 1].mean()), rel=1e-3)
    for wrong in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(UserError, match=r"export\.foreground="):
            NetworkLabeller(Doubtful(), mdm, foreground=wrong)


@settings(max_examples=60, deadline=None)
@given(scenes(), st.sampled_from(["points_first", "semantic_first"]), st.sampled_from([0.0, 3.0]))
def test_the_seeds_alone(scene, conflict, snap):
    first, points = scene
    seeder = Seeder(conflict, snap)
    [seed] = seeder(first[None], [points]).instances
    made = SeedLabeller(seeder, "drop")(None, points, first)
    assert torch.equal(made.instances, seed)
    assert torch.equal(made.semantic, first)
    assert made.scores.tolist() == [1.0] * len(points)
    filled = SeedLabeller(seeder, "nearest")(None, points, first).instances
    assert torch.equal(filled[seed > 0], seed[seed > 0])
    if conflict == "semantic_first":  # the rival leaves out what it cannot tell
        assert torch.equal(filled, seed)
        return
    for y, x in (seed == 0).nonzero().tolist():
        if [y, x] in points.pixels.tolist():
            continue  # a click's own pixel is its own, whatever the map says
        label = int(first[y, x])
        own = [k for k in range(len(points)) if int(points.labels[k]) == label]
        if label in (0, 255) or not own:
            assert filled[y, x] == 0
        else:  # the nearest click of the class
            at = torch.tensor([y, x])
            distance = [float((points.yx[k] - at).norm()) for k in own]
            mine = int(filled[y, x]) - 1
            assert mine in own
            assert distance[own.index(mine)] == min(distance)


def scene_of_two():
    """A map of two touching objects and a part of neither, and the clicks."""
    first = torch.zeros(48, 48, dtype=torch.long)
    first[8:24, 8:40] = 1
    first[32:40, 8:16] = 2
    first[40:, 40:] = 255
    return first, points_of([(15, 14), (16, 33), (35, 12)], [1, 1, 2])


@pytest.mark.parametrize("decode", ["vote", "point"])
def test_silhouette_s0_splits_the_first_map_by_the_networks_offsets(decode):
    first, points = scene_of_two()
    image = torch.randint(0, 255, (3, 48, 48), dtype=torch.uint8)
    network = tiny_network(2).eval()
    mdm = MutualDistillation(decode=decode)
    made = NetworkLabeller(network, mdm)(image, points, first)
    known = first != 255
    assert torch.equal(made.semantic[known], first[known])
    assert set(made.semantic[~known].tolist()) <= {0, 1, 2}
    with torch.no_grad():
        offset = upsample(network(image[None]).offset, (48, 48))
    [wanted] = semantic_to_instances(
        made.semantic[None], offset, [points], decode=decode, snap_radius=16
    )
    assert torch.equal(made.instances, wanted)


def test_silhouettes_of_the_network_and_of_the_first_map():
    classes = torch.tensor([0, 2])
    first = torch.tensor([[0, 2, 0, 2, 255]])
    two = torch.tensor([[0.6, 0.4, 0.4, 0.6, 0.6]])
    p = torch.stack([1 - two, two])

    def silhouette(name):
        labeller = NetworkLabeller(Beacon(), MDM, silhouette=name)
        return labeller.silhouette_of(p, classes, first).tolist()

    assert silhouette("S0") == [[0, 2, 0, 2, 2]]
    assert silhouette("network") == [[2, 0, 0, 2, 2]]


def test_scores_are_the_mean_probability_of_the_class_over_the_mask():
    first, points = scene_of_two()
    image = torch.randint(0, 255, (3, 48, 48), dtype=torch.uint8)
    network = tiny_network(2).eval()
    made = NetworkLabeller(network, MDM, rounds=1)(image, points, first)
    with torch.no_grad():
        maps = MDM.semantics(network(image[None]), [points], first[None], 1)
    [large] = upsample(maps[-1], (48, 48))
    for k in range(3):
        mask = made.instances == k + 1
        wanted = large[int(points.labels[k])][mask].mean()
        assert float(made.scores[k]) == pytest.approx(float(wanted), abs=1e-5)
        assert 0 < made.scores[k] < 1


def test_a_click_without_a_pixel_has_score_zero():
    first, _ = scene_of_two()
    points = points_of([(15, 14), (15, 14)], [1, 1])  # two on one pixel
    image = torch.zeros(3, 48, 48, dtype=torch.uint8)
    made = NetworkLabeller(tiny_network(2).eval(), MutualDistillation(decode="point"))(
        image, points, first
    )
    assert not (made.instances == 2).any()
    assert made.scores[1] == 0


@pytest.mark.parametrize("orphans", ["nearest", "drop"])
def test_orphans(orphans):
    first, _ = scene_of_two()
    points = points_of([(15, 14), (35, 12)], [1, 2])
    first[40:46, 30:36] = 1  # a part of class 1 without a click
    image = torch.zeros(3, 48, 48, dtype=torch.uint8)
    labeller = NetworkLabeller(tiny_network(2).eval(), MDM, orphans=orphans, snap_radius=0)
    made = labeller(image, points, first)
    assert (made.instances[40:46, 30:36] == (1 if orphans == "nearest" else 0)).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 600), (37, 3)])
@pytest.mark.parametrize("silhouette", ["S0", "network"])
def test_odd_images(size, silhouette):
    image = torch.zeros(3, *size, dtype=torch.uint8)
    first = torch.ones(size, dtype=torch.long)
    labeller = NetworkLabeller(
        tiny_network(2).eval(), MDM, rounds=2, silhouette=silhouette, flip=True, scales=(0.5, 1.0)
    )
    made = labeller(image, points_of([(0, 0)], [1]), first)
    assert made.instances.shape == size
    assert made.instances[0, 0] == 1


def test_an_image_whose_map_is_ignored_everywhere():
    image = torch.zeros(3, 40, 40, dtype=torch.uint8)
    first = torch.full((40, 40), 255)
    made = NetworkLabeller(tiny_network(2).eval(), MDM)(image, points_of([(5, 5)], [2]), first)
    assert set(made.semantic.unique().tolist()) <= {0, 2}
    assert made.instances[5, 5] == 1


class Finding:
    """Returns the given instance map."""

    needs_image, on_gpu = True, False

    def __init__(self, instances):
        self.instances = instances

    def __call__(self, _, points, first):
        return Labelled(first, self.instances, torch.full((len(points),), 0.8))


def test_a_point_that_the_network_leaves_unclaimed_gets_the_seeds_mask():
    first = torch.zeros(40, 60, dtype=torch.long)
    first[4:14, 4:14], first[4:14, 30:40], first[25:27, 50:52] = 1, 1, 1
    points = points_of([(8, 8), (8, 35), (26, 51), (35, 5)], [1, 1, 1, 1])
    network = torch.zeros_like(first)
    network[4:14, 4:34] = 1  # it took four columns of the second object, and not the third
    image = torch.zeros(3, 40, 60, dtype=torch.uint8)
    labeller = SeedFallback(Finding(network), Seeder(snap_radius=0), min_pixels=8)
    made = masks_of(labeller(image, points, first), points, MaskRules(8, 16))
    assert [each.from_seed for each in made] == [False, True, False, False]
    assert [each.default_box for each in made] == [False, False, True, True]
    assert [each.score for each in made] == pytest.approx([0.8, 0.5, 0.5, 0.5])
    assert np.array_equal(decode(made[0]), (network == 1).numpy())
    free = torch.zeros_like(first)
    free[4:14, 34:40] = 1  # the seed's, without what another point has
    assert np.array_equal(decode(made[1]), free.numpy())


def test_where_every_point_has_its_pixels_the_seed_is_not_asked():
    first = torch.zeros(8, 8, dtype=torch.long)
    network = torch.ones_like(first)
    labeller = SeedFallback(Finding(network), None, min_pixels=8)
    made = labeller(None, points_of([(4, 4)], [1]), first)
    assert made.instances is network
    assert made.from_seed is None


class Overflowing(MutualDistillation):
    """Rounds in which finite outputs overflow."""

    def semantics(self, *given):
        return [each / 0 for each in super().semantics(*given)]


@pytest.mark.parametrize("part", ["class_head", "offset_head", "affinity_head", "round", "scale"])
def test_outputs_that_are_not_finite_label_nothing(part):
    network = tiny_network(2).eval()
    options = {"scales": (1.0, 0.5)} if part == "scale" else {}
    with torch.no_grad():
        if part.endswith("head"):
            for parameter in getattr(network, part).parameters():
                parameter.fill_(3e38)
    if part == "scale":
        shown = []

        def ruin(_module, _given, outputs):
            shown.append(outputs)
            if len(shown) == 2:
                outputs.offset[0, 0, 0, 0] = torch.nan

        network.register_forward_hook(ruin)
    points = points_of([(8.0, 8.0), (40.0, 40.0)], [1, 2])
    image = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)
    first = torch.zeros(64, 64, dtype=torch.long)
    labeller = NetworkLabeller(network, Overflowing() if part == "round" else MDM, **options)
    with pytest.raises(NotFinite, match="the model's outputs on an image are not finite"):
        labeller(image, points, first)


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

    def labelled(size):
        labeller = NetworkLabeller(network, MDM, 2, silhouette, input=size, **options)
        return labeller(image, points, first)

    plain = labelled(NetworkInput())
    for size in (
        NetworkInput(45),
        NetworkInput(long_side=61),
        NetworkInput(45, 61),
        NetworkInput(None, 900),
    ):
        made = labelled(size)
        assert torch.equal(made.semantic, plain.semantic)
        assert torch.equal(made.instances, plain.instances)
        assert torch.equal(made.scores, plain.scores)


@pytest.mark.parametrize("size", SIZES)
def test_a_network_sees_an_image_at_the_size_of_its_training(size):
    """Outputs and rounds are those of an image that was resized by the augmentation's rule."""
    image, points, first = scene_of_size(45, 61)
    plain = Augment(size, crop=128, scale=(1, 1), flip=False, photometric=False)
    labels = Labels(first, first * 0, first * 0.0)
    there, moved, labels = plain(image, points, labels, torch.Generator())
    height, width = size.of(45, 61)
    assert (height, width) != (45, 61)
    there, seen = there[:, :height, :width], labels.semantic[:height, :width]
    network = tiny_network(2).eval()
    labeller = NetworkLabeller(network, MDM, 2, flip=True, scales=(1.0, 2.0))
    wanted = labeller.outputs(there, moved)
    resizing = replace(labeller, input=size)
    outputs = resizing.outputs(image, points)
    assert torch.equal(outputs.class_logits, wanted.class_logits)
    assert torch.equal(outputs.offset, wanted.offset)
    pairs = zip(
        resizing.maps(outputs, points, first), labeller.maps(wanted, moved, seen), strict=True
    )
    assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("detail", [False, True])
def test_masks_have_the_images_own_size(size, detail):
    image, points = lamp(45, 61, top=8, left=12, bottom=32, right=44), points_of([(15, 20)], [1])
    labeller = NetworkLabeller(Beacon(detail=detail), MDM, 0, "network", input=size)
    made = labeller(image, points, torch.zeros(45, 61, dtype=torch.long))
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
    labeller = NetworkLabeller(Crossing(), MDM, 0, "network", decode="point", input=size)
    points = points_of([(32, 16), (32, 48)], [1, 1])
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    made = labeller(image, points, torch.zeros(64, 64, dtype=torch.long)).instances
    # beside the clicks' own pixels, and what bilinear interpolation blurs in the middle
    assert (made[:30, :26] == 2).all()
    assert (made[:30, 38:] == 1).all()


def two_lamps():
    """A bright object and one that is darker than half, on dark ground; and a click on each."""
    image = torch.full((3, 48, 64), 20, dtype=torch.uint8)
    image[:, 8:24, 8:24] = 240
    image[:, 28:44, 36:52] = 90
    truth = torch.zeros(48, 64, dtype=torch.long)
    truth[8:24, 8:24], truth[28:44, 36:52] = 1, 2
    points = points_of([(16, 16), (36, 44)], [1, 1])
    return image, points, truth


@pytest.mark.parametrize(("level", "found"), [(None, [1.0, 0.0]), (0.5, [1.0, 1.0])])
def test_a_missed_click_gets_a_region_by_its_own_threshold(level, found):
    image, points, truth = two_lamps()
    labeller = NetworkLabeller(Beacon(detail=True), MDM, 0, "network", snap_radius=0, level=level)
    made = labeller(image, points, torch.zeros(48, 64, dtype=torch.long))
    for number, least in enumerate(found, start=1):
        ours, theirs = made.instances == number, truth == number
        overlap = float((ours & theirs).sum() / (ours | theirs).sum())
        assert overlap > 0.8 if least else overlap < 0.05
