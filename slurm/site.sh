# shellcheck shell=bash
# Settings of this site: the one file to change. The scripts of this folder read it on the login node and in the job;
# before an sbatch of your own, source it. What is set in the environment already stays as it is; LEDA_SITE=FILE in the
# environment names another file like this one. Explained in docs/slurm.md.

# --- for sbatch; empty = the site's own default
: "${LEDA_PARTITION:=}"
: "${LEDA_ACCOUNT:=}"
: "${LEDA_QOS:=}"
: "${LEDA_GPUS_PER_TASK:=}"   # empty = CPU nodes; 1 = one GPU for each rank
: "${LEDA_SBATCH_OPTIONS:=}"  # of pipeline.sh and sweep.sh, for example: --nodes=4 --ntasks-per-node=4 --time=04:00:00

# --- for the job
: "${LEDA_MODULES:=}"            # loaded in this order, for example: gcc/12.2 openmpi/4.1.4 hdf5/1.10.8
: "${LEDA_LAUNCHER:=srun}"       # srun or mpirun
: "${LEDA_SRUN_MPI:=pmix}"       # srun's --mpi; srun --mpi=list names those that the site has
: "${LEDA_SRUN_OPTIONS:=}"
: "${LEDA_MPIRUN_OPTIONS:=}"
: "${LEDA_CONTAINER:=}"          # an image made from slurm/leda.def; empty = the programs in build/bin
: "${LEDA_CONTAINER_OPTIONS:=}"  # of apptainer exec, for example: --nv --bind /scratch
: "${LEDA_REQUEUE_LIMIT:=50}"    # a job that has been restarted so often does not requeue itself again
: "${LEDA_LOGS:=slurm_logs}"     # holds a folder for each job, in the folder where sbatch was called

for leda_name in PARTITION ACCOUNT QOS GPUS_PER_TASK; do
  leda_value=LEDA_$leda_name
  if [ -n "${!leda_value}" ]; then export "SBATCH_$leda_name=${!leda_value}"; fi
done
unset leda_name leda_value
