"""`python -m p2seg` is the command `p2seg`."""

from p2seg.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
