"""The report's page, pictures and JSON."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from evaluation_sets import instance, instance_set

from p2seg.apps.report.page import ReportRow, duration, write_report
from p2seg.data.images import read_image
from p2seg.evaluation.metrics import evaluate

GT = instance_set([instance(1, "1110"), instance(2, "0001")])
WORSE = instance_set([instance(1, "1100", score=0.9), instance(2, "0001", score=0.8)])
STAGES = {
    "semantic": {"miou": 0.25},
    "seed": evaluate(GT, WORSE, "pseudo"),
    "control": evaluate(GT, WORSE, "pseudo"),
    "mdm": evaluate(GT, GT, "pseudo"),
    "segmentor": evaluate(GT, WORSE, "model"),
}
SECONDS = {"train": 90.0, "pseudo": 3.25}
VOID = {"meta", "img", "link", "br"}


class Page(HTMLParser):
    """Parses rows of cells per section, pictures and links; checks that tags are closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.sections, self.pictures, self.links, self.tags = [], {}, [], [], set()
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        attrs = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "section":
            self.rows = []
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "img":
            self.pictures.append((attrs["src"], attrs["alt"]))
        if tag == "a":
            self.links.append(attrs["href"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "h2" in self.open:
            self.sections[data] = self.rows
        elif self.open[-1:] and {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def picture(value, height=8, width=8):
    return np.full((height, width, 3), value, np.uint8)


def report(folder, rows=(), stages=STAGES, run=None, seconds=SECONDS):
    write_report(folder, list(rows), stages, run or {"name": "demo", "seed": 0}, seconds)
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_the_json_has_every_stage(tmp_path):
    report(tmp_path)
    content = json.loads((tmp_path / "report.json").read_text())
    assert content == {**STAGES, "seconds": SECONDS, "run": {"name": "demo", "seed": 0}}


def test_figures_are_png_files_and_old_ones_are_removed(tmp_path):
    figure = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    for titles in (["How it goes", "Odd & <new>"], ["How it goes"]):
        write_report(tmp_path, [], STAGES, {"name": "x"}, {}, dict.fromkeys(titles, figure))
        page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
        assert [title for title in page.sections if title in titles] == titles
    assert "report/figure-how-it-goes.png" in (tmp_path / "report.html").read_text()
    drawn = cv2.imread(str(tmp_path / "report" / "figure-how-it-goes.png"))
    assert (drawn[:, :, ::-1] == figure).all()
    assert [file.name for file in (tmp_path / "report").iterdir()] == ["figure-how-it-goes.png"]


def test_the_tables(tmp_path):
    sections = report(tmp_path).sections
    assert list(sections) == ["Semantic maps", "Pseudo masks", "Models", "Time", "Run"]
    assert sections["Semantic maps"][1] == ["semantic", "25.0"]
    head, *rows = sections["Pseudo masks"]
    assert [row[0] for row in rows] == ["seed", "control", "mdm", "mdm - control"]
    assert dict(zip(head, rows[1], strict=True)) == {
        "": "control",
        "instances": "2",
        "mean IoU": "0.833",
        "multi mean IoU": "0.833",
        "touching mean IoU": "0.833",
        "mIoU of classes": "75.0",
        "IoU > 0.5": "2",
        "IoU > 0.7": "1",
        "IoU > 0.9": "1",
        "masks of seeds": "0",
        "default boxes": "0",
        "VOC mAP50": "100.0",
        "VOC mAP75": "25.0",
        "AJI": "0.750",
        "PQ": "0.833",
        "COCO AP": "55.1",
        "VOC mAP50, scores 1": "100.0",
    }
    gain = dict(zip(head, rows[3], strict=True))
    assert (gain["mean IoU"], gain["IoU > 0.7"], gain["VOC mAP75"]) == ("+0.167", "+1", "+75.0")


def test_pseudo_masks_and_models_have_separate_tables(tmp_path):
    sections = report(tmp_path).sections
    assert [row[0] for row in sections["Models"]] == ["", "segmentor"]
    assert sections["Models"][0][1:5] == ["VOC mAP25", "VOC mAP50", "VOC mAP70", "VOC mAP75"]
    assert "segmentor" not in [row[0] for row in sections["Pseudo masks"]]


def test_undefined_scores_have_no_column(tmp_path):
    nothing = instance_set([])
    sections = report(tmp_path, stages={"mdm": evaluate(nothing, nothing, "pseudo")}).sections
    counts = ["IoU > 0.5", "IoU > 0.7", "IoU > 0.9", "masks of seeds", "default boxes"]
    assert sections["Pseudo masks"] == [
        ["", "instances", "mIoU of classes", *counts],
        ["mdm", "0", "100.0", "0", "0", "0", "0", "0"],
    ]


def test_pictures_are_reduced_and_placed_in_their_columns(tmp_path):
    rows = [
        ReportRow("a.jpg", {"image": picture(200, 960, 300), "MDM": picture((255, 0, 0), 1, 6000)}),
        ReportRow("b.jpg", {"image": picture(10), "ground truth": picture(0)}),
    ]
    page = report(tmp_path, rows)
    assert page.sections["Training images"] == [
        ["image", "MDM", "ground truth"],
        ["a.jpg"],
        ["", "", ""],
        ["b.jpg"],
        ["", "", ""],
    ]
    assert page.pictures == [
        ("report/000-0-image.jpg", "image of a.jpg"),
        ("report/000-1-mdm.jpg", "MDM of a.jpg"),
        ("report/001-0-image.jpg", "image of b.jpg"),
        ("report/001-1-ground-truth.jpg", "ground truth of b.jpg"),
    ]
    assert page.links == [source for source, _ in page.pictures]
    pictures = [read_image(tmp_path / source) for source in page.links]
    assert [each.shape[:2] for each in pictures] == [(480, 150), (1, 480), (8, 8), (8, 8)]
    red, green, _ = pictures[1][0, 9]
    assert red > 240
    assert green < 15


def test_images_not_used_in_training_have_a_separate_table(tmp_path):
    rows = [ReportRow("a.jpg", {"image": picture(0), "P2Seg": picture(1)})]
    unseen = [ReportRow("b.jpg", {"image": picture(2), "segmentor": picture(3)})]
    write_report(tmp_path, rows, STAGES, {"name": "x"}, {}, unseen=unseen)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.sections["Training images"][:2] == [["image", "P2Seg"], ["a.jpg"]]
    shown = page.sections["Images not used in training"]
    assert shown[:2] == [["image", "segmentor"], ["b.jpg"]]
    assert page.pictures[2:] == [
        ("report/001-0-image.jpg", "image of b.jpg"),
        ("report/001-1-segmentor.jpg", "segmentor of b.jpg"),
    ]


def test_pictures_of_an_earlier_report_are_removed(tmp_path):
    rows = [ReportRow(name, {"image": picture(0)}) for name in ("a", "b")]
    report(tmp_path, rows)
    (tmp_path / "report" / "mine.jpg").write_bytes(b"")
    report(tmp_path, rows[:1])
    names = {path.name for path in (tmp_path / "report").iterdir()}
    assert names == {"000-0-image.jpg", "mine.jpg"}


def test_text_is_escaped_and_nothing_is_loaded_from_the_network(tmp_path):
    evil = '<script>"x"&\'</script>'
    stages = {evil: STAGES["mdm"], **STAGES}
    rows = [ReportRow(evil, {evil: picture(0)})]
    page = report(tmp_path, rows, stages, {"name": evil, evil: evil}, {evil: 1.0})
    assert "script" not in page.tags
    assert page.pictures[0][1] == f"{evil} of {evil}"
    assert page.sections["Run"] == [["name", evil], [evil, evil]]
    assert "http" not in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("where", ["stage", "run"])
def test_oracle_maps_are_marked(tmp_path, where):
    assert "ORACLE" not in page_text(report, tmp_path / "plain", STAGES, {})
    pred = instance_set(*GT.instances, info={"semantic": {"source": "oracle"}})
    if where == "stage":
        stages, run = {"mdm": evaluate(GT, pred, "pseudo")}, {}
        assert report(tmp_path, stages=stages).sections["Pseudo masks"][1][0] == "mdm oracle"
    else:
        stages, run = STAGES, {"semantic": "oracle"}
    assert "ORACLE" in page_text(report, tmp_path, stages, run)


def page_text(make, folder, stages, run):
    make(folder, stages=stages, run={"name": "x", **run})
    return (folder / "report.html").read_text()


def test_no_rows_and_no_stages(tmp_path):
    page = report(tmp_path, stages={}, seconds={})
    assert list(page.sections) == ["Run"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (59.94, "59.9 s"),
        (61, "1 min 01 s"),
        (3599.6, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
