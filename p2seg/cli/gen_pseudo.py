"""Generates pseudo masks from points, with a trained network or only from the seeds.

p2seg gen_pseudo +exp=voc_hrnet48 ckpt=outputs/voc_hrnet48/network/last.pt
p2seg gen_pseudo data.images=DIR data.points=FILE data.semantic=DIR out=FILE.json
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from p2seg.apps.validate.prior import warn_of_prior
from p2seg.cli.build import build
from p2seg.cli.candidates import masks_of
from p2seg.cli.claims import writes
from p2seg.cli.fingerprints import inputs_info, stamps_of
from p2seg.cli.inputs import clicks_of, clicks_sha256, reader_of, report_inputs, review_of
from p2seg.cli.labeler import check_export
from p2seg.cli.paths import check_file, output_folder
from p2seg.cli.provenance import record_run
from p2seg.data.instances import PackedInstances
from p2seg.pseudo.export import MaskRules, export_key, label_images, write_pseudo
from p2seg.pseudo.resume_log import Shards
from p2seg.runtime.files import sha256
from p2seg.runtime.progress import console, track
from p2seg.runtime.provenance import versions
from p2seg.runtime.ranks import Ranks


@writes("gen_pseudo", lambda cfg: output_folder(cfg, "pseudo.json"))
def run(cfg: DictConfig) -> Path:
    """Generates the masks of every image and returns the path of the written file."""
    out = check_file(output_folder(cfg, "pseudo.json"))
    check_export(cfg)
    points, review = clicks_of(cfg), review_of(cfg)
    reader = reader_of(cfg, points)
    fabric = build(cfg.trainer).fabric()
    ranks = Ranks.started()
    record_run(cfg, "gen_pseudo", out)
    labeler, info = masks_of(cfg, points, fabric.device)
    key = export_key({**info, "points": clicks_sha256(cfg)}, review and sha256(review.path))
    stamps = stamps_of(points.images, reader.images, reader.semantic)
    info["inputs"] = inputs_info(cfg, reader.semantic, stamps)
    if review is not None:
        console.print(f"{review.path}: {review}", markup=False)
        info["review"] = {"sha256": sha256(review.path), "decisions": str(review)}
    shards = Shards(out, key, ranks.rank, stamps)
    rules = MaskRules(cfg.export.min_pixels, cfg.export.default_box)
    steps = label_images(
        points, reader, labeler, rules, shards, cfg.data.on_error, ranks.rank, ranks.world, review
    )
    for _ in track(steps, "pseudo masks", len(ranks.share(points.images)), shown=ranks.first):
        pass
    ranks.wait()
    if ranks.first:
        pseudo = write_pseudo(out, points, shards, {**info, "versions": versions()})
        report_inputs(pseudo.info["skipped"], reader.images, points.images)
        masks = pseudo.instances
        assert isinstance(masks, PackedInstances)
        boxes, seeds = masks.default_boxes, masks.from_seeds.sum()
        message = f"{len(boxes)} masks, of which {seeds} of seeds and {boxes.sum()} default boxes"
        console.print(f"wrote {out}: {message}", markup=False)
        warn_of_prior(pseudo, lambda text: console.print(text, markup=False))
    ranks.wait()
    return out
