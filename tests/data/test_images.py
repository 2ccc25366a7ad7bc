"""Reading photographs: every common kind comes out as upright uint8 RGB or is refused."""

from __future__ import annotations

import io
import random

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from p2seg.data.image_notes import notes_on
from p2seg.data.images import EXIF_ORIENTATION, check_image, eight_bits, read_image
from p2seg.errors import UserError

COLORS = np.array([[[200, 30, 10], [20, 180, 60], [5, 40, 220]]] * 2, np.uint8)  # 2 x 3


def saved(folder, image, name="a.png", **options):
    image.save(folder / name, **options)
    return folder / name


def test_colors_come_back_as_stored(tmp_path):
    made = read_image(saved(tmp_path, Image.fromarray(COLORS)), (2, 3))
    assert made.dtype == np.uint8
    assert made.tolist() == COLORS.tolist()


@pytest.mark.parametrize("mode", ["L", "1", "LA"])
def test_gray_has_three_equal_channels(tmp_path, mode):
    gray = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).convert(mode)
    made = read_image(saved(tmp_path, gray))
    assert made.tolist() == [[[0] * 3, [255] * 3], [[255] * 3, [0] * 3]]


def test_palette_gives_its_colors(tmp_path):
    image = Image.fromarray(np.array([[0, 1, 1]], np.uint8))
    image.putpalette([9, 8, 7, 200, 100, 50])
    assert read_image(saved(tmp_path, image)).tolist() == [
        [[9, 8, 7], [200, 100, 50], [200, 100, 50]]
    ]


def test_transparency_is_dropped_and_colors_stay(tmp_path):
    alpha = np.dstack([COLORS, np.zeros((2, 3), np.uint8)])
    assert read_image(saved(tmp_path, Image.fromarray(alpha))).tolist() == COLORS.tolist()


def test_cmyk_is_turned_into_light(tmp_path):
    inks = np.zeros((8, 16, 4), np.uint8)
    inks[:, :8, 0] = 255  # cyan beside black
    inks[:, 8:, 3] = 255
    path = saved(tmp_path, Image.fromarray(inks, mode="CMYK"), "a.jpg", quality=100)
    made = read_image(path, (8, 16)).astype(int)
    assert np.abs(made[4, 2] - [0, 255, 255]).max() < 12
    assert made[4, 13].max() < 12


def gradient(low, high, dtype):
    """Two ramps, one above the other: no value beyond a percentile stands alone."""
    ramp = np.linspace(low, high, 2001).astype(dtype)
    return np.stack([ramp, ramp])


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("high", [255, 4095, 65535])
def test_gray_of_any_depth_fills_the_range(tmp_path, name, high):
    made = read_image(saved(tmp_path, Image.fromarray(gradient(0, high, np.uint16)), name))
    assert (made == made[..., :1]).all()
    assert np.abs(made[0, :, 0] - np.linspace(0, 255, 2001)).max() < 2


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 1.3), (0, 4095), (-1000, 2000), (-0.2, 0)])
def test_floats_of_any_range_fill_the_range(tmp_path, low, high):
    image = Image.fromarray(gradient(low, high, np.float32))
    made = read_image(saved(tmp_path, image, "a.tif"))
    assert np.abs(made[0, :, 0] - np.linspace(0, 255, 2001)).max() < 2


@pytest.mark.parametrize(("ending", "high"), [(".png", 4095), (".tif", 4095), (".png", 65535)])
def test_16_bit_colors_are_not_read_as_their_high_bytes(tmp_path, ending, high):
    rgb = np.stack([gradient(0, high, np.uint16)] * 3, axis=2)
    rgb[..., 1] //= 2
    rgb[..., 2] = 0
    path = tmp_path / f"a{ending}"
    path.write_bytes(cv2.imencode(ending, rgb[:, :, ::-1])[1].tobytes())
    made = read_image(path)[0].astype(int)
    assert np.abs(made[:, 0] - np.linspace(0, 255, 2001)).max() < 2
    assert np.abs(made[:, 1] - made[:, 0] / 2).max() < 2
    assert not made[:, 2].any()


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([0.0, 0.25, 1.0], [0, 64, 255]),
        ([np.nan, 0.25, -1.0], [0, 255, 0]),
        ([np.nan] * 3, [0, 0, 0]),
        ([-np.inf, np.inf, 1.0], [0, 0, 0]),
        ([7.0] * 3, [0, 0, 0]),
    ],
)
def test_values_that_are_not_finite_or_all_alike_are_black(tmp_path, values, wanted):
    image = Image.fromarray(np.array([values], np.float32))
    assert read_image(saved(tmp_path, image, "a.tif"))[0, :, 0].tolist() == wanted


def test_a_small_bright_spot_on_black_stays_visible():
    values = np.zeros((200, 200), np.uint16)
    values[50:53, 50:53] = 900  # fewer pixels than lie beyond the percentile
    made = eight_bits(values)
    assert (made[50:53, 50:53] == 255).all()
    assert made.sum() == 9 * 255


@pytest.mark.parametrize("name", ["a.tif", "a.png"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_images_of_any_depth_are_turned_by_their_exif(tmp_path, name, dtype):
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    stored = np.arange(6, dtype=dtype).reshape(2, 3) * 40
    path = saved(tmp_path, Image.fromarray(stored), name, exif=exif)
    made = read_image(path, (3, 2))[..., 0]
    wanted = stored if dtype == np.uint8 else eight_bits(stored)
    assert made.tolist() == np.rot90(wanted, -1).tolist()


def test_a_command_reports_deep_images_pages_and_what_is_not_read(tmp_path):
    first = Image.new("RGB", (8, 6))
    files = [
        saved(tmp_path, Image.fromarray(gradient(0, 9000, np.uint16)), "deep.tif"),
        saved(tmp_path, first, "pages.tif", save_all=True, append_images=[first]),
        saved(tmp_path, first, "plain.png"),
    ]
    (tmp_path / "phone.HEIC").write_bytes(b"x")
    deep, pages, unread = notes_on(files, tmp_path)
    assert "1 image " in deep
    assert "deep.tif" in deep
    assert "percentile" in deep
    assert "1 image " in pages
    assert "pages.tif" in pages
    assert "1 .heic" in unread
    assert list(notes_on([tmp_path / "plain.png"])) == []


def test_an_image_that_is_too_large_is_rejected_whatever_pillows_limit(tmp_path, monkeypatch):
    path = saved(tmp_path, Image.new("1", (20_000, 20_000)), "huge.png")
    for limit in (None, 100):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(UserError, match=r"huge\.png"):
            read_image(path)


def turned(folder, orientation, height=2, width=3):
    """An image whose EXIF block tells viewers to turn it."""
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    pixels = np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)
    return saved(folder, Image.fromarray(pixels), "turned.png", exif=exif), pixels


def test_exif_turns_where_the_annotation_is_of_the_turned_image(tmp_path):
    path, pixels = turned(tmp_path, 6)  # 6: a quarter turn to the right
    assert read_image(path, (3, 2)).tolist() == np.rot90(pixels, -1).tolist()


def test_exif_is_ignored_where_the_annotation_is_of_the_stored_image(tmp_path):
    path, pixels = turned(tmp_path, 6)
    assert read_image(path, (2, 3)).tolist() == pixels.tolist()


def test_exif_turns_where_nothing_is_annotated(tmp_path):
    path, pixels = turned(tmp_path, 8)
    assert read_image(path).tolist() == np.rot90(pixels).tolist()


def test_exif_with_another_size_than_either_is_an_error(tmp_path):
    path, _ = turned(tmp_path, 6)
    with pytest.raises(UserError, match=r"turned\.png is 3x2 but its annotation says 7x5"):
        read_image(path, (5, 7))


def test_exif_of_an_unknown_orientation_turns_nothing(tmp_path):
    path, pixels = turned(tmp_path, 77)
    assert read_image(path).tolist() == pixels.tolist()


def test_a_single_pixel_and_a_very_wide_image(tmp_path):
    assert read_image(saved(tmp_path, Image.new("RGB", (1, 1), (1, 2, 3)))).tolist() == [
        [[1, 2, 3]]
    ]
    wide = saved(tmp_path, Image.new("RGB", (6000, 2)), "wide.jpg")
    assert read_image(wide, (2, 6000)).shape == (2, 6000, 3)


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_a_truncated_image_is_refused(tmp_path, name):
    noise = np.random.default_rng(0).integers(0, 255, (60, 60, 3), dtype=np.uint8)
    path = saved(tmp_path, Image.fromarray(noise), name)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UserError, match=rf"{path.name} is damaged or truncated .*on_error=skip"):
        read_image(path, (60, 60))


def test_what_is_no_image_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no image at .*nowhere\.jpg"):
        read_image(tmp_path / "nowhere.jpg")
    with pytest.raises(UserError, match="no image at"):
        read_image(tmp_path)
    (tmp_path / "text.jpg").write_text("hello")
    with pytest.raises(UserError, match=r"text\.jpg is not an image"):
        read_image(tmp_path / "text.jpg")
    (tmp_path / "empty.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"empty\.jpg is not an image"):
        read_image(tmp_path / "empty.jpg")


@pytest.mark.parametrize("side", [20_000, 60_000])
def test_a_bomb_is_refused_unread(tmp_path, side):
    path = tmp_path / "bomb.pgm"
    path.write_bytes(f"P5 {side} {side} 255\n".encode())
    with pytest.raises(UserError, match=r"bomb\.pgm"):
        read_image(path)


def encoded(kind, mode):
    pixels = np.random.default_rng(1).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).convert(mode)
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    stream = io.BytesIO()
    image.save(stream, kind, **({} if kind == "BMP" else {"exif": exif}))
    return stream.getvalue()


FILES = [encoded("JPEG", "RGB"), encoded("JPEG", "CMYK"), encoded("PNG", "P"), encoded("BMP", "L")]


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(FILES), st.integers(0, 10**6))
def test_whatever_is_broken_is_refused_or_read_but_never_crashes(tmp_path_factory, content, seed):
    draw = random.Random(seed)
    broken = bytearray(content)
    for _ in range(draw.randrange(6)):
        broken[draw.randrange(min(len(broken), 300))] = draw.randrange(256)
    path = tmp_path_factory.getbasetemp() / "broken.bin"
    path.write_bytes(broken[: draw.randrange(len(broken) + 1)] if seed % 2 else broken)
    try:
        made = read_image(path)
    except UserError:
        pass
    else:
        assert made.dtype == np.uint8
        assert made.ndim == 3


def test_the_head_alone_tells_of_what_is_no_image_and_of_other_sizes(tmp_path):
    upright = saved(tmp_path, Image.fromarray(COLORS))
    for size in (None, (2, 3)):
        check_image(upright, size)
    turned = Image.Exif()
    turned[EXIF_ORIENTATION] = 6
    rotated = saved(tmp_path, Image.fromarray(COLORS), "b.jpg", exif=turned)
    for size in (None, (2, 3), (3, 2)):
        check_image(rotated, size)
    for path in (upright, rotated):
        with pytest.raises(UserError, match="is 3x2 but its annotation says 4x3"):
            check_image(path, (3, 4))
    with pytest.raises(UserError, match="is 3x2 but its annotation says 2x3"):
        check_image(upright, (3, 2))
    (tmp_path / "c.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"c\.png is not an image"):
        check_image(tmp_path / "c.png")
    with pytest.raises(UserError, match="no image at"):
        check_image(tmp_path / "none.png")
