# shellcheck shell=bash
# Read by pipeline.sh and sweep.sh, which run on the login node and submit jobs that depend on one another.
# shellcheck source=launch/support/script_support.bash
source "$(dirname "${BASH_SOURCE[0]}")/../launch/support/script_support.bash"

submitted=()

read_site() {
  local site=${LEDA_SITE:-$repository/slurm/site.sh}
  [[ -r $site ]] || fail "$exit_usage" "there is no file of settings $site." "LEDA_SITE names it; without it: slurm/site.sh"
  # shellcheck source=slurm/site.sh
  source "$site"
  command -v sbatch >/dev/null || fail "$exit_platform" "there is no sbatch here." "Call this on a login node of the cluster; without Slurm: launch/run"
  # The jobs need not look for it.
  export LEDA_HOME=$repository
}

refuse_new_run() {
  local option
  for option in "$@"; do
    [[ $option != --new-run ]] || fail "$exit_usage" "--new-run would start afresh at every restart of a job." "Name another folder instead."
  done
}

# make_folder FOLDER: absolute, because the jobs' options name it. Sets folder.
make_folder() {
  mkdir -p "$1/logs" || fail 12 "the folder $1 cannot be made." "Name another."
  folder=$(cd "$1" && pwd)
  # Read as a list by sbatch, and as words by options of these jobs.
  [[ $folder != *[[:space:],%]* ]] || fail "$exit_usage" "the folder '$folder' has a blank, a comma or a % in its name." "Name another."
  export LEDA_LOGS=$folder/logs
}

# submit NAME [SBATCH OPTIONS] -- SCRIPT [OPTIONS]: sets job, the number. Where sbatch refuses, what was submitted
# before is cancelled: it would wait for nothing.
submit() {
  local name=$1 options=() output=%x-%j
  shift
  while [[ $1 != -- ]]; do
    [[ $1 != --array=* ]] || output=%x-%A_%a
    options+=("$1")
    shift
  done
  shift
  local script=$repository/slurm/$1
  shift
  # shellcheck disable=SC2086  # options with spaces between them
  if ! job=$(sbatch --parsable $LEDA_SBATCH_OPTIONS --job-name="$name" --output="$folder/logs/$output.out" \
    "${options[@]}" "$script" "$@"); then
    ((${#submitted[@]} == 0)) || scancel "${submitted[@]}"
    fail 1 "sbatch refused $name; its message stands above." "What had been submitted before it is cancelled."
  fi
  job=${job%%;*}
  submitted+=("$job")
  say "job $job: $name"
}
