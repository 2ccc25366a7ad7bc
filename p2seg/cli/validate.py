"""Reports on one page the contents of a data set, its problems and their fixes.

p2seg validate data=custom data.images=photos data.points=clicks.json out=validate

The exit code is 2 if a problem would stop training. All problems are listed, not only the first.
Images that can be skipped do not count with data.on_error=skip.
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from p2seg.apps.validate.inspect import inspect
from p2seg.apps.validate.kinds import SKIP
from p2seg.apps.validate.page import write_page
from p2seg.apps.validate.pictures import example_images
from p2seg.cli.claims import writes
from p2seg.cli.paths import output_folder
from p2seg.cli.provenance import record_run
from p2seg.cli.validate_inputs import inputs_of, shown_on, tell
from p2seg.errors import UserError


@writes("validate", lambda cfg: output_folder(cfg, "validate"), folder=True)
def run(cfg: DictConfig) -> Path:
    """Writes the page and returns its path."""
    out = output_folder(cfg, "validate")
    inspection = inspect(inputs_of(cfg), out, shown_on)
    cfg.data.num_classes = len(inspection.clicks.categories)  # users need not set it here
    record_run(cfg, "validate", out)
    page = write_page(out, inspection, example_images(inspection))
    tell(inspection, page)
    stopping = inspection.findings.stopping
    if cfg.data.on_error == "skip":  # later commands skip these images too
        stopping = [each for each in stopping if not each.fix.endswith(SKIP)]
    if stopping:
        kinds = "; ".join(each.text for each in stopping)
        raise UserError(
            f"{inspection.inputs.points} is not usable yet: {kinds}; {page} says what to do"
        )
    return page
