"""Instances in the formats of other tools, whoever found them: LabelMe, YOLO, label maps.

Everything takes plain instances (`label`, `score`, `rle`) and the record of their image. Outlines
are in pixels edge to edge: the first pixel reaches from (0, 0) to (1, 1), as COCO's polygons and
LabelMe's window have it.
"""

from p2seg.formats.masks.base import Format, Labelled, Source, places
from p2seg.formats.masks.labelme import LabelMe
from p2seg.formats.masks.maps import LabelMaps
from p2seg.formats.masks.yolo import Yolo

FORMATS: dict[str, type[Format]] = {"labelme": LabelMe, "yolo": Yolo, "png": LabelMaps}
"""By the name that is also their folder's."""

__all__ = ["FORMATS", "Format", "LabelMaps", "LabelMe", "Labelled", "Source", "Yolo", "places"]
