"""`python tools/predict.py ...` in a checkout is `p2seg experiment predict ...`."""

import sys

from p2seg.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["experiment", "predict", *sys.argv[1:]]))
