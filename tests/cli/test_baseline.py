"""BESTIE in every experiment: its settings are its own, and its network decides the masks."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from networks import tiny_network
from strategies import points_of
from test_configs import CONFIGS

from p2seg.cli.build import build
from p2seg.cli.labeler import network_labeler
from p2seg.method.bestie import Bestie, BestieLoss, BestieNetwork
from p2seg.models.backbones import build_backbone

EXPERIMENTS = [
    ["mdm=bestie"],
    *([f"+exp={exp}"] for exp in ("drawn_bestie", "real_coco_bestie", "voc_bestie_hrnet48")),
    *(
        [f"+exp={exp}", "mdm=bestie"]
        for exp in ("demo", "drawn", "real_coco", "real_voc", "coco_hrnet48")
    ),
    ["+exp=real_nuclei", "mdm=bestie"],
]


@pytest.fixture(autouse=True)
def configs() -> Iterator[None]:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        yield


@pytest.mark.parametrize("words", EXPERIMENTS, ids=" ".join)
def test_no_experiment_weakens_it(words):
    cfg = compose("pipeline", words)
    method = build(cfg.method)
    ratio = cfg.loss.hard_pixel_ratio
    assert method == Bestie(BestieLoss(hard_pixel_ratio=ratio), min_region=50)
    assert (method.loss.center, method.loss.offset, method.loss.sigma) == (200, 0.01, 6)
    assert ratio == (1.0 if re.search("demo|drawn|real", words[0]) else 0.2)
    seeder = build(cfg.seeder)
    assert (seeder.conflict, seeder.snap_radius, seeder.split.rule) == (
        "semantic_first",
        0,
        "euclidean",
    )
    labeler = network_labeler(cfg, torch.nn.Identity())
    assert (labeler.silhouette, labeler.decode, labeler.flip) == ("network", "point", True)
    assert (labeler.snap_radius, labeler.split.rule) == (0, "euclidean")
    if "hrnet48" in words[0]:
        assert cfg.model.decoder == "none"


def random_network(seed: int) -> BestieNetwork:
    trunk = tiny_network(seed=seed)  # timm's own start leaves the blocks without effect
    backbone = build_backbone("test_resnet", pretrained=False)
    made = BestieNetwork(backbone, 3, width=8, dilations=(1, 2))
    made.backbone.load_state_dict(trunk.backbone.state_dict())
    return made.eval()


@pytest.mark.parametrize("words", [["mdm=bestie"], ["+exp=drawn_bestie"]], ids=" ".join)
def test_two_random_networks_make_different_masks(words):
    cfg = compose("gen_pseudo", words)
    random = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, 64, 96), generator=random, dtype=torch.uint8)
    first = torch.zeros(64, 96, dtype=torch.long)
    first[8:40, 4:60], first[44:60, 30:50], first[10:30, 66:90] = 1, 2, 1
    points = points_of([(20, 15), (25, 45), (50, 40), (20, 75)], [1, 1, 2, 1])
    one, other = (
        network_labeler(cfg, random_network(seed))(image, points, first).instances
        for seed in (0, 1)
    )
    labeled = (one > 0) | (other > 0)
    assert int((one != other).sum()) >= 0.01 * int(labeled.sum()) > 0
