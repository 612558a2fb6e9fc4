#!/usr/bin/env bash
# usage: slurm/pipeline.sh FOLDER [OPTIONS OF leda_dist_train]
#
# Submits three jobs that follow one another: stage 1 (FOLDER/pretraining), stage 2 without and with the LEDA loss on
# that autoencoder (FOLDER/denoising), and their table (FOLDER/evaluation). If one fails for good, those after it are
# cancelled. The same command again goes on where the jobs stopped. Run on the login node, from the folder that relative
# paths in the options start from.
#   LEDA_SBATCH_OPTIONS='--nodes=4 --time=08:00:00' slurm/pipeline.sh runs/mine --config my.cfg
# Settings of the site: slurm/site.sh. All is explained in docs/slurm.md.
set -euo pipefail
# shellcheck source=slurm/submit.bash
source "$(dirname "${BASH_SOURCE[0]}")/submit.bash"

case ${1-} in
  -h | --help) print_own_comment; exit 0 ;;
  '' | -*) fail "$exit_usage" "the first argument is the folder for all three runs, not '${1-}'." "See slurm/pipeline.sh --help." ;;
esac
wanted=$1
shift
refuse_new_run "$@"
read_site
make_folder "$wanted"

submit leda_pretrain -- pretrain.sh "$@" --run.folder="$folder/pretraining"
pretraining=$job
submit leda_denoise --dependency="afterok:$pretraining" --kill-on-invalid-dep=yes -- denoise.sh "$@" \
  --run.folder="$folder/denoising" --leda.autoencoder="$folder/pretraining/pretrain/autoencoder.safetensors"
denoising=$job
submit leda_evaluate --dependency="afterok:$denoising" --kill-on-invalid-dep=yes -- evaluate.sh "$folder/evaluation" "$folder/denoising"
say "logs in $folder/logs; the table will be $folder/evaluation/evaluation.txt"
