#!/usr/bin/env bash
# Runs the tests; makes .venv first if it is not there. Words are handed to pytest:
#   ./scripts/test.sh               the default suite
#   ./scripts/test.sh -m slow -n 0  what takes longer, one after the other
set -euo pipefail
needs=dev . "$(dirname "$0")/_environment.sh"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"  # a process a core
exec python -m pytest -n auto --maxprocesses 8 --dist loadfile "$@"
