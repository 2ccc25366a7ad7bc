"""The review file: a user's decisions about pseudo masks.

The page made by `p2seg gallery` writes it::

    {"info": {"pseudo": "masks.json", "pseudo_sha256": "..."},
     "decisions": [
       {"id": 7, "image_id": 1, "decision": "accept", "segmentation": {"size": ..., "counts": ...}},
       {"id": 8, "image_id": 1, "decision": "reject"},
       {"id": 9, "image_id": 1, "decision": "reclick", "point": [x, y]}]}

`id` is the ID of the mask and of its point. An accepted mask is kept in all later exports. A
rejected mask is neither object nor background: it is written as a crowd, which other tools ignore.
For a moved point the mask is computed again. If that mask is then accepted or rejected, the
decision keeps the new position as `point`.
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
    """The decision about one mask.

    Attributes:
        id: ID of the mask and its point.
        image_id: ID of the image.
        decision: `accept`, `reject` or `reclick` (the point was moved).
        content: the JSON object in the file.
    """

    id: int
    image_id: int
    decision: Literal["accept", "reject", "reclick"]
    content: dict[str, Any]

    @property
    def moves(self) -> bool:
        """Whether the point was moved, by this decision or an earlier one."""
        return self.decision == "reclick" or "point" in self.content

    def point(self, image: ImageRecord) -> tuple[float, float]:
        """(y, x) of the moved point in pixels.

        Raises:
            UserError: the position is missing, invalid or outside the image.
        """
        return xy_inside(self.content.get("point"), self.id, image)

    def rle(self, image: ImageRecord) -> dict[str, Any]:
        """The accepted mask, `{"size": [H, W], "counts": bytes}`.

        Raises:
            UserError: the mask is missing, invalid or of another size.
        """
        try:
            return codec.from_segmentation(
                self.content.get("segmentation"), image.height, image.width
            )
        except ValueError as error:
            raise UserError(f"decision {self.id} of image {image.file_name} {error}") from error

    def check(self, image: ImageRecord) -> None:
        """Raises `UserError` if the accepted mask or the moved point is invalid for the image."""
        if self.decision == "accept":
            self.rle(image)
        if self.moves:
            self.point(image)


@dataclass(frozen=True)
class Review:
    """A review file.

    Attributes:
        path: path of the file.
        decisions: decisions by mask ID.
        info: the `info` object of the file.
    """

    path: Path
    decisions: dict[int, Decision]
    info: dict[str, Any]

    def count(self, decision: str) -> int:
        """The number of decisions of a kind."""
        return sum(each.decision == decision for each in self.decisions.values())

    def __str__(self) -> str:
        words = {"accept": "accepted", "reject": "rejected", "reclick": "moved"}
        return ", ".join(f"{self.count(each)} {words[each]}" for each in DECISIONS)

    @property
    def moves(self) -> str:
        """Fingerprint of the moved points; "" if none was moved."""
        moves = [each for each in self.decisions.values() if each.moves]
        positions = sorted([each.id, each.content.get("point")] for each in moves)
        return fingerprint(positions) if moves else ""


def read_review(path: Path) -> Review:
    """Reads a review file; `moved` and `reviewed` check it against points and masks.

    Raises:
        UserError: the file is missing, is not JSON, or does not have the format above.
    """
    content = read_json(path, "review")
    decisions = content.get("decisions") if isinstance(content, dict) else None
    if not isinstance(decisions, list):
        raise UserError(
            f"{path} has no list 'decisions'; give the review.json saved by the gallery page"
        )
    info = content.get("info", {})
    if not isinstance(info, dict) or not storable(info):
        raise UserError(f"{path}: its 'info' is {shown(info)}; it must be an object")
    by_id: dict[int, Decision] = {}
    with naming(path):
        for place, each in enumerate(decisions):
            decision = _decision(each, f"decisions[{place}]")
            if decision.id in by_id:
                raise UserError(f"two decisions have id {decision.id}; remove one")
            by_id[decision.id] = decision
    return Review(path, by_id, info)


def _decision(content: Any, where: str) -> Decision:
    if not isinstance(content, dict):
        raise UserError(f"{where} is {shown(content)}; it must be an object")
    id = id_of(content, "id", where)
    word = content.get("decision")
    if word not in DECISIONS:
        raise UserError(
            f"{where} has decision {shown(word)}; it must be one of {', '.join(DECISIONS)}"
        )
    return Decision(id, id_of(content, "image_id", where), cast("Any", word), content)


def moved(points: PointSet, review: Review) -> PointSet:
    """The points with the moved points at their new positions.

    Args:
        points: the points of the reviewed masks.
        review: the review of these masks.

    Raises:
        UserError: a decision belongs to no point, or is invalid for its image.
    """
    _check(review, points.images, (own.ids.tolist() for own in points.points), "points")
    if not review.moves:
        return points
    return replace(points, points=PackedPoints.packed(_moved(points, review)))


def _moved(points: PointSet, review: Review) -> Iterable[Points]:
    for image, own in zip(points.images, points.points, strict=True):
        yx = own.yx.clone()
        # rounding to float32 must not move a point onto the border, which is outside the image
        last = torch.nextafter(torch.tensor([image.height, image.width]).float(), torch.zeros(2))
        for k, id in enumerate(own.ids.tolist()):
            decision = review.decisions.get(id)
            if decision is not None and decision.moves:
                yx[k] = torch.tensor(decision.point(image)).minimum(last)
        yield replace(own, yx=yx)


def settled(labeled: Labeled, points: Points, image: ImageRecord, review: Review) -> Labeled:
    """The instance map with the accepted masks inserted unchanged.

    Args:
        labeled: the instance map of the image.
        points: points of the image.
        image: record of the image.
        review: review of earlier masks.
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
    """The masks of an image with the decisions applied.

    Args:
        instances: masks of the image.
        image: record of the image.
        review: review of these masks, or of earlier masks of the same points.

    Returns:
        As many instances. Accepted ones have the accepted mask, score 1 and are no default box.
        Rejected ones, and those computed before their point was moved, are crowds marked
        `rejected`.
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
            return instance  # computed from the moved point
    return replace(instance, crowd=True, review="rejected")


def reviewed(instances: InstanceSet, review: Review) -> InstanceSet:
    """A set of pseudo masks with the decisions applied; see `judged`.

    Args:
        instances: the reviewed masks, or later masks of the same points.
        review: the review.

    Raises:
        UserError: a decision belongs to no mask, or is invalid for its image.
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
    """Raises `UserError` if a decision belongs to no point or mask, or is invalid for its image.

    Args:
        review: the decisions.
        images: images of the points or masks.
        ids: IDs of the points or masks of each image.
        what: "points" or "masks", for messages.
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
                f"decision {next(iter(left))} belongs to none of these {what} ({len(left)} of "
                f"{len(review.decisions)} decisions do not); give the review of these {what}"
            )


def _check_one(decision: Decision, image: ImageRecord, what: str) -> None:
    if decision.image_id != image.id:
        raise UserError(
            f"decision {decision.id} is in image {decision.image_id}, but the {what} have "
            f"{decision.id} in image {image.id}; give the review of these {what}"
        )
    decision.check(image)
