"""Runs the whole method on 60 micrographs of cell nuclei, and writes a report.

    p2seg demo
    p2seg demo DIR seed=1

The results go to DIR (default: outputs/demo). Settings are those of `p2seg pipeline`. A second run
continues where the first one stopped.
"""

from __future__ import annotations

import sys
from pathlib import Path

from p2seg.cli.main import main as p2seg


def main(arguments: list[str]) -> int:
    """Runs `p2seg pipeline` with the settings of the demo, and returns its exit code."""
    if {"-h", "--help"} & set(arguments):
        sys.stdout.write(__doc__ or "")
        return 0
    folders = [each for each in arguments[:1] if "=" not in each and not each.startswith("-")]
    places = [f"out={folder}" for folder in folders]
    places += [f"data.root={Path(folder) / 'data'}" for folder in folders]
    return p2seg(["pipeline", "+exp=demo", *places, *arguments[len(folders) :]])
