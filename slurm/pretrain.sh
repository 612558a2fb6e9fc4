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

# Slurm runs a copy of this file. Where the project lies, LEDA_HOME says, or the job's record; without both it is looked
# for at this file and in the folder of sbatch.
home=${LEDA_HOME:-${SLURM_JOB_ID:+$(scontrol show job "$SLURM_JOB_ID" | sed -n 's|/slurm/[^/ ]*\.sh\( .*\)\?$||; s|^ *Command=||p' || true)}}
for home in "$home" "$(dirname "${BASH_SOURCE[0]}")/.." "${SLURM_SUBMIT_DIR-}"; do [[ ! -e $home/slurm/job.bash ]] || break; done
[[ -e $home/slurm/job.bash ]] || { echo 'The project was not found. Name its folder: LEDA_HOME=FOLDER sbatch ...' >&2; exit 5; }
# shellcheck source=slurm/job.bash
source "$home/slurm/job.bash"

read_settings "$@"
run_on_all_ranks leda_dist_train --run.stages=pretrain "$@"
say "finished"
