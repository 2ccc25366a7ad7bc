"""Shapes, classes, encodings and tables as people have them."""

from __future__ import annotations

import itertools
import json

import pytest
from click_sets import (
    clicks,
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
    via,
    via_region,
)

from p2seg.errors import UserError
from p2seg.formats.points import Reading, recognized


@pytest.fixture
def images(tmp_path):
    return pictures(tmp_path / "photos", "a.jpg", "b.jpg")


UPRIGHT = [[10, 20], [30, 20], [30, 30], [10, 30]]
TURNED = [[20, 15], [30, 25], [20, 35], [10, 25]]
MIDDLE = [("dog", 19.5, 24.5)]


@pytest.mark.parametrize("kind", ["rectangle", "oriented_rectangle", "rotation"])
@pytest.mark.parametrize("corners", [UPRIGHT, TURNED])
def test_a_rectangle_is_clicked_in_its_middle_whatever_the_order_of_its_corners(
    tmp_path, images, kind, corners
):
    for order in itertools.permutations(corners):
        for closed in (order, [*order, order[0]]):
            own = dumped(tmp_path / "a.json", labelme("a.jpg", shape("dog", kind, *closed)))
            assert clicks(taken("labelme", own, images)[0])["a.jpg"] == MIDDLE


def test_a_rectangle_of_two_or_three_corners_is_clicked_in_its_middle(tmp_path, images):
    diagonals = ([UPRIGHT[0], UPRIGHT[2]], [UPRIGHT[1], UPRIGHT[3]])
    orders = [order for pair in diagonals for order in itertools.permutations(pair)]
    orders += itertools.permutations(UPRIGHT, 3)
    for corners in orders:
        own = dumped(tmp_path / "a.json", labelme("a.jpg", shape("dog", "rectangle", *corners)))
        assert clicks(taken("labelme", own, images)[0])["a.jpg"] == MIDDLE


def test_a_random_click_of_a_turned_rectangle_is_inside_it(tmp_path, images):
    crossed = [TURNED[k] for k in (0, 2, 1, 3)]
    own = dumped(tmp_path / "a.json", labelme("a.jpg", shape("dog", "rotation", *crossed)))
    for seed in range(20):
        points, _ = taken("labelme", own, images, sampler="random", seed=seed)
        ((_, x, y),) = clicks(points)["a.jpg"]
        assert abs(x - 19.5) + abs(y - 24.5) <= 10.5


def datumaro(*annotations, labels=("dog",)):
    return {
        "categories": {"label": {"labels": [{"name": name} for name in labels]}},
        "items": [{"id": "a", "image": {"size": [40, 60]}, "annotations": list(annotations)}],
    }


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("via", via(("a.jpg", [via_region("dog", "rect", x=30, y=30, width=-20, height=-10)]))),
        (
            "cvat",
            cvat(frame("a.jpg", drawn("box", "dog", 'xtl="30" ytl="20" xbr="10" ybr="30"'))),
        ),
        (
            "cvat",
            cvat(
                frame(
                    "a.jpg",
                    drawn("box", "dog", 'xtl="10" ytl="20" xbr="30" ybr="30" rotation="77"'),
                )
            ),
        ),
        (
            "labelstudio",  # turned about its corner (20, 15): 45 degrees, sides of 10 * sqrt(2)
            [
                task(
                    "a.jpg",
                    region(
                        "rectanglelabels",
                        "dog",
                        x=100 / 3,
                        y=37.5,
                        width=1000 * 2**0.5 / 60,
                        height=1000 * 2**0.5 / 40,
                        rotation=45,
                    ),
                )
            ],
        ),
        (
            "datumaro",
            datumaro(
                {
                    "type": "bbox",
                    "label_id": 0,
                    "bbox": [10, 20, 20, 10],
                    "attributes": {"rotation": 60.0},
                }
            ),
        ),
        (
            "datumaro",
            datumaro({"type": "rotated_bbox", "label_id": 0, "bbox": [20, 25, 20, 10, 60]}),
        ),
    ],
)
def test_boxes_of_every_tool_are_clicked_in_their_middle(tmp_path, images, name, content):
    own = tmp_path / ("a.xml" if name == "cvat" else "a.json")
    own.write_text(content if isinstance(content, str) else json.dumps(content))
    expected = [("dog", 20, 25)] if name == "via" else MIDDLE  # its corners are pixels' centers
    assert clicks(taken(name, own, images)[0])["a.jpg"] == expected


def test_a_box_whose_middle_is_outside_the_image_is_clicked_in_it(tmp_path, images):
    own = dumped(
        tmp_path / "a.json", labelme("a.jpg", shape("dog", "rectangle", [-40, 10], [10, 30]))
    )
    ((_, x, y),) = clicks(taken("labelme", own, images)[0])["a.jpg"]
    assert 0 <= x < 10
    assert 10 < y < 29


# ---------------------------------------------------------------- shapes without a class

POLYGON = {
    "name": "polygon",
    "all_points_x": [10, 20, 20, 10, 10],
    "all_points_y": [10, 10, 20, 20, 10],
}
COLUMNS = (
    "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,"
    "region_attributes"
)


def balloons(*, numbered):
    """`via_region_data.json` of the balloon set: VIA 1 numbers regions, VIA 2 lists them."""
    one = {"shape_attributes": POLYGON, "region_attributes": {}}
    return {
        "a.jpg1115004": {
            "fileref": "",
            "size": 1115004,
            "filename": "a.jpg",
            "base64_img_data": "",
            "file_attributes": {},
            "regions": {"0": one} if numbered else [one],
        },
        "b.jpg77": {"size": 77, "filename": "b.jpg", "regions": {} if numbered else []},
    }


def quoted(content):
    return '"' + json.dumps(content).replace('"', '""') + '"'


NO_CLASS = {
    "via 1": ("via", balloons(numbered=True)),
    "via 2": ("via", balloons(numbered=False)),
    "via 1 csv": ("via", f"#{COLUMNS}\na.jpg,1,{{}},1,0,{quoted(POLYGON)},{{}}\n"),
    "via csv": ("via", f'{COLUMNS}\nb.jpg,1,"{{}}",0,0,"{{}}","{{}}"\n'
                       f'a.jpg,1,"{{}}",1,0,{quoted(POLYGON)},"{{""name"":""""}}"\n'),
    "via, not filled in": (
        "via",
        via(("a.jpg", [{"shape_attributes": POLYGON,
                        "region_attributes": {"name": "", "type": {}, "quality": ""}}])),
    ),
    "labelme": ("labelme", labelme("a.jpg", shape("", "point", [15, 15]))),
    "labelme, null": ("labelme", labelme("a.jpg", shape(None, "point", [15, 15]))),
    "cvat": ("cvat", cvat(frame("a.jpg", '<points points="15,15"/>'), labels=())),
    "label studio": (
        "labelstudio",
        [task("a.jpg", {**region("keypoint", "", x=25, y=37.5), "type": "keypoint"})],
    ),
    "label studio, empty": (
        "labelstudio",
        [task("a.jpg", region("keypointlabels", "", x=25, y=37.5) | {
            "value": {"x": 25, "y": 37.5, "keypointlabels": []}})],
    ),
    "datumaro": ("datumaro", datumaro({"type": "points", "points": [15, 15]}, labels=())),
    "csv": ("csv", "image,x,y\na.jpg,15,15\n"),
    "csv, empty": ("csv", "image,x,y,label\na.jpg,15,15,\n"),
}  # fmt: skip


@pytest.mark.parametrize("kind", NO_CLASS)
def test_shapes_without_a_class_are_of_the_one_that_is_given(tmp_path, images, kind):
    name, content = NO_CLASS[kind]
    table = isinstance(content, str) and not content.startswith("<")
    own = tmp_path / f"a.{'csv' if table else 'xml' if name == 'cvat' else 'json'}"
    own.write_text(content if isinstance(content, str) else json.dumps(content))
    assert recognized(own) == name
    one = ["balloon"]
    points, _ = taken(name, own, images, Reading(classes=one), classes=one)
    [(label, x, y)] = clicks(points)["a.jpg"]
    assert label == "balloon"
    assert (x, y) == pytest.approx((15, 15), abs=1)
    for none in (None, ["balloon", "kite"]):
        with pytest.raises(UserError, match=r"classes"):
            taken(name, own, images, Reading(classes=none), classes=none)


def test_one_class_that_is_given_chooses_it_among_shapes_of_others(tmp_path, images):
    shapes = (shape("dog", "point", [1.5, 1.5]), shape("", "point", [5.5, 5.5]))
    own = dumped(tmp_path / "a.json", labelme("a.jpg", *shapes))
    points, report = taken("labelme", own, images, classes=["cat"])
    assert clicks(points)["a.jpg"] == [("cat", 5, 5)]
    assert report.left_out == {"of the class 'dog'": 1}
    points, report = taken("labelme", own, images, skip=True)
    assert clicks(points)["a.jpg"] == [("dog", 1, 1)]
    assert list(report.unusable.values()) == [1]


# ---------------------------------------------------------------- names, ids, parts


def test_labelmes_own_labels_are_no_classes(tmp_path, images):
    shapes = [
        shape(name, "point", [k + 0.5, 1.5]) for k, name in enumerate(("leaf", "__ignore__"), 2)
    ]
    own = dumped(tmp_path / "m/a.json", labelme("a.jpg", *shapes)).parent
    (own / "labels.txt").write_text("__ignore__\n_background_\nstone\nleaf\n")
    points, report = taken("labelme", own, images)
    assert [each.name for each in points.categories] == ["stone", "leaf"]
    assert clicks(points)["a.jpg"] == [("leaf", 2, 1)]
    assert sum(report.left_out.values()) == 1


@pytest.mark.parametrize("id", ["7", "7.0", "7."])
def test_ids_and_sizes_that_a_spreadsheet_made_floats_are_kept(tmp_path, images, id):
    own = tmp_path / "a.csv"
    own.write_text(f"file,x,y,label,id,width,height\na.jpg,3,4,dog,{id},60.0,40.0\n")
    points, _ = taken("csv", own, images)
    assert points.points[0].ids.tolist() == [7]


@pytest.mark.parametrize("group", [1, "1", 1.0])
def test_a_group_may_be_quoted_or_a_float(tmp_path, images, group):
    parts = [shape("dog", "rectangle", [x, 10], [x + 8, 20], group_id=group) for x in (5, 30)]
    points, report = taken("labelme", dumped(tmp_path / "a.json", labelme("a.jpg", *parts)), images)
    assert len(clicks(points)["a.jpg"]) == 1
    assert report.left_out == {"other parts of an object": 1}


def test_datumaros_label_may_be_quoted_or_a_float(tmp_path, images):
    for label in ("1", 1.0):
        content = datumaro(
            {"type": "points", "points": [3.5, 4.5], "label_id": label}, labels=("cat", "dog")
        )
        points, _ = taken("datumaro", dumped(tmp_path / "a.json", content), images)
        assert clicks(points)["a.jpg"] == [("dog", 3, 4)]


def test_a_bad_part_does_not_take_the_good_one_along(tmp_path, images):
    outside = shape("dog", "rectangle", [70, 50], [99, 99], group_id=1)
    good = shape("dog", "rectangle", [10, 10], [20, 20], group_id=1)
    own = dumped(tmp_path / "a.json", labelme("a.jpg", outside, good))
    assert clicks(taken("labelme", own, images)[0])["a.jpg"] == [("dog", 14.5, 14.5)]
    large = 'rle="0, 10000" left="0" top="0" width="100" height="100" group_id="1"'
    small = 'xtl="10" ytl="10" xbr="20" ybr="20" group_id="1"'
    own = tmp_path / "a.xml"
    own.write_text(cvat(frame("a.jpg", drawn("mask", "dog", large), drawn("box", "dog", small))))
    points, report = taken("cvat", own, images)
    assert clicks(points)["a.jpg"] == [("dog", 14.5, 14.5)]
    assert report.left_out == {"broken parts of an object": 1}


def test_a_shape_that_cvat_may_have_one_day_is_counted(tmp_path, images):
    own = tmp_path / "a.xml"
    point = drawn("points", "dog", 'points="3.5,4.5"')
    own.write_text(cvat(frame("a.jpg", point, drawn("spline", "dog", 'points="1,1"'))))
    assert taken("cvat", own, images)[1].left_out == {"shapes of the kind 'spline'": 1}


# ---------------------------------------------------------------- Label Studio


def keypoint(x, y, **more):
    return region("keypointlabels", "dog", x=x, y=y, width=0.5) | more


def test_an_empty_annotation_gives_way_to_one_with_regions(tmp_path, images):
    one = task("a.jpg")
    full = {"result": [keypoint(50, 50)]}
    for made in ([full, {"result": []}], [{"result": []}, full]):
        one["annotations"] = made
        points, report = taken("labelstudio", dumped(tmp_path / "p.json", [one]), images)
        assert clicks(points) == {"a.jpg": [("dog", 30, 20)]}
        assert report.left_out == {"other annotations of a task": 1}


def test_of_many_annotations_of_json_min_the_last_with_regions_counts(tmp_path, images):
    def one(*xs, annotator):
        at = {"y": 50, "width": 1, "original_width": 60, "original_height": 40}
        found = [{**at, "x": x, "keypointlabels": ["dog"]} for x in xs]
        return {"image": "a.jpg", "id": 4, "annotator": annotator, "kp": found}

    tasks = [one(10, annotator=1), one(50, annotator=2), one(annotator=3)]
    points, report = taken("labelstudio", dumped(tmp_path / "p.json", tasks), images)
    assert clicks(points) == {"a.jpg": [("dog", 30, 20)]}
    assert report.left_out == {"other annotations of a task": 2}


def test_percents_without_a_size_are_of_the_image(tmp_path, images):
    results = [
        keypoint(50, 50),
        region("rectanglelabels", "dog", x=10, y=25, width=20, height=50),
    ]
    for each in results:
        del each["original_width"], each["original_height"]
    points, _ = taken("labelstudio", dumped(tmp_path / "p.json", [task("a.jpg", *results)]), images)
    assert clicks(points) == {"a.jpg": [("dog", 30, 20), ("dog", 11.5, 19.5)]}


def test_a_hair_beyond_the_edge_is_on_it(tmp_path, images):
    tasks = [task("a.jpg", keypoint(100.0000001, -1e-7))]
    points, _ = taken("labelstudio", dumped(tmp_path / "p.json", tasks), images)
    assert clicks(points) == {"a.jpg": [("dog", 59.5, 0)]}


def test_regions_of_which_none_is_read_are_named(tmp_path, images):
    brush = region("brushlabels", "dog", format="rle", rle=[1, 2])
    with pytest.raises(UserError, match="brushlabels"):
        taken("labelstudio", dumped(tmp_path / "p.json", [task("a.jpg", brush)]), images)


# ---------------------------------------------------------------- encodings

PEAR = labelme("a.jpg", shape("梨", "point", [3.5, 4.5]))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_encodings_that_say_what_they_are(tmp_path, images, encoding):
    json_file, table = tmp_path / "a.json", tmp_path / "a.csv"
    json_file.write_bytes(json.dumps(PEAR, ensure_ascii=False).encode(encoding))
    table.write_bytes("file\tx\ty\tlabel\r\na.jpg\t3\t4\t梨\r\n".encode(encoding))
    for file in (json_file, table):
        name = recognized(file)
        assert clicks(taken(name, file, images)[0])["a.jpg"] == [("梨", 3, 4)]


@pytest.mark.parametrize("encoding", ["gb2312", "cp932", "big5"])
def test_other_encodings_are_to_be_saved_as_utf_8(tmp_path, images, encoding):
    json_file, table = tmp_path / "a.json", tmp_path / "a.csv"
    json_file.write_bytes(json.dumps(PEAR, ensure_ascii=False).encode(encoding))
    table.write_bytes("file,x,y,label\na.jpg,3,4,梨\n".encode(encoding))
    for name, file in (("labelme", json_file), ("csv", table)):
        for read in (
            lambda _, file=file: recognized(file),
            lambda n, file=file: taken(n, file, images),
        ):
            with pytest.raises(UserError, match=rf"{file.name}.*save it as UTF-8"):
                read(name)


def test_an_xml_may_name_its_encoding(tmp_path, images):
    content = cvat(frame("a.jpg", drawn("points", "Blüte", 'points="3.5,4.5"')))
    for encoding in ("iso-8859-1", "utf-16"):
        own = tmp_path / "a.xml"
        own.write_bytes(content.replace("utf-8", encoding).encode(encoding))
        assert recognized(own) == "cvat"
        assert clicks(taken("cvat", own, images)[0])["a.jpg"] == [("Blüte", 3, 4)]
    own.write_bytes(content.replace("utf-8", "gb2312").encode("gb2312", errors="replace"))
    with pytest.raises(UserError, match="not readable"):
        taken("cvat", own, images)


# ---------------------------------------------------------------- tables


@pytest.mark.parametrize(
    "above", ["sep=;\r\n", "\r\n\r\n", "# made by hand; in May\r\n", "# a\r\nsep=;\r\n# b;c\r\n"]
)
def test_lines_above_a_header_are_passed_over(tmp_path, images, above):
    own = tmp_path / "a.csv"
    own.write_bytes(f"{above}file;x;y;label\r\na.jpg;3,5;4;dog\r\n".encode())
    assert recognized(own) == "csv"
    assert clicks(taken("csv", own, images)[0])["a.jpg"] == [("dog", 3.5, 4)]


@pytest.mark.parametrize(
    ("ending", "content", "seems"),
    [
        ("csv", "dog,24,20,a.jpg,60,40\ndog,6,4,a.jpg,60,40\n", "make-sense"),
        ("csv", "dog,14,10,20,20,a.jpg,60,40\n", "make-sense"),
        ("csv", " ,Area,Mean,X,Y,Counter,Slice\n1,0,30,24,20,0,1\n", "ImageJ"),
        ("csv", "image_path,xmin,ymin,xmax,ymax,label\na.jpg,1,1,9,9,dog\n", "boxes"),
        ("csv", "label_name,bbox_x,bbox_y,bbox_width,bbox_height,image_name\n", "boxes"),
        ("csv", "time,price\n1,2\n", "'time, price'"),
        ("csv", "3,4\n5,6\n", "no header"),
        ("json", '{"tasks": [], "project": 4}', "'project, tasks'"),
        ("xml", "<annotation><folder>VOC</folder></annotation>", "Pascal VOC"),
        ("xml", "<html></html>", "not CVAT's"),
        ("txt", "0 0.5 0.5 0.1 0.2\n", "YOLO"),
        ("txt", "my notes\n", "x y class"),
    ],
)
def test_an_unknown_file_is_said_to_be_what_it_seems(tmp_path, ending, content, seems):
    own = tmp_path / f"a.{ending}"
    own.write_text(content)
    with pytest.raises(UserError, match=f"a.{ending}.*{seems}"):
        recognized(own)


def test_a_box_is_not_taken_for_the_size_of_the_image(tmp_path, images):
    own = tmp_path / "a.csv"
    for rows in ("a.jpg,dog,4,5,20,20\n", "a.jpg,dog,4,5,20,20\na.jpg,dog,9,5,28,28\n"):
        own.write_text(f"filename,class,x,y,width,height\n{rows}")
        with pytest.raises(UserError, match="of a box"):
            taken("csv", own, images)
