#!/usr/bin/env bash
# Runs an ablation, beta|rounds|points|maps|select|segmentor: --data drawn|real|full, --dry-run,
# --seeds 0 1 2; see scripts/reproduce.py.
set -euo pipefail
. "$(dirname "$0")/_environment.sh"
exec python scripts/reproduce.py "$@"
