"""Small settings for the tools, and what their answers must be."""

from __future__ import annotations

import json

from test_end_to_end import NETWORK

QUICK = [*NETWORK, "trainer.max_steps=1"]
READERS = ("gen_semantic", "train", "gen_pseudo")
"""The tools that read images; seeds need none."""
ALL = (*READERS, "seeds")


def refused(answer, *parts):
    """One sentence that names what is wrong, and nothing else on stderr."""
    code, _, error = answer
    assert code == 2, error
    assert error.count("\n") == 1, error
    assert "Traceback" not in error
    for part in parts:
        assert part in error, error


def works(answer):
    code, out, error = answer
    assert (code, error) == (0, ""), error
    return out


def change(path, edit):
    """Edits a JSON file."""
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))
