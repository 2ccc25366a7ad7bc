#!/usr/bin/env bash
# Kills, starves and interrupts every stage at random moments, and counts lost results, overwritten inputs, and processes
# and temporary files that are left: none.
#   ./scripts/chaos.sh              about 15 minutes on two cores; --seed, --kills, --ranks, --disks, --short
set -euo pipefail
needs=dev . "$(dirname "$0")/_environment.sh"
exec python scripts/chaos.py "$@"
