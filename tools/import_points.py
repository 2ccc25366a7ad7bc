"""`python tools/import_points.py ...` in a checkout is `p2seg experiment import_points ...`."""

import sys

from p2seg.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["experiment", "import_points", *sys.argv[1:]]))
