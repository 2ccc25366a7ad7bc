"""The preview: position of the masks, order of requests, and errors."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from annotate_sets import discs, scene
from networks import tiny_network
from PIL import Image

from p2seg.apps.annotate.album import Album
from p2seg.apps.annotate.masks import LabelerMasks, SamMasks
from p2seg.apps.annotate.preview import Preview
from p2seg.data.network_input import NetworkInput
from p2seg.data.rle import encode
from p2seg.method.rounds import MutualDistillation
from p2seg.method.seed import Seeder
from p2seg.pseudo.network import NetworkLabeler
from p2seg.pseudo.seeds import SeedLabeler
from p2seg.sam.candidates import Candidate
from p2seg.sam.choose import Chooser
from p2seg.structures import Points


def points_at(places):
    yx = torch.tensor([(y, x) for x, y in places], dtype=torch.float32).reshape(-1, 2)
    return Points(yx, torch.ones(len(places)).long(), torch.arange(5, 5 + len(places)))


@pytest.fixture
def album(tmp_path):
    return album_of(tmp_path / "photos", 800, 600)


def album_of(folder, width, height):
    """An album of an image with discs and a broken file."""
    folder.mkdir()
    Image.fromarray(scene(width, height)).save(folder / "a.png")
    (folder / "b.png").write_bytes(b"none")
    return Album(folder)


@pytest.fixture
def preview(album):
    made = Preview(album, LabelerMasks("seeds", SeedLabeler(Seeder()), 200), [].append)
    yield made
    made.close()


def test_masks_are_in_pixels_of_the_full_image(preview):
    places = discs(800, 600)
    found = preview.find(0, points_at(places))
    assert found.fault is None
    assert [each.id for each in found.outlines] == [5, 6, 7, 8]
    for (x, y), each in zip(places, found.outlines, strict=True):
        rings = each.path.strip("MZ").split("ZM")
        corners = np.array([[float(v) for v in p.split(" ")] for p in rings[0].split("L")])
        middle = (corners.min(0) + corners.max(0)) / 2
        assert np.abs(middle - (x, y)).max() < 8
        assert np.abs(np.ptp(corners, axis=0) - 150).max() < 24


def test_a_point_in_the_last_pixel_and_two_on_one_small_pixel(preview):
    found = preview.find(0, points_at([(799, 599), (0, 0), (1, 1)]))
    assert found.fault is None
    assert preview.find(0, points_at([])).outlines == []


def test_an_error_is_reported_and_the_next_request_works(preview):
    assert "not an image that Pillow can read" in preview.find(1, points_at([(1, 1)])).fault
    preview.masks = None
    assert preview.find(0, points_at([(200, 150)])).fault.startswith("no masks: TypeError")


def test_only_the_latest_waiting_request_is_served(album):
    begun, go_on, told = threading.Event(), threading.Event(), []
    done = threading.Event()

    def tell(found):
        told.append(found.number)
        if found.number == 7:
            done.set()

    class Slow(Preview):
        def find(self, number, points):
            begun.set()
            go_on.wait(10)
            return super().find(number, points)

    preview = Slow(album, LabelerMasks("seeds", SeedLabeler(Seeder()), 200), tell)
    preview.ask(0, points_at([]))
    assert begun.wait(20)
    for number in range(1, 8):
        preview.ask(number, points_at([]))
    go_on.set()
    assert done.wait(10)
    assert told == [0, 7]
    preview.close()


@pytest.mark.parametrize(
    ("size", "expected"), [(NetworkInput(), (180, 240)), (NetworkInput(90), (90, 120))]
)
def test_a_network_gets_an_image_at_the_size_of_the_export(tmp_path, size, expected):
    network, sizes = tiny_network(1).eval(), []
    network.register_forward_hook(lambda _module, inputs, _: sizes.append(inputs[0].shape[2:]))
    labeler = NetworkLabeler(network, MutualDistillation(), input=size)
    preview = Preview(
        album_of(tmp_path / "photos", 240, 180), LabelerMasks("network", labeler, 100), [].append
    )
    preview.close()
    result = preview.find(0, points_at(discs(240, 180)))
    assert result.fault is None
    assert sizes[-1] == expected


class SquareSam:
    """A promptable model whose masks are squares around the first point of a prompt."""

    name, parameters = "squares", {}

    def __init__(self):
        self.prompts, self.images = [], set()

    def __call__(self, image, prompts, task):
        assert task.size == image.shape[:2]
        self.images.add(image.tobytes())
        self.prompts += prompts.yx[:, 0].tolist()
        masks = []
        for y, x in prompts.yx[:, 0].astype(int):
            mask = np.zeros(image.shape[:2], bool)
            mask[max(y - 9, 0) : y + 10, max(x - 9, 0) : x + 10] = True
            masks.append([Candidate(encode(mask), 0.9, 0.9)])
        return masks


def test_sam_is_asked_about_new_clicks_alone():
    sam, image, places = SquareSam(), scene(800, 600), discs(800, 600)
    masks = SamMasks("SAM", sam, Chooser(), "other_class", "smaller", 400)
    assert not masks(image, points_at([])).any()
    assert len(sam.prompts) == 1, "the image is embedded when it is shown"
    for some in (places[:2], places[:3], places[1:3]):
        instances = masks(image, points_at(some))
        assert instances.shape == (300, 400)
        assert [instances[y // 2, x // 2] for x, y in some] == list(range(1, len(some) + 1))
    assert sam.prompts[1:] == [[y // 2, x // 2] for x, y in places[:3]]
    assert len(sam.images) == 1
    masks(scene(800, 600, 1), points_at(places))
    assert len(sam.images) == 2
    assert len(sam.prompts) == 8
