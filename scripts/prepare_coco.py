"""`python scripts/prepare_coco.py ...` in a checkout is `p2seg prepare_coco ...`."""

import sys

from p2seg.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["prepare_coco", *sys.argv[1:]]))
