"""`python tools/export_points.py ...` in a checkout is `p2seg experiment export_points ...`."""

import sys

from p2seg.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["experiment", "export_points", *sys.argv[1:]]))
