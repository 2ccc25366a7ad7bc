"""Stages: done once for the same settings and inputs, and again when anything has changed."""

from __future__ import annotations

import pytest

from p2seg.runtime.files import fingerprint, read_json, sha256
from p2seg.runtime.stage_cache import Stages


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
        key = lambda: fingerprint([settings, sha256(self.source)])  # noqa: E731
        stages.run("double", self.work, key=key, outputs=[self.made])
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


def test_what_was_made_before_stays_when_nothing_is_made_now(workshop):
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
        stages.run(name, workshop.work, key=lambda: "0", outputs=[workshop.made])
    assert workshop.runs == 2
    assert list(stages.seconds) == ["one", "two"]


def test_a_stage_that_downloads_what_it_reads_is_done_once(tmp_path):
    source, made, runs = tmp_path / "archive", tmp_path / "made", []
    stages = Stages(tmp_path / "stages", lambda _: None)

    def prepare():
        runs.append(1)
        source.write_text("downloaded")
        made.write_text("made")

    for _ in range(2):
        stages.run(
            "prepare",
            prepare,
            key=lambda: str(source.exists()),
            outputs=[made],
            makes_inputs=True,
        )
    assert len(runs) == 1


class Training:
    """A stage of three steps that resumes from `last.pt`, as a training does."""

    def __init__(self, root):
        self.root = root
        self.folder = root / "network"
        self.stops_at = 3

    def work(self):
        last = self.folder / "last.pt"
        step = int(last.read_text()) if last.is_file() else 0
        self.began = step
        while step < self.stops_at:
            step += 1
            last.parent.mkdir(exist_ok=True)
            last.write_text(str(step))
        if step < 3:
            raise KeyboardInterrupt

    def run(self, key, stops_at=3):
        self.stops_at, self.began = stops_at, None
        last = self.folder / "last.pt"
        stages = Stages(self.root / "stages", lambda _: None)
        try:
            stages.run("train", self.work, key=lambda: key, outputs=[last], training=self.folder)
        except KeyboardInterrupt:
            return "stopped"
        return "skipped" if self.began is None else "finished"


@pytest.fixture
def training(tmp_path):
    return Training(tmp_path)


def test_an_interrupted_training_goes_on_whatever_the_key(training):
    """The checkpoint says what it was trained with; the training compares, and loses nothing."""
    assert training.run("a", stops_at=2) == "stopped"
    assert training.run("b") == "finished"
    assert training.began == 2


def test_a_finished_training_is_parked_until_the_next_one_is_finished(training):
    assert training.run("a") == "finished"
    assert training.run("b", stops_at=1) == "stopped"
    assert training.began == 0, "the other training's checkpoint is not this one's"
    assert training.run("b", stops_at=2) == "stopped"
    assert training.began == 1
    assert training.run("a") == "skipped", "the finished one is back"
    assert training.run("b") == "finished"
    assert training.began == 2, "and so is the unfinished one"
    assert sorted(path.name for path in training.root.iterdir()) == ["network", "stages"]
    assert training.run("b") == "skipped"


def test_a_kill_while_a_training_is_parked_loses_nothing(training):
    assert training.run("a") == "finished"
    record = (training.root / "stages" / "train.json").read_bytes()
    training.run("b", stops_at=0)
    (training.root / "stages" / "train.json").write_bytes(record)  # as if killed before it went
    assert training.run("a") == "skipped"
