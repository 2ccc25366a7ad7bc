"""`python tools/predict.py ...` in a checkout is `p2seg predict ...`."""

import sys

from p2seg.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["predict", *sys.argv[1:]]))
