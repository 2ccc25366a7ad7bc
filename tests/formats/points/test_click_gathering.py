"""What is checked of clicks, whatever tool they come from."""

from __future__ import annotations

import pytest
from click_sets import clicks, dumped, labelme, pictures, shape, taken, via, via_region

from p2seg.data.points import read_points, write_points
from p2seg.errors import UserError
from p2seg.formats.points import Reading


@pytest.fixture
def images(tmp_path):
    return pictures(tmp_path / "photos", "a.jpg", "b.jpg", "unused.jpg")


def table(tmp_path, *rows):
    path = tmp_path / "clicks.csv"
    path.write_text("\n".join(["file,x,y,label,id", *rows, ""]))
    return path


def test_classes_are_sorted_chosen_or_refused(tmp_path, images):
    own = table(tmp_path, "a.jpg,1,1,dog,", "a.jpg,2,2,cat,", "b.jpg,3,3,emu,")
    names = lambda points: [each.name for each in points.categories]  # noqa: E731
    points, report = taken("csv", own, images)
    assert names(points) == ["cat", "dog", "emu"]
    assert report.unnamed == ["unused.jpg"]
    points, report = taken("csv", own, images, classes=["emu", "dog"])
    assert names(points) == ["emu", "dog"]
    assert clicks(points) == {"a.jpg": [("dog", 1, 1)], "b.jpg": [("emu", 3, 3)]}
    assert report.left_out == {"of the class 'cat'": 1}
    assert report.counts == {"emu": 1, "dog": 1}
    with pytest.raises(UserError, match=r"names 'dgo'.*did you mean 'dog'"):
        taken("csv", own, images, classes=["dgo"])
    with pytest.raises(UserError, match="twice"):
        taken("csv", own, images, classes=["dog", "dog"])


def test_images_without_clicks_stay_or_go(tmp_path, images):
    own = table(tmp_path, "a.jpg,1,1,dog,", "b.jpg,3,3,emu,")
    for keep, there in ((True, ["a.jpg", "b.jpg"]), (False, ["b.jpg"])):
        points, report = taken("csv", own, images, classes=["emu"], keep_empty=keep)
        assert list(clicks(points)) == there
        assert report.empty == ["a.jpg"]


def test_ids_are_kept_and_new_ones_follow(tmp_path, images):
    own = table(tmp_path, "a.jpg,1,1,dog,7", "a.jpg,2,2,dog,", "b.jpg,3,3,dog,7", "b.jpg,4,4,dog,2")
    points, _ = taken("csv", own, images)
    assert [each.ids.tolist() for each in points.points] == [[7, 8], [9, 2]]
    write_points(tmp_path / "points.json", points)
    again = read_points(tmp_path / "points.json")
    assert [each.ids.tolist() for each in again.points] == [[7, 8], [9, 2]]


def test_a_spot_that_is_clicked_twice_is_one_click(tmp_path, images):
    own = table(tmp_path, "a.jpg,1,1,dog,", "a.jpg,1,1,dog,", "a.jpg,1,1,cat,", "b.jpg,1,1,dog,")
    points, report = taken("csv", own, images)
    assert clicks(points) == {"a.jpg": [("dog", 1, 1), ("cat", 1, 1)], "b.jpg": [("dog", 1, 1)]}
    assert report.left_out == {"clicked twice on one spot": 1}


@pytest.mark.parametrize(
    ("edges", "x", "y", "expected"),
    [
        (False, 0, 0, (0, 0)),
        (False, 59.9, 39.9, (59.9, 39.9)),
        (False, 60, 0, None),
        (False, -0.1, 0, None),
        (False, 0, 40, None),
        (True, 0, 0, (0, 0)),
        (True, 3.5, 4.5, (3, 4)),
        (True, 60, 40, (59.5, 39.5)),
        (True, 60.01, 0, None),
        (True, 0, -0.01, None),
    ],
)
def test_a_click_is_on_its_image(tmp_path, images, edges, x, y, expected):
    own = table(tmp_path, "b.jpg,5,5,cat,", f"a.jpg,{x},{y},dog,")
    if expected is None:
        with pytest.raises(UserError, match=r"line 3: point \(.*lies outside image a.jpg of 60x40"):
            taken("csv", own, images, edges=edges)
        points, report = taken("csv", own, images, edges=edges, skip=True)
        assert clicks(points)["a.jpg"] == []
        assert len(report.problems) == 1
        assert "on_error" not in report.problems[0]
    else:
        points, _ = taken("csv", own, images, edges=edges)
        assert clicks(points)["a.jpg"] == [("dog", *expected)]
        write_points(tmp_path / "points.json", points)
        read_points(tmp_path / "points.json")  # which checks it again


def test_what_cannot_be_used_is_told_and_left_out(tmp_path, images):
    own = table(tmp_path, "a.jpg,1,1,dog,", "gone.jpg,1,1,dog,", "b.jpg,x,1,dog,")
    with pytest.raises(UserError, match="line 4 has x 'x'"):
        taken("csv", own, images)
    points, report = taken("csv", own, images, skip=True)
    assert clicks(points) == {"a.jpg": [("dog", 1, 1)], "b.jpg": []}
    assert ["line 4" in each or "gone.jpg" in each for each in report.problems] == [True, True]


def test_two_files_of_one_image(tmp_path, images):
    for name in ("1", "2"):
        dumped(tmp_path / f"m/{name}.json", labelme("a.jpg", shape("d", "point", [3, int(name)])))
    with pytest.raises(UserError, match=r"2.json: image a.jpg is also annotated in .*1.json"):
        taken("labelme", tmp_path / "m", images)
    points, _ = taken("labelme", tmp_path / "m", images, skip=True)
    assert clicks(points) == {"a.jpg": [("d", 3.0, 1.0)]}


def test_nothing_left_is_a_mistake(tmp_path, images):
    with pytest.raises(UserError, match="no point is left of 1 entries on 1 images"):
        taken("csv", table(tmp_path, "gone.jpg,1,1,dog,"), images, skip=True)
    with pytest.raises(UserError, match="no class and no point"):
        taken("csv", table(tmp_path), images)


def test_more_classes_than_a_map_holds(tmp_path, images):
    own = table(tmp_path, *(f"a.jpg,{k % 60},{k // 60},class {k}," for k in range(255)))
    with pytest.raises(UserError, match="255 classes, more than the 254"):
        taken("csv", own, images)
    points, _ = taken("csv", own, images, classes=["class 3"])
    assert clicks(points)["a.jpg"] == [("class 3", 3, 0)]


@pytest.mark.parametrize("sampler", ["inner", "box_center", "centroid", "random"])
def test_a_box_is_clicked_inside(tmp_path, images, sampler):
    own = dumped(
        tmp_path / "via.json",
        via(("a.jpg", [via_region("d", "rect", x=10, y=20, width=20, height=4)])),
    )
    points, report = taken("via", own, images, Reading(), sampler=sampler, seed=1)
    ((_, x, y),) = clicks(points)["a.jpg"]
    assert report.derived == {"rectangle": 1}
    assert 10 <= x <= 30
    assert 20 <= y <= 24
    if sampler != "random":
        assert (x, y) == (20, 22)
    else:
        again, _ = taken("via", own, images, Reading(), sampler=sampler, seed=1)
        other, _ = taken("via", own, images, Reading(), sampler=sampler, seed=2)
        assert clicks(again) == clicks(points) != clicks(other)


@pytest.mark.parametrize(
    ("region", "said"),
    [
        (via_region("d", "rect", x=100, y=20, width=20, height=4), "lies outside image a.jpg"),
        (via_region("d", "rect", x=1e7, y=20, width=20, height=4), "far outside"),
        (via_region("d", "polygon", all_points_x=[1, 2], all_points_y=[1, 2]), "3 or more"),
        (
            via_region("d", "polygon", all_points_x=[99, 98, 99], all_points_y=[1, 2, 9]),
            "lies outside",
        ),
    ],
)
def test_a_region_without_a_pixel(tmp_path, images, region, said):
    with pytest.raises(UserError, match=f"region 1.*{said}"):
        taken("via", dumped(tmp_path / "via.json", via(("a.jpg", [region]))), images)


def test_a_polygon_that_leaves_the_image_is_clicked_where_it_is_in_it(tmp_path, images):
    polygon = via_region("d", "polygon", all_points_x=[-40, 10, 10, -40], all_points_y=[0, 0, 9, 9])
    points, _ = taken("via", dumped(tmp_path / "via.json", via(("a.jpg", [polygon]))), images)
    ((_, x, y),) = clicks(points)["a.jpg"]
    assert 0 < x < 10
    assert 0 < y < 9
