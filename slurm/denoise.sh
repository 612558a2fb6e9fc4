#!/usr/bin/env bash
# usage: sbatch [OPTIONS OF sbatch] slurm/denoise.sh [OPTIONS OF leda_dist_train]
#
# Stage 2, without and with the LEDA loss, and evaluation, in run.folder. The autoencoder is that of slurm/pretrain.sh
# in the same run.folder, or of another run: --leda.autoencoder=FOLDER/pretrain/autoencoder.safetensors. Survives
# preemption, time limits and lost nodes: it is saved, requeued and resumed.
# Of an array of jobs each takes its own line of LEDA_TASKS, a file of options; slurm/sweep.sh writes one.
#   sbatch --nodes=4 --ntasks-per-node=8 slurm/denoise.sh --config my.cfg --run.folder=runs/mine
# LEDA_LAUNCHER=srun|mpirun, GPUs, partition, modules and container: slurm/site.sh. All is explained in docs/slurm.md.
#SBATCH --job-name=leda_denoise
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=2
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120
#SBATCH --output=%x-%j.out
set -euo pipefail

# Slurm runs a copy of this file. Where the project lies, LEDA_HOME says, or the job's record; without both it is looked
# for at this file and in the folder of sbatch.
home=${LEDA_HOME:-${SLURM_JOB_ID:+$(scontrol show job "$SLURM_JOB_ID" | sed -n 's|/slurm/[^/ ]*\.sh\( .*\)\?$||; s|^ *Command=||p' || true)}}
for home in "$home" "$(dirname "${BASH_SOURCE[0]}")/.." "${SLURM_SUBMIT_DIR-}"; do [[ ! -e $home/slurm/job.bash ]] || break; done
[[ -e $home/slurm/job.bash ]] || { echo 'The project was not found. Name its folder: LEDA_HOME=FOLDER sbatch ...' >&2; exit 5; }
# shellcheck source=slurm/job.bash
source "$home/slurm/job.bash"

read_settings "$@"
if [[ -n ${LEDA_TASKS-} ]]; then
  mapfile -t tasks <"$LEDA_TASKS"
  task=${tasks[$((SLURM_ARRAY_TASK_ID - 1))]-}
  [[ -n $task ]] || fail "$exit_usage" "$LEDA_TASKS has no line $SLURM_ARRAY_TASK_ID." "An array of this file is --array=1-${#tasks[@]}."
  read -ra own <<<"$task"
  run_on_all_ranks leda_dist_train "$@" "${own[@]}"
else
  run_on_all_ranks leda_dist_train --run.stages=baseline,denoise,evaluate "$@"
fi
say "finished"
