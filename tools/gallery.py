"""`python tools/gallery.py ...` in a checkout is `p2seg experiment gallery ...`."""

import sys

from p2seg.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["experiment", "gallery", *sys.argv[1:]]))
