"""The command `p2seg`: its list of commands, their names, and the demo."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from p2seg.cli import main as module
from p2seg.cli.main import OPTIONS, SETTINGS, commands, main
from p2seg.cli.photos.options import COMMANDS
from p2seg.cli.program import start_again, start_apart

ROOT = Path(__file__).resolve().parents[2]


def test_the_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert all(len(line) < 100 for line in lines)
    for name in COMMANDS:
        assert len([each for each in lines if each.startswith(f"  {name} ")]) == 1
    for name in commands():
        assert name in text
    assert main([]) == 0
    assert capsys.readouterr().out == text


def test_experiment_lists_its_commands_with_a_line_each(capsys):
    assert main(["experiment", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in (name for group in SETTINGS.values() for name in group):
        assert len([each for each in lines if each.startswith(f"  {name} ")]) == 1


def test_every_command_of_settings_is_a_file_of_its_name_and_has_a_tool_or_script():
    groups = (*SETTINGS.values(), *OPTIONS.values())
    for name in (name for group in groups for name in group if name != "demo"):
        assert (ROOT / "p2seg" / "cli" / f"{name}.py").is_file()
        folder = "scripts" if name.startswith("prepare_") else "tools"
        words = f'"{name}"' if folder == "scripts" else f'"experiment", "{name}"'
        assert f"main([{words}, *sys.argv[1:]])" in (ROOT / folder / f"{name}.py").read_text()


def test_the_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"p2seg {version('p2seg')}\n"


@pytest.mark.parametrize("name", ["make-points", "make_points"])
def test_dashes_and_underscores_are_one(name, capsys):
    assert main([name, "gt=nowhere.json", "out=x.json"]) == 2
    assert capsys.readouterr().err.startswith("no instances file at nowhere.json")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("gen-psuedo", "there is no command 'gen-psuedo'; did you mean gen_pseudo?\n"),
        ("trian", "there is no command 'trian'; did you mean train?\n"),
        ("zzz", "there is no command 'zzz'; p2seg --help lists the commands\n"),
    ],
)
def test_an_unknown_command_names_the_nearest(word, said, capsys):
    assert main([word]) == 2
    assert capsys.readouterr() == ("", said)


@pytest.mark.parametrize(
    "program", [["-m", "p2seg", "make-points"], [str(ROOT / "tools" / "make_points.py")]]
)
def test_every_way_to_start_a_command_is_the_same(program, tmp_path):
    words = ["gt=nowhere.json", "out=x"]
    done = subprocess.run(
        [sys.executable, *program, *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("no instances file at nowhere.json")


@pytest.mark.parametrize(
    ("words", "own"),
    [
        ([], []),
        (["seed=1"], ["seed=1"]),
        (["a b", "seed=1"], ["out=a b", "data.root=a b/data", "seed=1"]),
    ],
)
def test_the_demo_is_an_experiment_in_a_folder(words, own, monkeypatch):
    from p2seg.cli import demo

    seen = []
    monkeypatch.setattr(demo, "p2seg", lambda words: (seen.append(words), 0)[1])
    assert module.main(["demo", *words]) == 0
    assert seen == [["pipeline", "+exp=demo", *own]]


def test_a_command_in_a_process_of_its_own_runs_no_code_of_the_working_folder(tmp_path):
    (tmp_path / "csv.py").write_text("raise SystemExit('code of the folder')")
    command = start_apart("prepare_demo", ["--out", "set"])
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert (tmp_path / "set" / "instances_train.json").is_file()


def test_a_sweep_starts_its_jobs_as_it_was_started(monkeypatch):
    tool = str(ROOT / "tools" / "train.py")
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None, raising=False)
    assert start_again("train", ["tools/train.py"]) == [sys.executable, tool]
    assert start_again("train", [tool, "train"]) == [sys.executable, tool, "train"]
    assert start_again("train", ["-c"]) == [sys.executable, "-m", "p2seg", "train"]
