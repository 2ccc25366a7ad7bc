"""What the labels of another method are called here: `semantic.class_map=FILE.json`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from p2seg.data.schema import storable
from p2seg.errors import UserError, shown
from p2seg.runtime.files import read_json
from p2seg.structures import IGNORED

WORDS = {"background": 0, "ignored": IGNORED}
"""What a label of theirs may become besides a class."""


@dataclass(frozen=True)
class Legend:
    """Their labels in our numbers.

    Attributes:
        ours: 0 background, 1..C or 255 ignored, by their label.
        unknown: what is said of a label that is not among them, `{label}` in it.
    """

    ours: dict[int, int]
    unknown: str

    @staticmethod
    def plain(classes: tuple[str, ...]) -> Legend:
        """Theirs are ours: 0, 1..C and 255."""
        count = len(classes)
        return Legend(
            {IGNORED: IGNORED, **{label: label for label in range(count + 1)}},
            f"has label {{label}} but there are {count} classes; values must be 0..{count}, or "
            f"{IGNORED} for ignored, or be explained with semantic.class_map=FILE.json",
        )

    @property
    def top(self) -> int:
        """Their highest class; 255 is none where it is ignored."""
        return max(
            (label for label, our in self.ours.items() if (label, our) != (IGNORED, IGNORED)),
            default=0,
        )

    def __call__(self, label: int, path: Path) -> int:
        """Our number of a label of theirs.

        Args:
            label: in the file.
            path: of the file, for the error.

        Raises:
            UserError: the label is not among them.
        """
        if label not in self.ours:
            raise UserError(f"map {path} {self.unknown.replace('{label}', str(label))}")
        return self.ours[label]


@dataclass(frozen=True)
class ClassMap:
    """A class map, validated.

    Attributes:
        path: of the file, for messages.
        names: our class name, "background" or "ignored", by their label.
    """

    path: str
    names: dict[int, str] = field(default_factory=dict)

    @staticmethod
    def read(path: str) -> ClassMap:
        """Reads a class map.

        Args:
            path: a JSON object, `{"15": "person", "0": "background", "255": "ignored"}`, or a list
                of names: those of their labels 1, 2, ..., where 0 is background and 255 ignored.

        Raises:
            UserError: the file is missing, no JSON or of another form.
        """
        content = read_json(Path(path).expanduser(), "class map")
        if isinstance(content, list):
            if len(content) >= IGNORED:
                raise UserError(
                    f"class map {path} lists {len(content)} names, and {IGNORED} is ignored; write "
                    'it as an object, {"their label": "our class name"}'
                )
            content = {"0": "background", str(IGNORED): "ignored"} | {
                str(label): name for label, name in enumerate(content, 1)
            }
        if not isinstance(content, dict) or not content:
            raise UserError(
                f"class map {path} must hold an object such as "
                '{"0": "background", "15": "person", "255": "ignored"}, or a list of names'
            )
        return ClassMap(path, _names(path, content))

    @property
    def parameters(self) -> dict[str, str]:
        """For the manifest: its content, wherever it lies."""
        return {str(label): name for label, name in sorted(self.names.items())}

    def legend(self, classes: tuple[str, ...]) -> Legend:
        """Their labels in the numbers of these classes.

        Args:
            classes: the C names of the points file.

        Raises:
            UserError: it leads to a class that is not among them.
        """
        numbers = {name: k for k, name in enumerate(classes, 1)} | WORDS
        for label, name in self.names.items():
            if name not in numbers:
                raise UserError(
                    f"class map {self.path} makes label {label} {shown(name)}, which is no class "
                    f"of the points file; it has {', '.join(classes)}, and there are background "
                    "and ignored"
                )
        return Legend(
            {label: numbers[name] for label, name in self.names.items()},
            f"has label {{label}}, which class map {self.path} does not name; add it there, as a "
            "class, background or ignored",
        )


def _names(path: str, content: dict[str, Any]) -> dict[int, str]:
    names: dict[int, str] = {}
    for key, name in content.items():
        if not re.fullmatch(r"-?[0-9]{1,9}", key):
            raise UserError(
                f"class map {path} has the key {shown(key)}; keys are labels of the other method, "
                'such as "15", and values our class names'
            )
        if not isinstance(name, str) or not storable(name):
            raise UserError(
                f"class map {path} makes label {key} {shown(name)}; give the name of a class, "
                "background or ignored"
            )
        if int(key) in names:
            raise UserError(f"class map {path} has label {int(key)} twice; leave one of them out")
        names[int(key)] = name
    return names
