"""`python tools/make_points.py ...` in a checkout is `p2seg experiment make_points ...`."""

import sys

from p2seg.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["experiment", "make_points", *sys.argv[1:]]))
