"""`python tools/validate.py ...` in a checkout is `p2seg validate ...`."""

import sys

from p2seg.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["validate", *sys.argv[1:]]))
