"""Each check finds its fault and no other; a clean set has no finding."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from clean_sets import clean_set
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from set_faults import FAULTS, emptied

from p2seg.apps.validate import inspect as inspection
from p2seg.apps.validate.annotations import read_clicks
from p2seg.apps.validate.findings import Findings
from p2seg.apps.validate.inspect import inspect
from p2seg.apps.validate.kinds import KINDS
from p2seg.data.points import read_points
from p2seg.errors import UserError


def look(inputs):
    return inspect(inputs, inputs.images.parent / "out", lambda items, *_: items)


def found(inputs):
    """Returns the findings by kind."""
    return {each.kind: each for each in look(inputs).findings.worst_first}


@pytest.fixture
def made(tmp_path):
    return clean_set(tmp_path)


def test_a_clean_set_has_no_finding(made):
    seen = look(made.inputs)
    assert seen.findings.worst_first == []
    assert seen.usable
    assert seen.facts["points"] == "30"
    assert seen.facts["validation"] == "1 image"
    assert seen.facts["initial semantic maps"].startswith("5 of 5")


ALSO = {"class.names": {"class.empty"}, "image.same_map": {"image.no_points"}}
"""Findings that always accompany a kind."""


@pytest.mark.parametrize(("kind", "spoil", "says"), FAULTS)
def test_a_fault_is_found_and_no_other(made, kind, spoil, says):
    spoil(made)
    inputs = made.inputs
    if kind.startswith(("points", "file", "class")):  # others would report it too
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


def test_an_empty_true_mask_contains_no_point(made):
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


def test_a_full_disk_is_reported(made, monkeypatch):
    monkeypatch.setattr(inspection, "MIN_FREE", 1e30)
    assert set(found(made.inputs)) == {"disk.low"}


def test_a_file_name_in_another_case_is_suggested(made):
    made.image(1).rename(made.image(1).with_name("1.PNG"))
    seen = found(made.inputs)
    assert seen["image.missing"].examples == ["part/1.png; part/1.PNG exists"]


def test_all_faults_are_reported_at_once(made):
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
def test_another_file_is_rejected_by_name(made, content):
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
def test_a_finding_stops_exactly_if_training_rejects_the_file(tmp_path_factory, changes):
    """The lenient and the strict reader agree on every file."""
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
