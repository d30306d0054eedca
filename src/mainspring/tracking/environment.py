"""Capture where this process runs: Python, packages, operating system, processors, memory."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

from mainspring.tracking.model import Environment, Gpu, Package

_COMMAND_TIMEOUT_S = 5
_DISTRIBUTION = re.compile(r"(?P<name>.+?)-(?P<version>[^-]+)(?:-py[\d.]+)?\.(?:dist|egg)-info")
_SEPARATORS = re.compile(r"[-_.]+")
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def capture_environment() -> Environment:
    """Describe this process's environment; takes some milliseconds, more where a GPU's driver must be asked."""
    return Environment(
        python=f"{platform.python_implementation()} {platform.python_version()}",
        os=platform.platform(),
        architecture=platform.machine(),
        cpu=_cpu(),
        cpus=_cpus(),
        memory_bytes=_memory_bytes(),
        gpus=_gpus(),
        packages=installed_packages(),
    )


def installed_packages() -> list[Package]:
    """List the distributions on the import path by name; of several versions, the one that would be imported.

    The names of the metadata folders say all that is needed: reading each distribution's metadata takes far longer.
    """
    found: dict[str, str] = {}
    for folder in dict.fromkeys(sys.path):
        for entry in _entries(folder or "."):
            if match := _DISTRIBUTION.fullmatch(entry):
                found.setdefault(_SEPARATORS.sub("-", match["name"]).lower(), match["version"])
    return [Package(name, found[name]) for name in sorted(found)]


def _entries(folder: str) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(folder)]
    except OSError:  # An archive, a folder that is gone, one that may not be read.
        return []


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model", "cpu model"):
                return value.strip()
    except OSError:
        pass
    return _output(["sysctl", "-n", "machdep.cpu.brand_string"]) or platform.processor() or platform.machine()


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_bytes() -> int:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for file in _CGROUP_LIMITS:
        try:
            memory = min(memory, int(Path(file).read_text()))
        except (OSError, ValueError):  # No such control group, or "max".
            continue
    return memory


def _gpus() -> list[Gpu]:
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    said = _output(query) if shutil.which("nvidia-smi") else ""
    return parse_gpus(said) if said else _gpus_by_library()


def parse_gpus(said: str) -> list[Gpu]:
    """Read what nvidia-smi says: one line ``name, mebibytes, driver`` for each GPU."""
    found = []
    for line in said.splitlines():
        parts = [part.strip() for part in line.rsplit(",", 2)]
        if len(parts) == 3:
            # Where the memory is shared with the CPU, nvidia-smi says "[N/A]".
            found.append(Gpu(parts[0], int(parts[1]) * 2**20 if parts[1].isdigit() else 0, parts[2]))
    return found


def _gpus_by_library() -> list[Gpu]:
    try:
        nvml = import_module("pynvml")
    except ImportError:
        return []
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return []
    try:
        handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        driver = _text(nvml.nvmlSystemGetDriverVersion())
        return [Gpu(_text(nvml.nvmlDeviceGetName(h)), nvml.nvmlDeviceGetMemoryInfo(h).total, driver) for h in handles]
    finally:
        nvml.nvmlShutdown()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
