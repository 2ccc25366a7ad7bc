"""Labels of a training from masks of its points, such as those that an earlier network made."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from p2seg.data.coco import InstanceSet, decode
from p2seg.data.points import PointSet
from p2seg.data.records import ImageRecord
from p2seg.errors import UserError
from p2seg.structures import IGNORED, Labels, Points


class MaskLabels:
    """Labels from one mask per point instead of a seed.

    Args:
        masks: with the annotation ids of the points, as `p2seg gen_pseudo` writes them.
        points: the points of the training.

    Raises:
        UserError: a point has no mask, or its mask has another class.
    """

    def __init__(self, masks: InstanceSet, points: PointSet) -> None:
        self.masks = masks
        self.index = {image.file_name: k for k, image in enumerate(masks.images)}
        for image, own in zip(points.images, points.points, strict=True):
            classes = {}
            if image.file_name in self.index:
                instances = masks.instances[self.index[image.file_name]]
                classes = {each.id: each.label for each in instances}
            for id, label in zip(own.ids.tolist(), own.labels.tolist(), strict=True):
                if classes.get(id) != label:
                    raise UserError(
                        f"data.masks has no mask of class {label} for point {id} of "
                        f"{image.file_name}; make masks of these points with p2seg gen_pseudo"
                    )

    def __call__(self, record: ImageRecord, points: Points, initial: Tensor) -> Labels:
        """Labels of an image: the classes and owners of its masks, a smaller mask on top.

        Args:
            record: the image.
            points: of the image.
            initial: `[H, W]` int64, the initial semantic map. Its 255 stays ignored where no mask
                is, everything else without a mask is background.
        """
        instances = np.zeros(initial.shape, np.int64)
        own = {each.id: each for each in self.masks.instances[self.index[record.file_name]]}
        masks = [decode(own[id]) for id in points.ids.tolist()]
        for k in sorted(range(len(masks)), key=lambda k: -int(masks[k].sum())):
            instances[masks[k]] = k + 1
        owners = torch.from_numpy(instances)
        classes = torch.cat([points.labels.new_zeros(1), points.labels])[owners]
        semantic = classes.where(owners > 0, torch.where(initial == IGNORED, IGNORED, 0))
        return Labels(semantic, owners)
