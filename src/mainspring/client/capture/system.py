"""What a run uses of its machine, every ten seconds, under the names that MLflow gives to the same."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from importlib import import_module
from typing import Any

from mainspring.client.capture.watchers import HELPERS
from mainspring.client.queueing import RunQueue

INTERVAL_S = 10.0
SHORTEST_S = 1.0
"""A run that takes less is not measured."""
_MB = 1e6


class SystemWatcher:
    """Measures the machine, the tree of this process, and the GPUs; each measurement is one step."""

    def __init__(self, interval_s: float = INTERVAL_S) -> None:
        self._interval_s = interval_s
        self._machine: Machine | None = None
        self._due = 0.0
        self._step = 0

    def look(self, queue: RunQueue) -> None:
        """Measure when it is time to."""
        now = time.monotonic()
        if self._machine is None:
            self._machine, self._due = Machine(), now + self._interval_s
        elif now >= self._due:
            self._due = now + self._interval_s
            self._measure(queue)

    def finish(self, queue: RunQueue) -> None:
        """Measure once more, for runs that are shorter than the time between two measurements."""
        if self._machine is not None:
            if time.monotonic() - self._machine.since >= SHORTEST_S:
                self._measure(queue)
            self._machine.close()

    def _measure(self, queue: RunQueue) -> None:
        assert self._machine is not None
        at = time.time_ns() // 1000
        queue.metrics.extend((f"system/{key}", value, self._step, at) for key, value in self._machine.measure().items())
        self._step += 1


class Machine:
    """What there is to measure; counters count from when this was made."""

    def __init__(self) -> None:
        import psutil

        self._psutil = psutil
        self._process = psutil.Process()
        self._seen: dict[int, Any] = {self._process.pid: self._process}
        self._network, self._disk = psutil.net_io_counters(), _disk_counters(psutil)
        self._gpus = Gpus.find()
        self.since = time.monotonic()
        self._busy, self._total = self._cpu()
        self._process.cpu_percent(None)

    def measure(self) -> dict[str, float]:
        """Give the values by their names; shares of time are those since the last call."""
        psutil = self._psutil
        memory = psutil.virtual_memory()
        found = {
            "cpu_utilization_percentage": self._cpu_share(),
            "system_memory_usage_megabytes": memory.used / _MB,
            "system_memory_usage_percentage": memory.percent,
        }
        with suppress(OSError):
            disk = psutil.disk_usage(os.sep)
            found["disk_usage_percentage"] = disk.percent
            found["disk_usage_megabytes"], found["disk_available_megabytes"] = disk.used / _MB, disk.free / _MB
        network, counted = psutil.net_io_counters(), _disk_counters(psutil)
        if network is not None and self._network is not None:
            found["network_receive_megabytes"] = (network.bytes_recv - self._network.bytes_recv) / _MB
            found["network_transmit_megabytes"] = (network.bytes_sent - self._network.bytes_sent) / _MB
        if counted is not None and self._disk is not None:
            found["disk_read_megabytes"] = (counted.read_bytes - self._disk.read_bytes) / _MB
            found["disk_write_megabytes"] = (counted.write_bytes - self._disk.write_bytes) / _MB
        return {**found, **self._tree(), **(self._gpus.measure() if self._gpus is not None else {})}

    def _cpu(self) -> tuple[float, float]:
        times = self._psutil.cpu_times()
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        return total - times.idle - getattr(times, "iowait", 0.0), total

    def _cpu_share(self) -> float:
        """Measure the processors of the machine; psutil's own function counts for each thread apart."""
        (busy, total), before = self._cpu(), (self._busy, self._total)
        self._busy, self._total = busy, total
        passed = total - before[1]
        return round(100 * (busy - before[0]) / passed, 1) if passed > 0 else 0.0

    def _tree(self) -> dict[str, float]:
        """Measure this process and all below it; 100 % is one processor."""
        psutil = self._psutil
        gone = (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess)
        alive: dict[int, Any] = {self._process.pid: self._process}
        with suppress(*gone):
            for child in self._process.children(recursive=True):
                if child.pid not in HELPERS:
                    alive[child.pid] = self._seen.get(child.pid, child)
        self._seen = alive
        cpu = memory = threads = 0.0
        for process in alive.values():
            with suppress(*gone), process.oneshot():
                cpu += process.cpu_percent(None)
                memory += process.memory_info().rss / _MB
                threads += process.num_threads()
        return {
            "process_cpu_utilization_percentage": cpu,
            "process_memory_usage_megabytes": memory,
            "process_threads": threads,
            "processes": float(len(alive)),
        }

    def close(self) -> None:
        """Let go of the driver of the GPUs."""
        if self._gpus is not None:
            self._gpus.close()


class Gpus:
    """The GPUs of NVIDIA that this process may see, by the driver's own library."""

    def __init__(self, nvml: Any) -> None:
        """Use *nvml*, which is initialised."""
        self._nvml = nvml
        self._handles = [nvml.nvmlDeviceGetHandleByIndex(number) for number in range(nvml.nvmlDeviceGetCount())]

    @classmethod
    def find(cls) -> Gpus | None:
        """Give them; None when there are none, or the package nvidia-ml-py (``mainspring[gpu]``) is not there."""
        try:
            nvml = import_module("pynvml")
        except ImportError:
            return None
        try:
            nvml.nvmlInit()
            return cls(nvml)
        except nvml.NVMLError:
            return None

    def measure(self) -> dict[str, float]:
        """Give what each GPU can tell; not every one can tell everything."""
        nvml = self._nvml
        found: dict[str, float] = {}
        for number, handle in enumerate(self._handles):
            with suppress(nvml.NVMLError):
                memory = nvml.nvmlDeviceGetMemoryInfo(handle)
                found[f"gpu_{number}_memory_usage_megabytes"] = memory.used / _MB
                found[f"gpu_{number}_memory_usage_percentage"] = round(memory.used / memory.total * 100, 1)
            with suppress(nvml.NVMLError):
                found[f"gpu_{number}_utilization_percentage"] = nvml.nvmlDeviceGetUtilizationRates(handle).gpu
            with suppress(nvml.NVMLError):
                power = nvml.nvmlDeviceGetPowerUsage(handle)
                found[f"gpu_{number}_power_usage_watts"] = power / 1000
                limit = nvml.nvmlDeviceGetEnforcedPowerLimit(handle)
                found[f"gpu_{number}_power_usage_percentage"] = power / limit * 100
        return found

    def close(self) -> None:
        """Let go of the driver."""
        with suppress(self._nvml.NVMLError):
            self._nvml.nvmlShutdown()


def _disk_counters(psutil: Any) -> Any:
    try:
        return psutil.disk_io_counters()
    except (OSError, RuntimeError, NotImplementedError):  # Some containers show no disks.
        return None
