"""Augmentation: the image, its labels and its points stay on one another."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import points_of

from p2seg.data.loader import sample_generator
from p2seg.data.network_input import NetworkInput
from p2seg.data.transforms import MEAN_COLOR, Augment
from p2seg.errors import UserError
from p2seg.structures import Labels

PLAIN = Augment(NetworkInput(64), crop=64, scale=(1.0, 1.0), flip=False, photometric=False)


def painted(height, width, yx):
    """An image with a white pixel, and labels of an own instance, at every point."""
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    instances = torch.zeros(height, width, dtype=torch.long)
    for k, (y, x) in enumerate(yx):
        image[:, int(y), int(x)] = 255
        instances[int(y), int(x)] = k + 1
    labels = Labels((instances > 0).long(), instances)
    return image, points_of(yx, [1] * len(yx)), labels


def ramp(height, width):
    """Instances whose label tells the pixel: y * width + x + 1."""
    instances = torch.arange(height * width).reshape(height, width) + 1
    return Labels(torch.ones_like(instances), instances)


sizes = st.integers(30, 90)
units = st.floats(0, 0.999)
fractions = st.sampled_from([0.0, 0.25, 0.5, 0.99])


@settings(max_examples=150, deadline=None)
@given(sizes, sizes, units, units, fractions, st.integers(0, 999))
def test_a_pixel_painted_at_the_point_is_found_at_the_point(height, width, v, u, part, seed):
    """Enlarged, flipped and cropped: no pixel is lost, so that the point must lie on its own."""
    y, x = int(v * height) + part, int(u * width) + part
    image, points, labels = painted(height, width, [(y, x)])
    augment = Augment(NetworkInput(90), crop=96, scale=(1.0, 1.4), photometric=False)
    random = sample_generator(seed)
    image, points, labels = augment(image, points, labels, random)
    if points.inside(96, 96)[0]:
        row, column = points.pixels[0].tolist()
        assert labels.instances[row, column] == 1
        assert labels.semantic[row, column] == 1
        assert image[0, row, column] >= 255 / 4 - 4  # half a pixel off in y and x, at the most
    else:
        assert not image.eq(255).any()


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), units, units, st.integers(0, 999))
def test_labels_under_the_point_are_those_of_its_place(height, width, v, u, seed):
    """At any scale, also smaller ones: the label under the moved point is of a pixel close by."""
    y, x = int(v * height), int(u * width)
    points = points_of([(float(y), float(x))], [1])
    augment = Augment(NetworkInput(40), crop=64, scale=(0.3, 2.0), photometric=False)
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    random = sample_generator(seed)
    _, points, labels = augment(image, points, ramp(height, width), random)
    if points.inside(64, 64)[0]:
        row, column = points.pixels[0].tolist()
        here = int(labels.instances[row, column]) - 1
        assert here >= 0, "the point lies on padding"
        low, high = (augment.input.size_of(height, width, scale) for scale in (0.3, 2.0))
        step = max(height / low[0], width / low[1], height / high[0], width / high[1], 1)
        assert abs(here // width - y) <= step / 2 + 0.5
        assert abs(here % width - x) <= step / 2 + 0.5


def test_corner_points_stay_in_the_corners_of_smaller_images():
    for side in (64, 65, 100, 200, 499):
        corners = [(0.0, 0.0), (0.0, side - 1.0), (side - 1.0, 0.0), (side - 1.0, side - 1.0)]
        image, points, labels = painted(side, side, corners)
        _, moved, _ = PLAIN(image, points, labels, sample_generator(0))
        assert moved.pixels.tolist() == [[0, 0], [0, 63], [63, 0], [63, 63]]


def test_points_outside_the_crop_keep_their_coordinates():
    image, points, labels = painted(64, 200, [(10, 5), (20, 150)])
    augment = Augment(NetworkInput(64), crop=32, scale=(1, 1), flip=False, photometric=False)
    for seed in range(5):
        _, moved, cut = augment(image, points, labels, sample_generator(seed))
        assert len(moved) == 2
        assert (moved.yx[1] - moved.yx[0]).tolist() == [10, 145]  # nothing is clipped
        assert moved.ids.tolist() == [1, 2]
        assert moved.labels.tolist() == [1, 1]
        for k in moved.inside(32, 32).nonzero()[:, 0].tolist():
            y, x = moved.pixels[k]
            assert cut.instances[y, x] == k + 1


def test_padding_is_ignored_and_has_the_mean_color():
    labels = ramp(10, 20)
    image = torch.full((3, 10, 20), 7, dtype=torch.uint8)
    augment = Augment(NetworkInput(10), crop=16, scale=(1, 1), flip=False, photometric=False)
    image, _, labels = augment(image, points_of([(0, 0)], [1]), labels, sample_generator(0))
    assert image.shape == (3, 16, 16)
    assert (image[:, :10] == 7).all()
    assert (image[:, 10:] == torch.tensor(MEAN_COLOR)[:, None, None]).all()
    assert (labels.semantic[10:] == 255).all()
    assert (labels.instances[10:] == 0).all()
    assert (labels.semantic[:10] == 1).all()
    assert (labels.instances[:10] > 0).all()


def test_padding_to_the_right():
    augment = Augment(NetworkInput(10), crop=16, scale=(1, 1), flip=False, photometric=False)
    image = torch.zeros(3, 20, 10, dtype=torch.uint8)
    _, _, labels = augment(image, points_of([(0, 0)], [1]), ramp(20, 10), sample_generator(0))
    assert (labels.semantic[:, 10:] == 255).all()
    assert (labels.semantic[:, :10] == 1).all()
    assert (labels.instances[:, 10:] == 0).all()


@given(st.integers(1, 9000), st.integers(1, 9000), st.floats(0.1, 2))
def test_sides_are_never_zero_and_never_too_long(height, width, scale):
    h, w = NetworkInput(480, 1920).size_of(height, width, scale)
    assert min(h, w) >= 1
    assert max(h, w) <= 1920 * scale + 1
    assert min(h, w) <= 480 * scale + 1
    if max(height, width) <= 4 * min(height, width):
        assert min(h, w) == pytest.approx(480 * scale, abs=0.51)


@given(
    st.integers(1, 900),
    st.integers(1, 900),
    st.none() | st.integers(1, 600),
    st.none() | st.integers(1, 600),
)
def test_a_size_is_kept_once_it_is_reached(height, width, short_side, long_side):
    """What was resized by the rule is not resized by it again."""
    rule = NetworkInput(short_side, long_side)
    once = rule.size_of(height, width)
    assert rule.size_of(*once) == once
    assert short_side is not None or max(once) <= max(height, width)
    assert long_side is None or max(once) <= long_side
    if short_side is long_side is None:
        assert once == (height, width)


@pytest.mark.parametrize("size", [(1, 1), (1, 6000), (6000, 1)])
def test_odd_images_come_out_as_crops(size):
    image, points, labels = painted(*size, [(0, 0)])
    image, _, labels = Augment(NetworkInput(40, 160), crop=32)(
        image, points, labels, sample_generator(1)
    )
    assert image.shape == (3, 32, 32)
    assert labels.semantic.shape == (32, 32)


def test_the_same_generator_gives_the_same_sample_and_another_one_another():
    image, points, labels = painted(50, 70, [(10, 20), (40, 60)])
    image = torch.randint(0, 255, image.shape, dtype=torch.uint8, generator=sample_generator(9))
    augment = Augment(NetworkInput(48), crop=32)

    def made(*seed):
        i, p, cut = augment(image, points, labels, sample_generator(*seed))
        return [i, p.yx, cut.semantic, cut.instances]

    torch.manual_seed(1)
    first = made(0, 3, 7)
    torch.manual_seed(2)  # nothing is drawn from the global state
    assert all(map(torch.equal, first, made(0, 3, 7)))
    assert not torch.equal(first[0], made(0, 4, 7)[0])


def test_photometric_changes_colors_alone():
    image, points, labels = painted(64, 64, [(10, 20)])
    image += torch.randint(0, 200, image.shape, dtype=torch.uint8, generator=sample_generator(9))
    loud = Augment(NetworkInput(64), crop=64, scale=(1, 1), flip=False, photometric=True)
    changed = 0
    for seed in range(8):
        plain = PLAIN(image, points, labels, sample_generator(seed))
        shown = loud(image, points, labels, sample_generator(seed))
        changed += not torch.equal(plain[0], shown[0])
        assert torch.equal(plain[1].yx, shown[1].yx)
        assert torch.equal(plain[2].instances, shown[2].instances)
    assert changed >= 6


def test_flips_half_of_the_time():
    image, points, labels = painted(64, 64, [(10, 20)])
    augment = Augment(NetworkInput(64), crop=64, scale=(1, 1), photometric=False)
    columns = [
        int(augment(image, points, labels, sample_generator(seed))[1].pixels[0, 1])
        for seed in range(60)
    ]
    assert set(columns) == {20, 43}
    assert 15 < columns.count(20) < 45


def test_quarter_turns_move_image_labels_and_points_alike():
    image, points, labels = painted(64, 64, [(10, 20)])
    augment = Augment(
        NetworkInput(64), crop=64, scale=(1, 1), flip=False, photometric=False, rotate=True
    )
    found = set()
    for seed in range(40):
        turned, moved, own = augment(image, points, labels, sample_generator(seed))
        (y, x), (v, u) = moved.pixels[0].tolist(), points.pixels[0].tolist()
        assert torch.equal(turned[:, y, x], image[:, v, u])
        assert own.instances[y, x] == labels.instances[v, u] != 0
        assert turned.is_contiguous()
        assert own.instances.is_contiguous()
        found.add((y, x))
    assert found == {(10, 20), (43, 10), (53, 43), (20, 53)}


def test_every_crop_position_is_drawn():
    image, points, labels = painted(64, 66, [(0, 0)])
    augment = Augment(NetworkInput(64), crop=64, scale=(1, 1), flip=False, photometric=False)
    lefts = {
        -float(augment(image, points, labels, sample_generator(seed))[1].yx[0, 1])
        for seed in range(40)
    }
    assert lefts == {0, 1, 2}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"crop": 130}, "crop=130"),
        ({"crop": 0}, "crop=0"),
        ({"scale": (1.3, 0.7)}, "scale"),
        ({"scale": (0.0, 1.0)}, "scale"),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong, named):
    with pytest.raises(UserError, match=named):
        Augment(**wrong)


@pytest.mark.parametrize("sides", [(0, None), (None, 0), (-3, 5)])
def test_sides_that_cannot_be_are_refused(sides):
    with pytest.raises(UserError, match=r"data\.(short|long)_side=(0|-3): must be"):
        NetworkInput(*sides)
