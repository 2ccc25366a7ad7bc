"""`python tools/train_segmentor.py ...` in a checkout is `p2seg experiment train_segmentor ...`."""

import sys

from p2seg.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["experiment", "train_segmentor", *sys.argv[1:]]))
