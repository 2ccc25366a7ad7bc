"""A plain command and its options, and their words in messages of the steps that it runs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Option:
    """An option or an argument of a command.

    Attributes:
        name: `--name`, or the name of a positional argument.
        help: one line. Defaults are added to it.
        arguments: of `argparse.ArgumentParser.add_argument`.
        setting: the setting that it stands for in messages of the commands of settings.
    """

    name: str
    help: str
    arguments: dict[str, Any] = field(default_factory=dict)
    setting: str = ""

    def phrase(self, text: str) -> str:
        """Returns a message that names this option instead of its setting."""
        if not self.setting:
            return text
        key = rf"(?<![\w.=]){re.escape(self.setting)}="
        if self.arguments.get("action") == "store_true":
            return re.sub(rf"{key}(true|false)\b", self.name, text)
        own = f"{self.name} " if self.name.startswith("--") else ""
        text = re.sub(rf"{key}\[([^\]]*)\]", rf"{own}\1", text)
        return re.sub(key, own, text)


@dataclass(frozen=True)
class Plain:
    """A plain command.

    Attributes:
        help: one line.
        options: in the order of the help.
        reads: what it reads, for the table of the documentation.
        writes: what it writes.
        steps: names of the commands of settings that it runs. They take further words `key=value`.
    """

    help: str
    options: tuple[Option, ...]
    reads: str
    writes: str
    steps: tuple[str, ...] = ()

    def phrase(self, name: str, text: str) -> str:
        """Returns a message of one of its steps in the words of this command.

        Args:
            name: of this command.
            text: the message.
        """
        for option in self.options:
            text = option.phrase(text)
        for step in self.steps:
            text = re.sub(rf"\bp2seg {step}\b", f"p2seg {name}", text)
        # whoever gives no settings did not choose them
        return re.sub(r"^(method: \w+); departs from .*", r"\1", text)
