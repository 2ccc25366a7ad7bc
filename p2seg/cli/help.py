"""The help of a command: its settings with the comments of the YAML files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from p2seg.cli.paths import CONFIGS
from p2seg.runtime.settings.table import SETTINGS

LINE = re.compile(r"^( *)([A-Za-z]\w*): *([^#]*?) *(?:# *(.*))?$")
DETAILED = ("data", "export", "trainer")
"""Groups whose settings are listed one by one; of other groups, only the choices are listed."""
HIDDEN = ("defaults", "hydra", "seeder", "_target_", "prepare", "name")


def help_of(command: str) -> str:
    """The text of `p2seg COMMAND --help`.

    Args:
        command: name of the command, and of its file in `configs/`.
    """
    own = CONFIGS / f"{command}.yaml"
    head = [line[1:].strip() for line in own.read_text("utf-8").splitlines() if line[:1] == "#"]
    rows = [*_rows(own)]
    parts = [*head[:1], "", "Settings are written key=value."]
    parts += ["", "Settings of this command:", *rows] if rows else []
    base = [row for row in _rows(CONFIGS / "base.yaml") if "." not in row.split("=")[0]]
    parts += ["", "Settings of every command:", *base]
    groups = _groups_of(command)
    folders = [group for group in groups if (CONFIGS / group).is_dir()]
    if folders:
        parts += ["", "Groups of settings:", "  +exp=an experiment of configs/exp"]
    for group in folders:
        names = (path.stem for path in sorted((CONFIGS / group).glob("[!_]*.yaml")))
        parts.append(f"  {group}={'|'.join(names)}")
    for group, own_keys in groups.items():
        if group in DETAILED and own_keys != {"trainer.precision"}:
            parts += ["", f"Settings of {group}:", *_details(group)]
    parts += ["", f"All settings: p2seg {command} --help-all"]
    return "\n".join(parts)


def _groups_of(command: str) -> dict[str, set[str]]:
    """The groups with a setting that affects the result of a command, with these settings."""
    groups: dict[str, set[str]] = {}
    for key, row in SETTINGS.items():
        group = key.partition(".")[0]
        if command in row.commands and (group == "export" or (CONFIGS / group).is_dir()):
            groups.setdefault(group, set()).add(key)
    return groups


def _details(group: str) -> Iterator[str]:
    if group == "export":
        rows = _rows(CONFIGS / "base.yaml")
        yield from (row for row in rows if row.startswith("  export."))
    elif group == "trainer":
        yield from _rows(CONFIGS / "trainer" / "default.yaml", "trainer.")
    else:
        yield from _rows(CONFIGS / "data" / "custom.yaml", "data.")
        yield from _rows(CONFIGS / "data" / "_common.yaml", "data.")


def _rows(path: Path, prefix: str = "") -> Iterator[str]:
    """One line per setting of a file: key, default and comment."""
    above: list[tuple[int, str]] = []
    for line in path.read_text("utf-8").splitlines():
        match = LINE.match(line)
        if not match:
            continue
        indent, key, value, comment = match.groups()
        while above and above[-1][0] >= len(indent):
            above.pop()
        names = [*(name for _, name in above), key]
        above.append((len(indent), key))
        if not value or names[0] in HIDDEN or key in HIDDEN or value == "${resume}":
            continue
        text = f"  {prefix}{'.'.join(names)}={value.replace('???', '')}"
        yield f"{text:<35} {comment or ''}".rstrip()
