"""How the marks of other tools become points, and the counts of what became of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from p2seg.errors import UserError, when_skipped


@dataclass(frozen=True)
class Rules:
    """How marks become points.

    Attributes:
        edges: the tool's coordinates run along the pixels' edges, its first pixel's center is at
            (0.5, 0.5); False: pixels' centers are whole numbers.
        sampler: makes clicks of boxes, outlines and masks: a name of `SAMPLERS`.
        seed: of the sampler `random`.
        classes: names in their order, those of all others are left out; None: as the file lists
            them, or sorted. Objects without a class are of it if it is one.
        skip: go on without what cannot be used.
        keep_empty: images without points stay in the set.
    """

    edges: bool
    sampler: str = "inner"
    seed: int = 0
    classes: Sequence[str] | None = None
    skip: bool = False
    keep_empty: bool = True


@dataclass
class Report:
    """What became of everything.

    Attributes:
        images: those of the set.
        counts: points by class, in the order of the classes.
        empty: images without points.
        dropped: how many of them the rules leave out of the set.
        derived: points made of regions, by their kind.
        left_out: what became no point, by kind or reason.
        problems: sentences of what could not be used.
        unusable: how many of them, by reason.
        unnamed: images of the folder that no file names; they are left out.
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
        """Notes what cannot be used.

        Raises:
            UserError: the rules do not say to go on.
        """
        if not rules.skip:
            raise error
        self.unusable[reason] += 1
        self.problems.append(when_skipped(error))
