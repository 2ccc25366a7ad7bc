"""The review file: what somebody who looked at pseudo masks decided about each of them.

`p2seg gallery` makes the page that writes it::

    {"info": {"pseudo": "masks.json", "pseudo_sha256": "..."},
     "decisions": [
       {"id": 7, "image_id": 1, "decision": "accept", "segmentation": {"size": ..., "counts": ...}},
       {"id": 8, "image_id": 1, "decision": "reject"},
       {"id": 9, "image_id": 1, "decision": "reclick", "point": [x, y]}]}

`id` is that of the mask and of its click. An accepted mask stays as it is, whatever is exported
later. A rejected one is neither object nor background: in a file it is a crowd, which other tools
leave out, too. A click that was moved makes its mask anew. An accepted or rejected mask that was
made of a moved click keeps it as its `point`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import torch

from p2seg.data import rle as codec
from p2seg.data.coco import Instance, InstanceSet
from p2seg.data.compact_lists import PackedPoints
from p2seg.data.instances import PackedInstances
from p2seg.data.points import PointSet
from p2seg.data.records import ImageRecord, PackedImages
from p2seg.data.schema import id_of, naming, shown, storable, xy_inside
from p2seg.errors import UserError
from p2seg.pseudo.labeler import Labeled
from p2seg.runtime.files import fingerprint, read_json
from p2seg.structures import Points

DECISIONS = ("accept", "reject", "reclick")


@dataclass(frozen=True)
class Decision:
    """What was decided about a mask.

    Attributes:
        id: of the mask and its click.
        image_id: of its image.
        decision: accept, reject or reclick.
        content: the JSON object.
    """

    id: int
    image_id: int
    decision: Literal["accept", "reject", "reclick"]
    content: dict[str, Any]

    @property
    def moves(self) -> bool:
        """Whether the click is moved, by this decision or one before."""
        return self.decision == "reclick" or "point" in self.content

    def point(self, image: ImageRecord) -> tuple[float, float]:
        """(y, x) of the moved click.

        Raises:
            UserError: it is none, or lies outside its image.
        """
        return xy_inside(self.content.get("point"), self.id, image)

    def rle(self, image: ImageRecord) -> dict[str, Any]:
        """The accepted mask, `{"size": [H, W], "counts": bytes}`.

        Raises:
            UserError: it is missing, of another size or no mask.
        """
        try:
            return codec.from_segmentation(
                self.content.get("segmentation"), image.height, image.width
            )
        except ValueError as error:
            raise UserError(f"decision {self.id} of image {image.file_name} {error}") from error

    def check(self, image: ImageRecord) -> None:
        """Raises a UserError where the accepted mask or the moved click does not fit."""
        if self.decision == "accept":
            self.rle(image)
        if self.moves:
            self.point(image)


@dataclass(frozen=True)
class Review:
    """A review file.

    Attributes:
        path: of the file.
        decisions: by the masks' ids.
        info: the file's `info`.
    """

    path: Path
    decisions: dict[int, Decision]
    info: dict[str, Any]

    def count(self, decision: str) -> int:
        """How many decisions are of this kind."""
        return sum(each.decision == decision for each in self.decisions.values())

    def __str__(self) -> str:
        words = {"accept": "accepted", "reject": "rejected", "reclick": "clicked anew"}
        return ", ".join(f"{self.count(each)} {words[each]}" for each in DECISIONS)

    @property
    def moves(self) -> str:
        """Fingerprint of the moved clicks; empty where none was moved."""
        moved = [each for each in self.decisions.values() if each.moves]
        listed = sorted([each.id, each.content.get("point")] for each in moved)
        return fingerprint(listed) if moved else ""


def read_review(path: Path) -> Review:
    """Reads a review file.

    Args:
        path: the file.

    Returns:
        The review; whether it fits points or masks is seen when it meets them.

    Raises:
        UserError: the file is missing, no JSON or not of the form above.
    """
    content = read_json(path, "review")
    decisions = content.get("decisions") if isinstance(content, dict) else None
    if not isinstance(decisions, list):
        raise UserError(
            f"{path} has no list 'decisions'; give the review.json that a gallery has saved"
        )
    info = content.get("info", {})
    if not isinstance(info, dict) or not storable(info):
        raise UserError(f"{path}: its 'info' is {shown(info)}; it must be an object")
    made: dict[int, Decision] = {}
    with naming(path):
        for place, each in enumerate(decisions):
            one = _decision(each, f"decisions[{place}]")
            if one.id in made:
                raise UserError(f"two decisions are about {one.id}; keep one")
            made[one.id] = one
    return Review(path, made, info)


def _decision(content: Any, where: str) -> Decision:
    if not isinstance(content, dict):
        raise UserError(f"{where} is {shown(content)}; it must be an object")
    id = id_of(content, "id", where)
    word = content.get("decision")
    if word not in DECISIONS:
        raise UserError(f"{where} has decision {shown(word)}; it is {', '.join(DECISIONS)}")
    return Decision(id, id_of(content, "image_id", where), cast("Any", word), content)


def moved(points: PointSet, review: Review) -> PointSet:
    """The points, those that were clicked anew in their new place.

    Args:
        points: of the masks that were reviewed.
        review: of them.

    Raises:
        UserError: a decision is about no point of these, or does not fit its image.
    """
    _check(review, points.images, (own.ids.tolist() for own in points.points), "points")
    if not review.moves:
        return points
    return replace(points, points=PackedPoints.packed(_moved(points, review)))


def _moved(points: PointSet, review: Review) -> Iterable[Points]:
    for image, own in zip(points.images, points.points, strict=True):
        yx = own.yx.clone()
        # float32 may round a point just inside the last pixel's edge onto it, which is outside
        last = torch.nextafter(torch.tensor([image.height, image.width]).float(), torch.zeros(2))
        for k, id in enumerate(own.ids.tolist()):
            decision = review.decisions.get(id)
            if decision is not None and decision.moves:
                yx[k] = torch.tensor(decision.point(image)).minimum(last)
        yield replace(own, yx=yx)


def settled(labeled: Labeled, points: Points, image: ImageRecord, review: Review) -> Labeled:
    """The owners of pixels, accepted masks given what is theirs and nothing else.

    Args:
        labeled: whose every pixel is.
        points: of the image.
        image: its record.
        review: of earlier masks.
    """
    instances = labeled.instances.clone()
    accepted = [
        (k, review.decisions[id].rle(image))
        for k, id in enumerate(points.ids.tolist())
        if id in review.decisions and review.decisions[id].decision == "accept"
    ]
    for k, _ in accepted:
        instances[instances == k + 1] = 0
    for k, rle in accepted:
        instances[torch.from_numpy(codec.decode(rle))] = k + 1
    return replace(labeled, instances=instances)


def judged(instances: Sequence[Instance], image: ImageRecord, review: Review) -> list[Instance]:
    """The masks of an image as they were judged.

    Args:
        instances: of the image.
        image: its record.
        review: of them, or of earlier masks of the same clicks.

    Returns:
        As many instances: accepted ones with the mask that was accepted, score 1 and no default
        box; rejected ones, and those whose click was moved since they were made, as crowds that
        are `rejected`.
    """
    return [_judged(each, image, review.decisions.get(each.id)) for each in instances]


def _judged(instance: Instance, image: ImageRecord, decision: Decision | None) -> Instance:
    if decision is None:
        return instance
    if decision.decision == "accept":
        rle = decision.rle(image)
        return replace(
            instance, rle=rle, score=1.0, default_box=False, from_seed=False, review="accepted"
        )
    if decision.decision == "reclick":
        y, x = decision.point(image)
        old = instance.point
        if old is not None and abs(old[0] - y) < 0.01 and abs(old[1] - x) < 0.01:
            return instance  # made of the new click
    return replace(instance, crowd=True, review="rejected")


def reviewed(instances: InstanceSet, review: Review) -> InstanceSet:
    """A file of pseudo masks as it was judged; see `judged`.

    Args:
        instances: the masks that were reviewed, or later ones of the same clicks.
        review: of them.

    Raises:
        UserError: a decision is about no mask of these, or does not fit its image.
    """
    ids = ([each.id for each in group] for group in instances.instances)
    _check(review, instances.images, ids, "masks")
    groups = (
        judged(group, image, review)
        for image, group in zip(instances.images, instances.instances, strict=True)
    )
    packed = PackedInstances.packed(groups, PackedImages.of(instances.images).sides)
    return replace(instances, instances=packed)


def _check(
    review: Review, images: Sequence[ImageRecord], ids: Iterable[list[int]], what: str
) -> None:
    """Every decision must be about something that is there, and fit its image.

    Args:
        review: the decisions.
        images: of points or masks.
        ids: of the points or masks of each image.
        what: they are, in a sentence.
    """
    left = dict(review.decisions)
    with naming(review.path):
        for image, own in zip(images, ids, strict=True):
            for id in own:
                decision = left.pop(id, None)
                if decision is not None:
                    _check_one(decision, image, what)
        if left:
            raise UserError(
                f"decision {next(iter(left))} is about none of these {what} ({len(left)} of "
                f"{len(review.decisions)} decisions are not); give the review of these {what}"
            )


def _check_one(decision: Decision, image: ImageRecord, what: str) -> None:
    if decision.image_id != image.id:
        raise UserError(
            f"decision {decision.id} is of image {decision.image_id}, but among these {what} "
            f"{decision.id} is of image {image.id}; give the review of these {what}"
        )
    decision.check(image)
