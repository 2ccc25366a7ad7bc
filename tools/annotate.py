"""`python tools/annotate.py ...` in a checkout is `p2seg experiment annotate ...`."""

import sys

from p2seg.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["experiment", "annotate", *sys.argv[1:]]))
