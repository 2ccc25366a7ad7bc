"""Checks the YAML files of `--config-dir` and `--config-path` before Hydra reads them.

A config can call any function (`_target_`), so users must trust it like a program. These checks
only prevent files that exhaust the memory when they are read.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from p2seg.errors import UserError

MOST_BYTES = 1 << 20
MOST_NODES = 100_000
"""Maximum number of nodes of a file; a node counts once per alias."""


def check_configs(folder: Path) -> None:
    """Checks every `.yaml` file below a folder.

    Args:
        folder: folder of the configs.

    Raises:
        UserError: a file is not YAML, has Python tags, or is too large, possibly after its aliases
            are expanded.
    """
    for path in sorted(folder.rglob("*.yaml")):
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            raise UserError(
                f"{path} is not a config: it is not a file, or larger than {MOST_BYTES} bytes"
            )
        try:
            root = yaml.compose(path.read_text(encoding="utf-8-sig"), Loader=yaml.SafeLoader)
            nodes = 0 if root is None else _count(root, {}, path)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            reason = " ".join(f"{error!s:.200}".split())
            raise UserError(f"{path} is not a readable config: {reason}; fix it") from error
        if nodes > MOST_NODES:
            raise UserError(
                f"{path} is not a config: its aliases (*name) expand to {nodes:.3g} values; "
                "remove the aliases"
            )


def _count(node: yaml.Node, known: dict[int, int], path: Path) -> int:
    """The number of nodes of a tree, including its root, with all aliases expanded."""
    if id(node) not in known:
        if not node.tag.startswith("tag:yaml.org,2002:") or ":python" in node.tag:
            raise UserError(f"{path} is not a config: it has the tag {node.tag}; remove it")
        known[id(node)] = MOST_NODES + 1  # an alias of its own parent is infinite
        below = node.value if isinstance(node.value, list) else []
        children = [each for pair in below for each in (pair if type(pair) is tuple else (pair,))]
        known[id(node)] = 1 + sum(_count(each, known, path) for each in children)
    return known[id(node)]
