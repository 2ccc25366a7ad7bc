"""In every experiment that trains a network, the network decides the masks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig
from strategies import points_of
from torch import Tensor

from p2seg.cli.build import build
from p2seg.cli.labeler import network_labeler
from p2seg.data.rle import encode
from p2seg.data.sets.synthetic import draw_scene
from p2seg.pseudo.labeler import Labeler
from p2seg.pseudo.seeds import SeedFallback
from p2seg.sam.candidates import Candidate, CandidateFolder, write_candidates
from p2seg.sam.choose import Chooser
from p2seg.sam.selected import Selection, Snapped
from p2seg.semantic.degrade import Degrade
from p2seg.semantic.manifest import Manifest, write_manifest
from p2seg.structures import Points

CONFIGS = Path(__file__).resolve().parent.parent.parent / "configs"
EXPERIMENTS = sorted(path.stem for path in (CONFIGS / "exp").glob("*.yaml"))
WITHOUT_NETWORK = {
    "voc_sam_baseline": "the masks are SAM's best-scored ones as they are",
    "coco_sam_baseline": "the masks are SAM's best-scored ones as they are",
}
"""Experiments that train no network, and what decides their masks."""

SMALL = (
    *("model.backbone=test_resnet", "model.feature_location=null", "model.pretrained=false"),
    *("model.weights=null", "model.width=8", "model.embedding=4", "model.dilations=[1,2]"),
)
CAM_LIKE = Degrade(missing=0.3, noise=4, erode=2)
"""Makes a true class map as poor as one of class activations: parts are lost, borders wave."""


@dataclass(frozen=True)
class Drawn:
    """A drawn image, a click on each object, a poor semantic map, and the objects' masks."""

    image: Tensor
    points: Points
    first: Tensor
    masks: list[np.ndarray]


def drawn(seed: int, side: int) -> Drawn:
    scene = draw_scene(np.random.default_rng(seed), side)
    masks = [scene.objects == k for k in range(1, int(scene.objects.max()) + 1)]
    inner = [np.argwhere(mask)[mask.sum() // 2] for mask in masks]
    labels = [int(scene.semantic[y, x]) for y, x in inner]
    return Drawn(
        torch.from_numpy(scene.image).movedim(2, 0).contiguous(),
        points_of([(float(y), float(x)) for y, x in inner], labels),
        torch.from_numpy(CAM_LIKE(scene.semantic, str(seed))).long(),
        masks,
    )


@pytest.fixture(scope="module")
def images() -> list[Drawn]:
    return [drawn(seed, 72) for seed in range(2)]


@pytest.fixture(autouse=True)
def configs() -> Iterator[None]:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        yield


def candidates(folder: Path, each: Drawn) -> CandidateFolder:
    """What a segmenter offers for each click: the object, and its upper half."""
    half = [
        mask & (np.arange(len(mask))[:, None] < np.argwhere(mask)[:, 0].mean())
        for mask in each.masks
    ]
    ids = each.points.ids.tolist()
    offered = {
        number: [Candidate(encode(mask), 0.9, 0.9), Candidate(encode(part), 0.7, 0.9)]
        for number, mask, part in zip(ids, each.masks, half, strict=True)
    }
    write_candidates(folder / "a.json", offered, "key")
    write_manifest(folder, Manifest("test", {}, ["a"], "", {}))
    size = tuple(each.first.shape)
    return CandidateFolder(folder, dict.fromkeys(ids, (folder / "a.json", size)))


def exported(cfg: DictConfig, seed: int, each: Drawn, folder: Path) -> Tensor:
    """The masks of a network of random weights, as the experiment exports them."""
    if cfg.data.num_classes == 1:
        one = replace(each.points, labels=each.points.labels.clamp(max=1))
        each = replace(
            each, points=one, first=each.first.where(each.first > 200, each.first.clamp(max=1))
        )
    torch.manual_seed(seed)
    labeler: Labeler = network_labeler(cfg, build(cfg.model.network).eval())
    if cfg.export.unclaimed == "seed":
        labeler = SeedFallback(labeler, build(cfg.seeder), cfg.export.min_pixels)
    if cfg.export.snap == "sam":
        borders = Selection(candidates(folder, each), Chooser("consistent"))
        labeler = Snapped(labeler, borders, cfg.export.snap_iou)
    return labeler(each.image, each.points, each.first).instances


@pytest.mark.parametrize("exp", [exp for exp in EXPERIMENTS if exp not in WITHOUT_NETWORK])
def test_two_random_networks_give_different_masks(exp, images, tmp_path):
    cfg = compose("gen_pseudo", [f"+exp={exp}", *SMALL])
    if cfg.data.num_classes is None:  # read from the points file
        cfg.data.num_classes = 4
    assert cfg.export.masks == "mdm"
    different = labeled = 0
    for each in images:
        one, other = (exported(cfg, seed, each, tmp_path) for seed in (1, 2))
        own = (one > 0) | (other > 0)
        different += int((one != other)[own].sum())
        labeled += int(own.sum())
    assert different >= 0.01 * labeled


@pytest.mark.parametrize("exp", sorted(WITHOUT_NETWORK))
def test_an_experiment_without_a_network_trains_none(exp):
    cfg = compose("pipeline", [f"+exp={exp}"])
    assert cfg.pipeline.network is False
    assert cfg.export.masks == "sam"
