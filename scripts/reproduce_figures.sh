#!/usr/bin/env bash
# Figures 7 and 8 of the paper: --data drawn|real|full, --dry-run, --seed 0; see
# scripts/reproduce_figures.py.
set -euo pipefail
. "$(dirname "$0")/_environment.sh"
exec python scripts/reproduce_figures.py "$@"
