#!/usr/bin/env bash
# Runs the whole method on 60 micrographs of cell nuclei and writes a report: outputs/demo/report.html.
# Makes .venv first if it does not exist. A second run continues where the first one stopped.
#   ./scripts/demo.sh               passes its arguments to p2seg demo, for example seed=1
set -euo pipefail
. "$(dirname "$0")/_environment.sh"
echo "running all stages of +exp=demo; the results go to outputs/demo"
p2seg demo "$@"
