"""Draws figures: masks side by side, or what a network has learned about an image.

p2seg visualize +exp=demo figure=masks masks=[outputs/demo/mdm.json] out=masks.png
p2seg visualize +exp=demo figure=rounds ckpt=outputs/demo/network/last.pt out=rounds.png
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from p2seg.apps.report.pictures import write_png
from p2seg.cli.claims import writes
from p2seg.cli.figures import FIGURES, Figures
from p2seg.cli.paths import output_folder
from p2seg.errors import UserError, check_choice
from p2seg.runtime.progress import console


@writes("visualize", lambda cfg: output_folder(cfg, f"figures/{cfg.figure}.png"))
def run(cfg: DictConfig) -> Path:
    """Draws a figure, and returns the path of its file."""
    out = output_folder(cfg, f"figures/{cfg.figure}.png")
    if out.suffix.lower() != ".png" or out.is_dir():
        raise UserError(f"out={out} is not a file name of a picture; give out=FILE.png")
    check_choice("figure", cfg.figure, tuple(FIGURES))
    write_png(out, FIGURES[cfg.figure](Figures(cfg)))
    console.print(f"wrote {out}", markup=False)
    return out
