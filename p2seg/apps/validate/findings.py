"""What was found wrong with a data set, collected."""

from __future__ import annotations

from dataclasses import dataclass, field

from p2seg.apps.validate.kinds import KINDS, ONCE, SEVERITIES, STOPS

EXAMPLES = 5
"""Examples of a finding that are named."""
IMAGES = 100
"""File names of a finding that are remembered, for the pictures."""


@dataclass
class Finding:
    """A kind of finding, seen.

    Attributes:
        kind: of `KINDS`.
        count: how often.
        examples: some, in words.
        images: file names of images it was seen in, each once.
    """

    kind: str
    count: int = 0
    examples: list[str] = field(default_factory=list)
    images: dict[str, None] = field(default_factory=dict)

    @property
    def severity(self) -> str:
        """How bad it is."""
        return KINDS[self.kind].severity

    @property
    def seen(self) -> str:
        """What was seen."""
        return KINDS[self.kind].seen

    @property
    def counted(self) -> bool:
        """Whether a count says something."""
        return self.kind not in ONCE

    @property
    def text(self) -> str:
        """What was seen, and how often."""
        return f"{self.seen} ({self.count})" if self.counted else self.seen

    @property
    def fix(self) -> str:
        """What would do."""
        return KINDS[self.kind].fix


class Findings:
    """All findings of a data set, collected."""

    def __init__(self) -> None:
        self._found: dict[str, Finding] = {}

    def add(self, kind: str, example: str, image: str | None = None, count: int = 1) -> None:
        """Notes that something was seen.

        Args:
            kind: of `KINDS`.
            example: where, in words.
            image: file name of the image it was seen in.
            count: how often.
        """
        finding = self._found.setdefault(kind, Finding(kind))
        finding.count += count
        if len(finding.examples) < EXAMPLES:
            finding.examples.append(example)
        if image is not None and len(finding.images) < IMAGES:
            finding.images[image] = None

    def __contains__(self, kind: str) -> bool:
        return kind in self._found

    @property
    def worst_first(self) -> list[Finding]:
        """The findings, by severity and in the order of `KINDS`."""
        return [self._found[kind] for kind in _ORDER if kind in self._found]

    @property
    def stopping(self) -> list[Finding]:
        """Those that would stop training, or make it meaningless."""
        return [each for each in self.worst_first if each.severity == STOPS]


_ORDER = sorted(KINDS, key=lambda kind: SEVERITIES.index(KINDS[kind].severity))
