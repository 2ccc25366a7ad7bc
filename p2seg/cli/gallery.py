"""Writes a page to review masks: a folder that opens without a server or the internet.

p2seg gallery pred=masks.json images=DIR out=gallery
p2seg gallery +exp=demo pred=outputs/demo/mdm.json ckpt=outputs/demo/network/last.pt
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from p2seg.apps.gallery.build import Maker, tidy
from p2seg.apps.gallery.page import Title, weight, write_page
from p2seg.cli.claims import writes
from p2seg.cli.gallery_inputs import material_of, review_of, stages_key
from p2seg.cli.paths import output_folder, path_of
from p2seg.cli.provenance import record_run
from p2seg.errors import UserError
from p2seg.runtime.devices import device_of
from p2seg.runtime.files import sha256
from p2seg.runtime.progress import console, track


@writes("gallery", lambda cfg: output_folder(cfg, "gallery"), folder=True)
def run(cfg: DictConfig) -> Path:
    """Writes the gallery and returns the path of its page."""
    out, pred = output_folder(cfg, "gallery"), path_of(cfg, "pred")
    material, hint = material_of(cfg, device_of(cfg.trainer.accelerator))
    review = review_of(cfg, material.pred)
    record_run(cfg, "gallery", out)
    maker = Maker(out, material, stages_key(cfg) if material.stages is not None else "")
    for _ in track(maker.make(cfg.data.on_error), "gallery", len(material.pred.images)):
        pass
    count = write_page(maker, Title(pred.name, sha256(pred), hint), review)
    if not count:
        raise UserError(f"no image of {pred} is usable; the first reason: {maker.skipped[0]}")
    tidy(maker)
    for sentence in maker.skipped:
        console.print(f"skipped: {sentence}", markup=False)
    masks = sum(map(len, material.pred.instances))
    size = weight(out) / 1e6
    console.print(
        f"wrote {out / 'index.html'}: {masks} masks in {count} images, {size:.0f} MB; open it in a "
        "browser",
        markup=False,
    )
    return out / "index.html"
