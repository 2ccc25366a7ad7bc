"""Writes the page around a gallery's images: its scripts and the data loaded at the start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

from p2seg.apps.gallery.build import Maker, script
from p2seg.apps.gallery.measures import REASONS, Measures, medians, suspicion
from p2seg.apps.gallery.pictures import CELL, SHEET
from p2seg.apps.report.pictures import palette
from p2seg.pseudo.review import Review
from p2seg.runtime.files import write_bytes, write_text

PART = 500
"""Images per data script."""
COLORS = 48
"""Number of mask colors in one image before they repeat."""


@dataclass(frozen=True)
class Title:
    """Identification of a gallery.

    Attributes:
        name: name of the mask file.
        sha256: hash of the mask file; decisions are stored under it.
        hint: why stages are missing and how to get them; empty if all are available.
    """

    name: str
    sha256: str
    hint: str = ""


def write_page(maker: Maker, title: Title, review: Review | None) -> int:
    """Writes all files other than the images' own files, which must exist.

    Args:
        maker: the writer of the images, which has finished.
        title: identification of the gallery.
        review: decisions to start with.

    Returns:
        The number of images on the page.
    """
    data, count, parts = maker.out / "data", 0, 0
    sizes = medians(maker.material.pred)
    for part in _parts(maker, sizes):
        write_text(data / f"part-{parts:04d}.js", script("part", part))
        count, parts = count + len(part["images"]), parts + 1
    for path in data.glob("part-*.js"):
        if path.stem >= f"part-{parts:04d}":
            path.unlink()
    write_text(data / "review.js", script("review", _decisions(review)))
    write_text(data / "gallery.js", script("gallery", _about(maker, title, parts, sizes)))
    folder = resources("p2seg.apps.gallery") / "static"
    for each in folder.iterdir():
        if each.name.endswith((".html", ".css", ".js")):
            write_bytes(maker.out / each.name, each.read_bytes())
    return count


def weight(folder: Path) -> int:
    """Returns the size of all files of a gallery in bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _parts(maker: Maker, sizes: dict[int, float]) -> Iterator[dict[str, Any]]:
    """Yields the page's data of `PART` images at a time, to keep one part in memory."""
    total = len(maker.material.pred.images)
    for start in range(0, total, PART):
        cards = [_numbered(maker, k, sizes) for k in range(start, min(start + PART, total))]
        yield {"images": [card for card in cards if card is not None]}


def _numbered(maker: Maker, place: int, sizes: dict[int, float]) -> dict[str, Any] | None:
    """Returns an image's card with its index and the suspicion of each mask."""
    card = maker.card(place)
    if card is None:
        return None
    for mask in card["masks"]:
        measures = Measures(
            area=mask["area"],
            parts=mask.pop("parts"),
            holes=mask.pop("holes"),
            click=mask.pop("click"),
            touches=mask["touches"],
            contact=mask.pop("contact"),
        )
        total, reasons = suspicion(
            measures, mask["score"], bool(mask["default"]), sizes.get(mask["label"])
        )
        mask["suspicion"] = round(total, 4)
        mask["reasons"] = {name: round(value, 3) for name, value in reasons.items()}
    return {"place": place, **card}


def _decisions(review: Review | None) -> list[dict[str, Any]]:
    """Returns the decisions of a review file with ids as text and known keys only."""
    if review is None:
        return []
    decisions = []
    for each in review.decisions.values():
        keys = ("segmentation", "point") if each.decision == "accept" else ("point",)
        own = {key: each.content[key] for key in keys if key in each.content}
        plain = {"id": str(each.id), "image_id": str(each.image_id), "decision": each.decision}
        decisions.append({**plain, **own})
    return decisions


def _about(maker: Maker, title: Title, parts: int, sizes: dict[int, float]) -> dict[str, Any]:
    material = maker.material
    names = [category.name for category in material.pred.categories]
    return {
        "id": title.sha256[:16],
        "pseudo": title.name,
        "sha256": title.sha256,
        "clicked": material.clicked,
        "truth": None if material.truth is None else ("id" if material.truth.by_id else "overlap"),
        "stages": [] if material.stages is None else material.stages.names,
        "hint": title.hint,
        "classes": names,
        "class_colors": palette(max(1, len(names))).tolist(),
        "colors": palette(COLORS).tolist(),
        "medians": {str(label): size for label, size in sizes.items()},
        "reasons": [
            {"name": name, "weight": value, "meaning": meaning}
            for name, (value, meaning) in REASONS.items()
        ],
        "parts": parts,
        "cell": CELL,
        "sheet": SHEET,
    }
