"""Damages bytes of a file, or the values of a JSON file."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from devtools.fuzzing.values import HOSTILE_KEYS, hostile_values

EDGES: list[bytes] = [bytes([each]) for each in (0, 1, 0x7F, 0x80, 0xFF)] + [
    number.to_bytes(size, order, signed=True)
    for size in (2, 4, 8)
    for order in ("little", "big")
    for number in (-1, 0, 1, 2 ** (8 * size - 1) - 1, -(2 ** (8 * size - 1)))
]
"""Numbers at the limits of their types, as files store them."""
VALUES = hostile_values()


def read_corpus(folder: Path) -> list[bytes]:
    """Returns the files of a target's corpus by name."""
    return [path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()]


def mutate(rng: random.Random, corpus: list[bytes]) -> bytes:
    """Returns a corpus file with one or more changes."""
    content = rng.choice(corpus)
    if content.lstrip()[:1] in (b"{", b"[") and rng.random() < 0.7:
        changed = mutate_json(rng, content)
        if changed is not None:
            return changed
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        content = rng.choice(DAMAGES)(rng, content, corpus)
    return content[:1_000_000]


def mutate_json(rng: random.Random, content: bytes) -> bytes | None:
    """Returns the document with changed values, or removed, repeated or renamed keys; else None."""
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        return None
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        tree = _with_damage(rng, tree)
    text = json.dumps(tree, ensure_ascii=rng.random() < 0.5)
    if rng.random() < 0.02:
        text = text.replace("1", "[" * rng.choice((50, 900, 5000, 100_000)), 1)
    coding = rng.choice(("utf-8",) * 12 + ("utf-16", "latin-1", "utf-8-sig"))
    return text.encode(coding, "surrogatepass" if coding.startswith("utf-8") else "replace")


def _with_damage(rng: random.Random, tree: Any) -> Any:
    """Returns the tree with one changed value."""
    places: list[tuple[Any, Any]] = []
    left = [tree]
    while left and len(places) < 5000:
        each = left.pop()
        if isinstance(each, (dict, list)):
            keys = list(each) if isinstance(each, dict) else range(len(each))
            places += [(each, key) for key in keys]
            left += [each[key] for key in keys]
    if not places or rng.random() < 0.01:
        return copy.deepcopy(rng.choice(VALUES))
    holder, key = rng.choice(places)
    kind = rng.random()
    if isinstance(holder, dict) and rng.random() < 0.1:
        holder[rng.choice(HOSTILE_KEYS)] = copy.deepcopy(rng.choice(VALUES))
    elif kind < 0.6:
        holder[key] = copy.deepcopy(rng.choice(VALUES))
    elif kind < 0.7:
        del holder[key]
    elif kind < 0.85:
        other, theirs = rng.choice(places)
        if theirs in (other if isinstance(other, dict) else range(len(other))):
            holder[key] = copy.deepcopy(other[theirs])
    elif isinstance(holder, list):
        holder += copy.deepcopy(holder[: 1 << rng.randrange(12)]) * (1 << rng.randrange(3))
        del holder[5000:]
    elif isinstance(holder[key], (int, float)) and not isinstance(holder[key], bool):
        holder[key] = rng.choice((-holder[key], holder[key] + 1, holder[key] * 1000, -1))
    else:
        holder[str(rng.choice(VALUES))[:50]] = holder[key]
    return tree


def _flip(rng: random.Random, content: bytes, _corpus: list[bytes]) -> bytes:
    changed = bytearray(content or b"\0")
    for _ in range(rng.choice((1, 2, 8))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _edge(rng: random.Random, content: bytes, _corpus: list[bytes]) -> bytes:
    edge, at = rng.choice(EDGES), rng.randrange(len(content) + 1)
    return content[:at] + edge + content[at + len(edge) :]


def _cut(rng: random.Random, content: bytes, _corpus: list[bytes]) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _drop(rng: random.Random, content: bytes, _corpus: list[bytes]) -> bytes:
    at, count = rng.randrange(len(content) + 1), rng.choice((1, 2, 4, 30, 200))
    return content[:at] + content[at + count :]


def _double(rng: random.Random, content: bytes, _corpus: list[bytes]) -> bytes:
    at, count = rng.randrange(len(content) + 1), rng.choice((1, 4, 30, 200))
    part = content[at : at + count] * rng.choice((1, 2, 50))
    return content[:at] + part + content[at:]


def _insert(rng: random.Random, content: bytes, _corpus: list[bytes]) -> bytes:
    at = rng.randrange(len(content) + 1)
    return content[:at] + rng.randbytes(rng.choice((1, 2, 8, 40))) + content[at:]


def _splice(rng: random.Random, content: bytes, corpus: list[bytes]) -> bytes:
    other = rng.choice(corpus)
    return content[: rng.randrange(len(content) + 1)] + other[rng.randrange(len(other) + 1) :]


DAMAGES: list[Callable[[random.Random, bytes, list[bytes]], bytes]] = [
    *(_flip, _flip, _edge, _edge, _cut, _drop, _double, _insert, _splice),
]
