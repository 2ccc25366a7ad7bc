"""`python tools/train_segmentor.py ...` in a checkout is `p2seg train_segmentor ...`."""

import sys

from p2seg.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["train_segmentor", *sys.argv[1:]]))
