# shellcheck shell=bash
# Read by the commands of launch/ and the scripts of slurm/: where the project lies, how they speak, and how they end when they cannot go on.
# shellcheck disable=SC2034  # the scripts that read this file use these
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
exit_usage=2          # an option that the script does not know
exit_administrator=3  # system packages are missing and only an administrator can install them
exit_disk=4           # too little free disk
exit_platform=5       # not a machine that this project supports

say() { printf '==> %s\n' "$*"; }

# fail CODE LINE...: the first line says what is wrong, the others what to do.
fail() {
  local code=$1
  shift
  printf '\n%s: %s\n' "$(basename "$0")" "$1" >&2
  shift
  (($# == 0)) || printf '  %s\n' "$@" >&2
  exit "$code"
}

# Where a preset of CMakePresets.json builds, from the repository's folder.
build_folder() { if [[ $1 == release ]]; then echo build; else echo "build/$1"; fi; }

# The comment at the top of the script, without its first line (#!) and the comment signs.
print_own_comment() { sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0"; }
