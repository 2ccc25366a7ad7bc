#!/usr/bin/env bash
# Runs the tests; creates .venv first if it does not exist. Arguments go to pytest:
#   ./scripts/test.sh               the default suite
#   ./scripts/test.sh -m slow -n 0  the slow tests, in sequence
set -euo pipefail
needs=dev . "$(dirname "$0")/_environment.sh"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"  # one process per core
exec python -m pytest -n auto --maxprocesses 8 --dist loadfile "$@"
