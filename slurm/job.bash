# shellcheck shell=bash
# Read by the batch scripts of this folder: runs a program on all ranks of the job, passes the cluster's warning on to
# it, and does what its exit code asks for. Explained in docs/slurm.md.
# shellcheck source=launch/support/script_support.bash
source "$(dirname "${BASH_SOURCE[0]}")/../launch/support/script_support.bash"

# Found at another place than the named one, this would be another version of the project.
[[ -z ${LEDA_HOME-} || -e $LEDA_HOME/slurm/job.bash ]] || fail "$exit_platform" \
  "LEDA_HOME=$LEDA_HOME is not the project's folder (no slurm/job.bash)." "Name it: LEDA_HOME=FOLDER sbatch ..."

warned=0      # USR1 has come: save and leave
terminated=0  # TERM has come: Slurm ends this job
launcher_id=

on_warning() {
  warned=$((warned + 1))
  if [[ -n $launcher_id ]]; then kill -USR1 "$launcher_id" 2>/dev/null || true; fi
}
trap on_warning USR1
# Not passed on: under srun the ranks have it from Slurm, and Open MPI's mpirun would kill them two seconds later.
trap terminated=1 TERM

# read_settings OPTIONS...: those of the site, and what cannot be right is refused.
read_settings() {
  local option site=${LEDA_SITE:-$repository/slurm/site.sh}
  for option in "$@"; do
    case $option in
      -h | --help) print_own_comment; exit 0 ;;
      --new-run) fail "$exit_usage" "--new-run would start afresh at every restart of this job." "Name a folder for the new run instead: --run.folder=FOLDER" ;;
    esac
  done
  [[ -r $site ]] || fail "$exit_usage" "there is no file of settings $site." "LEDA_SITE names it; without it: slurm/site.sh"
  # shellcheck source=slurm/site.sh
  source "$site"
  [[ -n ${SLURM_JOB_ID-} ]] || fail "$exit_usage" "this is a batch script." "sbatch ${BASH_SOURCE[-1]}; without Slurm: launch/run"
  [[ $LEDA_REQUEUE_LIMIT =~ ^[0-9]+$ ]] || fail "$exit_usage" "LEDA_REQUEUE_LIMIT=$LEDA_REQUEUE_LIMIT is no number." "See slurm/site.sh."
  attempt=$((${SLURM_RESTART_COUNT:-0} + 1))
  local id=$SLURM_JOB_ID
  if [[ -n ${SLURM_ARRAY_TASK_ID-} ]]; then id=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID; fi
  log_folder=$LEDA_LOGS/$SLURM_JOB_NAME-$id
  mkdir -p "$log_folder" || fail 12 "no folder for the logs can be made: $log_folder" "Call sbatch from a folder that can be written, or name one: LEDA_LOGS=FOLDER"
}

load_modules() {
  [[ -n $LEDA_MODULES ]] || return 0
  # Batch shells are no login shells: where the function is missing, the profile that defines it is read.
  # shellcheck source=/dev/null
  if ! command -v module >/dev/null && [[ -r /etc/profile.d/modules.sh ]]; then source /etc/profile.d/modules.sh; fi
  # shellcheck source=/dev/null
  if ! command -v module >/dev/null && [[ -r /etc/profile.d/lmod.sh ]]; then source /etc/profile.d/lmod.sh; fi
  local name
  for name in $LEDA_MODULES; do
    module load "$name" || fail "$exit_platform" "the module $name cannot be loaded on $(hostname)." "LEDA_MODULES in slurm/site.sh lists those to load; 'module avail' those there are."
  done
}

# find_program NAME: as an array, inside the container where there is one.
find_program() {
  # shellcheck source=launch/environment
  source "$repository/launch/environment"
  if [[ -n $LEDA_CONTAINER ]]; then
    [[ -e $LEDA_CONTAINER ]] || fail "$exit_platform" "there is no container image $LEDA_CONTAINER." "Make it: apptainer build $LEDA_CONTAINER slurm/leda.def"
    command -v apptainer >/dev/null || fail "$exit_platform" "apptainer is not on the PATH of $(hostname)." "Load its module (LEDA_MODULES), or run without a container: LEDA_CONTAINER="
    # shellcheck disable=SC2206  # options with spaces between them
    program=(apptainer exec $LEDA_CONTAINER_OPTIONS "$LEDA_CONTAINER" "$1")
    return
  fi
  program=("${LEDA_PROGRAMS:-$repository/build/bin}/$1")
  [[ -x ${program[0]} ]] || fail "$exit_platform" "there is no program ${program[0]}." "Build it: launch/build; elsewhere than in build/bin: LEDA_PROGRAMS=FOLDER"
}

find_launcher() {
  # shellcheck disable=SC2206  # options with spaces between them
  case $LEDA_LAUNCHER in
    mpirun) launcher=(mpirun ${SLURM_NTASKS:+-np "$SLURM_NTASKS"} $LEDA_MPIRUN_OPTIONS) ;;
    # Of Slurm 22.05 on srun no longer takes the batch job's --cpus-per-task over. A site's KillOnBadExit would turn
    # the ranks' own exit code into that of a kill.
    # --wait: where a node's only rank is killed, srun itself ends nobody.
    srun) launcher=(srun --mpi="$LEDA_SRUN_MPI" --kill-on-bad-exit=0 --wait=30 ${SLURM_CPUS_PER_TASK:+--cpus-per-task="$SLURM_CPUS_PER_TASK"} $LEDA_SRUN_OPTIONS) ;;
    *) fail "$exit_usage" "LEDA_LAUNCHER=$LEDA_LAUNCHER: there are srun and mpirun." "See slurm/site.sh." ;;
  esac
  command -v "${launcher[0]}" >/dev/null || fail "$exit_platform" "${launcher[0]} is not on the PATH of $(hostname)." "Load its module (LEDA_MODULES in slurm/site.sh), or take the other launcher: LEDA_LAUNCHER"
}

# Sets code. A trapped signal ends bash's wait early, with a code of its own.
wait_for_launcher() {
  while :; do
    code=0
    wait "$launcher_id" || code=$?
    kill -0 "$launcher_id" 2>/dev/null || break
  done
  code=0
  wait "$launcher_id" || code=$?
}

# job_record NAME: a field of what Slurm says of this job; empty where Slurm does not answer.
job_record() { scontrol --oneliner show job "$SLURM_JOB_ID" 2>/dev/null | tr ' ' '\n' | sed -n "s/^$1=//p"; }

# seconds_of FIELD: a time in the job's record, in seconds since 1970; fails where it is none.
seconds_of() {
  local time
  time=$(SLURM_TIME_FORMAT=standard job_record "$1")
  [[ $time == ????-??-??T* ]] && date -d "$time" +%s 2>/dev/null
}

# note_times: for the run's ledger, since when this attempt has been in the queue, and has had its nodes. Slurm takes
# both anew when it requeues a job; one that waits for another job, or for its --begin, is not in the queue yet.
note_times() {
  local since start
  unset LEDA_JOB_SUBMIT_TIME
  if since=$(seconds_of EligibleTime) || since=$(seconds_of SubmitTime); then export LEDA_JOB_SUBMIT_TIME=$since; fi
  # Slurm sets it from release 23.02 on.
  if [[ -z ${SLURM_JOB_START_TIME-} ]] && start=$(seconds_of StartTime); then export SLURM_JOB_START_TIME=$start; fi
}

# Preempted without a warning, cancelled, at the time limit: then Slurm decides what becomes of the job.
is_being_ended() {
  ((terminated)) && return 0
  local state preempted
  state=$(job_record JobState)
  preempted=$(job_record PreemptTime)
  [[ -n $state && $state != RUNNING ]] || [[ -n $preempted && $preempted != None ]]
}

# A script that exits here would turn a preempted job into a finished one, and one that requeues would bring a
# cancelled job back.
wait_to_be_ended() {
  say "ended with $code; Slurm ends this job"
  while :; do sleep 1; done
}

# requeue WHY: within the limit.
requeue() {
  if ((attempt > LEDA_REQUEUE_LIMIT)); then
    say "$1, but this job has been restarted $((attempt - 1)) times, and LEDA_REQUEUE_LIMIT is $LEDA_REQUEUE_LIMIT; submitted again, it goes on"
    exit "$code"
  fi
  say "$1; requeued"
  trap '' USR1 TERM
  # Refused where somebody else has requeued it already.
  scontrol requeue "$SLURM_JOB_ID" || true
  exit "$code"
}

# run_on_all_ranks PROGRAM OPTIONS...: returns when it ended with 0; otherwise ends the job or has it requeued.
run_on_all_ranks() {
  local log=$log_folder/attempt_$attempt.log program launcher
  load_modules
  find_program "$1"
  find_launcher
  note_times
  shift
  say "attempt $attempt on ${SLURM_JOB_NODELIST-?}, $(date -u +'%Y-%m-%d %H:%M:%S') UTC, log in $log"
  say "${launcher[*]} ${program[*]} $*"
  if ((!warned && !terminated)); then
    "${launcher[@]}" "${program[@]}" "$@" >>"$log" 2>&1 </dev/null &
    launcher_id=$!
    # A warning that came before the line above found nobody to tell.
    if ((warned)); then kill -USR1 "$launcher_id" 2>/dev/null || true; fi
    wait_for_launcher
    launcher_id=
  else
    code=85
  fi
  ((code == 0)) || act_on_code "$log"
}

act_on_code() {
  if ((code == 85 && !terminated)); then requeue "saved"; fi
  # Slurm tells the ranks first: the script and the job's record may be a moment behind.
  if ((code == 86)); then sleep 3 & wait $! || true; fi
  if is_being_ended; then wait_to_be_ended; fi
  case $code in
    # The warning met ranks that had not begun yet, so that there was nothing to save.
    138) if ((warned)); then requeue "warned while starting"; fi ;;
    205) requeue "mpirun has lost a node" ;;
  esac
  say "failed with code $code (docs/exit_codes.md); the end of $1:"
  tail -n 20 "$1"
  exit "$code"
}
