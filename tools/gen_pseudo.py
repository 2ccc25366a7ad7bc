"""Makes pseudo masks of points: by a trained network, or of the seeds alone.

python tools/gen_pseudo.py +exp=voc_hrnet48 ckpt=outputs/voc_hrnet48/network/last.pt
python tools/gen_pseudo.py data.images=DIR data.points=FILE data.semantic=DIR out=FILE.json
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from _common import (
    check_classes,
    device_of,
    load_network,
    output_folder,
    path_of,
    plain,
    reader_of,
    semantic_source,
)
from _entry import entry
from hydra.utils import instantiate
from omegaconf import DictConfig

from p2seg.checkpoint import load_checkpoint
from p2seg.data.points import PointSet, read_points
from p2seg.files import sha256
from p2seg.progress import console, track
from p2seg.provenance import versions
from p2seg.pseudo.export import MaskRules, Shards, export_key, label_images, write_pseudo
from p2seg.pseudo.infer import Labeller, NetworkLabeller, SeedLabeller


def run(cfg: DictConfig) -> Path:
    """Labels every image and gives the written file."""
    out = Path(cfg.out).expanduser() if cfg.out else output_folder(cfg, "pseudo.json")
    points = read_points(path_of(cfg, "data.points"))
    reader = reader_of(cfg, points)
    fabric = instantiate(cfg.trainer).fabric()
    labeller, info = labeller_of(cfg, points)
    info["inputs"] = {
        "points": sha256(path_of(cfg, "data.points")),
        "semantic": semantic_source(reader.semantic),
    }
    shards = Shards(out, export_key(info), fabric.global_rank)
    rules = MaskRules(cfg.export.min_pixels, cfg.export.default_box)
    steps = label_images(
        points,
        reader,
        labeller,
        rules,
        shards,
        cfg.data.on_error,
        fabric.global_rank,
        fabric.world_size,
    )
    total = len(range(fabric.global_rank, len(points.images), fabric.world_size))
    first = fabric.global_rank == 0
    skipped = [s for s in track(steps, "pseudo masks", total, shown=first) if s is not None]
    for sentence in skipped:
        console.print(f"skipped: {sentence}", markup=False)
    fabric.barrier()
    if first:
        write_pseudo(out, points, shards, {**info, "versions": versions()}, skipped)
        console.print(f"wrote {out}", markup=False)
    fabric.barrier()
    return out


def labeller_of(cfg: DictConfig, points: PointSet) -> tuple[Labeller, dict[str, Any]]:
    """What labels the images, and how the result describes it."""
    rules = plain(cfg.export)
    info: dict[str, Any] = {"description": "p2seg pseudo masks", "export": rules}
    if cfg.ckpt in (None, "none"):
        info |= {"source": "seed", "conflict": cfg.mdm.conflict, "snap_radius": cfg.mdm.snap_radius}
        return SeedLabeller(instantiate(cfg.seeder), cfg.export.orphans), info
    check_classes(cfg, points)
    path = Path(cfg.ckpt).expanduser()
    checkpoint = load_checkpoint(path, "network")
    info |= {"source": "network", "checkpoint": sha256(path), "step": checkpoint["step"]}
    info |= {"network": checkpoint["config"], "mdm": plain(cfg.mdm)}
    labeller = NetworkLabeller(
        network=load_network(cfg, checkpoint, points).to(device_of(cfg)),
        mdm=instantiate(cfg.mdm_module),
        rounds=cfg.export.rounds,
        silhouette=cfg.export.semantic,
        orphans=cfg.export.orphans,
        snap_radius=cfg.mdm.snap_radius,
        flip=cfg.export.flip,
        scales=tuple(cfg.export.scales),
    )
    return labeller, info


@entry("gen_pseudo")
def main(cfg: DictConfig) -> None:
    """The command."""
    run(cfg)


if __name__ == "__main__":
    raise SystemExit(main())
