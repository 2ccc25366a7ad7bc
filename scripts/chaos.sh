#!/usr/bin/env bash
# Kills, starves and interrupts every stage at random moments, and counts what is lost: nothing should be,
# and no process and no temporary file may be left.
# Kills, starves and interrupts every stage at random moments, and counts lost results and overwritten inputs: none.
#   ./scripts/chaos.sh              about 15 minutes on two cores; --seed, --kills, --ranks, --disks, --short
set -euo pipefail
. "$(dirname "$0")/_environment.sh"
exec python scripts/chaos.py "$@"
