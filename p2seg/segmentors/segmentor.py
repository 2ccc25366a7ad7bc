"""What every segmentor is: losses of a batch, and what it finds in images."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as F

from p2seg.engine.finite import NotFinite
from p2seg.segmentors.augment import resized
from p2seg.segmentors.data import InstanceBatch
from p2seg.segmentors.detection import Detections, Found, decided
from p2seg.segmentors.limits import LEAST_OBJECTS, Room


class Segmentor(nn.Module):
    """A model that finds instances, whichever.

    Attributes:
        short_side: pixels that an image's short side is resized to before it looks.
        long_side: the most that the long side may then have.
        max_objects: the most objects that an image is given.
    """

    short_side: int
    long_side: int
    max_objects: int = LEAST_OBJECTS

    def limit_objects(self, most: int) -> None:
        """Sets `max_objects`, and with it how many candidates the model makes of an image."""
        self.max_objects = most

    def room(self) -> Room | None:
        """How many objects the model can learn of one image; None: any number."""
        return None

    @abstractmethod
    def losses(self, batch: InstanceBatch) -> dict[str, Tensor]:
        """The losses of a batch by name, `[]` each, already weighted; their sum is minimized."""

    @abstractmethod
    def find(
        self, images: Tensor, sizes: Sequence[tuple[int, int]], score: float
    ) -> list[list[Found]]:
        """What is in resized images of one size.

        Args:
            images: `[B, 3, h, w]` float RGB in 0..1.
            sizes: B of (height, width) that boxes and masks are brought back to.
            score: what is below it is left out.

        Returns:
            B lists of at most `max_objects` + 1: the one too many shows that an image has more.

        Raises:
            NotFinite: what the model gives on one of the images is NaN or infinite.
        """

    def forward(self, given: Callable[[], InstanceBatch]) -> dict[str, Tensor]:
        """`losses`, by the name that wrappers of modules know.

        Args:
            given: gives the batch; Fabric would copy and round whatever it can look into.
        """
        return self.losses(given())

    def look(
        self, images: Sequence[Tensor], score: float, *, scale: float = 1.0
    ) -> list[list[Found]]:
        """What is in images of any sizes, masks undecided.

        Images that are resized to one size are looked at together, others apart: what is found in
        an image does not depend on the images beside it.

        Args:
            images: B of `[3, H, W]` uint8 RGB.
            score: what is below it is left out.
            scale: times the model's sides.

        Returns:
            B lists, in the pixels of the images.

        Raises:
            NotFinite: see `find`; it says which of the images they are.
        """
        assert not self.training, "a segmentor looks after model.eval()"
        groups: dict[tuple[int, int], list[int]] = {}
        for index, image in enumerate(images):
            height, width = image.shape[1:]
            size = resized(height, width, self.short_side * scale, self.long_side * scale)
            groups.setdefault(size, []).append(index)
        found: list[list[Found]] = [[] for _ in images]
        for (h, w), group in groups.items():
            inputs = [F.resize(images[i].float() / 255, [h, w], antialias=True) for i in group]
            sizes = [(images[i].shape[1], images[i].shape[2]) for i in group]
            try:
                made = self.find(torch.stack(inputs), sizes, score)
            except NotFinite as error:
                spoiled = self._spoiled(inputs, sizes, score) or range(len(group))
                raise NotFinite([group[place] for place in spoiled], error.advice) from error
            for index, own in zip(group, made, strict=True):
                found[index] = own
        return found

    def _spoiled(
        self, inputs: Sequence[Tensor], sizes: Sequence[tuple[int, int]], score: float
    ) -> list[int]:
        """The images on which, alone, the model's outputs are not finite."""
        spoiled = []
        for place, (image, size) in enumerate(zip(inputs, sizes, strict=True)):
            try:
                self.find(image[None], [size], score)
            except NotFinite:
                spoiled.append(place)
        return spoiled

    @torch.inference_mode()
    def predict(self, images: Sequence[Tensor], score: float = 0.05) -> list[Detections]:
        """The instances of images.

        Args:
            images: B of `[3, H, W]` uint8 RGB, of any sizes, on the model's device.
            score: detections below it are left out, and so are empty masks.

        Returns:
            B lists of at most `max_objects`, best first, in the pixels of the images.

        Raises:
            NotFinite: see `find`.
        """
        return [
            decided(found, image.shape[1], image.shape[2], self.max_objects)
            for image, found in zip(images, self.look(images, score), strict=True)
        ]
