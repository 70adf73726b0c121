"""The machine that the figures are of."""

import os
import pathlib
import platform


def describe():
    return {
        "cpu": cpu_name(),
        "cpu_count": os.cpu_count(),
        "server_and_load_share_a_core": share_core(0, 1),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        # Without what its builder has put behind the version.
        "kernel": platform.release().partition("-")[0],
        "system": system_name(),
        "is_virtual": "hypervisor" in read("/proc/cpuinfo"),
        "load_average_before": os.getloadavg()[0],
    }


def cpu_name():
    for line in read("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def share_core(cpu, other):
    """Whether two CPUs are threads of one core, as far as the machine says; then each slows the other."""
    siblings = read(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").strip()
    if not siblings:
        return None
    cpus = set()
    for part in siblings.split(","):
        first, _, last = part.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    return other in cpus


def system_name():
    for line in read("/etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return platform.system()


def read(path):
    try:
        return pathlib.Path(path).read_text()
    except OSError:
        return ""
