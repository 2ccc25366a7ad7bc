"""Every format read from files as its tool writes them."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from click_sets import (
    clicks,
    coco,
    cvat,
    drawn,
    dumped,
    frame,
    labelme,
    pictures,
    region,
    shape,
    taken,
    task,
    turned_picture,
    via,
    via_region,
)
from PIL import Image

from p2seg.data.points import SAMPLERS
from p2seg.errors import UserError
from p2seg.formats.points import Reading, recognized


@pytest.fixture
def images(tmp_path):
    return pictures(tmp_path / "photos", "a.jpg", "sub/b.jpg")


def png(mask):
    stream = io.BytesIO()
    Image.fromarray(mask).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def test_labelme(tmp_path, images):
    disc = np.zeros((5, 9), np.uint8)
    disc[1:4, 2:7] = 255
    dumped(
        tmp_path / "marks/a.json",
        labelme(
            "..\\photos\\a.jpg",
            shape("dog", "point", [3.5, 4.5]),
            shape("cat", "point", [0.2, 40.0]),
            shape("dog", "rectangle", [30.0, 30.0], [10.0, 20.0]),
            shape("dog", "circle", [20.5, 10.5], [25.5, 10.5]),
            shape("cat", "polygon", [40, 0], [50, 0], [50, 9], [40, 9]),
            shape("cat", "mask", [50.0, 30.0], [58.0, 34.0], mask=png(disc)),
            shape("cat", "oriented_rectangle", [5, 20], [10, 25], [5, 30], [0, 25]),
            shape("cat", "linestrip", [1, 1], [2, 2]),
            shape("cat", "points", [7.5, 7.5], [9.5, 7.5]),
        ),
    )
    dumped(tmp_path / "marks/sub/b.json", labelme("../../photos/sub/b.jpg"))
    points, report = taken("labelme", tmp_path / "marks", images)
    assert clicks(points) == {
        "a.jpg": [
            ("dog", 3, 4),
            ("cat", 0, 39.5),  # left of the first pixel's center: still on it
            ("dog", 19.5, 24.5),
            ("dog", 20, 10),
            ("cat", 44, 4),
            ("cat", 53, 32),  # the first of the mask's pixels that are farthest from its edge
            ("cat", 4.5, 24.5),
            ("cat", 7, 7),
            ("cat", 9, 7),
        ],
        "sub/b.jpg": [],
    }
    assert report.left_out == {"shapes of the kind 'linestrip'": 1}
    assert report.derived == {"rectangle": 2, "circle": 1, "polygon": 1, "mask": 1}
    assert report.empty == ["sub/b.jpg"]
    assert recognized(tmp_path / "marks") == "labelme"


def test_parts_of_one_object_are_one_click(tmp_path, images):
    squares = [[[x, 10], [x + s, 10], [x + s, 10 + s], [x, 10 + s]] for x, s in ((2, 4), (20, 9))]
    own = dumped(
        tmp_path / "a.json",
        labelme("a.jpg", *(shape("dog", "polygon", *each, group_id=1) for each in squares)),
    )
    points, report = taken("labelme", own, images)
    assert clicks(points)["a.jpg"] == [("dog", 24, 14)]
    assert report.left_out == {"other parts of an object": 1}
    # our own masks, exported with their clicks: the click is what counts
    parts = [shape("dog", "polygon", *each, group_id=1) for each in squares]
    other = shape("cat", "polygon", *squares[0], group_id=1)
    dumped(own, labelme("a.jpg", *parts, shape("dog", "point", [3.5, 4.5], group_id=1), other))
    points, report = taken("labelme", own, images)
    assert clicks(points)["a.jpg"] == [("dog", 3, 4), ("cat", 3, 11)]
    assert report.left_out == {"other parts of an object": 2}


def test_cvat(tmp_path, images):
    own = tmp_path / "annotations.xml"
    own.write_text(
        cvat(
            frame(
                "a.jpg",
                drawn("points", "cat", 'points="3.50,4.50"'),
                drawn("points", "dog", 'points="10.50,4.50;12.50,6.50"'),
                drawn("box", "dog", 'xtl="10" ytl="20" xbr="30" ybr="30" rotation="33.0"'),
                drawn("ellipse", "dog", 'cx="20.5" cy="10.5" rx="5" ry="2" rotation="10.0"'),
                drawn("polygon", "dog", 'points="40,0;50,0;50,9;40,9"'),
                drawn("mask", "dog", 'rle="1, 1, 2, 2, 0" left="50" top="30" width="2" height="3"'),
                drawn("polyline", "dog", 'points="1,1;2,2"'),
                '<tag label="dog" source="manual"></tag>',
            ),
            frame("sub/b.jpg"),
        ),
        encoding="utf-8",
    )
    points, report = taken("cvat", own, images)
    assert clicks(points) == {
        "a.jpg": [
            ("cat", 3, 4),
            ("dog", 10, 4),
            ("dog", 12, 6),
            ("dog", 19.5, 24.5),
            ("dog", 20, 10),
            ("dog", 44, 4),
            ("dog", 51, 30),
        ],
        "sub/b.jpg": [],
    }
    assert [each.name for each in points.categories] == ["dog", "cat"]  # the file's order
    assert report.left_out == {"shapes of the kind 'polyline'": 1, "shapes of the kind 'tag'": 1}
    assert recognized(own) == "cvat"


def test_the_jobs_of_a_cvat_task_list_each_others_frames(tmp_path, images):
    one = drawn("points", "cat", 'points="3.50,4.50"')
    for name, first, second in (("1", one, ""), ("2", "", one)):
        file = tmp_path / "jobs" / f"{name}.xml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(cvat(frame("a.jpg", first), frame("sub/b.jpg", second)))
    points, _ = taken("cvat", tmp_path / "jobs", images)
    assert clicks(points) == {"a.jpg": [("cat", 3, 4)], "sub/b.jpg": [("cat", 3, 4)]}


def test_datumaro(tmp_path, images):
    def item(id, *annotations, **image):
        each = {"id": 0, "attributes": {}, "group": 0, "label_id": 1, "z_order": 0}
        return {"id": id, "annotations": [{**each, **a} for a in annotations], "image": image}

    own = dumped(
        tmp_path / "annotations/sub.json",
        {
            "dm_format_version": "1.0",
            "media_type": 2,
            "infos": {},
            "categories": {
                "label": {"labels": [{"name": "dog", "parent": ""}, {"name": "cat", "parent": ""}]}
            },
            "items": [
                item(
                    "b",
                    {"type": "points", "points": [3.5, 4.5], "visibility": [2]},
                    {"type": "points", "points": [9, 9, 7.5, 7.5], "visibility": [0, 2]},
                    {"type": "bbox", "bbox": [10, 20, 20, 10], "label_id": 0},
                    {"type": "polygon", "points": [40, 0, 50, 0, 50, 9, 40, 9]},
                    {"type": "label"},
                    size=[40, 60],
                    path="b.jpg",
                ),
                item("a"),
            ],
        },
    )
    points, report = taken("datumaro", own, images)
    assert clicks(points) == {
        "sub/b.jpg": [("cat", 3, 4), ("cat", 7, 7), ("dog", 19.5, 24.5), ("cat", 44, 4)],
        "a.jpg": [],
    }
    assert report.left_out == {"annotations of the type 'label'": 1, "points that are absent": 1}
    assert recognized(own.parent) == "datumaro"


def test_label_studio(tmp_path, images):
    half = {"x": 50.0, "y": 25.0}
    own = dumped(
        tmp_path / "project-1.json",
        [
            task(
                "/data/upload/1/0a1b2c3d-a.jpg",
                region("keypointlabels", "dog", **half, width=0.5),
                region("rectanglelabels", "cat", x=10.0, y=50.0, width=20, height=25, rotation=90),
                region("ellipselabels", "cat", **half, radiusX=10.0, radiusY=5.0, rotation=0),
                region("polygonlabels", "cat", points=[[0, 0], [50, 0], [50, 50], [0, 50]]),
                {**region("keypoint", "x", x=100.0, y=100.0), "id": "apart", "type": "keypoint"},
                {**region("labels", "dog"), "id": "apart"},
                region("brushlabels", "cat", format="rle", rle=[1, 2]),
            ),
            task("/data/local-files/?d=photos/sub/b.jpg", id=2),
        ],
    )
    points, report = taken("labelstudio", own, images)
    assert clicks(points) == {
        "a.jpg": [
            ("dog", 30, 10),
            # its corner (6, 20) stays: 12 x 10 pixels below and to the left of it
            ("cat", 0.5, 25.5),
            ("cat", 29.5, 9.5),
            ("cat", 9, 9),
            ("dog", 59.5, 39.5),
        ],
        "sub/b.jpg": [],
    }
    assert report.left_out == {"regions of the type 'brushlabels'": 1}
    assert recognized(own) == "labelstudio"


def test_label_studio_min(tmp_path, images):
    one = {"x": 50, "y": 25, "width": 1, "original_width": 60, "original_height": 40}
    own = dumped(
        tmp_path / "min.json",
        [
            {
                "image": "http://localhost:8080/data/upload/1/0a1b2c3d-a.jpg?token=1",
                "id": 7,
                "click": [{**one, "keypointlabels": ["dog"]}],
                "annotator": 1,
                "annotation_id": 7,
                "lead_time": 1.0,
            }
        ],
    )
    assert clicks(taken("labelstudio", own, images)[0]) == {"a.jpg": [("dog", 30, 10)]}
    assert recognized(own) == "labelstudio"


def test_of_many_annotations_of_a_task_the_true_or_the_last_one_counts(tmp_path, images):
    def made(x, **more):
        return {"result": [region("keypointlabels", "dog", x=x, y=50.0)], **more}

    one, two = task("a.jpg"), task("sub/b.jpg", id=2)
    one["annotations"] = [made(10.0), made(20.0, ground_truth=True), made(30.0)]
    two["annotations"] = [made(10.0), made(50.0), made(90.0, was_cancelled=True)]
    points, report = taken("labelstudio", dumped(tmp_path / "p.json", [one, two]), images)
    assert clicks(points) == {"a.jpg": [("dog", 12, 20)], "sub/b.jpg": [("dog", 30, 20)]}
    assert report.left_out == {"other annotations of a task": 3, "skipped annotations": 1}


KEYPOINTS = [10, 11, 2, 12, 21, 1, 40, 39, 2]


@pytest.mark.parametrize(
    ("keypoint", "expected"),
    [
        (None, [("person", 12, 21), ("cup", 4, 4), ("cup", 19.5, 24.5), ("person", 5, 6)]),
        ("foot", [("person", 40, 39), ("cup", 4, 4), ("cup", 19.5, 24.5)]),
    ],
)
def test_coco(tmp_path, images, keypoint, expected):
    own = dumped(
        tmp_path / "instances.json",
        coco(
            [
                {"category_id": 3, "keypoints": KEYPOINTS, "bbox": [0, 0, 50, 40]},
                {"category_id": 8, "segmentation": [[0, 0, 10, 0, 10, 9, 0, 9]]},
                {"category_id": 8, "bbox": [10, 20, 20, 10]},
                {"category_id": 3, "keypoints": [5, 6, 1, *[0] * 6], "bbox": [0, 0, 50, 40]},
                {"category_id": 8, "bbox": [0, 0, 9, 9], "iscrowd": 1},
            ],
            "a.jpg",
            "sub/b.jpg",
        ),
    )
    points, report = taken("coco", own, images, Reading(keypoint=keypoint))
    assert clicks(points) == {"a.jpg": expected, "sub/b.jpg": []}
    assert [each.id for each in points.categories] == [3, 8]
    assert [each.id for each in points.images] == [10, 11]
    assert points.points[0].ids.tolist()[:3] == [100, 101, 102]
    assert sum(n for kind, n in report.left_out.items() if "crowds" in kind) == 1
    assert report.left_out["objects without the keypoint 'foot'"] == (keypoint == "foot")
    assert recognized(own) == "coco"


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_coco_masks_click_is_that_of_make_points(tmp_path, sampler):
    """`random` draws by another number, and stays inside the mask."""
    from p2seg.data.coco import decode, read_instances
    from p2seg.data.points import make_points

    images = pictures(tmp_path, "a.jpg")
    corners = [3.5, 2.0, 30.0, 5.5, 20.0, 30.0, 4.0, 38.0]
    own = dumped(
        tmp_path / "i.json", coco([{"category_id": 8, "segmentation": [corners]}], "a.jpg")
    )
    (ours,) = taken("coco", own, images, sampler=sampler, seed=3)[0].points
    instances = read_instances(own)
    if sampler == "random":
        y, x = ours.pixels[0].tolist()
        assert decode(instances.instances[0][0])[y, x]
    else:
        assert ours.yx.tolist() == make_points(instances, sampler, 3).points[0].yx.tolist()


@pytest.mark.parametrize("whole", [True, False])
def test_via(tmp_path, images, whole):
    project = via(
        (
            "a.jpg",
            [
                via_region("dog", "point", cx=3, cy=4),
                via_region({"cat": True, "dog": False}, "rect", x=10, y=20, width=20, height=10),
                via_region("dog", "circle", cx=20, cy=10, r=5),
                via_region("dog", "ellipse", cx=20, cy=12, rx=5, ry=2, theta=0.3),
                via_region(
                    "dog", "polygon", all_points_x=[40, 50, 50, 40], all_points_y=[0, 0, 9, 9]
                ),
                via_region("dog", "polyline", all_points_x=[1, 2], all_points_y=[1, 2]),
            ],
        ),
        ("b.jpg", []),
    )
    own = dumped(tmp_path / "via.json", project if whole else project["_via_img_metadata"])
    points, report = taken("via", own, images)
    assert clicks(points) == {
        "a.jpg": [
            ("dog", 3, 4),
            ("cat", 20, 25),
            ("dog", 20, 10),
            ("dog", 20, 12),
            ("dog", 45, 5),  # corners are centers of pixels
        ],
        "sub/b.jpg": [],
    }
    assert report.left_out == {"regions of the shape 'polyline'": 1}
    assert recognized(own) == "via"


def test_via_is_told_which_attribute_is_the_class(tmp_path, images):
    both = via_region("dog", "point", cx=3, cy=4)
    both["region_attributes"] = {"kind": "dog", "color": "red"}
    own = dumped(tmp_path / "via.json", via(("a.jpg", [both])))
    with pytest.raises(UserError, match=r"'color', 'kind'.*attribute=NAME"):
        taken("via", own, images)
    points, _ = taken("via", own, images, Reading(attribute="color"))
    assert clicks(points) == {"a.jpg": [("red", 3, 4)]}


@pytest.mark.parametrize(
    ("lines", "names", "first", "expected"),
    [
        ("3 4 0 0.9\n5 6 1 1.0\n", None, None, ["0", "1"]),
        ("3 4 0 0.9\n5 6 1 1.0\n", ["dog", "cat"], None, ["dog", "cat"]),
        ("3 4 1 0.9\n5 6 2 1.0\n", ["dog", "cat"], None, ["dog", "cat"]),
        ("3 4 1 0.9\n5 6 2 1.0\n", ["bird", "dog", "cat"], 0, ["dog", "cat"]),
        ("3 4 1 0.9\n5 6 2 1.0\n", ["dog", "cat", "bird"], 1, ["dog", "cat"]),
        ("3.0 4.0 14.0\n\n5 6 3\n", None, None, ["14", "3"]),
    ],
)
def test_bestie(tmp_path, images, lines, names, first, expected):
    (tmp_path / "points/sub").mkdir(parents=True)
    (tmp_path / "points/sub/b.txt").write_text(lines)
    (tmp_path / "points/a.txt").write_text("")
    reading = Reading(classes=names, first_class=first)
    points, _ = taken("bestie", tmp_path / "points", images, reading)
    own = [(expected[0], 3, 4), (expected[1], 5, 6)]
    assert clicks(points) == {"a.jpg": [], "sub/b.jpg": own}
    assert recognized(tmp_path / "points") == "bestie"


def test_besties_numbers_may_not_show_where_they_begin(tmp_path, images):
    (tmp_path / "a.txt").write_text("3 4 1 1\n")
    for first, match in ((None, "from 0 or from 1.*first_class"), (1, None)):
        reading = Reading(classes=["dog", "cat"], first_class=first)
        if match:
            with pytest.raises(UserError, match=match):
                taken("bestie", tmp_path / "a.txt", images, reading)
        else:
            assert clicks(taken("bestie", tmp_path / "a.txt", images, reading)[0]) == {
                "a.jpg": [("dog", 3, 4)]
            }


@pytest.mark.parametrize(
    "text",
    [
        "file,x,y,label\na.jpg,3,4.5,dog\nsub/b.jpg,5,6,cat\n",
        "\ufeffFile Name;X;Y;Class\r\na.jpg;3;4,5;dog\r\nb.jpg;5;6;cat\r\n",
        '\timage_path\ty\tx\tcategory\n1\t"a.jpg"\t4.5\t3\tdog\n\n2\tb\t6\t5\tcat\n',
        'label,row,col,path,width,height\ndog,4.5,3,"C:\\x\\a.jpg",60,40\ncat,6,5,b.jpg,60,40\n',
    ],
)
def test_csv(tmp_path, images, text):
    own = tmp_path / "clicks.csv"
    own.write_bytes(text.encode())
    points, _ = taken("csv", own, images)
    assert clicks(points) == {"a.jpg": [("dog", 3, 4.5)], "sub/b.jpg": [("cat", 5, 6)]}
    assert recognized(own) == "csv"


def test_a_photograph_on_its_side_is_clicked_as_it_is_shown(tmp_path):
    folder = tmp_path / "photos"
    turned_picture(folder / "a.jpg")
    shapes = shape("dog", "point", [39.5, 59.5])
    own = dumped(tmp_path / "a.json", labelme("a.jpg", shapes, size=(40, 60)))
    table = tmp_path / "clicks.csv"  # says no size
    table.write_text("file,x,y,label\na.jpg,39,59,dog\n")
    for name, file in (("labelme", own), ("csv", table)):
        points, _ = taken(name, file, folder)
        assert clicks(points) == {"a.jpg": [("dog", 39, 59)]}
        assert (points.images[0].width, points.images[0].height) == (40, 60)
    dumped(own, labelme("a.jpg", shape("dog", "point", [3, 4]), size=(60, 41)))
    with pytest.raises(UserError, match="60x40 but its annotation says 60x41"):
        taken("labelme", own, folder)


def test_of_the_masks_of_a_datumaro_group_the_largest_is_clicked(tmp_path):
    def mask(counts):
        rle = {"size": [40, 60], "counts": [*counts, 2400 - sum(counts)]}
        return {"type": "mask", "label_id": 0, "group": 4, "rle": rle}

    content = {
        "categories": {"label": {"labels": [{"name": "dog"}]}},
        "items": [{"id": "a", "annotations": [mask([0, 1]), mask([402, 3]), mask([800, 2])]}],
    }
    images = pictures(tmp_path / "photos", "a.jpg")
    points, report = taken("datumaro", dumped(tmp_path / "d.json", content), images)
    assert clicks(points) == {"a.jpg": [("dog", 10, 2)]}
    assert report.left_out == {"other parts of an object": 2}
