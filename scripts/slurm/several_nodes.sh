#!/usr/bin/env bash
# Runs a tool as a SLURM job on the GPUs of several nodes. It is stopped before its time limit, or when
# another job preempts it, and resumes from its checkpoint when it is queued again:
#
#   sbatch scripts/slurm/several_nodes.sh tools/train.py +exp=voc_hrnet48
#   sbatch --nodes=4 --time=4:00:00 scripts/slurm/several_nodes.sh tools/train.py +exp=coco_hrnet48
#
# Activate the environment before sbatch, which passes it on. Options of the command line override
# those below. A task is one process with one GPU; tools that support only one process get one.
#SBATCH --job-name=p2seg
#SBATCH --nodes=2
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
