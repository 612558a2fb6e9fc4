#!/usr/bin/env bash
# usage: slurm/sweep.sh [--seeds LIST] [--denoisers LIST] [--at-once N] FOLDER [OPTIONS OF leda_dist_train]
#
# Submits one pretraining (FOLDER/pretraining), then an array of jobs, one for each of seeds x denoisers x {without, with
# the LEDA loss}, all on that autoencoder, then the job that makes one table of them (FOLDER/evaluation): a row for each
# denoiser without and with LEDA, over all seeds. The table is made even when jobs of the array failed, and names them.
#   --seeds LIST       values of run.seed (default 1,2,3)
#   --denoisers LIST   values of denoiser.type (default red_cnn)
#   --at-once N        jobs of the array that run at the same time (default: as many as the cluster gives)
# The same command again goes on where the jobs stopped. Run on the login node, from the folder that relative paths in
# the options start from. Settings of the site: slurm/site.sh. All is explained in docs/slurm.md.
set -euo pipefail
# shellcheck source=slurm/submit.bash
source "$(dirname "${BASH_SOURCE[0]}")/submit.bash"

seeds=1,2,3
denoisers=red_cnn
at_once=''
wanted=''
while (($#)) && [[ -z $wanted ]]; do
  case $1 in
    --seeds | --denoisers | --at-once) (($# > 1)) || fail "$exit_usage" "$1 needs a value." "See slurm/sweep.sh --help." ;;&
    --seeds) seeds=$2; shift ;;
    --denoisers) denoisers=$2; shift ;;
    --at-once) at_once=$2; shift ;;
    -h | --help) print_own_comment; exit 0 ;;
    -*) fail "$exit_usage" "unknown option '$1'" "Options of leda_dist_train stand behind FOLDER; see slurm/sweep.sh --help." ;;
    *) wanted=$1 ;;
  esac
  shift
done
[[ -n $wanted ]] || fail "$exit_usage" "no folder for the sweep was named." "See slurm/sweep.sh --help."
[[ $seeds =~ ^[0-9]+(,[0-9]+)*$ ]] || fail "$exit_usage" "--seeds '$seeds' is no list of whole numbers." "For example: --seeds 1,2,3"
[[ $denoisers =~ ^[a-z0-9_]+(,[a-z0-9_]+)*$ ]] || fail "$exit_usage" "--denoisers '$denoisers' is no list of names." "For example: --denoisers red_cnn"
[[ $at_once =~ ^([1-9][0-9]*)?$ ]] || fail "$exit_usage" "--at-once '$at_once' is no number of 1 or more." "See slurm/sweep.sh --help."
refuse_new_run "$@"
read_site
make_folder "$wanted"

autoencoder=$folder/pretraining/pretrain/autoencoder.safetensors
tasks=''
runs=()
for denoiser in ${denoisers//,/ }; do
  for seed in ${seeds//,/ }; do
    for stage in baseline denoise; do
      name=${denoiser}_seed_${seed}_$([[ $stage == baseline ]] && echo without_leda || echo with_leda)
      runs+=("$folder/$name")
      tasks+="--run.stages=$stage --run.seed=$seed --denoiser.type=$denoiser --run.folder=$folder/$name --leda.autoencoder=$autoencoder"$'\n'
    done
  done
done
export LEDA_TASKS=$folder/tasks.txt
if [[ -e $LEDA_TASKS && $(<"$LEDA_TASKS")$'\n' != "$tasks" ]]; then
  fail "$exit_usage" "$folder holds another sweep." "Jobs of it may still read $LEDA_TASKS: name another folder, or call this with the same seeds and denoisers."
fi
printf '%s' "$tasks" >"$LEDA_TASKS"

submit leda_pretrain -- pretrain.sh "$@" --run.folder="$folder/pretraining"
pretraining=$job
submit leda_sweep --array="1-${#runs[@]}${at_once:+%$at_once}" --dependency="afterok:$pretraining" --kill-on-invalid-dep=yes -- denoise.sh "$@"
submit leda_table --dependency="afterany:$job" --kill-on-invalid-dep=yes -- evaluate.sh "$folder/evaluation" "${runs[@]}"
say "${#runs[@]} trainings; logs in $folder/logs; the table will be $folder/evaluation/evaluation.txt"
