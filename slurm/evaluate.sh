#!/usr/bin/env bash
# usage: sbatch [OPTIONS OF sbatch] slurm/evaluate.sh OUTPUT RUN_FOLDER... [-- OPTIONS OF leda_evaluate]
#
# One table over the denoisers of several runs, in the folder OUTPUT: a row for each kind of denoiser, without and with
# the LEDA loss, over all its seeds. Runs that have no denoiser are named; the table is then of the others, and the
# job ends with 11. Data set and classical baselines are those of the first run.
# Settings of the site: slurm/site.sh. All is explained in docs/slurm.md.
#SBATCH --job-name=leda_evaluate
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
output=${1-}
[[ -n $output ]] || fail "$exit_usage" "no folder for the table was named." "See slurm/evaluate.sh --help."
shift

# value_of RUN_FOLDER NAME: what a run keeps of its options.
value_of() { sed -n "s/^$2 = //p" "$1/options.cfg"; }

runs=()
while (($#)) && [[ $1 != -- ]]; do
  runs+=("$1")
  shift
done
(($# == 0)) || shift
missing=()
denoisers=''
data=''
for run in "${runs[@]}"; do
  files=("$run"/*/denoiser.safetensors)
  if [[ ! -e ${files[0]} ]]; then
    missing+=("$run")
    continue
  fi
  [[ -n $data ]] || data=$(value_of "$run" data.folder)
  for file in "${files[@]}"; do
    row=$(basename "$(dirname "$file")")
    denoisers+=${denoisers:+,}$(value_of "$run" denoiser.type)_${row%_seed_*}=$file
  done
done
[[ -n $denoisers ]] || fail 11 "no run has a denoiser: ${runs[*]-}" "Runs end with RUN_FOLDER/TRAINING/denoiser.safetensors; see their logs."
run_on_all_ranks leda_evaluate --data.folder="$data" --evaluation.denoisers="$denoisers" --evaluation.output="$output" "$@"
cat "$output/evaluation.txt"
((${#missing[@]} == 0)) || fail 11 "the table is without these runs, which have no denoiser: ${missing[*]}" "See their logs; submitted again, they go on."
say "finished"
