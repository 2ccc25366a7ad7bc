"""`python tools/gen_semantic.py ...` in a checkout is `p2seg gen_semantic ...`."""

import sys

from p2seg.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["gen_semantic", *sys.argv[1:]]))
