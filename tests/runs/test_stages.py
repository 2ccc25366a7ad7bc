"""Stages: done once for the same inputs, and again when anything has changed."""

from __future__ import annotations

import pytest

from p2seg.files import read_json
from p2seg.runs.stages import Stages


class Workshop:
    """A stage that doubles a file, and the count of its runs."""

    def __init__(self, root):
        self.root = root
        self.source, self.made = root / "source", root / "made"
        self.source.write_text("a")
        self.runs = 0
        self.said = []
        self.fails = False

    def work(self):
        self.runs += 1
        if self.fails == "half way":
            self.made.write_text("b")
        if self.fails:
            raise RuntimeError("broken")
        self.made.write_text(self.source.read_text() * 2)

    def run(self, settings=0):
        stages = Stages(self.root / "stages", self.said.append)  # as a new process would
        stages.run(
            "double", self.work, settings=settings, inputs=[self.source], outputs=[self.made]
        )
        return stages.seconds["double"]


@pytest.fixture
def workshop(tmp_path):
    return Workshop(tmp_path)


def test_a_stage_is_done_once(workshop):
    took = workshop.run()
    assert workshop.run() == took  # the time it took then
    assert workshop.run() == took
    assert workshop.runs == 1
    assert workshop.made.read_text() == "aa"
    assert workshop.said[0] == "double ..."
    assert workshop.said[-1] == "double: done before, nothing has changed"
    record = read_json(workshop.root / "stages" / "double.json", "record")
    assert set(record) == {"key", "outputs", "seconds"}


def test_a_stage_is_done_again_when_an_input_changes(workshop):
    workshop.run()
    workshop.source.write_text("b")
    workshop.run()
    assert workshop.made.read_text() == "bb"
    assert workshop.runs == 2


@pytest.mark.parametrize("settings", [1, "0", {"a": None}])
def test_a_stage_is_done_again_when_a_setting_changes(workshop, settings):
    workshop.run()
    workshop.run(settings)
    workshop.run(settings)
    assert workshop.runs == 2


def test_a_stage_is_done_again_when_its_output_is_gone_or_changed(workshop):
    workshop.run()
    workshop.made.unlink()
    workshop.run()
    assert workshop.runs == 2
    workshop.made.write_text("edited by hand")
    workshop.run()
    assert workshop.runs == 3
    assert workshop.made.read_text() == "aa"


def test_a_stage_that_failed_is_not_done(workshop):
    workshop.fails = True
    with pytest.raises(RuntimeError, match="broken"):
        workshop.run()
    workshop.fails = False
    workshop.run()
    workshop.run()
    assert workshop.runs == 2


def test_a_stage_that_failed_on_new_inputs_is_not_taken_for_the_old_one(workshop):
    """Its half-written outputs may lie where the old ones lay."""
    workshop.run()
    workshop.source.write_text("b")
    workshop.fails = "half way"
    with pytest.raises(RuntimeError):
        workshop.run()
    workshop.source.write_text("a")
    workshop.fails = False
    workshop.run()
    assert workshop.runs == 3


def test_what_was_made_before_comes_back_when_nothing_is_made_now(workshop):
    workshop.run()
    workshop.fails = True
    with pytest.raises(RuntimeError):
        workshop.run(settings="a slip")
    assert workshop.made.read_text() == "aa"
    workshop.fails = False
    workshop.run()
    assert workshop.runs == 2, "it is what it was, and its record too"
    workshop.run(settings="another")
    assert workshop.runs == 3
    assert sorted(path.name for path in workshop.root.iterdir()) == ["made", "source", "stages"]


def test_a_damaged_record_is_no_reason_to_stop(workshop):
    workshop.run()
    for content in ("{", "[]", '{"key": 1}'):
        (workshop.root / "stages" / "double.json").write_text(content)
        workshop.run()
    assert workshop.runs == 4


def test_stages_do_not_share_their_records(workshop, tmp_path):
    stages = Stages(tmp_path / "stages", workshop.said.append)
    for name in ("one", "two"):
        stages.run(name, workshop.work, settings=0, inputs=[], outputs=[workshop.made])
    assert workshop.runs == 2
    assert list(stages.seconds) == ["one", "two"]


def test_an_interrupted_stage_keeps_what_it_left_and_a_changed_one_does_not(tmp_path):
    out = tmp_path / "last.pt"
    stages = Stages(tmp_path / "stages", lambda _: None)

    def interrupted() -> None:
        out.write_text("half")
        raise KeyboardInterrupt

    found: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        stages.run("train", interrupted, settings=1, inputs=[], outputs=[out])
    with pytest.raises(KeyboardInterrupt):
        stages.run(
            "train",
            lambda: (found.append(out.is_file()), interrupted()),
            settings=1,
            inputs=[],
            outputs=[out],
        )
    stages.run(
        "train",
        lambda: (found.append(out.is_file()), out.write_text("whole")),
        settings=2,
        inputs=[],
        outputs=[out],
    )
    assert found == [True, False]
