"""Makes masks with the compact watershed from the clicks, as a baseline, and reports them.

    python scripts/watershed.py +exp=real_nuclei pipeline.network=false "pipeline.segmentors=[]"

The script has the settings of p2seg pipeline, shares its clicks and initial semantic maps, and
writes `watershed.json` and a report. The package has no such setting, because the watershed equals
the geodesic distance on nuclei and is worse on drawn images and photographs
(docs/developers/experiments.md).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from skimage.segmentation import watershed

from p2seg.data.points import read_points
from p2seg.method.seed import Seeder
from p2seg.pseudo.export import MaskRules, export_key, label_images, write_pseudo
from p2seg.pseudo.labeler import Labeled
from p2seg.pseudo.resume_log import Shards
from p2seg.pseudo.seeds import SeedLabeler
from p2seg.runtime.files import fingerprint
from p2seg.runtime.provenance import versions
from p2seg.structures import Points


@dataclass(frozen=True)
class Watershed:
    """Labels pixels by Eq. 1 and splits regions with several clicks by watershed.

    Attributes:
        compactness: of scikit-image's watershed; 0 uses only the edges of the image. The default
            is the best of 0, 0.01, 0.1, 1, 10 and 100 on every sixth training image of `nuclei`.
        needs_image: see `p2seg.pseudo.labeler.Labeler`.
        on_gpu: see `p2seg.pseudo.labeler.Labeler`.
    """

    compactness: float = 10.0
    needs_image: bool = True
    on_gpu: bool = False

    def __call__(self, image: torch.Tensor | None, points: Points, first: torch.Tensor) -> Labeled:
        """Labels one image; see `p2seg.pseudo.labeler.Labeler`."""
        assert image is not None
        control = SeedLabeler(Seeder())(None, points, first)
        lab = cv2.cvtColor(image.permute(1, 2, 0).contiguous().numpy(), cv2.COLOR_RGB2LAB)
        smooth = cv2.GaussianBlur(lab.astype(np.float32), (0, 0), 1)
        steps = [cv2.Sobel(smooth, cv2.CV_32F, *axis) / 8 for axis in ((1, 0), (0, 1))]
        strength = np.sqrt(sum((step**2).sum(2) for step in steps))
        owner = control.instances.numpy().copy()
        markers = np.zeros_like(owner)
        for k, (y, x) in reversed(list(enumerate(points.pixels.tolist()))):
            markers[y, x] = k + 1
        for label in points.labels.unique().tolist():
            mine = np.flatnonzero(points.labels.numpy() == label) + 1
            where = np.isin(owner, mine)
            if len(mine) > 1 and where.any():
                begin = np.where(where & np.isin(markers, mine), markers, 0)
                flood = watershed(strength, begin, mask=where, compactness=self.compactness)
                owner[flood > 0] = flood[flood > 0]
        return replace(control, instances=torch.from_numpy(owner))


def run(cfg: Any) -> Path:
    """Makes the masks, trains the requested segmentors, and returns the path of the report."""
    from p2seg.cli.experiment import Experiment
    from p2seg.cli.fingerprints import inputs_info, key_of, stamps_of
    from p2seg.cli.inputs import clicks_sha256, reader_of
    from p2seg.cli.provenance import record_run

    experiment = Experiment(cfg)
    record_run(cfg, "pipeline", experiment.home)
    experiment.prepare()
    experiment.points()
    experiment.semantic()
    out, labeler = experiment.home / "watershed.json", Watershed()

    def write() -> None:
        points = read_points(experiment.clicks)
        reader = reader_of(cfg, points)
        stamps = stamps_of(points.images, reader.images, reader.semantic)
        info = {
            "description": "masks of the compact watershed",
            "source": "watershed",
            "compactness": labeler.compactness,
            "inputs": inputs_info(cfg, reader.semantic, stamps),
            "versions": versions(),
        }
        shards = Shards(out, export_key(info, clicks_sha256(cfg)), 0, stamps)
        for _ in label_images(points, reader, labeler, MaskRules(), shards, cfg.data.on_error):
            pass
        write_pseudo(out, points, shards, info)

    unused = {"model", "affinity", "mdm", "export", "data.candidates"}
    images = read_points(experiment.clicks).images
    experiment.stages.run(
        "watershed",
        write,
        key=lambda: fingerprint(
            [key_of(cfg, "gen_pseudo", images, without=unused), labeler.compactness]
        ),
        outputs=[out],
    )
    experiment.masks.append("watershed")
    for masks in cfg.pipeline.segmentors:
        experiment.segmentor(masks)
    return experiment.report()


def main(words: list[str] | None = None) -> int:
    """Runs the script with arguments, by default those of the process."""
    from p2seg.cli.claims import writes
    from p2seg.cli.entry import entry
    from p2seg.cli.paths import output_folder

    claimed = writes("pipeline", lambda cfg: output_folder(cfg, ""), folder=True)(run)
    return entry("pipeline")(claimed)(words)


if __name__ == "__main__":
    raise SystemExit(main())
