"""What was compiled and linked for GPUs: which headers the compiler read, which libraries the programs need, and that
preset cuda links the same.

usage: python cuda_link_test.py; LEDA_BINARY_FOLDER names the build
"""

import json
import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
BUILD = Path(os.environ["LEDA_BINARY_FOLDER"])
GPU_LIBRARIES = {"libtorch_cuda.so", "libc10_cuda.so", "libnccl.so.2", "libcudart.so.13"}


def output_of(*command):
    return subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True).stdout


def cache_value(name):
    return re.search(rf"^{name}:\w+=(.*)$", (BUILD / "CMakeCache.txt").read_text(), re.MULTILINE)[1]


def needed_libraries(program):
    return set(re.findall(r"\(NEEDED\).*\[(.*)\]", output_of("readelf", "-d", program)))


def linked(build_file, program):
    """Names of the libraries, and the options, of the rule that links the program."""
    rule = re.search(rf"^build {re.escape(program)}: .*?\n\n", build_file.read_text(), re.MULTILINE | re.DOTALL)[0]
    libraries = re.search(r"LINK_LIBRARIES = (.*)", rule)[1].split()
    flags = re.search(r"LINK_FLAGS = (.*)", rule)
    words = libraries + (flags[1].split() if flags else [])
    return {re.sub(r"^.*/", "", word) for word in words if not word.startswith("-Wl,-rpath")}


class CudaLink(unittest.TestCase):
    def test_headers_of_cuda_and_nccl_come_from_the_wheels(self):
        wheels = [Path(cache_value("LEDA_CUDA_INCLUDE")).resolve(), Path(cache_value("LEDA_NCCL_ROOT")).resolve()]
        torch = Path(cache_value("LEDA_TORCH_ROOT")).resolve()
        num_seen = 0
        for line in output_of("ninja", "-C", BUILD, "-t", "deps").splitlines():
            if not line.startswith("    "):
                concerned = re.search(r"leda_(distributed_nccl|with_gpus|fake_gpu)\.dir", line) is not None
                continue
            path = Path(os.path.normpath(BUILD / line.strip()))
            if not concerned or not re.search(r"/(nccl|cuda|crt|nv|cccl)[^/]*(/|\.h$)", str(path)):
                continue
            if path.is_relative_to(REPOSITORY / "src") or path.is_relative_to(REPOSITORY / "tests"):
                continue
            if path.resolve().is_relative_to(torch):
                continue
            num_seen += 1
            self.assertTrue(any(path.resolve().is_relative_to(wheel) for wheel in wheels), path)
        self.assertGreater(num_seen, 0, "the build knows no header of CUDA")

    def test_no_header_of_a_toolkit_of_the_machine_is_read(self):
        deps = output_of("ninja", "-C", BUILD, "-t", "deps")
        self.assertNotRegex(deps, r"/usr/local/(cuda|include/(nccl|cuda|crt|nv))")

    def test_warnings_are_errors(self):
        commands = json.loads((BUILD / "compile_commands.json").read_text())
        concerned = [c for c in commands if re.search(r"src/distributed/nccl/(nccl|cuda)_", c["file"])]
        self.assertGreaterEqual(len(concerned), 6)
        for command in concerned:
            self.assertIn("-Wall -Wextra -Wshadow -Werror", command["command"])

    def test_programs_for_gpus_need_their_libraries_and_the_others_do_not(self):
        # A rank that applies networks needs no other's GPU, and so no NCCL.
        for program, needed in (("leda_dist_train", GPU_LIBRARIES), ("leda_evaluate", {"libtorch_cuda.so", "libc10_cuda.so"})):
            self.assertLessEqual(needed, needed_libraries(BUILD / "bin" / "with_gpus" / program))
            self.assertFalse(GPU_LIBRARIES & needed_libraries(BUILD / "bin" / program))
        self.assertRegex(output_of("nm", "-D", BUILD / "bin" / "with_gpus" / "leda_dist_train"), r"U ncclAllReduce")

    def test_the_fake_is_hidden(self):
        for program in ("nccl_test", "nccl_fault_job"):
            self.assertNotRegex(output_of("nm", "-D", BUILD / "bin" / program), r"\b(nccl[A-Z]|cuda[A-Z])")

    def test_preset_cuda_links_the_same(self):
        with tempfile.TemporaryDirectory() as folder:
            output_of("cmake", "-S", REPOSITORY, "--preset", "cuda", "-B", folder,
                      f"-DLEDA_TORCH_ROOT={cache_value('LEDA_TORCH_ROOT')}")
            preset = linked(Path(folder) / "build.ninja", "bin/leda_dist_train")
        self.assertEqual(preset, linked(BUILD / "build.ninja", "bin/with_gpus/leda_dist_train"))


if __name__ == "__main__":
    unittest.main()
