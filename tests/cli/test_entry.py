"""The command line that all tools share: plain paths, exit codes, one sentence for a mistake."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from tool_sets import refused

from p2seg.cli.entry import entry
from p2seg.cli.main import SETTINGS
from p2seg.cli.overrides import PATH_KEYS, literal, quoted
from p2seg.errors import UserError

ROOT = Path(__file__).resolve().parent.parent.parent
TOOLS = [name for group in SETTINGS.values() for name in group]

# whatever a shell hands over: any letters but NUL; and those that mean something to a parser
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
nasty = st.text("\\'\"${}[](),=:~#%! \n\ta.", min_size=1)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(PATH_KEYS)), texts | nasty)
@example("out", "\\\n")
@example("out", "\\${")
@example("out", "a\\\\'\\")
@example("ckpt", "+exp=drawn")
def test_a_path_is_taken_to_the_letter(key, text):
    value = OverridesParser.create().parse_override(quoted(f"{key}={text}")).value()
    assert OmegaConf.create({"a": value}).a == (None if text == "null" else text)


@settings(max_examples=100, deadline=None)
@given(texts | nasty)
def test_a_literal_refers_to_nothing(text):
    assert OmegaConf.create({"a": literal(text)}).a == text


@pytest.fixture
def tool():
    """A tool that shows the config it is called with."""
    seen = []
    command = entry("gen_pseudo")(seen.append)

    def run(*words):
        seen.clear()
        code = command(list(words))
        return code, seen[0] if seen else None

    return run


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(texts | nasty)
@example('/data/it\'s a {set}, ${x}; (1) = "ü"~#\\')
def test_a_path_arrives_in_the_config(tool, text):
    code, cfg = tool(f"data.images={text}", f"ckpt=./{text}")
    assert code == 0
    assert cfg.data.images == (None if text == "null" else text)
    assert cfg.ckpt == f"./{text}"


def test_paths_that_follow_from_others_are_literal_too(tool):
    _, cfg = tool("data.root=/a ${b}'s")
    assert cfg.data.images == "/a ${b}'s/images"


def test_other_values_follow_hydras_grammar(tool):
    _, cfg = tool("export.scales=[1, 0.5]", "mdm.beta=2", "name=a${seed}", "seed=7", "out=null")
    assert cfg.export.scales == [1, 0.5]
    assert cfg.mdm.beta == 2
    assert cfg.name == "a7"
    assert cfg.out is None


def test_what_hydra_cannot_parse_is_a_text(tool):
    assert tool("name=it's (1")[1].name == "it's (1"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[people,Tier (animal),véhicule]", ["people", "Tier (animal)", "véhicule"]),
        ("[été 2024, a=b,'x, y']", ["été 2024", "a=b", "x, y"]),
        ("[#1,it's]", ["#1", "it's"]),
        ("[ö]", ["ö"]),
        ("[ö", "[ö"),
    ],
)
def test_a_list_of_what_hydra_cannot_parse_is_a_list_of_texts(tool, text, names):
    assert tool(f"data.augment.scale={text}")[1].data.augment.scale == names


def test_ckpt_none_is_no_path(tool):
    assert tool("ckpt=none")[1].ckpt == "none"
    assert tool("ckpt=null")[1].ckpt is None


def said(capsys):
    """The one line on stderr."""
    captured = capsys.readouterr()
    assert captured.err.endswith("\n")
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err
    return captured.err.strip()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["foo=1"], "there is no setting foo; configs/gen_pseudo.yaml and"),
        (["trainer.max_step=3"], "no setting trainer.max_step; did you mean trainer.max_steps?"),
        (["decode=vote"], "there is no setting decode; did you mean mdm.decode?"),
        (["data.augment.short_side=224"], "data.augment.short_side; did you mean data.short_side?"),
        (["a.b.c=1"], "there is no setting a.b.c"),
        (["+exp=nope"], "there is no exp=nope; choose from coco_hrnet48, coco_hrnet48_best"),
        (["+exp=[drawn,nope]"], "there is no exp=nope; choose from coco_hrnet48, coco_hrnet48_b"),
        (["exp=drawn"], "write +exp=NAME, with a plus; NAME is one of coco_hrnet48, coco_hrnet48"),
        (["+exp=drawn", "+exp=drawn"], "exp appears more than once"),
        (["data=nope"], "there is no data=nope; choose from coco, custom, demo, drawn"),
        (["data="], "there is no data=; choose from coco, custom"),
        (["model=hrnet"], "there is no model=hrnet; choose from hrnet_w48"),
        (["foo"], "'foo' is not a setting; settings are written key=value"),
        (["=3"], "'=3' is not a setting"),
        (["a b=3"], "'a b=3' is not a setting"),
        (["--foo"], "unrecognized arguments: --foo; settings are written key=value"),
        (["~gt"], "Could not delete from config. 'gt' does not exist."),
        (["mdm.decode=vote,point"], "mdm.decode=vote,point has a comma"),
        (["name=${nope}", "seed=${nope}"], "seed: Interpolation key 'nope' not found"),
        (["seed=abc"], "seed=abc: must be an integer from 0 to 9223372036854775807"),
        (["seed=-1"], "seed=-1: must be"),
        (["seed=1.5"], "seed=1.5: must be"),
    ],
)
def test_hydras_own_errors_are_one_sentence_and_exit_code_2(tool, capsys, words, sentence):
    code, cfg = tool(*words)
    assert code == 2
    assert cfg is None
    assert sentence in said(capsys)


@pytest.mark.parametrize(
    ("config", "key"),
    [("eval", "pred"), ("make_points", "gt"), ("train_segmentor", "pseudo")],
)
def test_a_mandatory_setting_that_is_not_given_is_named(config, key, capsys):
    command = entry(config)(lambda cfg: cfg[key])
    assert command([]) == 2
    assert said(capsys) == f"{key} is not set; add {key}=... to the command"


def test_a_mandatory_setting_behind_a_reference_is_named(capsys):
    command = entry("train")(lambda cfg: cfg.seeder.conflict)
    assert command(["mdm.conflict=???"]) == 2
    assert said(capsys) == "mdm.conflict is not set; add mdm.conflict=... to the command"


def failing(error):
    def function(cfg):
        raise error

    return entry("train")(function)


def test_a_users_mistake_is_its_sentence_on_one_line(capsys):
    assert failing(UserError("no [red]file[/red] at a:car:\n  b; give one"))([]) == 2
    assert said(capsys) == "no [red]file[/red] at a:car: b; give one"


def test_a_mistake_behind_another_error_is_found(capsys):
    error = RuntimeError("in a worker")
    error.__cause__ = UserError("image a.jpg is broken; replace it")
    assert failing(error)([]) == 2
    assert said(capsys) == "image a.jpg is broken; replace it"


def test_what_the_system_refuses_is_one_sentence(capsys):
    def function(cfg):
        Path("/nowhere/a.json").read_text()

    assert entry("train")(function)([]) == 2
    assert said(capsys) == "the system refused /nowhere/a.json: No such file or directory"


def test_a_full_memory_is_one_sentence(capsys):
    assert failing(MemoryError("9 GiB"))([]) == 2
    assert "trainer.batch_size, segmentor.batch_size, predict.batch_size" in said(capsys)


@pytest.mark.parametrize("error", [KeyError("x"), RuntimeError("x"), AssertionError(), OSError()])
def test_a_defect_of_ours_keeps_its_traceback(error):
    with pytest.raises(type(error)):
        failing(error)([])


def test_a_defect_met_while_handling_a_mistake_is_no_mistake():
    def function(cfg):
        try:
            raise UserError("something")
        except UserError:
            raise KeyError("ours") from None

    with pytest.raises(KeyError):
        entry("train")(function)([])


def test_the_keyboard_stops_it(capsys):
    assert failing(KeyboardInterrupt())([]) == 130
    assert "stopped by Ctrl-C" in said(capsys)


def test_nothing_is_left_behind(tool, tmp_path, monkeypatch):
    """No dated folders, no changed folder, no changed arguments or environment."""
    monkeypatch.chdir(tmp_path)
    before = list(sys.argv), dict(os.environ)
    assert tool("+exp=drawn")[0] == 0
    assert tool("foo=1")[0] == 2
    assert (list(sys.argv), dict(os.environ)) == before
    assert Path.cwd() == tmp_path
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("program", [["tools/gen_pseudo.py"], ["bin/p2seg", "gen-pseudo"]])
def test_a_process_that_a_command_starts_gets_the_words_as_they_were_given(
    tmp_path, monkeypatch, program
):
    """Fabric starts the other ranks with `sys.argv`: they must not be quoted twice."""
    seen = []
    command = entry("gen_pseudo")(lambda _: seen.append(list(sys.argv)))
    word = f"data.images={tmp_path}/it's, (1)"
    monkeypatch.setattr(sys, "argv", [*program, word])
    assert command([word]) == 0
    assert seen == [[*program, word]]


@pytest.mark.parametrize("name", TOOLS)
def test_every_tool_is_small_and_says_how_it_is_called(name):
    tool, command = ROOT / "tools" / f"{name}.py", ROOT / "p2seg" / "cli" / f"{name}.py"
    assert tool.read_text().count("\n") < 11
    assert command.read_text().count("\n") < 81
    assert f"p2seg {name} " in command.read_text()


def test_a_tool_is_a_command():
    """As a shell runs it, from another folder."""
    command = [sys.executable, str(ROOT / "tools" / "make_points.py"), "gt=nowhere.json", "out=x"]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("no instances file at nowhere.json")


def test_no_settings_are_read_of_a_pickle(run_tool):
    refused(run_tool("train", "--experimental-rerun", "config.pickle"), "--experimental-rerun")
