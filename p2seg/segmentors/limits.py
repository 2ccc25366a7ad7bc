"""Limits on the number of objects per image, in training and prediction."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from p2seg.data.coco import InstanceSet
from p2seg.errors import UserError

MIN_OBJECTS = 100
"""Lower bound of the limit of objects per image, which is the limit of COCO's protocol."""
HEADROOM = 1.25
"""Ratio of the limit to the largest number of objects on a training image."""


@dataclass(frozen=True)
class Room:
    """The number of objects per image that a model can learn.

    Attributes:
        objects: maximum number of objects.
        what: what sets the limit, such as `the 20 queries of Mask2Former`.
        setting: number of objects -> the settings that raise the limit to it.
        also_found: whether the model also cannot detect more objects.
    """

    objects: int
    what: str
    setting: Callable[[int], str]
    also_found: bool = False

    def message(self, objects: int, where: str) -> str:
        """A warning about an image with more objects.

        Args:
            objects: number of objects of the image.
            where: name of the image.
        """
        return (
            f"{where} has {objects} objects, more than {self.what}, so the model may miss objects "
            f"of such images; add {self.setting(objects)}"
        )


def most_objects(instances: InstanceSet) -> tuple[int, str]:
    """The largest number of objects on one image, and the file name of that image.

    Crowd regions do not count. Returns (0, "") for a set without images.
    """
    counts = [sum(not each.crowd for each in own) for own in instances.instances]
    largest = max(counts, default=0)
    return largest, instances.images[counts.index(largest)].file_name if counts else ""


def max_objects_for(objects: int) -> int:
    """The maximum number of objects per image in prediction.

    Args:
        objects: largest number of objects on a training image.
    """
    return max(MIN_OBJECTS, math.ceil(HEADROOM * objects))


def check_max_objects(value: Any, key: str) -> None:
    """Checks a user's limit; None stands for the default.

    Raises:
        UserError: the value is not an integer >= 1.
    """
    if value is not None and (type(value) is not int or value < 1):
        raise UserError(f"{key}={value!r}: must be an integer >= 1, or auto")


def cut_message(cut: int, images: int, most: int, limit: str, score: str) -> str:
    """A warning about images whose detections exceeded the limit.

    Args:
        cut: number of these images.
        images: number of all images.
        most: limit of detections per image.
        limit: the setting of the limit.
        score: the setting of the minimum score.
    """
    return (
        f"{cut} of {images} images had more than {most} detections, and only the best {most} were "
        f"kept; raise the limit with {limit}, or drop weak detections with a higher {score}"
    )
