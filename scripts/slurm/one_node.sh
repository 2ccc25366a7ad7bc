#!/usr/bin/env bash
# A tool as a SLURM job on the GPUs of one node. It is stopped before its time is over, or when
# another job takes its place, and goes on from its checkpoint when it is run again:
#
#   sbatch scripts/slurm/one_node.sh tools/train.py +exp=voc_hrnet48
#   sbatch --ntasks-per-node=2 --gpus-per-node=2 --time=4:00:00 scripts/slurm/one_node.sh tools/...
#
# Activate the environment before sbatch, which takes it along. Options of the command line win over
# those below. A task is a process with a GPU; tools that know of one process alone get one.
#SBATCH --job-name=p2seg
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@180
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%j.out

REQUEUES=${REQUEUES:-50}  # at most, so that nothing runs for ever

source "$(dirname "$1")/../scripts/slurm/_job.sh"
