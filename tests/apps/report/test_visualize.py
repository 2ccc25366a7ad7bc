"""Pictures: colors, sizes, and unchanged inputs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from p2seg.apps.report.grids import grid, panels
from p2seg.apps.report.pictures import (
    brighten,
    draw_heat,
    draw_instances,
    draw_offset,
    draw_points,
    draw_semantic,
    fit,
    palette,
    write_png,
)
from p2seg.apps.report.training import training_pictures
from p2seg.structures import Batch, Labels, Points, Sample

GRAY = np.full((60, 80, 3), 120, np.uint8)


def points_at(*yx: tuple[float, float]) -> Points:
    count = len(yx)
    return Points(
        torch.tensor(yx, dtype=torch.float32).reshape(-1, 2),
        torch.ones(count, dtype=torch.int64),
        torch.arange(count),
    )


def test_only_dark_images_are_brightened() -> None:
    dark = np.zeros((20, 20, 3), np.uint8)
    dark[5:10, 5:10] = 40
    bright = brighten(dark)
    assert (bright[dark == 40] == 255).all()
    assert (bright[dark == 0] == 0).all()
    for same in (GRAY + 30, np.zeros_like(GRAY)):
        assert (brighten(same) == same).all()


def test_palette_is_bright_and_distinct_and_new_colors_are_appended() -> None:
    colors = palette(40)
    assert colors.shape == (40, 3)
    assert colors.dtype == np.uint8
    assert (palette(7) == colors[:7]).all()
    first = colors[:12].astype(int)
    distance = np.abs(first[:, None] - first[None]).sum(2) + 999 * np.eye(12, dtype=int)
    assert distance.min() > 60
    assert (colors.max(1) > 200).all()
    assert palette(0).shape == (0, 3)


def test_semantic_has_the_colors_of_its_classes() -> None:
    semantic = np.zeros((60, 80), np.uint8)
    semantic[:, 20:40], semantic[:, 40:60], semantic[:, 60:] = 1, 7, 255
    drawn = draw_semantic(GRAY, semantic, opacity=1.0)
    assert (drawn[30, 30] == palette(1)[0]).all()
    assert (drawn[30, 50] == palette(7)[6]).all()
    assert (drawn[30, 70] == 255).all()
    assert (np.ptp(drawn[30, 10].astype(int)) == 0).all()  # background stays gray


@pytest.mark.parametrize("as_masks", [False, True])
def test_instances_have_their_own_colors(as_masks: bool) -> None:
    instances = np.zeros((60, 80), np.int64)
    instances[10:50, 10:30], instances[10:50, 50:70] = 1, 3
    given = [instances == k for k in (1, 2, 3)] if as_masks else instances
    drawn = draw_instances(GRAY, given, opacity=1.0)
    assert (drawn[30, 20] == palette(3)[0]).all()
    assert (drawn[30, 60] == palette(3)[2]).all()
    assert (drawn[10, 20] > 200).all()  # outlines are white
    assert len(np.unique(drawn[:, 35:45].reshape(-1, 3), axis=0)) == 1


def test_small_masks_are_on_top_and_outlines_have_the_class_color() -> None:
    masks = [np.zeros((60, 80), bool), np.ones((60, 80), bool)]
    masks[0][20:40, 20:40] = True
    drawn = draw_instances(GRAY, masks, labels=[4, 2], opacity=1.0)
    assert (drawn[30, 30] == palette(1)[0]).all()
    assert (drawn[30, 60] == palette(2)[1]).all()
    assert np.abs(drawn[20, 30].astype(int) - palette(4)[3]).max() < 50


def test_captions_are_written_at_their_instances() -> None:
    masks = [np.zeros((60, 80), bool), np.zeros((60, 80), bool)]
    masks[0][20:59, 30:79] = True
    plain = draw_instances(GRAY, masks)
    drawn = draw_instances(GRAY, masks, captions=["ünï 0.9", "of an empty mask"])
    changed = (plain != drawn).any(2)
    assert changed[20:32, 30:].any()
    assert not changed[:20].any()
    assert not changed[:, :25].any()


def test_maps_of_another_size_are_resized_to_the_image() -> None:
    semantic = np.zeros((15, 20), np.uint8)
    semantic[:, 10:] = 1
    drawn = draw_semantic(GRAY, semantic, opacity=1.0)
    assert (drawn[30, 60] == palette(1)[0]).all()
    assert (drawn[30, 38] != palette(1)[0]).any()


def test_points_are_dots_in_the_colors_of_their_instances() -> None:
    drawn = draw_points(GRAY, points_at((10, 20), (40.7, 60.2), (500, 500)))
    assert (drawn[10, 20] == palette(2)[0]).all()
    assert (drawn[41, 60] == palette(2)[1]).all()
    assert (drawn[25, 40] == 120).all()
    assert (GRAY == 120).all()
    scaled = draw_points(fit(GRAY, 160), points_at((10, 20)), scale=2.0)
    assert (scaled[20:22, 40:42] == palette(1)[0]).all()


def test_offset_direction_is_hue_and_length_is_saturation() -> None:
    offset = np.zeros((2, 3, 4), np.float32)
    offset[1, 0] = 10  # dx: hue 0, red
    offset[1, 1] = -10
    offset[0, 2, 0] = np.nan
    drawn = draw_offset(offset, longest=10)
    assert drawn.shape == (3, 4, 3)
    assert drawn[0, 0, 0] > 200
    assert drawn[0, 0, 1:].max() < 20
    assert drawn[1, 0, 0] < 20
    assert (drawn[2] == 255).all()
    half = draw_offset(offset / 2, longest=10)
    assert half[0, 0, 1] > 100
    assert (draw_offset(np.zeros((2, 3, 4))) == 255).all()


def test_grid_places_pictures_of_any_size() -> None:
    red = np.zeros((50, 100, 3), np.uint8)
    red[..., 0] = 255
    sheet = grid([[red, GRAY], [GRAY]], ["one", "two"], cell=100, gap=4)
    assert sheet.shape == (4 + 10 + (75 + 4) * 2, 4 + 104 * 2, 3)
    assert (sheet[4 + 10 + 37, 54] == (255, 0, 0)).all()
    assert (sheet[4 + 10 + 2, 54] == 255).all()  # the lower picture stands in the middle
    assert (sheet[4 + 10 + 37, 158] == 120).all()
    assert (sheet[-50:, 110:] == 255).all()
    assert (sheet[:12] < 100).any()  # titles
    assert grid([]).shape == (8, 8, 3)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(1, 300), st.integers(0, 3))
def test_every_size_can_be_drawn(height: int, width: int, count: int) -> None:
    rng = np.random.default_rng(height * width)
    image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    before = image.copy()
    labels = rng.integers(0, count + 1, (height, width))
    pictures = [
        draw_semantic(image, labels.astype(np.uint8)),
        draw_instances(image, labels, captions=["x"] * count if labels.max() == count else None),
        draw_instances(image, [labels == k for k in range(count)], list(range(1, count + 1))),
        draw_points(image, points_at(*[(0, 0)] * count)),
    ]
    for picture in pictures:
        assert picture.shape == image.shape
        assert picture.dtype == np.uint8
    assert (image == before).all()
    assert max(fit(image, 50).shape) == 50


def test_heat_is_dark_at_0_and_light_at_1() -> None:
    heat = np.zeros((15, 20), np.float32)
    heat[:, 10:] = 1
    drawn = draw_heat(GRAY, heat, opacity=1.0).astype(int)
    assert drawn.shape == GRAY.shape
    assert drawn[30, 5].sum() < 30
    assert drawn[30, 75].sum() > 600
    assert np.abs(draw_heat(GRAY, heat, opacity=0.0).astype(int) - 120).max() <= 1
    assert (draw_heat(GRAY, heat * 7)[30, 75] == draw_heat(GRAY, heat)[30, 75]).all()


def test_rows_have_names_on_their_left() -> None:
    plain = grid([[GRAY, GRAY], [GRAY]], ["a", "b"], cell=80)
    named = grid([[GRAY, GRAY], [GRAY]], ["a", "b"], cell=80, names=["first", ""])
    assert named.shape == (plain.shape[0], plain.shape[1] + 8, 3)
    assert (named[:, 16:] == plain[:, 8:]).all()
    assert (named[16:76, :16] < 128).any()
    assert (named[84:, :16] == 255).all()


def test_panels_break_into_rows() -> None:
    pictures = {f"picture {k}": GRAY for k in range(5)}
    sheet = panels(pictures, 3, cell=80)
    assert sheet.shape == (2 * (8 + 8 + 60 + 8), 8 + 3 * 88, 3)
    assert (sheet[-20, -40] == 255).all()
    assert (sheet[-20, 100] == 120).all()
    assert panels(pictures, 9, cell=80).shape[1] == 8 + 5 * 88


def test_a_picture_is_written_without_loss(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    write_png(tmp_path / "a" / "b.png", picture)
    assert (np.asarray(Image.open(tmp_path / "a" / "b.png")) == picture).all()


class Network(nn.Module):
    """A stand-in for the network: a batch norm, and offsets of the right size."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images: Tensor) -> Any:
        seen = self.norm(images.float())
        return SimpleNamespace(offset=seen[:, :2, ::4, ::4])


def test_training_pictures_do_not_change_the_model() -> None:
    labels = Labels(
        torch.zeros(32, 40, dtype=torch.int64),
        torch.zeros(32, 40, dtype=torch.int64),
    )
    image = torch.randint(0, 256, (3, 32, 40), dtype=torch.uint8)
    batch = Batch.of([Sample(f"{k}.jpg", image, points_at((3, 4)), labels) for k in range(5)])
    model = Network().train()
    before = model.norm.running_mean.clone()
    calls = []

    def mdm(outputs: Any, given: Batch) -> list[Labels]:
        calls.append(given)
        return [given.labels, given.labels]

    pictures = training_pictures(model, batch, 7, labels=mdm, images=2)
    assert model.training
    assert (model.norm.running_mean == before).all()
    assert calls == [batch]
    (picture,) = pictures.values()
    assert picture.dtype == np.uint8
    # points, two of the seed, two of the round, offsets; two images of 208 x 166
    assert picture.shape == (8 + 20 + 2 * (166 + 8), 8 + 6 * 216, 3)


def test_captions_are_drawn_in_ascii():
    """Pillow's font draws all missing letters as the same box."""
    image = np.full((200, 300, 3), 128, np.uint8)
    mask = np.zeros((200, 300), bool)
    mask[50:90, 50:90] = True
    drawn = {
        text: draw_instances(image, [mask], captions=[text]).tobytes()
        for text in ("véhicule", "vehicule", "v\u0065\u0301hicule", "v車hicule", "v?hicule")
    }
    assert drawn["véhicule"] == drawn["vehicule"] == drawn["ve\u0301hicule"]
    assert drawn["v車hicule"] == drawn["v?hicule"] != drawn["vehicule"]
