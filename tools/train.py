"""`python tools/train.py ...` in a checkout is `p2seg experiment train ...`."""

import sys

from p2seg.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["experiment", "train", *sys.argv[1:]]))
