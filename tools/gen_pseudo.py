"""`python tools/gen_pseudo.py ...` in a checkout is `p2seg experiment gen_pseudo ...`."""

import sys

from p2seg.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["experiment", "gen_pseudo", *sys.argv[1:]]))
