"""`python tools/export_masks.py ...` in a checkout is `p2seg export_masks ...`."""

import sys

from p2seg.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["export_masks", *sys.argv[1:]]))
