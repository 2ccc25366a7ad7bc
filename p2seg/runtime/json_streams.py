"""Atomic writing of large JSON files item by item, so that only one item is in memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from p2seg.runtime.files import atomic_path


def write_json_list(path: Path, items: Iterable[Any]) -> None:
    """Writes a JSON list to `path` atomically, one item per line; only one item is in memory.

    Args:
        path: the file, which appears after the last item.
        items: JSON values.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.write("[")
        for index, item in enumerate(items):
            stream.write(",\n" if index else "\n")
            stream.write(json.dumps(item, ensure_ascii=False, allow_nan=False))
        stream.write("\n]\n")


def write_json_object(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON object to `path` atomically, with the same bytes as `write_json`.

    Args:
        path: the file.
        content: JSON values by key. An iterator is written as a list, item by item, so that
            a long list is never in memory.
    """
    coder = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.write("{")
        for index, (key, value) in enumerate(content.items()):
            stream.write(", " * (index > 0) + coder.encode(key) + ": ")
            if isinstance(value, Iterator):
                stream.write("[")
                for place, item in enumerate(value):
                    stream.write(", " * (place > 0) + coder.encode(item))
                stream.write("]")
            else:
                stream.write(coder.encode(value))
        stream.write("}\n")
