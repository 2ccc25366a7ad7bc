#!/usr/bin/env bash
# Runs the whole method on the drawn set and ends with a picture and a table of scores.
# Makes .venv first if it is not there; run again, it goes on where it stopped.
#   ./scripts/demo.sh               words are handed to tools/pipeline.py, as seed=1
set -euo pipefail
. "$(dirname "$0")/_environment.sh"
echo "running all stages of +exp=demo; the results go to outputs/demo"
python tools/pipeline.py +exp=demo "$@"
