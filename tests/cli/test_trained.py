"""A trained network brings its settings: the short command is the long one, or is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from PIL import Image
from tool_sets import QUICK, refused, works
from training_sets import training_set

from p2seg.cli.main import main
from p2seg.data.coco import read_instances
from p2seg.engine.checkpoint import load_checkpoint, save_checkpoint
from p2seg.method.trained_settings import FREE, is_in, is_kept, leaves

PAPER = ["mdm=paper", "model.detail=8", "export.foreground=2", "export.edges=2"]
BESTIE = ["mdm=bestie", "trainer.snapshots=[1]"]
CPU = ["data.workers=0", "trainer.accelerator=cpu"]


class Trained:
    """Two networks of one step, and how tools are run with them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.set = training_set(root / "set")
        for name, own in (("paper", PAPER), ("bestie", BESTIE)):
            words = [*self.set.words, *QUICK, *own, "trainer.snapshots=[1]", f"out={root / name}"]
            assert main(["train", *words]) == 0

    def ckpt(self, name: str) -> str:
        return f"ckpt={self.root / name / 'last.pt'}"

    def changed(self, path: Path, name: str, edit: Any) -> str:
        """A checkpoint whose content is edited; the word that gives it."""
        content = load_checkpoint(self.root / name / "last.pt", "network")
        edit(content)
        save_checkpoint(path, content)
        return f"ckpt={path}"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return Trained(tmp_path_factory.mktemp("networks"))


@pytest.fixture
def label(trained, tmp_path, run_tool):
    """Labels with data words and some more: what was printed, and the written file."""

    def run(*more):
        out = tmp_path / "masks.json"
        said = works(run_tool("gen_pseudo", *trained.set.words, *CPU, *more, f"out={out}"))
        return said, out.read_bytes()

    return run


@pytest.fixture
def refusal(trained, tmp_path, run_tool):
    """Labels with data words and some more, which must be refused in one sentence with parts."""

    def run(words, *parts):
        own = [*trained.set.words, *CPU, *words, f"out={tmp_path / 'masks.json'}"]
        refused(run_tool("gen_pseudo", *own), *parts)
        assert not (tmp_path / "masks.json").exists()

    return run


@pytest.mark.parametrize(("name", "own"), [("paper", PAPER), ("bestie", BESTIE)])
def test_data_and_checkpoint_are_enough(trained, label, name, own):
    said, short = label(trained.ckpt(name))
    assert short == label(*QUICK, *own, trained.ckpt(name))[1]
    assert said.startswith(f"method: {'P2Seg' if name == 'paper' else 'BESTIE'}")
    assert read_network(short) == name


def read_network(content: bytes) -> str:
    """Whose settings masks were made with."""
    return "paper" if "beta" in json.loads(content)["info"]["mdm"] else "bestie"


def test_an_experiments_files_follow_the_checkpoint(trained, label):
    """It may be the one that trained it, with other words then, or one that names other data."""
    data = [word for word in trained.set.words if word != "data=custom"]
    for experiment in ("drawn", "voc_hrnet48_sam"):
        said, masks = label(f"+exp={experiment}", "data=custom", *data, trained.ckpt("paper"))
        info = json.loads(masks)["info"]
        assert (info["mdm"]["beta"], info["export"]["foreground"]) == (3, 2)
        assert "mdm.beta" not in said.splitlines()[0], "it is the paper's"


def test_settings_of_the_other_method_in_an_experiment_are_dropped(trained, label):
    data = [word for word in trained.set.words if word != "data=custom"]
    words = ["+exp=real_coco_simulated", "data=custom", *data, trained.ckpt("bestie")]
    said, masks = label(*words)  # `loss.classes` there is of P2Seg alone
    assert said.splitlines()[0] == "method: BESTIE, the paper's settings"
    assert read_network(masks) == "bestie"


def test_words_choose_what_is_free(trained, label):
    words = ["mdm.split=geodesic", "mdm.snap_radius=8", "export.rounds=0", "export.edges=0"]
    said, masks = label(*words, "ops.affinity=dense", trained.ckpt("paper"))
    info = json.loads(masks)["info"]
    assert (info["mdm"]["split"], info["mdm"]["snap_radius"]) == ("geodesic", 8)
    assert (info["export"]["rounds"], info["export"]["edges"]) == (0, 0)
    assert info["export"]["foreground"] == 2, "as in training"
    for departure in ("mdm.split=geodesic (euclidean)", "model.detail=8 (0)"):
        assert departure in said.splitlines()[0]


def test_every_free_setting_exists():
    GlobalHydra.instance().clear()
    configs = Path(__file__).resolve().parents[2] / "configs"
    with initialize_config_dir(str(configs), version_base="1.3"):
        keys = leaves(compose("gen_pseudo"))
    for free in FREE:
        assert any(is_in(key, [free]) for key in keys), free
    assert is_kept("export.edges")
    assert not is_kept("model.weights")
    assert not is_kept("model.network.backbone.pretrained")


@pytest.mark.parametrize(
    ("name", "words", "told"),
    [
        ("paper", ["mdm.beta=20"], ("mdm.beta=20 contradicts", "with mdm.beta=3; remove mdm.beta")),
        ("paper", ["mdm.rounds=0"], ("mdm.rounds=1; remove mdm.rounds", "set export.rounds")),
        ("paper", ["model.width=16"], ("model.width=16 contradicts", "model.width=8")),
        ("paper", ["mdm.conflict=semantic_first"], ("mdm.conflict=points_first",)),
        ("paper", ["loss={target: first}"], ("loss.target=first", "loss.target=round")),
        ("paper", ["mdm=best"], ("mdm=best gives", "mdm.decode=vote", "remove mdm=best")),
        ("paper", ["model=mobilenetv2"], ("model.backbone=mobilenetv2_100", "test_resnet")),
        ("paper", ["mdm=bestie"], ("mdm=bestie is of the method BESTIE", "trained with P2Seg")),
        ("paper", ["+exp=drawn_bestie"], ("+exp=drawn_bestie is of the method BESTIE",)),
        ("bestie", ["mdm=paper"], ("mdm=paper is of the method P2Seg", "trained with BESTIE")),
        ("bestie", ["loss.affinity=1"], ("loss.affinity=1 is of the method P2Seg",)),
        ("bestie", ["mdm.decode=vote"], ("mdm.decode=vote", "mdm.decode=point")),
    ],
)
def test_a_word_that_contradicts_the_checkpoint_is_refused(trained, refusal, name, words, told):
    path = trained.root / name / "last.pt"
    refusal([*words, trained.ckpt(name)], *told, str(path), "remove ", ", or train again")


def test_weights_and_schedules_are_no_contradiction(trained, label):
    words = ["model.pretrained=true", "model.weights=nowhere.safetensors", "optim.lr=1"]
    assert label(*words, trained.ckpt("paper"))[1] == label(trained.ckpt("paper"))[1]


@pytest.mark.parametrize("tool", ["gallery", "visualize"])
def test_other_commands_take_the_network_as_it_is(trained, label, tmp_path, run_tool, tool):
    """Each refuses the contradiction, and does its work without the words of the training."""
    label(trained.ckpt("bestie"))
    own = {
        "gallery": [f"pred={tmp_path}/masks.json", f"out={tmp_path}/gallery"],
        "visualize": ["figure=rounds", "cell=64", f"out={tmp_path}/rounds.png"],
    }[tool]
    words = [*trained.set.words, *CPU, *own, trained.ckpt("bestie")]
    refused(run_tool(tool, *words, "mdm=paper"), "mdm=paper is of the method P2Seg")
    works(run_tool(tool, *words))


def test_each_row_of_a_figure_has_its_own_method(trained, tmp_path, run_tool):
    runs = f"runs=[{trained.root}/paper,{trained.root}/bestie]"
    out = tmp_path / "progress.png"
    words = ["figure=progress", runs, "count=1", "cell=64", f"out={out}"]
    works(run_tool("visualize", *trained.set.words, *CPU, *words))
    assert np.asarray(Image.open(out)).std() > 10


def test_a_stage_with_a_given_network_is_done_once(trained, tmp_path, run_tool):
    from p2seg.cli.entry import entry
    from p2seg.cli.experiment import Experiment

    words = [*trained.set.words, *CPU, trained.ckpt("paper"), f"out={tmp_path / 'exp'}"]
    main = entry("pipeline")(lambda cfg: Experiment(cfg).pseudo("mdm"))
    written = []
    for _ in range(2):
        assert main(words) == 0
        written.append((tmp_path / "exp" / "mdm.json").stat().st_mtime_ns)
    assert written[0] == written[1]
    info = read_instances(tmp_path / "exp" / "mdm.json").info
    assert (info["mdm"]["beta"], info["export"]["foreground"]) == (3, 2)


@pytest.mark.parametrize(
    ("own", "line"),
    [
        (["mdm=paper"], "method: P2Seg, the paper's settings"),
        (["mdm=bestie"], "method: BESTIE, the paper's settings"),
        (
            ["mdm=paper", "mdm.beta=20", "export.scales=[1,2]"],
            "method: P2Seg; departs from mdm=paper in mdm.beta=20 (3), export.scales=[1,2] ([1])",
        ),
    ],
)
def test_the_first_line_names_the_method(trained, capsys, own, line):
    from p2seg.cli.entry import entry

    words = [*trained.set.words, *QUICK, *own]
    for command in ("train", "pipeline"):
        assert entry(command)(lambda _: None)(words) == 0
        assert capsys.readouterr().out.splitlines() == [line]
    for command, more in (("gen_pseudo", ["ckpt=none"]), ("pipeline", ["pipeline.network=false"])):
        assert entry(command)(lambda _: None)([*words, *more]) == 0
        assert capsys.readouterr().out.startswith("method: no network")


def put(value, *keys):
    """Sets a value deep in a checkpoint."""

    def edit(content):
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return edit


def network(value, key):
    """Sets a value of the network, also where an object repeats it."""

    def edit(content):
        model = content["config"]["model"]
        model[key] = value
        if key == "backbone":
            model["network"]["backbone"]["name"] = value
        else:
            model["network"][key] = value

    return edit


def decode(value):
    def edit(content):
        put(value, "config", "mdm", "decode")(content)
        put(value, "method", "mdm", "decode")(content)

    return edit


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (network("hf-hub:timm/resnet18", "backbone"), "model.backbone='hf-hub:timm/resnet18'"),
        (network("../secret", "backbone"), "model.backbone='../secret'"),
        (network("${oc.env:HOME}", "backbone"), "model.backbone='${oc.env:HOME}'"),
        (network("no_such_network", "backbone"), "no_such_network"),
        (network({"_target_": "os.getcwd"}, "dilations"), "does not hold the weights"),
        (network([0], "dilations"), "does not hold the weights"),
        (network(2**31 - 1, "width"), "does not hold the weights"),
        (network(2**40, "width"), "model.width"),
        (network(-1, "width"), "with the settings of"),
        (put("os.system", "method", "_target_"), "the method 'os.system'"),
        (put("${mdm.rounds}", "export", "rounds"), "export.rounds"),
        (decode("x/y"), "mdm.decode='x/y'"),
        (decode("aside"), "mdm.decode=aside: must be"),
    ],
)
def test_a_strangers_checkpoint_chooses_no_file_and_no_code(trained, refusal, tmp_path, edit, told):
    word = trained.changed(tmp_path / "last.pt", "paper", edit)
    refusal([word], told, "last.pt")


def test_targets_of_a_checkpoint_are_not_taken(trained, label, tmp_path):
    """They are there, and nothing is built of them."""

    def edit(content):
        for group in (content["config"]["mdm"], content["config"]["loss"]):
            group["_target_"] = "os.system"
        content["config"]["model"]["network"]["backbone"]["_target_"] = "os.system"
        content["config"]["mdm"]["nobody.knows"] = "${oc.env:HOME}"

    word = trained.changed(tmp_path / "last.pt", "paper", edit)
    masks = [json.loads(label(w)[1])["annotations"] for w in (word, trained.ckpt("paper"))]
    assert masks[0] == masks[1]


@pytest.mark.parametrize("name", ["paper", "bestie"])
def test_a_checkpoint_of_before_still_works(trained, label, tmp_path, name):
    """It has no method and no export settings: these come from the command, and that is said."""

    def edit(content):
        del content["method"], content["export"]
        content["config"]["mdm"]["retired"] = 1

    word = trained.changed(tmp_path / "last.pt", name, edit)
    said, masks = label(word, "export.foreground=2", "export.edges=2")
    assert "last.pt is of an older version: it lacks export" in said
    assert "its settings mdm.retired do not exist in this version" in said
    assert read_network(masks) == name
    assert torch.load(tmp_path / "last.pt", weights_only=True).keys().isdisjoint({"export"})
