"""`python scripts/prepare_synthetic.py ...` in a checkout is `p2seg prepare_synthetic ...`."""

import sys

from p2seg.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["prepare_synthetic", *sys.argv[1:]]))
