"""Settings with their defaults and comments, read from the YAML files: for the documentation."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import griffe
import yaml

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"
HIDDEN = frozenset(("defaults", "hydra"))
"""Keys that are Hydra's own."""


@dataclass(frozen=True)
class Setting:
    """One setting of a file.

    Attributes:
        key: as the command line names it.
        value: as the file writes it; empty for a group of settings that has a comment of its own.
        comment: what the file says of it, else what the object says that is made of it.
        range: what else it may be, where a tool checks that.
    """

    key: str
    value: str
    comment: str
    range: str = ""


@dataclass(frozen=True)
class ConfigFile:
    """A YAML file.

    Attributes:
        path: of it.
        head: the comment that it opens with, line by line.
        takes: what it is composed of, as `group: name`.
        settings: those that are written in it.
    """

    path: Path
    head: list[str]
    takes: list[str]
    settings: list[Setting]


@cache
def read_config(path: Path) -> ConfigFile:
    """Reads a file of `configs/`; keys of a group's file begin with the group's name."""
    text = path.read_text("utf-8")
    lines = text.splitlines()
    opening = [line for line in _opening(lines) if not line.startswith("# @package")]
    is_global = lines[0].startswith("# @package _global_")
    group = path.parent.relative_to(CONFIGS).as_posix()
    prefix = "" if is_global or group == "." else f"{group}."
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    content = yaml.safe_load(text)
    root.value = [pair for pair in root.value if pair[0].value not in HIDDEN]
    settings = list(_settings(root, prefix, text, lines, len(_opening(lines))))
    takes = [_taken(each) for each in content.get("defaults", []) if each != "_self_"]
    return ConfigFile(path, [line[1:].removeprefix(" ") for line in opening], takes, settings)


def _opening(lines: list[str]) -> list[str]:
    count = next((k for k, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return lines[:count]


def _taken(entry: str | dict[str, str]) -> str:
    if isinstance(entry, str):
        return entry
    return ", ".join(f"{key.removeprefix('override ')}: {value}" for key, value in entry.items())


def _settings(
    node: yaml.MappingNode, prefix: str, text: str, lines: list[str], after: int
) -> Iterator[Setting]:
    """The settings below a mapping; `after` is the first line that may hold a comment of one."""
    own = {key.value: value for key, value in node.value}
    told = described(own["_target_"].value) if "_target_" in own else {}
    for key, value in node.value:
        name = f"{prefix}{key.value}"
        comment = _comment(key, value, lines, after)
        if isinstance(value, yaml.MappingNode) and value.value:
            if comment:
                yield Setting(name, "", comment)
            yield from _settings(value, f"{name}.", text, lines, after)
            continue
        start, end = value.start_mark.index, value.end_mark.index
        comment = comment or told.get(key.value, "")
        if key.value == "_target_":
            comment = comment or "the class that these settings create"
        yield Setting(name, text[start:end].strip(), comment, ranges().get(name, ""))


def _comment(key: yaml.Node, value: yaml.Node, lines: list[str], after: int) -> str:
    """The comment of a key: behind it and below that, or else in the lines above."""
    last = key.start_mark.line
    if isinstance(value, yaml.ScalarNode) or value.flow_style:
        last = value.end_mark.line
    in_line = lines[last][value.end_mark.column :] if last == value.end_mark.line else lines[last]
    found = re.search(r"(?:^|\s)#\s?(.*)", in_line)
    if found:
        told = [found[1]]
        for line in lines[last + 1 :]:
            below = re.match(r"(\s*)#\s?(.*)", line)
            if not below or len(below[1]) <= key.start_mark.column:
                break
            told.append(below[2])
        return " ".join(" ".join(told).split())
    above: list[str] = []
    for line in reversed(lines[after : key.start_mark.line]):
        own = re.match(r"(\s*)#\s?(.*)", line)
        if not own or len(own[1]) != key.start_mark.column:
            break
        above.insert(0, own[2])
    return " ".join(" ".join(above).split())


@cache
def described(target: str) -> dict[str, str]:
    """What the docstring of a `_target_` says of its parameters, by their names."""
    found = _package()[target.removeprefix("p2seg.")]
    sections = found.docstring.parse("google", warnings=False) if found.docstring else []
    return {
        name: " ".join(each.description.split())
        for section in sections
        if section.kind.value in ("parameters", "attributes")
        for each in section.value
        for name in each.name.split(", ")
    }


@cache
def _package() -> griffe.Object | griffe.Alias:
    return griffe.load("p2seg", search_paths=[ROOT])


@cache
def ranges() -> dict[str, str]:
    """Allowed values by setting, from the table of settings."""
    sys.path.insert(0, str(ROOT))
    try:
        from p2seg.runtime.settings.table import SETTINGS, SWITCH
    finally:
        sys.path.remove(str(ROOT))
    allowed = {key: row.values for key, row in SETTINGS.items() if row.values not in (None, SWITCH)}
    # without the highest seed, 2**63 - 1
    return {key: str(values) for key, values in allowed.items()} | {"seed": "an integer >= 0"}


def commented(config: ConfigFile) -> list[Setting]:
    """The settings of a file; what it leaves without a comment has that of a file it takes."""
    known: dict[str, str] = {}
    for path in _taken_files(config):
        known = {each.key: each.comment for each in read_config(path).settings} | known
    return [
        each if each.comment else replace(each, comment=known.get(each.key, ""))
        for each in config.settings
    ]


def _taken_files(config: ConfigFile) -> list[Path]:
    """The files of the same group that a file is composed of, or that are its group's first."""
    home = config.path.parent
    found = [home / f"{name}.yaml" for name in config.takes if (home / f"{name}.yaml").is_file()]
    below = [path for own in found for path in _taken_files(read_config(own))]
    first = [home / name for name in ("default.yaml",) if (home / name).is_file()]
    return [path for path in (*found, *below, *first) if path != config.path]


def tool_names() -> list[str]:
    """The tools, in the alphabet's order."""
    return sorted(path.stem for path in CONFIGS.glob("*.yaml") if path.stem != "base")


def groups() -> dict[str, list[Path]]:
    """The files of each group but the experiments; what others share comes first."""
    homes = sorted(path for path in CONFIGS.iterdir() if path.is_dir() and path.name != "exp")
    return {home.name: sorted(home.glob("*.yaml"), key=_shared_first) for home in homes}


def _shared_first(path: Path) -> tuple[bool, bool, str]:
    return path.stem[0] != "_", path.stem != "default", path.stem


def experiments() -> list[Path]:
    """The files of the experiments."""
    return sorted((CONFIGS / "exp").glob("*.yaml"))
