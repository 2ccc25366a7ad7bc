"""Allowed values of settings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from p2seg.errors import UserError, alternatives


@dataclass(frozen=True)
class Number:
    """The integers, or numbers, of a range.

    Attributes:
        low: lowest value.
        high: highest value.
        whole: False: also numbers that are not integers.
        above: True: `low` itself is not allowed.
        also: other allowed values, such as `None` (null in YAML) or `"auto"`.
    """

    low: float
    high: float = math.inf
    whole: bool = True
    above: bool = False
    also: tuple[Any, ...] = ()

    def check(self, key: str, value: Any) -> None:
        """Rejects other values.

        Raises:
            UserError: the value is not allowed; the message names the key and the range.
        """
        fits = type(value) is int if self.whole else type(value) in (int, float)
        fits = fits and self.low <= value <= self.high and not (self.above and value == self.low)
        if not fits and not _is_in(value, self.also):
            raise UserError(f"{key}={_in_yaml(value)}: must be {self}")

    def __str__(self) -> str:
        kind = "an integer" if self.whole else "a number"
        if math.isinf(self.high) or self.above:
            bounds = f"{'>' if self.above else '>='} {self.low}"
            bounds += "" if math.isinf(self.high) else f" and <= {self.high}"
        else:
            bounds = f"from {self.low} to {self.high}"
        others = f", or {alternatives(list(map(_in_yaml, self.also)))}" if self.also else ""
        return f"{kind} {bounds}{others}"


@dataclass(frozen=True)
class Choice:
    """A few values, such as names, true, false or null."""

    values: tuple[Any, ...]

    def check(self, key: str, value: Any) -> None:
        """Rejects other values.

        Raises:
            UserError: the value is not allowed; the message names the key and all choices.
        """
        if not _is_in(value, self.values):
            raise UserError(f"{key}={_in_yaml(value)} is unknown; choose {self}")

    def __str__(self) -> str:
        return alternatives(list(map(_in_yaml, self.values)))


def _is_in(value: Any, values: Sequence[Any]) -> bool:
    return any(type(value) is type(each) and value == each for each in values)  # 1 is not True


def _in_yaml(value: Any) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
