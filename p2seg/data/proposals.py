"""The proposals file next to a points file: clicks that a trained model proposes.

It is a points file itself, `points.proposed.json` next to `points.json`. Its images are sorted: the
image that the model is least sure of comes first. Proposals are no clicks until `p2seg annotate`
accepts them. An accepted proposal keeps its id in the points file, and its entry has a `source`.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Literal, get_args

from p2seg.runtime.files import read_json

Source = Literal["proposed", "corrected"]
"""Where an accepted point comes from: a proposal as it was, or a proposal that the user moved. A
point that the user clicked has no `source`."""


def proposals_path(points: Path) -> Path:
    """Returns the path of the proposals file of a points file."""
    return points.with_suffix(".proposed.json")


def count_sources(points: Path) -> dict[str, int]:
    """Returns the number of points by source: `clicked`, `proposed`, `corrected`.

    Args:
        points: a valid points file.
    """
    content = read_json(points, "points file")
    known = get_args(Source)
    sources = (each.get("source") for each in content["annotations"])
    counts = Counter(each if each in known else "clicked" for each in sources)
    return {key: counts[key] for key in ("clicked", *known) if counts[key]}
