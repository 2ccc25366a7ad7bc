"""`python tools/visualize.py ...` in a checkout is `p2seg experiment visualize ...`."""

import sys

from p2seg.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["experiment", "visualize", *sys.argv[1:]]))
