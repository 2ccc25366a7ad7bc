"""Class maps: the p2seg class for each label of another method (`semantic.class_map=FILE.json`)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from p2seg.data.schema import storable
from p2seg.errors import UserError, shown
from p2seg.runtime.files import read_json
from p2seg.structures import IGNORED

SPECIAL = {"background": 0, "ignored": IGNORED}
"""Values of a class map that are not classes."""


@dataclass(frozen=True)
class Legend:
    """A mapping from the labels of another method to class indices.

    Attributes:
        classes: 0 background, 1..C or 255 ignored, by the other method's label.
        unknown: message for a label without entry, with the placeholder `{label}`.
    """

    classes: dict[int, int]
    unknown: str

    @staticmethod
    def plain(classes: tuple[str, ...]) -> Legend:
        """The identity mapping of 0, 1..C and 255."""
        count = len(classes)
        return Legend(
            {IGNORED: IGNORED, **{label: label for label in range(count + 1)}},
            f"has label {{label}} but there are {count} classes; values must be 0..{count}, or "
            f"{IGNORED} for ignored, or be mapped with semantic.class_map=FILE.json",
        )

    @property
    def top(self) -> int:
        """The highest label of a class. An ignored 255 does not count."""
        return max(
            (label for label in self.classes if (label, self.classes[label]) != (IGNORED, IGNORED)),
            default=0,
        )

    def __call__(self, label: int, path: Path) -> int:
        """The class index of a label.

        Args:
            label: label of the other method.
            path: the file, for the message.

        Raises:
            UserError: the label is not in the legend.
        """
        if label not in self.classes:
            raise UserError(f"map {path} {self.unknown.replace('{label}', str(label))}")
        return self.classes[label]


@dataclass(frozen=True)
class ClassMap:
    """The content of a class map file.

    Attributes:
        path: the file, for messages.
        names: class name, "background" or "ignored", by the other method's label.
    """

    path: str
    names: dict[int, str] = field(default_factory=dict)

    @staticmethod
    def read(path: str) -> ClassMap:
        """Reads a class map.

        Args:
            path: a JSON object, `{"15": "person", "0": "background", "255": "ignored"}`, or a list
                of the names of labels 1, 2, ..., with 0 for background and 255 for ignored.

        Raises:
            UserError: the file is missing, is not JSON or has another structure.
        """
        content = read_json(Path(path).expanduser(), "class map")
        if isinstance(content, list):
            if len(content) >= IGNORED:
                raise UserError(
                    f"class map {path} lists {len(content)} names, but {IGNORED} is ignored; write "
                    'it as an object, {"label": "class name"}'
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
        """The content for the manifest, independent of the file's path."""
        return {str(label): name for label, name in sorted(self.names.items())}

    def legend(self, classes: tuple[str, ...]) -> Legend:
        """The legend for the classes of a points file.

        Args:
            classes: the C names.

        Raises:
            UserError: the class map has a name that is not among them.
        """
        numbers = {name: k for k, name in enumerate(classes, 1)} | SPECIAL
        for label, name in self.names.items():
            if name not in numbers:
                raise UserError(
                    f"class map {self.path} maps label {label} to {shown(name)}, which is not a "
                    f"class of the points file; use {', '.join(classes)}, background or ignored"
                )
        return Legend(
            {label: numbers[name] for label, name in self.names.items()},
            f"has label {{label}}, which is not in class map {self.path}; add it there, as a "
            "class, background or ignored",
        )


def _names(path: str, content: dict[str, Any]) -> dict[int, str]:
    names: dict[int, str] = {}
    for key, name in content.items():
        if not re.fullmatch(r"-?[0-9]{1,9}", key):
            raise UserError(
                f"class map {path} has the key {shown(key)}; keys must be labels of the other "
                'method, such as "15", and values class names'
            )
        if not isinstance(name, str) or not storable(name):
            raise UserError(
                f"class map {path} maps label {key} to {shown(name)}; give the name of a class, "
                "background or ignored"
            )
        if int(key) in names:
            raise UserError(f"class map {path} has label {int(key)} twice; remove one of them")
        names[int(key)] = name
    return names
