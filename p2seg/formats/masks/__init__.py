"""Export of instance masks in the formats of other tools.

Every format takes plain instances (`label`, `score`, `rle`) and the record of their image.
Outlines run along pixel edges: the first pixel covers (0, 0) to (1, 1), as in COCO, LabelMe, CVAT
and Label Studio.
"""

from p2seg.formats.masks.base import (
    PLAIN,
    Entry,
    Format,
    Labeled,
    Options,
    Source,
    address_of,
    places,
)
from p2seg.formats.masks.coco import Coco
from p2seg.formats.masks.cvat import Cvat
from p2seg.formats.masks.labelme import LabelMe
from p2seg.formats.masks.labelstudio import LabelStudio
from p2seg.formats.masks.maps import LabelMaps
from p2seg.formats.masks.yolo import Yolo

FORMATS: dict[str, type[Format]] = {
    "coco": Coco,
    "labelme": LabelMe,
    "cvat": Cvat,
    "labelstudio": LabelStudio,
    "yolo": Yolo,
    "png": LabelMaps,
}
"""The formats by name. The name is also the output folder's."""

__all__ = [
    "FORMATS",
    "PLAIN",
    "Coco",
    "Cvat",
    "Entry",
    "Format",
    "LabelMaps",
    "LabelMe",
    "LabelStudio",
    "Labeled",
    "Options",
    "Source",
    "Yolo",
    "address_of",
    "places",
]
