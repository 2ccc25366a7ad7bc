"""`python tools/export_masks.py ...` in a checkout is `p2seg experiment export_masks ...`."""

import sys

from p2seg.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["experiment", "export_masks", *sys.argv[1:]]))
