"""`python scripts/prepare_voc.py ...` in a checkout is `p2seg prepare_voc ...`."""

import sys

from p2seg.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["prepare_voc", *sys.argv[1:]]))
