#!/usr/bin/env bash
# usage: sbatch [OPTIONS OF sbatch] slurm/pretrain.sh [OPTIONS OF leda_dist_train]
#
# Stage 1: the autoencoder, in run.folder. Survives preemption, time limits and lost nodes: it is saved, requeued and
# resumed.
#   sbatch --nodes=4 --ntasks-per-node=8 slurm/pretrain.sh --config my.cfg --run.folder=runs/mine
# LEDA_LAUNCHER=srun|mpirun, GPUs, partition, modules and container: slurm/site.sh. All is explained in docs/slurm.md.
#SBATCH --job-name=leda_pretrain
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=2
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120
#SBATCH --output=%x-%j.out
set -euo pipefail

# Slurm runs a copy of this file; where the project lies, the job's record says, or LEDA_HOME.
find_home() {
  local home record=''
  if [[ -n ${LEDA_HOME-} ]]; then
    home=$LEDA_HOME
  else
    if [[ -n ${SLURM_JOB_ID-} ]]; then record=$(scontrol show job "$SLURM_JOB_ID" | sed -n 's|^ *Command=\(.*\)/slurm/pretrain\.sh.*|\1|p'); fi
    for home in "$record" "$(dirname "${BASH_SOURCE[0]}")/.." "${SLURM_SUBMIT_DIR-}"; do [[ ! -e $home/slurm/job.bash ]] || break; done
  fi
  if [[ ! -e $home/slurm/job.bash ]]; then
    printf 'pretrain.sh: the project is not in %s (no slurm/job.bash)\n  Name its folder: LEDA_HOME=FOLDER sbatch ...\n' "${home:-this folder}" >&2
    exit 5
  fi
  printf '%s\n' "$home"
}
home=$(find_home)
# shellcheck source=slurm/job.bash
source "$home/slurm/job.bash"

read_settings "$@"
run_on_all_ranks leda_dist_train --run.stages=pretrain "$@"
say "finished"
