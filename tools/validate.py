"""`python tools/validate.py ...` in a checkout is `p2seg experiment validate ...`."""

import sys

from p2seg.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["experiment", "validate", *sys.argv[1:]]))
