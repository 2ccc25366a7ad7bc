"""Feeds one target with atheris (libFuzzer); devtools/fuzz.py starts it as a process."""

from __future__ import annotations

import random
import sys
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["p2seg", "json", "tarfile"]):
    from devtools.fuzzing.mutate import mutate_json
    from devtools.fuzzing.targets import TARGETS, judge, place

NAME, FOLDER = sys.argv[1], Path(sys.argv[2])


def feed(content: bytes) -> None:
    """Feeds one input; an exception is a finding."""
    judge(TARGETS[NAME], place(NAME, content, FOLDER))


def mutator(content: bytes, most: int, seed: int) -> bytes:
    """Changes values of a JSON file, or lets libFuzzer change bytes."""
    rng = random.Random(seed)
    if content.lstrip()[:1] in (b"{", b"[") and rng.random() < 0.5:
        changed = mutate_json(rng, content)
        if changed is not None and len(changed) <= most:
            return changed
    return bytes(atheris.Mutate(content, most))


warnings.simplefilter("ignore")
atheris.Setup([sys.argv[0], *sys.argv[3:]], feed, custom_mutator=mutator)
atheris.Fuzz()
