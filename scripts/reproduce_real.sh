#!/usr/bin/env bash
# One table on real images, nuclei|coco|voc: --seeds 0 1 2, --rows NAME.., --segmentors, --dry-run; see
# scripts/reproduce_real.py.
set -euo pipefail
. "$(dirname "$0")/_environment.sh"
exec python scripts/reproduce_real.py "$@"
