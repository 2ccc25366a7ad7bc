"""`python tools/import_points.py ...` in a checkout is `p2seg import_points ...`."""

import sys

from p2seg.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["import_points", *sys.argv[1:]]))
