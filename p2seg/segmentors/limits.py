"""How many objects an image may have: in the training set, in a model, and in what it finds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from p2seg.data.coco import InstanceSet
from p2seg.errors import UserError

LEAST_OBJECTS = 100
"""Objects that an image may have at least; COCO's protocol takes as many."""
HEADROOM = 1.25
"""An image may have this many times the objects of the training image with the most."""


@dataclass(frozen=True)
class Room:
    """How many objects of one image a model can learn.

    Attributes:
        objects: the most.
        what: that sets the limit, such as `the 20 queries of Mask2Former`.
        setting: the settings that make room for a count of objects.
        also_found: whether the model cannot find more, either.
    """

    objects: int
    what: str
    setting: Callable[[int], str]
    also_found: bool = False

    def told(self, objects: int, where: str) -> str:
        """A sentence for an image that has more.

        Args:
            objects: of the image.
            where: the image.
        """
        return (
            f"{where} has {objects} objects, more than {self.what}; the segmentor may miss "
            f"objects of such images; add {self.setting(objects)}"
        )


def most_objects(instances: InstanceSet) -> tuple[int, str]:
    """The largest number of objects on one image, and the file name of that image.

    Crowd regions are no objects. A set without images gives 0 and no name.
    """
    counts = [sum(not each.crowd for each in own) for own in instances.instances]
    largest = max(counts, default=0)
    return largest, instances.images[counts.index(largest)].file_name if counts else ""


def max_objects_for(objects: int) -> int:
    """The most objects that prediction gives an image.

    Args:
        objects: the most of a training image.
    """
    return max(LEAST_OBJECTS, math.ceil(HEADROOM * objects))


def check_max_objects(value: Any, key: str) -> None:
    """Checks a limit that a user gave; None is the default.

    Raises:
        UserError: it is not an integer >= 1.
    """
    if value is not None and (type(value) is not int or value < 1):
        raise UserError(f"{key}={value!r}: must be an integer >= 1, or auto")


def cut_message(cut: int, images: int, most: int, limit: str, score: str) -> str:
    """A sentence about images with more detections than they may have.

    Args:
        cut: how many images.
        images: of how many.
        most: detections per image.
        limit: the setting of `most`.
        score: the setting of the least score.
    """
    return (
        f"{cut} of {images} images had more than {most} detections, and only the best {most} were "
        f"kept; raise the limit with {limit}, or drop weak detections with a higher {score}"
    )
