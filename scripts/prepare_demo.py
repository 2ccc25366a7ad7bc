"""`python scripts/prepare_demo.py ...` in a checkout is `p2seg prepare_demo ...`."""

import sys

from p2seg.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["prepare_demo", *sys.argv[1:]]))
