"""`python tools/eval.py ...` in a checkout is `p2seg experiment eval ...`."""

import sys

from p2seg.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["experiment", "eval", *sys.argv[1:]]))
