"""Hosts of one's own: network namespaces joined by a link of a given bandwidth. Needs root and Debian's iproute2."""

import contextlib
import functools
import os
import subprocess
import tempfile
from pathlib import Path

# One namespace a host, all on one bridge; each host's way out is shaped by a token bucket.
AGENT = """#!/bin/bash
# mpirun's remote shell: AGENT HOST COMMAND...
host=${1##*.}; shift
exec ip netns exec {prefix}_h$host unshare --uts bash -c "hostname {prefix}-host-$host; $*"
"""


class ShapedLink:
    """`with ShapedLink(2, 1e9) as link`: link.prefix and link.mpirun_options place one rank on each host."""

    def __init__(self, num_hosts, bits_per_second):
        self.num_hosts = num_hosts
        self.bits_per_second = bits_per_second
        self.name = f"leda{os.getpid()}"
        self.folder = tempfile.TemporaryDirectory(prefix="leda_link_")
        self.agent = Path(self.folder.name) / "agent"

    @staticmethod
    @functools.cache
    def is_possible():
        """Tried, because a chroot or a container may refuse what root may otherwise do."""
        try:
            with ShapedLink(1, 1e9) as link:
                return subprocess.run([*link.prefix, "true"], check=False).returncode == 0
        except (OSError, subprocess.CalledProcessError):
            return False

    def __enter__(self):
        self.agent.write_text(AGENT.replace("{prefix}", self.name))
        self.agent.chmod(0o755)
        try:
            self._ip("netns", "add", f"{self.name}_sw")
            self._ip("-n", f"{self.name}_sw", "link", "add", "bridge", "type", "bridge")
            self._ip("-n", f"{self.name}_sw", "link", "set", "bridge", "up")
            for host in range(1, self.num_hosts + 1):
                self._add_host(host)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in ["sw", *(f"h{host}" for host in range(1, self.num_hosts + 1))]:
            with contextlib.suppress(OSError, subprocess.CalledProcessError):
                self._ip("netns", "del", f"{self.name}_{name}")
        self.folder.cleanup()

    def _add_host(self, host):
        space, switch = f"{self.name}_h{host}", f"{self.name}_sw"
        self._ip("netns", "add", space)
        self._ip("link", "add", "wire", "netns", space, "type", "veth", "peer", "name", f"port{host}", "netns", switch)
        self._ip("-n", switch, "link", "set", f"port{host}", "master", "bridge", "up")
        self._ip("-n", space, "addr", "add", f"10.77.0.{host}/24", "dev", "wire")
        self._ip("-n", space, "link", "set", "lo", "up")
        self._ip("-n", space, "link", "set", "wire", "up")
        # A bucket of 2 ms of traffic: the kernel refills it at most once per timer tick of 4 ms at the fastest rates.
        burst = max(128 << 10, int(self.bits_per_second / 8 * 0.002))
        subprocess.run(["ip", "netns", "exec", space, "tc", "qdisc", "add", "dev", "wire", "root", "tbf", "rate",
                        f"{int(self.bits_per_second)}bit", "burst", str(burst), "latency", "50ms"], check=True,
                       capture_output=True, text=True)

    @staticmethod
    def _ip(*words):
        subprocess.run(["ip", *words], check=True, capture_output=True, text=True)

    @property
    def prefix(self):
        """Runs mpirun on the first host."""
        return [str(self.agent), "10.77.0.1"]

    @property
    def mpirun_options(self):
        hosts = ",".join(f"10.77.0.{host}" for host in range(1, self.num_hosts + 1))
        return ["--host", hosts, "--mca", "plm_rsh_agent", str(self.agent), "--mca", "plm_rsh_no_tree_spawn", "1",
                "--mca", "btl", "tcp,self", "--mca", "btl_tcp_if_include", "10.77.0.0/24",
                "--mca", "oob_tcp_if_include", "10.77.0.0/24"]
