"""`python tools/eval.py ...` in a checkout is `p2seg eval ...`."""

import sys

from p2seg.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["eval", *sys.argv[1:]]))
