"""Whose every pixel is by a network, seen at several scales and mirrored."""

from __future__ import annotations

import pytest
import torch
from hypothesis import settings
from networks import Beacon, lamp, tiny_network
from strategies import points_of
from torch import nn

from p2seg.engine.finite import NotFinite
from p2seg.errors import UserError
from p2seg.method.grid import upsample
from p2seg.method.i2s import class_probabilities
from p2seg.method.rounds import MutualDistillation
from p2seg.method.s2i import semantic_to_instances
from p2seg.pseudo.network import NetworkLabeler
from p2seg.structures import Outputs

MDM = MutualDistillation()


# 50 and 61: neither 32 nor 4 divides them, so that a mirrored grid has another rest
@pytest.mark.parametrize("size", [(64, 64), (64, 50), (45, 61), (33, 47)])
@pytest.mark.parametrize("scales", [(1.0,), (0.5, 1.0, 2.0), (0.75, 1.0)])
@pytest.mark.parametrize("flip", [False, True])
def test_an_equivariant_network_gives_what_it_gives_once(size, scales, flip):
    """Averaging over mirror images and scales puts every part back where it belongs."""
    network = Beacon()
    image, points = lamp(*size), points_of([(15, 20)], [1])
    once = NetworkLabeler(network, MDM).outputs(image, points)
    many = NetworkLabeler(network, MDM, flip=flip, scales=scales).outputs(image, points)
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
    labeler = NetworkLabeler(Beacon(detail=True), MDM, 0, "network", flip=True, scales=scales)
    made = labeler(image, points, torch.zeros(size, dtype=torch.long))
    assert torch.equal(made.instances > 0, image[0] > 128)  # to the pixel
    labeler = NetworkLabeler(Beacon(), MDM, 0, "network", flip=True, scales=scales)
    coarse = labeler(image, points, torch.zeros(size, dtype=torch.long))
    assert not torch.equal(coarse.instances > 0, image[0] > 128)


def test_flips_and_scales_are_shown_to_the_network():
    network = Beacon()
    NetworkLabeler(network, MDM).outputs(lamp(60, 50), points_of([(15, 20)], [1]))
    assert network.shown == [(60, 50)]
    network.shown.clear()
    labeler = NetworkLabeler(network, MDM, flip=True, scales=(1.0, 2.0))
    labeler.outputs(lamp(60, 50), points_of([(15, 20)], [1]))
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

    made = NetworkLabeler(Alternating(), MDM, flip=True).outputs(
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

    def labeled(foreground, rounds=0):
        labeler = NetworkLabeler(Doubtful(), mdm, rounds, "network", foreground=foreground)
        outputs = labeler.outputs(image, points)
        maps = labeler.maps(outputs, points, first)
        return maps, labeler(image, points, first)

    for odds in (1.0, 3.0):
        [given], made = labeled(odds)
        assert given[0, 1, 0, 0] == pytest.approx(0.4 * odds / (0.6 + 0.4 * odds))
        assert given[0, 1, 0, 7] == pytest.approx(0.1 * odds / (0.9 + 0.1 * odds))
        area = (made.instances == 1).sum()
        assert (area > 400) if odds == 3 else (area <= 4)
    if mdm is MDM:
        given, spread = (each.detach() for each in labeled(3.0, 1)[0])
        assert float(spread[0, 1].mean()) == pytest.approx(float(given[0, 1].mean()), rel=1e-3)
    for wrong in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(UserError, match=r"export\.foreground="):
            NetworkLabeler(Doubtful(), mdm, foreground=wrong)


@settings(max_examples=60, deadline=None)
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
    made = NetworkLabeler(network, mdm)(image, points, first)
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
        labeler = NetworkLabeler(Beacon(), MDM, silhouette=name)
        return labeler.silhouette_of(p, classes, first).tolist()

    assert silhouette("S0") == [[0, 2, 0, 2, 2]]
    assert silhouette("network") == [[2, 0, 0, 2, 2]]


def test_scores_are_the_mean_probability_of_the_class_over_the_mask():
    first, points = scene_of_two()
    image = torch.randint(0, 255, (3, 48, 48), dtype=torch.uint8)
    network = tiny_network(2).eval()
    made = NetworkLabeler(network, MDM, rounds=1)(image, points, first)
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
    made = NetworkLabeler(tiny_network(2).eval(), MutualDistillation(decode="point"))(
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
    labeler = NetworkLabeler(tiny_network(2).eval(), MDM, orphans=orphans, snap_radius=0)
    made = labeler(image, points, first)
    assert (made.instances[40:46, 30:36] == (1 if orphans == "nearest" else 0)).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 600), (37, 3)])
@pytest.mark.parametrize("silhouette", ["S0", "network"])
def test_odd_images(size, silhouette):
    image = torch.zeros(3, *size, dtype=torch.uint8)
    first = torch.ones(size, dtype=torch.long)
    labeler = NetworkLabeler(
        tiny_network(2).eval(), MDM, rounds=2, silhouette=silhouette, flip=True, scales=(0.5, 1.0)
    )
    made = labeler(image, points_of([(0, 0)], [1]), first)
    assert made.instances.shape == size
    assert made.instances[0, 0] == 1


def test_an_image_whose_map_is_ignored_everywhere():
    image = torch.zeros(3, 40, 40, dtype=torch.uint8)
    first = torch.full((40, 40), 255)
    made = NetworkLabeler(tiny_network(2).eval(), MDM)(image, points_of([(5, 5)], [2]), first)
    assert set(made.semantic.unique().tolist()) <= {0, 2}
    assert made.instances[5, 5] == 1


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
    labeler = NetworkLabeler(network, Overflowing() if part == "round" else MDM, **options)
    with pytest.raises(NotFinite, match="the model's outputs on an image are not finite"):
        labeler(image, points, first)


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
    labeler = NetworkLabeler(Beacon(detail=True), MDM, 0, "network", snap_radius=0, level=level)
    made = labeler(image, points, torch.zeros(48, 64, dtype=torch.long))
    for number, least in enumerate(found, start=1):
        ours, theirs = made.instances == number, truth == number
        overlap = float((ours & theirs).sum() / (ours | theirs).sum())
        assert overlap > 0.8 if least else overlap < 0.05
