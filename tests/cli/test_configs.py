"""Every experiment with every tool, and every group: composed, and built where no weights are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from p2seg.cli.build import build, network_input
from p2seg.cli.checks import check_values
from p2seg.cli.labeler import EXPORT
from p2seg.cli.main import SETTINGS
from p2seg.cli.provenance import provenance
from p2seg.data.coco import InstanceSet
from p2seg.data.network_input import NetworkInput
from p2seg.engine.state import differences
from p2seg.engine.trainer import Trainer
from p2seg.errors import UserError
from p2seg.models.network import Trunk

CONFIGS = Path(__file__).resolve().parent.parent.parent / "configs"
TOOLS = sorted(path.stem for path in CONFIGS.glob("*.yaml") if path.stem != "base")
EXPERIMENTS = sorted(path.stem for path in (CONFIGS / "exp").glob("*.yaml"))
GROUPS = [
    (path.parent.name, path.stem)
    for path in sorted(CONFIGS.glob("*/*.yaml"))
    if path.parent.name != "exp" and path.stem[0] != "_"
]
SIZES = {
    "demo": (256, None, True),
    **dict.fromkeys(("drawn", "drawn_bestie", "drawn_simulated"), (128, None)),
    **dict.fromkeys(("real_coco", "real_coco_bestie", "real_voc"), (224, 896)),
    "real_coco_simulated": (176, 704),
    "photos": (None, None, True),
    "real_nuclei": (256, None, True),
    "voc_bestie_hrnet48": (449, 449),
}
"""`NetworkInput` of the experiments whose networks do not see images as they are."""
NO_WEIGHTS = ("model.pretrained=false", "model.weights=null")


@pytest.fixture(autouse=True)
def configs() -> Iterator[None]:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        yield


def given(cfg: DictConfig) -> DictConfig:
    """The config with something in every mandatory place, so that all of it can be resolved."""

    def fill(node: DictConfig) -> None:
        for key in node:
            if OmegaConf.is_missing(node, key):
                node[key] = 3
            elif isinstance(node._get_node(key), DictConfig):
                fill(node._get_node(key))

    fill(cfg)
    return cfg


def test_every_tool_has_its_config():
    commands = {name for group in SETTINGS.values() for name in group}
    assert commands == set(TOOLS)
    for name in commands:
        assert (CONFIGS.parent / "tools" / f"{name}.py").is_file()


PAIRS = [(tool, exp) for tool in TOOLS for exp in EXPERIMENTS]
QUICK = {pair for pair in PAIRS if pair[0] == "pipeline" or pair[1] == "drawn"}


@pytest.mark.parametrize(
    ("tool", "exp"),
    [pair if pair in QUICK else pytest.param(*pair, marks=pytest.mark.slow) for pair in PAIRS],
)
def test_every_experiment_composes_with_every_tool(tool, exp):
    cfg = given(compose(tool, [f"+exp={exp}"]))
    assert cfg.name == exp
    OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)


@pytest.mark.parametrize("tool", TOOLS)
def test_every_tool_composes_alone(tool):
    OmegaConf.to_container(given(compose(tool)), resolve=True)


def network_of(cfg: DictConfig) -> Trunk:
    with torch.device("meta"):  # shapes without numbers: an HRNet takes seconds otherwise
        network = build(cfg.model.network)
    assert isinstance(network, Trunk)
    assert network.num_classes == cfg.data.num_classes
    return network


def build_segmentor(cfg: DictConfig) -> None:
    for key in ("schedule", "resize"):
        build(cfg.segmentor[key])
    cfg.segmentor.pretrained, cfg.segmentor.weights = False, None
    with torch.device("meta"):
        build(cfg.segmentor.model, 3)


def build_the_rest(cfg: DictConfig) -> None:
    assert isinstance(build(cfg.trainer), Trainer)
    for key in ("method", "seeder"):
        build(cfg[key])
    build(cfg.data.augment)
    build(cfg.optim.optimizer)(torch.nn.Linear(2, 2))
    assert 0 <= build(cfg.optim.schedule)(0) <= 1
    for function, settings in EXPORT.items():
        check_values(function, {p: (s, OmegaConf.select(cfg, s)) for p, s in settings.items()})


@pytest.mark.parametrize("exp", EXPERIMENTS)
def test_every_experiment_can_be_built(exp):
    """All but the weights: values fit their parameters, and the objects take them."""
    cfg = compose("train", [f"+exp={exp}", *NO_WEIGHTS])
    if cfg.data.num_classes is None:  # read from the points file
        cfg.data.num_classes = 3
    network_of(cfg)
    build_segmentor(cfg)
    build_the_rest(cfg)


@pytest.mark.parametrize("exp", EXPERIMENTS)
def test_a_network_is_trained_and_exported_at_one_size(exp):
    from p2seg.cli.labeler import network_labeler

    cfg = compose("train", [f"+exp={exp}"])
    trained = build(cfg.data.augment, network_input(cfg)).input
    assert network_labeler(cfg, torch.nn.Identity()).input == trained
    assert trained == NetworkInput(*SIZES.get(exp, (None, None)))


@pytest.mark.parametrize(("group", "name"), GROUPS)
def test_every_group_composes_and_can_be_built(group, name):
    words = [f"{group}={name}", "data.num_classes=3", *NO_WEIGHTS]
    cfg = compose("train", words)
    if group == "model":
        network_of(cfg)
    elif group == "segmentor":
        build_segmentor(cfg)
    else:
        build_the_rest(cfg)


@pytest.mark.parametrize(
    ("exp", "warm_up"),
    [
        *(("voc_hrnet48_sam", 2000), ("voc_bestie_hrnet48", 2000), ("coco_hrnet48_sam", 5000)),
        *(("demo", 100), ("drawn", 100), ("drawn_bestie", 100), ("drawn_simulated", 100)),
        *(("real_voc", 100), ("real_coco", 100), ("real_coco_simulated", 100)),
        ("real_nuclei", 100),
    ],
)
def test_warm_up_does_not_depend_on_the_start_of_the_rounds(exp, warm_up):
    cfg = compose("train", [f"+exp={exp}", "mdm.start_step=7"])
    assert cfg.optim.schedule.warmup_steps == warm_up


@pytest.mark.parametrize(
    ("exp", "name", "steps", "warm_up"),
    [
        ("voc_hrnet48", "hrnet_w48.ms_in1k", 50_000, 2_000),
        ("voc_resnet101", "resnet101.tv_in1k", 50_000, 2_000),
        ("coco_hrnet48", "hrnet_w48.ms_in1k", 100_000, 5_000),
    ],
)
def test_the_papers_numbers(exp, name, steps, warm_up):
    """Sec. 4.1, as shared by Tables 1 and 2."""
    cfg = compose("train", [f"+exp={exp}"])
    assert cfg.model.backbone == name
    assert cfg.model.pretrained is True
    assert cfg.model.feature_location == ("" if "hrnet" in name else None)
    assert (cfg.trainer.max_steps, cfg.trainer.batch_size) == (steps, 8)
    assert (cfg.optim.lr, cfg.optim.warmup_steps, cfg.mdm.start_step) == (5e-5, warm_up, warm_up)
    assert (cfg.data.augment.crop, cfg.data.short_side, cfg.data.long_side) == (416, None, None)
    assert cfg.data.augment.scale == [0.7, 1.3]
    assert cfg.loss.hard_pixel_ratio == 0.2
    assert (cfg.loss.segmentation, cfg.loss.offset, cfg.loss.affinity) == (1.0, 0.01, 1.0)
    assert cfg.model.network.embedding == 256
    assert cfg.data.num_classes == (80 if "coco" in exp else 20)
    assert cfg.trainer.max_steps == cfg.optim.schedule.max_steps


@pytest.mark.parametrize("exp", ["voc_hrnet48", "voc_resnet101", "coco_hrnet48"])
def test_the_papers_experiments_are_the_literal_reading_and_the_best_stands_beside(exp):
    literal, best = (compose("train", [f"+exp={name}"]) for name in (exp, f"{exp}_best"))
    paper = compose("train", [f"+exp={exp}", "mdm=paper"])
    for key in ("mdm", "method", "loss"):
        assert literal[key] == paper[key], key
    assert literal.export.semantic == best.export.semantic == "network"
    assert (literal.mdm.split, best.mdm.split) == ("euclidean", "geodesic")
    # clipping is not in the paper
    assert (literal.trainer.ema, literal.trainer.clip_norm) == (False, None)
    assert {**literal.trainer, "clip_norm": 10.0} == best.trainer


@pytest.mark.parametrize(
    ("words", "unclaimed"),
    [([], "seed"), (["mdm=paper"], "box"), (["mdm=bestie"], "box"), (["+exp=drawn"], "seed")],
)
def test_a_method_sets_what_an_unclaimed_point_gets(words, unclaimed):
    assert compose("gen_pseudo", words).export.unclaimed == unclaimed
    assert compose("gen_pseudo", [*words, "export.unclaimed=seed"]).export.unclaimed == "seed"


def test_the_literal_reading_is_one_config():
    cfg = compose("train", ["mdm=paper"])
    assert (cfg.mdm.rounds, cfg.export.rounds, cfg.mdm.beta) == (1, 1, 3.0)
    assert (cfg.mdm.decode, cfg.loss.target, cfg.loss.background) == ("point", "round", "apart")
    assert cfg.loss.affinity == 1.0


@pytest.mark.parametrize("words", [[], ["+exp=demo"], ["+exp=voc_hrnet48_best"]])
def test_the_best_has_no_rounds_and_no_affinities(words):
    cfg = compose("train", words)
    assert (cfg.mdm.rounds, cfg.export.rounds, cfg.loss.affinity) == (0, 0, 0)
    assert cfg.model.network.embedding == 0
    # with an embedding they can be had
    cfg = compose("train", [*words, "mdm.rounds=1", "model.network.embedding=${model.embedding}"])
    assert cfg.export.rounds == 1
    assert cfg.model.network.embedding == cfg.model.embedding > 0


def test_the_class_count_is_written_once():
    cfg = compose("train", ["data.num_classes=7"])
    assert cfg.model.network.num_classes == 7


@pytest.mark.parametrize("exp", EXPERIMENTS)
def test_an_experiment_says_what_it_is_and_how_it_is_run(exp):
    first, *rest = (CONFIGS / "exp" / f"{exp}.yaml").read_text().splitlines()
    assert first == "# @package _global_"
    head = [line for line in rest if line.startswith("#")]
    assert any("p2seg " in line or "./scripts/" in line for line in head)
    assert f"name: {exp}" in rest


def test_no_config_names_a_path_of_one_machine():
    for path in CONFIGS.rglob("*.yaml"):
        for word in path.read_text().split():
            assert not word.startswith(("/home/", "/work/", "/root/", "/mnt/", "C:")), path


def test_a_checkpoint_holds_what_decides_a_training(tmp_path, monkeypatch):
    cfg = compose("train", ["+exp=drawn"])
    for key, value in {"data.points": tmp_path / "p.json", "data.semantic": tmp_path}.items():
        OmegaConf.update(cfg, key, str(value))
    (tmp_path / "p.json").write_text('{"images": [], "annotations": [], "categories": []}')

    class Points:
        categories = ()
        images = ()

    first = provenance(cfg, Points, [])
    for key, value in {
        "seed": 5,
        "trainer.batch_size": 3,
        "trainer.max_steps": 7,
        "data.augment.crop": 64,
        "data.short_side": 99,
        "data.long_side": 999,
        "mdm.beta": 1.5,
        "loss.offset": 2.0,
        "optim.lr": 0.5,
        "model.width": 8,
    }.items():
        other = OmegaConf.merge(cfg)
        OmegaConf.update(other, key, value)
        assert provenance(other, Points, [])["config"] != first["config"], key
    same = OmegaConf.merge(cfg)
    same.data.workers, same.trainer.log_every, same.trainer.accelerator = 9, 3, "cpu"
    assert provenance(same, Points, [])["config"] == first["config"]
    deciding, harmless = differences(first, provenance(same, Points, []))
    assert not deciding
    assert [told.split()[0] for told in harmless] == ["trainer.accelerator"]
    (tmp_path / "manifest.json").write_text('{"source": "grabcut"}')
    assert provenance(cfg, Points, [])["inputs"] != first["inputs"]


@pytest.mark.parametrize(
    ("key", "value", "decides"),
    [
        ("trainer.precision", "bf16-mixed", True),
        ("deterministic", True, True),
        ("segmentor.copy_paste", 0.5, True),
        ("segmentor.validate.images", 7, None),
        ("trainer.compile", True, False),
        ("data.augment.crop", 64, None),
        ("trainer.max_steps", 7, None),
        ("name", "other", None),
    ],
)
def test_a_segmentors_checkpoint_holds_what_decides(tmp_path, key, value, decides):
    from p2seg.cli.segmentor import segmentor_provenance

    (tmp_path / "pseudo.json").write_text("{}")
    words = ["+exp=drawn", f"data.images={tmp_path}", f"pseudo={tmp_path}/pseudo.json"]
    cfg = compose("train_segmentor", words)
    other = OmegaConf.merge(cfg)
    OmegaConf.update(other, key, value)
    own = InstanceSet(images=[], categories=[], instances=[])
    first, second = (segmentor_provenance(each, own, [], None) for each in (cfg, other))
    deciding, harmless = differences(first, second)
    assert [told.split()[0] for told in deciding] == ([key] if decides else [])
    # None: nothing depends on it, or only the network does
    assert (key in {told.split()[0] for told in harmless}) == (decides is False)


@pytest.mark.parametrize(
    ("words", "power"),
    [([], 3), (["export.beta=7"], 7), (["mdm.beta=20"], 20), (["mdm.beta=9", "export.beta=7"], 7)],
)
def test_the_power_at_export(words, power):
    from p2seg.cli.labeler import network_labeler

    cfg = compose("gen_pseudo", ["mdm=paper", *words])
    assert network_labeler(cfg, torch.nn.Identity()).mdm.beta == power


@pytest.mark.parametrize("mdm", ["best", "bestie"])
@pytest.mark.parametrize("word", ["export.beta=5", "export.rounds=1"])
def test_rounds_of_a_network_without_affinities_are_one_sentence(mdm, word):
    from p2seg.cli.labeler import network_labeler

    with pytest.raises(UserError, match=f"{word} needs affinities.* train with mdm=paper"):
        network_labeler(compose("gen_pseudo", [f"mdm={mdm}", word]), torch.nn.Identity())


def test_the_baseline_has_no_rounds():
    from p2seg.cli.labeler import network_labeler

    labeler = network_labeler(compose("gen_pseudo", ["mdm=bestie"]), torch.nn.Identity())
    assert (labeler.mdm, labeler.decode) == (None, "point")
