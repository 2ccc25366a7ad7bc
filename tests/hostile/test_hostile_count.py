"""The number of distinct hostile inputs, which docs/developers/reliability.md quotes."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

MODULES = [
    f"test_hostile_{name}"
    for name in ("bombs", "checkpoints", "configs", "files", "images", "json", "names", "rle")
]


def counted() -> dict[str, int]:
    """Returns the hostile inputs by kind."""
    return {
        kind: len(table)
        for module in MODULES
        for kind, table in import_module(module).TABLES.items()
    }


def test_the_inputs_are_counted():
    kinds = counted()
    for kind, count in kinds.items():
        sys.stdout.write(f"{count:5d} {kind}\n")
    sys.stdout.write(f"{sum(kinds.values()):5d} bad inputs of {len(kinds)} kinds\n")
    assert len(kinds) >= 20
    assert sum(kinds.values()) >= 700


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).resolve().parents[1]))
    test_the_inputs_are_counted()
