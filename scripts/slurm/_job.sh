# Shared by the jobs of this folder: runs a tool with srun and requeues the job after exit code 75.

again="$PWD/.slurm-$SLURM_JOB_ID.again"
rm -f "$again"

case $(basename "$1") in
  train.py | train_segmentor.py | gen_semantic.py | gen_pseudo.py | predict.py | eval.py) tasks=() ;;
  *) tasks=(--nodes=1 --ntasks=1) ;;
esac

# the address that SLURM uses for the first node
MASTER_ADDR=$(scontrol show node "$SLURMD_NODENAME" | sed -n 's/.*NodeAddr=\([^ ]*\).*/\1/p')
export MASTER_ADDR
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}  # srun does not inherit it since 22.05

# When a task exits with 75, srun must not kill the other tasks, which may still be writing. So the
# task exits with 0, and a file records that the job must continue. Exit codes 138 and 143 are treated
# alike: the signal came before the tool handled signals. The shell ignores signals meant for the tool.
task='trap : USR1 TERM; python "$@"; code=$?
  if [ $code -eq 75 ] || [ $code -eq 138 ] || [ $code -eq 143 ]; then : > "$0"; exit 0; fi; exit $code'
srun --kill-on-bad-exit=1 "${tasks[@]}" bash -c "$task" "$again" "$@"
code=$?

if [ $code -eq 0 ] && [ -e "$again" ]; then
  rm -f "$again"
  if [ "${SLURM_RESTART_COUNT:-0}" -lt "$REQUEUES" ]; then
    echo "stopped early: job $SLURM_JOB_ID is queued again"
    exec scontrol requeue "$SLURM_JOB_ID"
  fi
  echo "stopped early after $REQUEUES requeues; submit the job again to continue" >&2
  exit 75
fi
exit $code
