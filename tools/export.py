"""`python tools/export.py ...` in a checkout is `p2seg experiment export ...`."""

import sys

from p2seg.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["experiment", "export", *sys.argv[1:]]))
