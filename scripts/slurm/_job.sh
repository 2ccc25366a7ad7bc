# What the jobs of this folder do: run a tool by srun, and come back after exit code 75.

again="$PWD/.slurm-$SLURM_JOB_ID.again"
rm -f "$again"

case $(basename "$1") in
  train.py | train_segmentor.py | gen_semantic.py | gen_pseudo.py | predict.py | eval.py) tasks=() ;;
  *) tasks=(--nodes=1 --ntasks=1) ;;
esac

# the address that SLURM itself uses for the first node
MASTER_ADDR=$(scontrol show node "$SLURMD_NODENAME" | sed -n 's/.*NodeAddr=\([^ ]*\).*/\1/p')
export MASTER_ADDR
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}  # srun does not inherit it since 22.05

# Where a task stops with 75, srun must not kill the others, which may still be writing: it is told
# 0, and that there is more to do lies in a file. So it is after 138 and 143: the signal has come before
# the tool listened. The signals are for the tool, not for its shell.
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
  echo "stopped early, and was queued again $REQUEUES times: submit it anew to go on" >&2
  exit 75
fi
exit $code
