"""`python tools/export_points.py ...` in a checkout is `p2seg export_points ...`."""

import sys

from p2seg.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["export_points", *sys.argv[1:]]))
