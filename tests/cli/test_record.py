"""`run.json`: every result says what it was made by, of and with."""

from __future__ import annotations

import json
import sys

from tool_sets import QUICK, refused, works

from p2seg.runtime.files import sha256


def test_every_start_is_remembered(made, tmp_path, run_tool, monkeypatch):
    words = (*made.words, *QUICK, f"out={tmp_path}/run")
    for steps in (1, 2):
        more = (f"trainer.max_steps={steps}", "resume=changed")
        monkeypatch.setattr(sys, "argv", ["tools/train.py", *words, *more])
        works(run_tool("train", *words, *more))
    starts = json.loads((tmp_path / "run" / "run.json").read_text())["starts"]
    assert [start["settings"]["trainer"]["max_steps"] for start in starts] == [1, 2]
    last = starts[-1]
    assert last["tool"] == "train"
    assert last["command"].startswith("tools/train.py data=custom")
    assert last["command"].endswith("resume=changed")
    assert last["versions"].keys() >= {"python", "torch", "numpy", "commit"}
    assert last["machine"].keys() == {"host", "system", "processors", "threads", "gpus"}
    assert last["data"]["data.points"]["sha256"] == sha256(made.file)
    assert last["data"]["data.images"]["files"] == 4
    assert last["settings"]["seed"] == 0


def test_other_data_have_another_fingerprint(made, tmp_path, run_tool):
    seen = []
    for number in (1, 2):
        out = tmp_path / f"masks_{number}.json"
        works(run_tool("gen_pseudo", *made.words, *QUICK, f"out={out}"))
        [start] = json.loads((tmp_path / f"masks_{number}.run.json").read_text())["starts"]
        seen.append(start["data"])
        with (made.images / "part" / "0.png").open("ab") as stream:
            stream.write(b"0")
    assert seen[0]["data.points"] == seen[1]["data.points"]
    assert seen[0]["data.semantic"] == seen[1]["data.semantic"]
    assert seen[0]["data.images"] != seen[1]["data.images"]


def test_a_damaged_record_begins_anew_if_it_may_be_overwritten(made, tmp_path, run_tool):
    path = tmp_path / "masks.run.json"
    words = (*made.words, *QUICK, f"out={tmp_path}/masks.json")
    for damage in ("", "[", "[1]", '{"starts": 3}'):
        path.write_text(damage)
        refused(run_tool("gen_pseudo", *words), f"{path} exists and ", "overwrite=true")
        assert path.read_text() == damage
        works(run_tool("gen_pseudo", *words, "overwrite=true"))
        assert len(json.loads(path.read_text())["starts"]) == 1
