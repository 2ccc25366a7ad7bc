"""Files of candidates: the masks of a promptable model for each point.

There is one JSON per image, with the image's name. A new choice does not need the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2seg.data import rle as codec
from p2seg.data.coco import ImageRecord
from p2seg.data.points import PointSet
from p2seg.data.schema import is_number, is_whole
from p2seg.errors import UserError, shown
from p2seg.runtime.files import fingerprint, read_json, sha256, write_json
from p2seg.semantic.generate import Product
from p2seg.semantic.manifest import MANIFEST, read_manifest
from p2seg.semantic.maps import paths_of

ENDING = ".json"
DIGITS = 4
"""Decimals of predicted IoUs and stabilities. More would differ between machines."""


@dataclass(frozen=True)
class Candidate:
    """A mask of a promptable model for a point.

    Attributes:
        rle: mask of the whole image; see `p2seg.data.rle`.
        predicted_iou: IoU predicted by the model, 0..1.
        stability: IoU of the masks at a slightly higher and a slightly lower threshold, 0..1.
    """

    rle: dict[str, Any]
    predicted_iou: float
    stability: float


Candidates = dict[int, list[Candidate]]
"""The candidates of an image by the annotation id of each point, in the order of the points."""


def write_candidates(path: Path, candidates: Candidates, key: str) -> None:
    """Writes an image's candidates atomically.

    Args:
        path: the file.
        candidates: candidates of every point.
        key: fingerprint of their inputs, which `read_key` returns.
    """
    points = [
        {"id": id, "candidates": [_packed(each) for each in of_point]}
        for id, of_point in candidates.items()
    ]
    write_json(path, {"key": key, "digest": fingerprint(points), "points": points})


def read_key(path: Path) -> str | None:
    """The fingerprint of a file, or None if `write_candidates` did not write this content."""
    try:
        content = read_json(path, "file of candidates")
        key, unchanged = content["key"], content["digest"] == fingerprint(content["points"])
    except (UserError, KeyError, TypeError, RecursionError):
        return None
    return key if unchanged and isinstance(key, str) else None


def read_candidates(path: Path, size: tuple[int, int]) -> Candidates:
    """Reads an image's candidates.

    Args:
        path: the file.
        size: (height, width) of the image, pixels.

    Raises:
        UserError: the file is missing or invalid.
    """
    if not path.is_file():
        raise UserError(
            f"no candidates of the image at {path}; run p2seg gen_semantic, which makes them or "
            "reports the reason"
        )
    content = read_json(path, "file of candidates")
    try:
        if content["digest"] != fingerprint(content["points"]):
            raise ValueError("the content was changed")
        if not all(is_whole(point["id"]) for point in content["points"]):
            raise ValueError("an id is not an integer")
        return {
            point["id"]: [_unpacked(each, size) for each in point["candidates"]]
            for point in content["points"]
        }
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise UserError(
            f"{path} is not a file of candidates ({error!s:.200}); delete it, and "
            "p2seg gen_semantic makes it again"
        ) from error


CANDIDATES: Product[Candidates] = Product(
    "file of candidates", ENDING, write_candidates, read_key, by_id=True
)


@dataclass(frozen=True)
class CandidateFolder:
    """The candidates of a points file.

    Attributes:
        folder: folder of the files and their manifest.
        paths: file and (height, width) of the image, by annotation id of each point.
    """

    folder: Path
    paths: dict[int, tuple[Path, tuple[int, int]]]

    @staticmethod
    def of(folder: Path, points: PointSet, points_sha256: str) -> CandidateFolder:
        """The folder of candidates of a points file.

        Args:
            folder: folder of the files and their manifest.
            points: the points.
            points_sha256: SHA-256 of the points file.

        Raises:
            UserError: the folder has no candidates, or those of another points file.
        """
        if not (folder / MANIFEST).is_file():
            raise UserError(
                f"no candidates at {folder}; make them with p2seg gen_semantic semantic=sam, "
                "or give their folder with data.candidates=DIR"
            )
        if read_manifest(folder).points_sha256 != points_sha256:
            raise UserError(
                f"the candidates in {folder} are of another points file; make them again with "
                "p2seg gen_semantic, or give another data.candidates=DIR"
            )
        files = paths_of(folder, points.images, ENDING)
        return CandidateFolder(
            folder,
            {
                int(id): (path, _size(record))
                for path, record, own in zip(files, points.images, points.points, strict=True)
                for id in own.ids
            },
        )

    def __call__(self, ids: list[int]) -> list[list[Candidate]]:
        """The candidates of an image's points.

        Args:
            ids: annotation ids of the points, at least one.

        Raises:
            UserError: the file is missing or damaged, or lacks a point.
        """
        path, size = self.paths[ids[0]]
        candidates = read_candidates(path, size)
        missing = [id for id in ids if id not in candidates]
        if missing:
            raise UserError(
                f"{path} has no candidates of point {missing[0]}; delete it, and "
                "p2seg gen_semantic makes it again"
            )
        return [candidates[id] for id in ids]

    @property
    def provenance(self) -> dict[str, Any]:
        """The origin of the candidates, for the records of results."""
        manifest = read_manifest(self.folder)
        return {
            "source": manifest.source,
            "parameters": manifest.parameters,
            "manifest": sha256(self.folder / MANIFEST),
        }


def _size(record: ImageRecord) -> tuple[int, int]:
    return record.height, record.width


def _packed(candidate: Candidate) -> dict[str, Any]:
    rle = {"size": candidate.rle["size"], "counts": candidate.rle["counts"].decode("ascii")}
    return {
        "segmentation": rle,
        "predicted_iou": round(candidate.predicted_iou, DIGITS),
        "stability": round(candidate.stability, DIGITS),
    }


def _unpacked(content: dict[str, Any], size: tuple[int, int]) -> Candidate:
    scores = content["predicted_iou"], content["stability"]
    if not all(is_number(score) and 0 <= score <= 1 for score in scores):
        raise ValueError(f"scores {shown(scores)} are not in 0..1")
    return Candidate(codec.from_segmentation(content["segmentation"], *size), *scores)
