"""The faults of a data set, one edit per kind."""

from __future__ import annotations

import json
import shutil

import numpy as np
from clean_sets import HEIGHT, WIDTH, picture
from PIL import Image

from p2seg.data.coco import encode
from p2seg.data.labels import read_labels, write_labels


def points_of(*changes):
    """Returns an edit of annotations: (index, key, value)."""

    def edit(document):
        for index, key, value in changes:
            document["annotations"][index][key] = value

    return lambda made: made.edit(edit)


def every_point(function):
    """Returns an edit of all points [x, y]."""

    def edit(document):
        for each in document["annotations"]:
            each["point"] = function(*each["point"])

    return lambda made: made.edit(edit)


def edited(function, file="points"):
    return lambda made: made.edit(function, file)


def saved(k, function):
    """Returns an edit that replaces the k-th image."""
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
    """Removes most blue points, and the masks of the removed points."""

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
    """Replaces the masks of the first class by discs of a fifth of the click distance."""
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
    """Returns an edit that moves the third point close to another one."""
    return points_of((2, "point", xy))


def same_file(made):
    shutil.rmtree(made.val_images)
    made.val_images.symlink_to(made.images)
    record = {"id": 1, "file_name": "part/0.png", "width": WIDTH, "height": HEIGHT}
    made.edit(lambda document: document.update(images=[record]), "val_gt")


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
    ("map.unread", lambda made: (made.semantic / "part/1.png").unlink(), "no initial semantic"),
    ("map.unread", with_map(lambda m: m[:80]), "is 240x80, but its image is 240x160"),
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
    ("split.same_file", same_file, "part/0.png"),
    ("split.same_bytes", lambda made: shutil.copy(made.image(1), made.val_images / "v.png"),
     "part/1.png = v.png"),
]  # fmt: skip
"""The kind, the edit of the set, and a part of an example."""
