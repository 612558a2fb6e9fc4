"""Mistakes put into our own NCCL code on purpose: for each, the mutated file is compiled, a test program is linked with
it in place of the right one, and its tests must fail. Shows that the tests on the fake GPU see such mistakes.

usage: python nccl_mutants_test.py BUILD_FOLDER [NAME...]    names limit it to these mutants
"""

import concurrent.futures
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[2] / "src" / "distributed" / "nccl"
FAULTS_TEST = Path(__file__).resolve().parents[1] / "distributed" / "nccl" / "nccl_faults_test.py"
RUN_SECONDS = 40  # a mutant that hangs is one that the suite's own time limit ends

# The quick part first; then the rest without its large tensors, which say nothing more about these mistakes.
SUITES = ("Nccl*:FakeGpu*", "Mpi*:-*LargeTensors*")

READY = "  check_cuda(cudaEventRecord(ready_.get(), compute_stream(device_index_)), \"cudaEventRecord\");\n"
CALLS = "  await_success(communicator_, calls(communicator_, stream_.get()), name, options_.timeout_seconds);\n"
END = "  check_cuda(cudaEventRecord(end.get(), stream_.get()), \"cudaEventRecord\");\n"
BEFORE_CALLS = "  // Until NCCL has put the collective on the stream, an event recorded there would be ahead of it.\n"

# name, file, [(right, wrong)...], the fault whose test must fail (otherwise: the suite at 2 ranks)
MUTANTS = [
    ("communication_stream_waits_for_nothing", "nccl_connection.cpp",
     [("  check_cuda(cudaStreamWaitEvent(stream_.get(), ready_.get(), 0), \"cudaStreamWaitEvent\");\n", "")]),
    ("compute_event_recorded_after_the_collective", "nccl_connection.cpp", [(READY, ""), (CALLS, CALLS + READY)]),
    ("end_event_recorded_before_the_collective", "nccl_connection.cpp",
     [("  CudaEvent end;\n" + END, ""), (BEFORE_CALLS, "  CudaEvent end;\n" + END)]),
    ("wait_without_wait_of_the_compute_stream", "nccl_connection.cpp",
     [("  check_cuda(cudaStreamWaitEvent(compute_stream(device_index_), end.get(), 0), \"cudaStreamWaitEvent\");\n",
       "  static_cast<void>(end);\n")]),
    ("calls_in_progress_taken_for_done", "nccl_connection.cpp",
     [(CALLS, "  static_cast<void>(calls(communicator_, stream_.get()));\n")]),
    ("device_of_the_thread_not_set", "nccl_connection.cpp",
     [("  // The current device belongs to the thread, and so does the meaning of \"default stream\".\n"
       "  check_cuda(cudaSetDevice(device_index_), \"cudaSetDevice\");\n", "")]),
    ("every_rank_on_device_0", "nccl_connection.cpp",
     [("check_cuda(cudaSetDevice(device_index), \"cudaSetDevice\");", "check_cuda(cudaSetDevice(0), \"cudaSetDevice\");")]),
    ("stream_not_drained_before_the_end", "nccl_connection.cpp",
     [("  drain();\n  control_.barrier();\n", "  control_.barrier();\n")]),
    ("destroyed_without_finalize", "nccl_connection.cpp",
     [("  await_success(communicator_, ncclCommFinalize(communicator_), \"ncclCommFinalize\", options_.timeout_seconds);\n",
       "")]),
    ("group_end_missing", "nccl_communicator.cpp",
     [("const ncclResult_t ended = ncclGroupEnd();", "const ncclResult_t ended = ncclSuccess;")]),
    ("group_start_missing", "nccl_communicator.cpp",
     [("ncclResult_t result = ncclGroupStart();", "ncclResult_t result = ncclSuccess;")]),
    ("count_in_bytes", "nccl_communicator.cpp",
     [("ncclAllReduce(values, values, elements_of(tensor), type",
       "ncclAllReduce(values, values, elements_of(tensor) * tensor.element_size(), type")]),
    ("count_of_all_rows", "nccl_communicator.cpp",
     [("all.mutable_data_ptr(), part.nbytes(), ncclUint8", "all.mutable_data_ptr(), all.nbytes(), ncclUint8")]),
    ("bfloat16_taken_for_float16", "nccl_communicator.cpp", [("return ncclBfloat16;", "return ncclFloat16;")]),
    ("broadcast_from_rank_0_always", "nccl_communicator.cpp",
     [("tensor.nbytes(), ncclUint8, root, communicator", "tensor.nbytes(), ncclUint8, root * 0, communicator")]),
    ("row_received_from_the_wrong_rank", "nccl_communicator.cpp",
     [("ncclRecv(target + row, row_bytes, ncclUint8, peer,",
       "ncclRecv(target + row, row_bytes, ncclUint8, num_ranks - 1 - peer,")]),
    ("memory_let_go_without_wait", "nccl_communicator.cpp",
     [("    try {\n      wait();\n    } catch", "    try {\n      tensors_.clear();\n    } catch")]),
    ("no_barrier_after_the_start", "nccl_bootstrap.cpp", [("  control.barrier();\n", "")]),
    ("communicator_that_blocks", "nccl_bootstrap.cpp", [("config.blocking = 0;", "config.blocking = 1;")]),
    ("every_rank_with_its_own_id", "nccl_bootstrap.cpp",
     [("if (control.rank() == 0) check_nccl", "check_nccl"), ("  control.broadcast(bytes, 0);\n", "  bytes.fill_(control.rank());\n")]),
    ("errors_that_nccl_reports_when_asked_ignored", "nccl_watchdog.cpp",
     [("    check_nccl_state();\n", "")], "test_an_error_that_nccl_reports_only_when_asked"),
    ("abort_without_a_bound", "nccl_watchdog.cpp",
     [("abort_within(communicator_, device_index_, options_.abort_timeout_seconds)",
       "abort_within(communicator_, device_index_, 3600.0)")], "test_the_same_where_abort_hangs"),
]


class Build:
    def __init__(self, folder):
        self.folder = folder
        commands = json.loads((folder / "compile_commands.json").read_text())
        self.compilations = {Path(c["file"]).name: c for c in commands if Path(c["file"]).parent == SOURCES}
        self.links = {}

    def link_command(self, program):
        """The shell command with which ninja links the program."""
        if program not in self.links:
            lines = subprocess.run(["ninja", "-C", str(self.folder), "-t", "commands", "-s", f"bin/{program}"],
                                   check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
            self.links[program] = lines[-1]
        return self.links[program]

    def compile(self, source, output, folder):
        command = shlex.split(self.compilations[source]["command"])
        place = command.index("-c")
        command[place + 1] = str(folder / source)
        for option, value in (("-o", output), ("-MF", f"{output}.d"), ("-MT", output)):
            if option in command:
                command[command.index(option) + 1] = str(value)
        self.run(command)

    def link(self, program, mutated_object, output):
        command = self.link_command(program).removeprefix(": && ").removesuffix(" && :")
        before, after = command.split(f" -o bin/{program} ", 1)
        # Ahead of the archive, whose own member is then not taken.
        self.run(shlex.split(f"{before} {mutated_object} -o {output} {after}"))

    def run(self, command):
        done = subprocess.run(command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{shlex.join(command)}\n{done.stdout}")


def tests_of(folder, program, fault_test):
    if fault_test:
        return [[sys.executable, str(FAULTS_TEST), f"NcclFaults.{fault_test}"]]
    return [["mpirun", "-np", "2", str(folder / "bin" / program), f"--gtest_filter={suite}"] for suite in SUITES]


def run_tests(command, folder):
    """(did they pass, what they said)"""
    environment = {**os.environ, "LEDA_BINARY_FOLDER": str(folder)}
    environment.pop("GTEST_OUTPUT", None)
    with open(folder / "output.txt", "w+") as output:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        try:
            code = process.wait(RUN_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
            return False, f"no end within {RUN_SECONDS} s"
        output.seek(0)
        return code == 0, output.read()


def first_failure(output):
    for line in output.splitlines():
        if "Failure" in line or "AssertionError" in line or "no end within" in line or "error on rank" in line:
            after = output[output.index(line):].splitlines()
            return " | ".join(part.strip() for part in after[:3])
    return output.strip().splitlines()[-1] if output.strip() else "nothing said"


def verdict(build, name, source, changes, fault_test=None):
    """None if all is as it should be, else why not."""
    program = "nccl_fault_job" if fault_test else "nccl_test"
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        (folder / "bin").mkdir()
        text = (SOURCES / source).read_text()
        for right, wrong in changes:
            if text.count(right) != 1:
                return f"{name}: {source} no longer holds this text exactly once:\n{right}"
            text = text.replace(right, wrong)
        (folder / source).write_text(text)
        build.compile(source, folder / "mutated.o", folder)
        build.link(program, folder / "mutated.o", folder / "bin" / program)
        for command in tests_of(folder, program, fault_test):
            passed, output = run_tests(command, folder)
            if not passed:
                break
    seconds = time.monotonic() - started
    should_pass = not changes
    print(f"{'passed' if passed else 'failed'}  {name}  ({seconds:.0f} s){'' if passed else '  ' + first_failure(output)}",
          flush=True)
    if passed != should_pass:
        return f"{name}: the tests {'passed' if passed else 'failed'}:\n{output[-3000:]}"
    return None


def main():
    build = Build(Path(sys.argv[1]).resolve())
    wanted = sys.argv[2:]
    if shutil.which("mpirun") is None:
        sys.exit("there is no mpirun")
    # Compiled and linked the same way, the right source must pass.
    jobs = [("unchanged", "nccl_connection.cpp", [])]
    jobs += [mutant for mutant in MUTANTS if not wanted or mutant[0] in wanted]
    for program in ("nccl_test", "nccl_fault_job"):
        build.link_command(program)
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        mistakes = [m for m in pool.map(lambda job: verdict(build, *job), jobs) if m]
    for mistake in mistakes:
        print(mistake, file=sys.stderr)
    print(f"{len(jobs) - 1} mutants, {len(mistakes)} not as they should be")
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
