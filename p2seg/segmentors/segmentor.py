"""The base class of segmentation models: losses of a batch, and detection in images."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as F

from p2seg.engine.finite import NotFinite
from p2seg.segmentors.augment import resized
from p2seg.segmentors.data import InstanceBatch
from p2seg.segmentors.detection import Detections, SoftDetection, thresholded
from p2seg.segmentors.limits import MIN_OBJECTS, Room


class Segmentor(nn.Module):
    """A segmentation model.

    Attributes:
        short_side: pixels to which the short side of an image is resized.
        long_side: maximum pixels of the long side; larger images are resized to it instead.
        max_objects: maximum number of objects per image.
    """

    short_side: int
    long_side: int
    max_objects: int = MIN_OBJECTS

    def limit_objects(self, most: int) -> None:
        """Sets `max_objects`, and raises the number of candidates per image if necessary."""
        self.max_objects = most

    def room(self) -> Room | None:
        """The number of objects per image that the model can learn; None: unlimited."""
        return None

    @abstractmethod
    def losses(self, batch: InstanceBatch) -> dict[str, Tensor]:
        """The weighted losses of a batch by name, each `[]`; their sum is minimized."""

    @abstractmethod
    def find(
        self, images: Tensor, sizes: Sequence[tuple[int, int]], score: float
    ) -> list[list[SoftDetection]]:
        """Detects instances in resized images of one size.

        Args:
            images: `[B, 3, h, w]` float RGB in 0..1.
            sizes: (height, width) of each of the B original images, in whose pixels boxes and masks
                are returned.
            score: minimum score.

        Returns:
            B lists of at most `max_objects` + 1 detections; the additional one shows that the limit
            was exceeded.

        Raises:
            NotFinite: the outputs contain NaN or infinity.
        """

    def forward(self, batch: Callable[[], InstanceBatch]) -> dict[str, Tensor]:
        """Calls `losses`; DDP and Fabric wrap only `forward`.

        Args:
            batch: returns the batch; Fabric would convert the dtype of tensors in the batch itself.
        """
        return self.losses(batch())

    def predict_soft(
        self, images: Sequence[Tensor], score: float, *, scale: float = 1.0
    ) -> list[list[SoftDetection]]:
        """Detects instances in images of any sizes, with soft masks.

        Images with the same resized size form one batch without padding, so the result for an image
        does not depend on the other images.

        Args:
            images: B images `[3, H, W]` uint8 RGB.
            score: minimum score.
            scale: factor on `short_side` and `long_side`.

        Returns:
            B lists of detections in pixels of the images.

        Raises:
            NotFinite: see `find`; the error has the indices of the images.
        """
        assert not self.training, "call model.eval() before prediction"
        groups: dict[tuple[int, int], list[int]] = {}
        for index, image in enumerate(images):
            height, width = image.shape[1:]
            size = resized(height, width, self.short_side * scale, self.long_side * scale)
            groups.setdefault(size, []).append(index)
        detections: list[list[SoftDetection]] = [[] for _ in images]
        for (h, w), group in groups.items():
            inputs = [F.resize(images[i].float() / 255, [h, w], antialias=True) for i in group]
            sizes = [(images[i].shape[1], images[i].shape[2]) for i in group]
            try:
                batch = self.find(torch.stack(inputs), sizes, score)
            except NotFinite as error:
                places = self._not_finite(inputs, sizes, score) or range(len(group))
                raise NotFinite([group[place] for place in places], error.advice) from error
            for index, own in zip(group, batch, strict=True):
                detections[index] = own
        return detections

    def _not_finite(
        self, inputs: Sequence[Tensor], sizes: Sequence[tuple[int, int]], score: float
    ) -> list[int]:
        """The indices of the images for which the outputs of the model are not finite."""
        places = []
        for place, (image, size) in enumerate(zip(inputs, sizes, strict=True)):
            try:
                self.find(image[None], [size], score)
            except NotFinite:
                places.append(place)
        return places

    @torch.inference_mode()
    def predict(self, images: Sequence[Tensor], score: float = 0.05) -> list[Detections]:
        """Detects instances in images.

        Args:
            images: B images `[3, H, W]` uint8 RGB of any sizes, on the model's device.
            score: minimum score; detections with an empty mask are also dropped.

        Returns:
            B lists of at most `max_objects` detections, best first, in pixels of the images.

        Raises:
            NotFinite: see `find`.
        """
        return [
            thresholded(soft, image.shape[1], image.shape[2], self.max_objects)
            for image, soft in zip(images, self.predict_soft(images, score), strict=True)
        ]
