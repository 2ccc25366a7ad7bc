"""`python tools/pipeline.py ...` in a checkout is `p2seg experiment pipeline ...`."""

import sys

from p2seg.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["experiment", "pipeline", *sys.argv[1:]]))
