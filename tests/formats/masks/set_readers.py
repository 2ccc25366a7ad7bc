"""Readers of the files that hold a whole set, by the rules of the tools that read them."""

from __future__ import annotations

import json

import numpy as np
from defusedxml import ElementTree
from format_sets import raster


def read_cvat(path):
    """By image: (label, mask, click (x, y) or None, score) of each instance; a group is one."""
    found = {}
    for image in ElementTree.parse(path).getroot().iter("image"):
        height, width = int(image.get("height")), int(image.get("width"))
        groups = {}
        for number, shape in enumerate(image):
            empty = [None, np.zeros((height, width), bool), None, None]
            own = groups.setdefault(shape.get("group_id", f"alone {number}"), empty)
            own[0], own[3] = shape.get("label"), float(shape.find("attribute").text)
            if shape.tag == "points":
                own[2] = tuple(map(float, shape.get("points").split(",")))
            elif shape.tag == "polygon":
                corners = [tuple(map(float, p.split(","))) for p in shape.get("points").split(";")]
                own[1] |= raster([corners], height, width)
            else:
                left, top, w, h = (int(shape.get(k)) for k in ("left", "top", "width", "height"))
                values = []
                for place, run in enumerate(shape.get("rle").split(",")):
                    values += [place % 2 == 1] * int(run)
                own[1][top : top + h, left : left + w] |= np.array(values).reshape(h, w)
        found[image.get("name")] = [tuple(own) for own in groups.values()]
    return found


def brush(numbers):
    """The values of a brush region, one bit after the other."""
    bits = "".join(f"{number:08b}" for number in numbers)
    at = 0

    def take(count):
        nonlocal at
        at += count
        return int(bits[at - count : at], 2)

    total, word = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    values = []
    while len(values) < total:
        alike, size = take(1), sizes[take(2)]
        length = take(size) + 1
        values += [take(word)] * length if alike else [take(word) for _ in range(length)]
    assert len(values) == total
    return np.array(values, np.uint8)


def read_label_studio(path):
    """By address: (label, mask, click or None, score) of each region that has a mask."""
    found = {}
    for task in json.loads(path.read_text()):
        [prediction] = task["predictions"]
        regions, clicks = [], {}
        for each in prediction["result"]:
            height, width, value = each["original_height"], each["original_width"], each["value"]
            assert each["type"] == f"{each['from_name']}labels"
            [label] = value[each["type"]]
            if each["from_name"] == "keypoint":
                clicks[each["parentID"]] = value["x"] * width / 100, value["y"] * height / 100
                continue
            if each["from_name"] == "brush":
                pixels = brush(value["rle"]).reshape(height, width, 4)
                assert (pixels == pixels[..., :1]).all()
                mask = pixels[..., 0] == 255
                assert (mask | (pixels[..., 0] == 0)).all()
            else:
                points = np.array(value["points"]) * (width / 100, height / 100)
                mask = raster([points.round(9)], height, width)
            regions.append((each["id"], label, mask, each["score"]))
        found[task["data"]["image"]] = [
            (label, mask, clicks.get(id), score) for id, label, mask, score in regions
        ]
    return found
