#!/usr/bin/env bash
# Table 2 of the paper: --data drawn|real|full, --dry-run, --seeds 0 1 2; see scripts/reproduce.py.
set -euo pipefail
. "$(dirname "$0")/_environment.sh"
exec python scripts/reproduce.py 2 "$@"
