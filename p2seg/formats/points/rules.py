"""Rules for the conversion of imported marks to points, and its report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from p2seg.errors import UserError, when_skipped


@dataclass(frozen=True)
class Rules:
    """Rules for the conversion of marks to points.

    Attributes:
        edges: the tool's coordinates run along pixel edges, with the center of the first pixel at
            (0.5, 0.5); False: pixel centers are integers.
        sampler: derives clicks from boxes, outlines and masks: a name of `SAMPLERS`.
        seed: random seed of the sampler `random`.
        classes: names of the classes to import, in order; None: all, as the file lists them, or
            sorted. A single name also applies to objects without a class.
        skip: skip invalid entries instead of raising.
        keep_empty: keep images without points.
    """

    edges: bool
    sampler: str = "inner"
    seed: int = 0
    classes: Sequence[str] | None = None
    skip: bool = False
    keep_empty: bool = True


@dataclass
class Report:
    """Counts and messages of a conversion.

    Attributes:
        images: number of images in the set.
        counts: points by class, in the order of the classes.
        empty: images without points.
        dropped: number of empty images that the set does not include.
        derived: points derived from regions, by the region's kind.
        left_out: marks that did not become points, by kind or reason.
        problems: messages about invalid entries.
        unusable: number of invalid entries by reason.
        unnamed: images of the folder that no file names. The set does not include them.
    """

    images: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)
    dropped: int = 0
    derived: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    unusable: Counter[str] = field(default_factory=Counter)
    unnamed: list[str] = field(default_factory=list)

    def problem(self, reason: str, error: UserError, rules: Rules) -> None:
        """Records an invalid entry.

        Raises:
            UserError: `error`, unless `rules.skip`.
        """
        if not rules.skip:
            raise error
        self.unusable[reason] += 1
        self.problems.append(when_skipped(error))
