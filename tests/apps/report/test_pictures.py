"""Selection of the images of a report, and rows of images without clicks."""

from __future__ import annotations

import cv2
import numpy as np
from evaluation_sets import instance, instance_set

from p2seg.apps.report.rows import CROWD, MaskColumn, crowded, unseen_rows
from p2seg.data.records import ImageRecord


def records(count):
    return [ImageRecord(k + 1, f"{k}.png", 8, 8) for k in range(count)]


def test_images_with_many_neighbors_of_one_class_are_shown():
    labels = [[1], [1, 2, 3], [1, 1, 1], [2, 2], [1] * (CROWD + 1)]
    assert crowded(records(5), labels, 2) == [2, 3]
    assert crowded(records(5), labels[4:] * 5, 2) == [0, 2], "crowds where there is nothing else"
    assert crowded(records(2), [[1], []], 2) == []


def test_images_without_clicks_show_the_detections_above_the_score(tmp_path):
    truth = instance_set([instance(1, "1110"), instance(2, "0001")])
    found = instance_set([instance(-1, "1100", score=0.9), instance(-2, "0001", score=0.4)])
    record = truth.images[0]
    image = np.full((record.height, record.width, 3), 200, np.uint8)
    cv2.imwrite(str(tmp_path / record.file_name), image)
    columns = [MaskColumn("ground truth", truth), MaskColumn("segmentor", found, 0.5)]
    [row] = unseen_rows(truth.images, tmp_path, columns, [0])
    assert list(row.images) == ["image", "ground truth", "segmentor"]
    assert row.name == record.file_name
    assert (row.images["image"] == 200).all()
    colored = [(np.ptp(row.images[name], axis=2) > 20).mean() for name in columns_of(row)]
    assert colored[0] > 1.3 * colored[1] > 0, "the weak detection is left out"


def columns_of(row):
    return [title for title in row.images if title != "image"]
