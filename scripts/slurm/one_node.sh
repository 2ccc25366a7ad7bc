#!/usr/bin/env bash
# Runs a tool as a SLURM job on the GPUs of one node. It is stopped before its time limit, or when
# another job preempts it, and resumes from its checkpoint when it is queued again:
#
#   sbatch scripts/slurm/one_node.sh tools/train.py +exp=voc_hrnet48
#   sbatch --ntasks-per-node=2 --gpus-per-node=2 --time=4:00:00 scripts/slurm/one_node.sh tools/...
#
# Activate the environment before sbatch, which passes it on. Options of the command line override
# those below. A task is one process with one GPU; tools that support only one process get one.
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

REQUEUES=${REQUEUES:-50}  # upper limit

source "$(dirname "$1")/../scripts/slurm/_job.sh"
