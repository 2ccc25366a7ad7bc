"""Collects the problems of a data set."""

from __future__ import annotations

from dataclasses import dataclass, field

from p2seg.apps.validate.kinds import KINDS, ONCE, SEVERITIES, STOPS

EXAMPLES = 5
"""Most examples per finding that are printed."""
IMAGES = 100
"""Most image names per finding that are kept for the example pictures."""


@dataclass
class Finding:
    """All problems of one kind in a data set.

    Attributes:
        kind: key of `KINDS`.
        count: number of occurrences.
        examples: descriptions of some occurrences.
        images: file names of images in which it occurs, each once.
    """

    kind: str
    count: int = 0
    examples: list[str] = field(default_factory=list)
    images: dict[str, None] = field(default_factory=dict)

    @property
    def severity(self) -> str:
        """The severity: one of `SEVERITIES`."""
        return KINDS[self.kind].severity

    @property
    def problem(self) -> str:
        """A description of the problem."""
        return KINDS[self.kind].problem

    @property
    def counted(self) -> bool:
        """Whether the number of occurrences has a meaning."""
        return self.kind not in ONCE

    @property
    def text(self) -> str:
        """The description, with the number of occurrences."""
        return f"{self.problem} ({self.count})" if self.counted else self.problem

    @property
    def fix(self) -> str:
        """What the user should do."""
        return KINDS[self.kind].fix


class Findings:
    """All findings of a data set."""

    def __init__(self) -> None:
        self._findings: dict[str, Finding] = {}

    def add(self, kind: str, example: str, image: str | None = None, count: int = 1) -> None:
        """Records an occurrence of a problem.

        Args:
            kind: key of `KINDS`.
            example: describes the place.
            image: file name of the image in which it occurs.
            count: number of occurrences.
        """
        finding = self._findings.setdefault(kind, Finding(kind))
        finding.count += count
        if len(finding.examples) < EXAMPLES:
            finding.examples.append(example)
        if image is not None and len(finding.images) < IMAGES:
            finding.images[image] = None

    def __contains__(self, kind: str) -> bool:
        return kind in self._findings

    @property
    def worst_first(self) -> list[Finding]:
        """The findings by severity, then in the order of `KINDS`."""
        return [self._findings[kind] for kind in _ORDER if kind in self._findings]

    @property
    def stopping(self) -> list[Finding]:
        """The findings that stop training or make its result meaningless."""
        return [each for each in self.worst_first if each.severity == STOPS]


_ORDER = sorted(KINDS, key=lambda kind: SEVERITIES.index(KINDS[kind].severity))
