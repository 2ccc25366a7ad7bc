"""Images found by the names that other tools have for them."""

from __future__ import annotations

import unicodedata

import pytest
from click_sets import pictures

from p2seg.errors import UserError
from p2seg.formats.points.match_images import Images

NFC = "caf\u00e9.jpg"
NFD = unicodedata.normalize("NFD", NFC)


@pytest.mark.parametrize(
    ("there", "name", "found"),
    [
        (["a.jpg"], "a.jpg", "a.jpg"),
        (["sub/a.jpg", "b.jpg"], "a.jpg", "sub/a.jpg"),
        (["a.jpg", "sub/a.jpg"], "a.jpg", "a.jpg"),
        (["a.jpg", "sub/a.jpg"], "/elsewhere/sub/a.jpg", "sub/a.jpg"),
        (["a.jpg"], "C:\\Users\\me\\my photos\\a.jpg", "a.jpg"),
        (["sub/a.jpg", "other/a.jpg"], "..\\photos\\sub\\a.jpg", "sub/a.jpg"),
        (["A.JPG"], "a.jpg", "A.JPG"),
        (["a.jpg", "A.JPG"], "A.JPG", "A.JPG"),
        ([NFC], NFD, NFC),
        ([NFD], NFC, NFD),
        (["my photo #1.jpg"], "my photo #1.jpg", "my photo #1.jpg"),
        (["100%20.jpg", "100 .jpg"], "100%20.jpg", "100%20.jpg"),
        (["100%20.jpg", "100 .jpg"], "/data/local-files/?d=100%20.jpg", "100 .jpg"),
        (["100%20.jpg", "100 .jpg"], "/data/local-files/?d=100%2520.jpg", "100%20.jpg"),
        (["a b.jpg"], "a%20b.jpg", "a b.jpg"),
        (["sub/a.jpg"], "/data/local-files/?d=photos/sub/a.jpg", "sub/a.jpg"),
        (["a#1.jpg"], "/data/local-files/?d=a%231.jpg", "a#1.jpg"),
        (["name.jpg"], "/data/upload/1/abcdef12-name.jpg", "name.jpg"),
        (["my photo (1).jpg"], "/data/upload/1/abcdef12-my_photo_1.jpg", "my photo (1).jpg"),
        (["abcdef12-name.jpg", "name.jpg"], "abcdef12-name.jpg", "abcdef12-name.jpg"),
        (["sub/a.jpg"], "s3://bucket/photos/sub/a.jpg", "sub/a.jpg"),
        (["a.jpg"], "https://example.org/x/a.jpg?token=ab/cd#top", "a.jpg"),
        (["sub/a.png"], "a", "sub/a.png"),
        (["sub/a.png"], "sub/A", "sub/a.png"),
        (["v1.5.png"], "v1.5", "v1.5.png"),
    ],
)
def test_a_name_finds_its_image(tmp_path, there, name, found):
    assert Images(pictures(tmp_path, *there)).match([name]) == found


@pytest.mark.parametrize(
    ("there", "name", "said"),
    [
        (["b.jpg"], "a.jpg", "no image in .* matches 'a.jpg'.*data.on_error=skip"),
        (["val/a.jpg"], "train/a.jpg", "no image"),
        (["x/a.jpg", "y/a.jpg"], "a.jpg", "may be x/a.jpg or y/a.jpg"),
        (["a.png"], "a.jpg", "no image"),
        (["a.png", "a.jpg"], "a", "may be"),
        (["ba.jpg"], "a.jpg", "no image"),
        (["a.jpg"], "..", "no image"),
        (["a.jpg"], "", "no image"),
        (["my photo.jpg"], "my_photo.jpg", "no image"),
    ],
)
def test_nobody_guesses(tmp_path, there, name, said):
    with pytest.raises(UserError, match=said):
        Images(pictures(tmp_path, *there)).match([name])


def test_no_name_leads_out_of_the_folder(tmp_path):
    pictures(tmp_path, "secret.jpg", "photos/a.jpg")
    images = Images(tmp_path / "photos")
    for name in ("../secret.jpg", str(tmp_path / "secret.jpg"), "..\\secret.jpg"):
        with pytest.raises(UserError, match="no image"):
            images.match([name])
    assert images.match([str(tmp_path / "photos/../photos/a.jpg")]) == "a.jpg"
