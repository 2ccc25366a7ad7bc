"""Each check: a set that has exactly this fault; and the clean set has none."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from clean_sets import HEIGHT, WIDTH, clean_set, picture
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from p2seg.apps.validate import inspect as inspection
from p2seg.apps.validate.annotations import read_clicks
from p2seg.apps.validate.findings import Findings
from p2seg.apps.validate.inspect import inspect
from p2seg.apps.validate.kinds import KINDS
from p2seg.data.coco import encode
from p2seg.data.labels import read_labels, write_labels
from p2seg.data.points import read_points
from p2seg.errors import UserError


def look(inputs):
    return inspect(inputs, inputs.images.parent / "out", lambda items, *_: items)


def found(inputs):
    """The findings by kind."""
    return {each.kind: each for each in look(inputs).findings.worst_first}


@pytest.fixture
def made(tmp_path):
    return clean_set(tmp_path)


def test_nothing_is_wrong_with_a_clean_set(made):
    seen = look(made.inputs)
    assert seen.findings.worst_first == []
    assert seen.usable
    assert seen.facts["points"] == "30"
    assert seen.facts["validation"] == "1 image"
    assert seen.facts["initial semantic maps"].startswith("5 of 5")


def points_of(*changes):
    """An edit of annotations: (index, key, value), or (index, None, None) to remove one."""

    def edit(document):
        for index, key, value in changes:
            document["annotations"][index][key] = value

    return lambda made: made.edit(edit)


def every_point(function):
    """An edit of all points [x, y]."""

    def edit(document):
        for each in document["annotations"]:
            each["point"] = function(*each["point"])

    return lambda made: made.edit(edit)


def edited(function, file="points"):
    return lambda made: made.edit(function, file)


def saved(k, function):
    """Another image in place of the k-th."""
    return lambda made: function(picture(k)).save(made.image(k))


def deep(high):
    values = np.linspace(0, high, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint16)
    return saved(1, lambda _: Image.fromarray(values))


def in_pages(made):
    picture(1).save(made.image(1), format="TIFF", save_all=True, append_images=[picture(2)])


def same_stem(made):
    picture(9).save(made.images / "part/1.tif")
    record = {"id": 99, "file_name": "part/1.tif", "width": WIDTH, "height": HEIGHT}
    made.edit(lambda document: document["images"].append(record))


def turned(mark, size=None):
    def spoil(made):
        exif = Image.Exif()
        exif[0x0112] = mark
        stored = picture(1, (WIDTH, HEIGHT) if size is None else size)
        stored.save(made.image(1), exif=exif)

    return spoil


def cut(made):
    content = made.image(1).read_bytes()
    made.image(1).write_bytes(content[: len(content) // 2])


def renamed(made):
    made.image(1).rename(made.image(1).with_name("1.PNG"))


def scaled(made):
    picture(1, (HEIGHT // 2, WIDTH // 2)).save(made.image(1))


def with_map(change):
    def spoil(made):
        path = made.semantic / "part/1.png"
        write_labels(path, change(read_labels(path).copy()))

    return spoil


def manifest(**more):
    def spoil(made):
        path = made.semantic / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | more))

    return spoil


def fewer(made):
    """Three of the four images' points of blue, no map and no mask complains."""

    def drop(document):
        kept = [each for each in document["annotations"] if each["category_id"] == 7]
        blue = [each for each in document["annotations"] if each["category_id"] == 9]
        document["annotations"] = kept + blue[:9]

    for file in ("points", "pseudo", "gt"):
        made.edit(drop, file)


def without_first_image(document):
    document["annotations"] = [each for each in document["annotations"] if each["image_id"] != 10]


def no_points_on_one(made):
    for file in ("points", "pseudo"):
        made.edit(without_first_image, file)


def boxed(document):
    document["annotations"][2]["default_box"] = True


def emptied(document):
    runs = {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}
    document["annotations"][2]["segmentation"] = runs


def moved_mask(document):
    document["annotations"][2]["segmentation"] = document["annotations"][3]["segmentation"]


def discs(document):
    """All masks of the first class become discs of a fifth of the distance between the clicks."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    for each in document["annotations"]:
        if each["category_id"] == 7:
            right, down = each["point"]
            mask = np.hypot(y - down, x - right) <= 12
            each["segmentation"] = {
                "size": [HEIGHT, WIDTH],
                "counts": encode(mask)["counts"].decode(),
            }


def near(xy):
    """The third point moves near to another one."""
    return points_of((2, "point", xy))


FAULTS = [
    ("file.form", edited(lambda d: d.update(info=5)), "info is 5"),
    ("file.image", edited(lambda d: d["images"].append({"id": 5})), "file_name None"),
    ("file.image", edited(lambda d: d["images"].append("x")), "images[5] is a string"),
    ("file.category", edited(lambda d: d["categories"].append({"id": 70})), "name None"),
    ("file.category", edited(lambda d: d["categories"].append(3)), "is a number"),
    ("file.annotation", edited(lambda d: d["annotations"].append({"id": -1})), "id -1"),
    ("file.same_id", points_of((3, "id", 3)), "annotations: 3"),
    ("file.reference", edited(lambda d: d["annotations"].append(
        {"id": 99, "image_id": 5, "category_id": 1, "point": [1, 1]})), "image 5 and category 1"),
    ("points.malformed", points_of((3, "point", [1])), "annotation 4 of part/0.png: [1]"),
    ("points.malformed", points_of((3, "point", [1, None])), "[1, None]"),
    ("points.outside", points_of((3, "point", [30, 200])), "(30, 200) of blue"),
    ("points.swapped", every_point(lambda x, y: [y, x]), "(40, 180)"),
    ("points.fraction", every_point(lambda x, y: [x / WIDTH, y / HEIGHT]), "0.75"),
    ("points.percent", every_point(lambda x, y: [100 * x / WIDTH, 100 * y / HEIGHT]), "75"),
    ("points.from_one", edited(lambda d: d["annotations"][3].update(point=[WIDTH, 61])), "240, 61"),
    ("points.border", points_of((3, "point", [0, 60])), "(0, 60)"),
    ("points.double", near([60.4, 40.2]), "annotation 1 and annotation 3"),
    ("points.double", near([61, 41]), "annotation 1 and annotation 3"),
    ("points.near", near([63, 40]), "annotation 3"),
    ("points.two_classes", near([121, 40]), "annotation 3"),
    ("image.missing", lambda made: made.image(1).unlink(), "part/1.png"),
    ("image.broken", cut, "part/1.png: "),
    ("image.broken", lambda made: made.image(1).write_text("no image"), "cannot identify"),
    ("image.size", scaled, "it was scaled by 0.5"),
    ("image.size", lambda made: picture(1, (WIDTH, HEIGHT)).save(made.image(1)), "was rotated"),
    ("image.turned", turned(6), "part/1.png"),
    ("image.not_turned", turned(8, (HEIGHT, WIDTH)), "part/1.png"),
    ("image.same_bytes", lambda made: shutil.copy(made.image(1), made.image(2)), "1.png = part/2"),
    ("image.gray", saved(1, lambda image: image.convert("L")), "part/1.png"),
    ("image.deep", deep(4095), "part/1.png"),
    ("image.pages", in_pages, "part/1.png: 2"),
    ("image.unread", lambda made: (made.images / "new.HEIC").write_bytes(b"x"), "1 .heic"),
    ("image.same_map", same_stem, "part/1.png and part/1.tif"),
    ("image.unlisted", lambda made: picture(7).save(made.images / "new ö.png"), "new ö.png"),
    ("image.no_points", no_points_on_one, "part/0.png"),
    ("class.empty", edited(lambda d: d["categories"].append({"id": 90, "name": "wax"})), "wax"),
    ("class.rare", fewer, "blue: 9"),
    ("class.names", edited(lambda d: d["categories"].append({"id": 90, "name": "Re d"})), "'Re d'"),
    ("map.none", lambda made: shutil.rmtree(made.semantic), "semantic"),
    ("map.unread", lambda made: (made.semantic / "part/1.png").unlink(), "part/1.png: no semantic"),
    ("map.unread", with_map(lambda m: m[:80]), "is 240x80 but its image is 240x160"),
    ("map.unread", with_map(lambda m: m + 7), "2 classes"),
    ("map.off_class", with_map(lambda m: m * 0), "part/1.png: (60, 40) of red"),
    ("map.classes", manifest(classes=["blue", "red"]), "the maps have blue, red"),
    ("map.other_points", manifest(points_sha256="other"), "names another file"),
    ("map.other_points", manifest(version="x"), "not a manifest"),
    ("pseudo.refused", lambda made: made.pseudo.write_text("{"), "pseudo.json"),
    ("pseudo.images", edited(lambda d: d["images"].append(
        {"id": 1, "file_name": "z.png", "width": 9, "height": 9}), "pseudo"), "z.png"),
    ("pseudo.points", edited(lambda d: d["annotations"].pop(), "pseudo"), "annotation 30 has"),
    ("pseudo.points", edited(lambda d: d["annotations"][0].update(id=777), "pseudo"), "mask 777"),
    ("pseudo.points", edited(lambda d: d["annotations"][0].update(category_id=9), "pseudo"),
     "mask 1 of blue"),
    ("pseudo.empty", edited(emptied, "pseudo"), "annotation 3"),
    ("pseudo.off_point", edited(moved_mask, "pseudo"), "annotation 3"),
    ("pseudo.default", edited(boxed, "pseudo"), "annotation 3"),
    ("pseudo.prior", edited(discs, "pseudo"), "red: 15 of 15"),
    ("gt.refused", lambda made: made.gt.write_text("[]"), "gt.json"),
    ("gt.off_point", edited(moved_mask, "gt"), "annotation 3"),
    ("split.same_file", None, "part/0.png"),
    ("split.same_bytes", lambda made: shutil.copy(made.image(1), made.val_images / "v.png"),
     "part/1.png = v.png"),
]  # fmt: skip
"""The kind, what is done to the set, and what an example says."""

ALSO = {"class.names": {"class.empty"}, "image.same_map": {"image.no_points"}}
"""What comes along of necessity."""


def same_file(made):
    shutil.rmtree(made.val_images)
    made.val_images.symlink_to(made.images)
    record = {"id": 1, "file_name": "part/0.png", "width": WIDTH, "height": HEIGHT}
    made.edit(lambda document: document.update(images=[record]), "val_gt")


@pytest.mark.parametrize(("kind", "spoil", "says"), FAULTS)
def test_a_fault_is_found_and_no_other(made, kind, spoil, says):
    (spoil or same_file)(made)
    inputs = made.inputs
    if kind.startswith(("points", "file", "class")):  # masks and maps of other points say so, too
        inputs = replace(inputs, gt=None, pseudo=None, semantic=made.root / "none")
    seen = found(inputs)
    assert kind in seen
    assert any(says in example for example in seen[kind].examples), seen[kind].examples
    follows = ALSO.get(kind, set()) | ({"map.none"} if inputs.pseudo is None else set())
    assert set(seen) - {kind} == follows


def test_every_kind_has_its_test():
    tested = {kind for kind, _, _ in FAULTS}
    elsewhere = {"file.refused", "points.none", "gt.empty", "image.tiny", "image.huge", "disk.low"}
    assert tested | elsewhere == set(KINDS)


def test_an_empty_mask_of_the_truth_holds_no_point(made):
    made.edit(emptied, "gt")
    assert set(found(made.inputs)) == {"gt.empty", "gt.off_point"}


@pytest.mark.parametrize(("size", "kind"), [((40, 63), "image.tiny"), ((3000, 4001), "image.huge")])
def test_tiny_and_huge_images(made, size, kind):
    Image.new("RGB", size[::-1]).save(made.image(1))

    def resize(document):
        document["images"][1].update(height=size[0], width=size[1])
        for each in document["annotations"][6:12]:
            each["point"] = [each["point"][0] % 60 + 2 * (each["id"] % 5), each["id"] + 2]

    made.edit(resize)
    inputs = replace(made.inputs, gt=None, pseudo=None, semantic=made.root / "none")
    assert kind in found(inputs)


def test_a_set_without_points(made):
    made.edit(lambda document: document.update(annotations=[]))
    seen = found(replace(made.inputs, gt=None, pseudo=None))
    assert {"points.none", "class.empty", "image.no_points"} <= set(seen)
    assert seen["image.no_points"].count == 5


def test_a_full_disk_is_told(made, monkeypatch):
    monkeypatch.setattr(inspection, "LITTLE", 1e30)
    assert set(found(made.inputs)) == {"disk.low"}


def test_an_image_whose_name_is_written_otherwise_is_named(made):
    made.image(1).rename(made.image(1).with_name("1.PNG"))
    seen = found(made.inputs)
    assert seen["image.missing"].examples == ["part/1.png; part/1.PNG exists"]


def test_all_mistakes_are_told_at_once(made):
    def spoil(document):
        document["annotations"][0]["point"] = [-5, 3]
        document["annotations"][1]["point"] = None
        document["annotations"][2]["category_id"] = 12
        document["images"].append({"id": 50, "file_name": "../x.png", "height": 5, "width": 5})
        document["categories"].append({"id": 9, "name": "blue"})

    made.edit(spoil)
    made.image(2).unlink()
    stopping = [each.kind for each in look(made.inputs).findings.stopping]
    assert stopping == [
        *("file.image", "file.same_id", "file.reference", "points.malformed", "points.outside"),
        "image.missing",
    ]


@pytest.mark.parametrize("content", ["", "{", "[]", "5", '{"a": 1}', '{"images": 3}', "\xff"])
def test_what_is_no_points_file_at_all_is_one_sentence(made, content):
    made.points.write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=r"points\.json"):
        look(made.inputs)


VALUES = st.sampled_from([None, 0, 1, 2, -1, 10, 3.5, 1e300, "x", [], {}, True, [1, 2], [9e9, 0]])
PLACES = st.sampled_from(
    [
        *(("images", k, key) for k in (0, 1) for key in ("id", "file_name", "width", "height")),
        *(("categories", k, key) for k in (0, 1) for key in ("id", "name")),
        *(
            ("annotations", k, key)
            for k in (0, 5)
            for key in ("id", "image_id", "category_id", "point")
        ),
        *((key, 0, None) for key in ("images", "categories", "annotations")),
        *((key, None, None) for key in ("info", "categories", "annotations")),
    ]
)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(PLACES, VALUES), max_size=3))
def test_what_training_refuses_stops_and_nothing_else(tmp_path_factory, changes):
    """The lenient reader and the strict one are of one mind, whatever the file."""
    path = tmp_path_factory.getbasetemp() / "spoilt.json"
    document = {
        "images": [{"id": k, "file_name": f"{k}.jpg", "width": 60, "height": 50} for k in (1, 2)],
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
        "annotations": [
            {"id": k, "image_id": 1 + k % 2, "category_id": 1 + k // 3, "point": [5 * k, 7 * k]}
            for k in range(6)
        ],
    }
    for (key, k, inner), value in changes:
        if k is None:
            document[key] = value
        elif isinstance(document[key], list) and k < len(document[key]):
            item = document[key][k]
            if inner is None:
                document[key][k] = value
            elif isinstance(item, dict):
                item[inner] = value
    path.write_text(json.dumps(document))
    findings = Findings()
    try:
        clicks = read_clicks(path, findings)
        stops = bool(findings.stopping) or not clicks.inside.all()
    except UserError:
        stops = True
    try:
        read_points(path)
    except UserError:
        assert stops
    else:
        assert not stops
    assert "file.refused" not in findings


def test_a_few_points_below_a_landscape_are_outside_not_swapped(made):
    def lower(document):
        for each in document["annotations"][:3]:
            each["point"][1] = 150 + 2 * each["point"][0] // 3

    made.edit(lower)
    seen = found(replace(made.inputs, gt=None, pseudo=None, semantic=made.root / "none"))
    assert set(seen) == {"points.outside", "map.none"}
    assert seen["points.outside"].count == 3
