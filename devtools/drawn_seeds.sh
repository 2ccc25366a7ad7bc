#!/usr/bin/env bash
# Runs the drawn set with three seeds, trains a segmentor on the masks of MDM, of the control and on ground truth,
# and prints the table of means and spreads. About 40 minutes on two cores.
#   ./devtools/drawn_seeds.sh            or with seeds: ./devtools/drawn_seeds.sh 0 1 2
set -euo pipefail
. "$(dirname "$0")/../scripts/_environment.sh"
reports=()
for seed in "${@:-0 1 2}"; do
  for s in $seed; do
    p2seg pipeline +exp=drawn "name=drawn_seed$s" "seed=$s" 'pipeline.segmentors=[mdm,control,gt]'
    reports+=("outputs/drawn_seed$s/report.json")
  done
done
python devtools/summarize.py "${reports[@]}"
