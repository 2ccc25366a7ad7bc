"""`python tools/gen_semantic.py ...` in a checkout is `p2seg experiment gen_semantic ...`."""

import sys

from p2seg.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["experiment", "gen_semantic", *sys.argv[1:]]))
