"""A Slurm cluster of its own for tests: munged, slurmctld and some slurmd, all on this machine, in one folder, on
ports of their own on the loopback address. Needs no root: whoever starts it owns it.

Daemons end with the process that started them, also when that is killed. Slurm's own hosts do not see each other's
names: all nodes are this machine, so mpirun starts one daemon per node through srun, as on a real cluster.
"""

import contextlib
import getpass
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PROGRAMS = {"slurmctld": "slurmctld", "slurmd": "slurmd", "munged": "munge", "munge": "munge", "sbatch": "slurm-client",
            "srun": "slurm-client", "scontrol": "slurm-client", "setpriv": "util-linux"}
ADMINISTRATOR_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin"

# cred_expire: the wait of a requeued job; of 22.05.8 only 5 makes it short. TmpFS per node: otherwise the second
# slurmd on a machine finds the PMIx folder of the first.
CONFIGURATION = """\
ClusterName=leda{port}
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={folder}/ctld
SlurmdSpoolDir={folder}/spool.%n
TmpFS={folder}/tmp.%n
SlurmctldPidFile={folder}/pid/slurmctld
SlurmdPidFile={folder}/pid/%n
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=pmix
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,sched_min_interval=0,bf_interval=2,batch_sched_delay=0,requeue_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
{controller_parameters}
JobRequeue=1
KillWait={kill_wait}
CompleteWait=0
MessageTimeout=10
SlurmdTimeout={node_timeout}
InactiveLimit=0
MinJobAge=600
MaxArraySize=1001
EpilogMsgTime=0
NodeName=DEFAULT CPUs=2 RealMemory=1000 State=UNKNOWN
{nodes}
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime={grace} MaxTime=60 State=UP
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF MaxTime=60 State=UP
"""


def missing_packages():
    """Debian packages that this needs and that are not there."""
    path = f"{os.environ.get('PATH', '')}:{ADMINISTRATOR_FOLDERS}"
    return sorted({package for program, package in PROGRAMS.items() if not shutil.which(program, path=path)})


def end_without_packages():
    """Ends a test program where the packages are missing: with 77, skipped, and in continuous integration with 1."""
    missing = missing_packages()
    if missing:
        print(f"Slurm's packages are missing: {' '.join(missing)}; launch/setup installs them", file=sys.stderr)
        sys.exit(1 if os.environ.get("CI") == "true" else 77)


def free_ports(number):
    """That many consecutive ports of the loopback address, free at this moment."""
    for first in range(21000 + os.getpid() % 5000, 60000, number):
        with contextlib.ExitStack() as sockets:
            try:
                for port in range(first, first + number):
                    sockets.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    raise AssertionError(f"no {number} consecutive ports are free")


def is_alive(process_id):
    """Orphans may stay zombies for seconds; those count as gone."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def parent(process_id):
    try:
        return int(Path(f"/proc/{process_id}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0


def processes_with(variables):
    """Ids of living processes whose environment holds all of these."""
    wanted = {f"{name}={value}".encode() for name, value in variables.items()}
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if wanted <= set(path.read_bytes().split(b"\0")) and is_alive(path.parent.name):
                found.append(int(path.parent.name))
    return found


class PrivateSlurm:
    """Running between __enter__ and __exit__. `warns`: preemption sends the batch script's --signal at once, and then
    waits for `grace` seconds; without it, the job's steps get TERM instead."""

    def __init__(self, folder, num_nodes=4, warns=True, grace=30, kill_wait=5, node_timeout=30):
        self.folder = Path(folder)
        self.nodes = [f"n{number}" for number in range(1, num_nodes + 1)]
        self.settings = {"warns": warns, "grace": grace, "kill_wait": kill_wait, "node_timeout": node_timeout}
        self.daemons = {}
        self.variables = {
            "SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": f"{os.environ['PATH']}:{ADMINISTRATOR_FOLDERS}",
            "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_btl": "tcp,self",
            "OMPI_MCA_btl_tcp_if_include": "lo", "OMPI_MCA_oob_tcp_if_include": "lo",
            "OMPI_MCA_mpi_yield_when_idle": "1", "OMPI_MCA_hwloc_base_binding_policy": "none"}

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    # --- the daemons ----------------------------------------------------------------------------------------------

    def start(self):
        for name in ("munge", "ctld", "pid", "log"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "munge").chmod(0o755)  # munged refuses a socket that others cannot reach
        for node in self.nodes:
            self.make_node_folders(node)
        self.write_configuration()
        key = self.folder / "munge" / "key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        files = {name: self.folder / "munge" / name for name in ("socket", "pid", "log", "seed")}
        self.start_daemon("munged", "munged", "--foreground", "--force", "--num-threads=2", f"--key-file={key}",
                          *(f"--{name}{'-file' if name != 'socket' else ''}={path}" for name, path in files.items()))
        # Without munge every client of Slurm tries again for minutes.
        self.wait_until(lambda: self.client("munge", "-n", "-S", files["socket"]).returncode == 0, 10, "munged")
        self.start_daemon("slurmctld", "slurmctld", "-D", "-f", self.folder / "slurm.conf")
        self.wait_until(lambda: "UP" in self.client("scontrol", "ping").stdout, 20, "slurmctld")
        for node in self.nodes:
            self.start_node(node)
        self.wait_until(lambda: self.idle_nodes() == set(self.nodes), 30, "all nodes")

    def write_configuration(self):
        port = free_ports(1 + len(self.nodes))
        host = socket.gethostname().split(".")[0]
        nodes = "\n".join(f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port + number}"
                          for number, node in enumerate(self.nodes, 1))
        warning = "SlurmctldParameters=preempt_send_user_signal" if self.settings["warns"] else ""
        (self.folder / "slurm.conf").write_text(CONFIGURATION.format(
            port=port, folder=self.folder, user=getpass.getuser(), nodes=nodes, controller_parameters=warning,
            **{name: value for name, value in self.settings.items() if name != "warns"}))

    def make_node_folders(self, node):
        for kind in ("spool", "tmp"):
            folder = self.folder / f"{kind}.{node}"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()

    def start_daemon(self, name, program, *arguments):
        output = open(self.folder / "log" / f"{name}.out", "ab")
        with output:
            self.daemons[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", program, *map(str, arguments)], stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT, env=self.environment(), start_new_session=True)

    def start_node(self, node):
        self.start_daemon(node, "slurmd", "-D", "-N", node, "-f", self.folder / "slurm.conf")

    def stop(self):
        if "slurmctld" in self.daemons and self.daemons["slurmctld"].poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired, AssertionError):
                for job in self.client("squeue", "-h", "-o", "%A").stdout.split():
                    self.client("scancel", "-f", job)
                self.wait_until(lambda: not self.client("squeue", "-h").stdout.strip(), 15, "the end of all jobs")
        for process_id in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGKILL)
        for name in [*(node for node in self.nodes if node in self.daemons), "slurmctld", "munged"]:
            if name in self.daemons:
                self.end_daemon(name)

    def end_daemon(self, name, number=signal.SIGTERM):
        daemon = self.daemons.pop(name)
        daemon.send_signal(number)
        try:
            daemon.wait(timeout=10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    # --- what a user or administrator does --------------------------------------------------------------------------

    def environment(self, **variables):
        inherited = {name: value for name, value in os.environ.items()
                     if not re.match(r"(SLURM|SBATCH|SRUN|OMPI|PMIX|LEDA_(?!BINARY))", name)}
        return {**inherited, **self.variables, **variables}

    def client(self, *command, timeout=20, **options):
        return subprocess.run([*map(str, command)], env=self.environment(), stdin=subprocess.DEVNULL, text=True,
                              capture_output=True, timeout=timeout, **options)

    def must(self, *command, **options):
        done = self.client(*command, **options)
        if done.returncode != 0:
            raise AssertionError(f"{' '.join(map(str, command))}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def submit(self, *arguments, **options):
        """The job's number."""
        return self.must("sbatch", "--parsable", *arguments, **options).split(";")[0]

    def job(self, number):
        """What Slurm says of a job, by the names of `scontrol show job`."""
        text = self.must("scontrol", "--oneliner", "show", "job", number).splitlines()
        return dict(word.split("=", 1) for word in text[0].split(" ") if "=" in word) if text else {}

    def state(self, number):
        return self.job(number)["JobState"]

    def restarts(self, number):
        return int(self.job(number)["Restarts"])

    def idle_nodes(self):
        return set(self.client("sinfo", "-h", "-N", "-p", "low", "-t", "idle", "-o", "%N").stdout.split())

    def wait_until(self, condition, seconds, what):
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {seconds} s in vain for {what}\n{self.said()}")
            time.sleep(0.05)

    def wait_for_state(self, number, *states, seconds=60):
        self.wait_until(lambda: self.state(number) in states, seconds, f"job {number} to be {' or '.join(states)}")
        return self.job(number)

    def processes(self, job=None, node=None, **variables):
        """Of this cluster's jobs: batch scripts, launchers, ranks."""
        wanted = {"SLURM_CONF": self.variables["SLURM_CONF"], **variables}
        if job:
            wanted["SLURM_JOB_ID"] = job
        if node:
            wanted["SLURMD_NODENAME"] = node
        daemons = {daemon.pid for daemon in self.daemons.values()}
        return [found for found in processes_with(wanted)
                if found != os.getpid() and not {found, parent(found)} & daemons]  # slurmctld has a child of its own

    def ranks(self, job):
        """Process ids in the order of the ranks."""
        ids = {}
        for process_id in self.processes(job):
            with contextlib.suppress(OSError):
                variables = dict(entry.split(b"=", 1) for entry in
                                 Path(f"/proc/{process_id}/environ").read_bytes().split(b"\0") if b"=" in entry)
                if b"PMIX_RANK" in variables and Path(f"/proc/{process_id}/comm").read_text().startswith("leda_"):
                    ids[int(variables[b"PMIX_RANK"])] = process_id
        return [ids[rank] for rank in sorted(ids)]

    def kill_node(self, node):
        """As if its power were cut: the daemon, its step daemons and all that ran there."""
        self.end_daemon(node, signal.SIGKILL)
        log = str(self.folder / "log" / f"{node}.log")
        for path in Path("/proc").glob("[0-9]*/fd"):
            with contextlib.suppress(OSError):
                if any(os.readlink(link) == log for link in path.iterdir()):
                    os.kill(int(path.parent.name), signal.SIGKILL)
        for process_id in self.processes(node=node):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGKILL)

    def revive_node(self, node):
        self.make_node_folders(node)  # sockets of the dead step daemons
        self.start_node(node)

    def said(self):
        """The ends of the daemons' logs, for messages of tests."""
        parts = []
        for path in sorted((self.folder / "log").glob("*")):
            lines = path.read_text(errors="replace").splitlines()[-25:]
            parts += [f"--- {path.name}", *lines] if lines else []
        return "\n".join(parts)
