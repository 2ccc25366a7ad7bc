"""What tools say about the clicks that a result was made of."""

from __future__ import annotations

import json

from tool_sets import change, works

from p2seg.apps.annotate.clicks import Clicks
from p2seg.semantic.manifest import read_manifest


def test_the_points_of_a_result_are_told_by_what_they_mean(made, tmp_path, run_tool):
    def told():
        out = tmp_path / "maps"
        works(run_tool("gen_semantic", *made.words, "semantic=grabcut", f"out={out}"))
        return read_manifest(out).points_sha256

    first, clicks = told(), Clicks(made.file)
    name = json.loads(made.file.read_text())["images"][0]["file_name"]
    clicks.remove(name, clicks.clicks(name)[0].id)
    clicks.undo(name)
    clicks.write(clicks.snapshot())
    assert told() == first
    change(made.file, lambda content: content["annotations"][0].update(id=12345))
    assert told() != first
