"""What a run uses is measured under MLflow's names, for the machine and for its own processes."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mainspring.client.capture.system import Gpus, Machine, SystemWatcher
from mainspring.client.entries import Description
from mainspring.client.queueing import RunQueue

MLFLOW = [
    "cpu_utilization_percentage",
    "system_memory_usage_megabytes",
    "system_memory_usage_percentage",
    "disk_usage_percentage",
    "disk_usage_megabytes",
    "disk_available_megabytes",
    "network_receive_megabytes",
    "network_transmit_megabytes",
]
BUSY = "x = bytearray(100_000_000)\nprint(flush=True)\nwhile True: pass"


def test_a_busy_child_shows_in_the_measures_of_the_tree() -> None:
    machine = Machine()
    before = machine.measure()
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        machine.measure()
        time.sleep(0.5)
        busy = machine.measure()
        child.kill()
    assert busy["processes"] == before["processes"] + 1
    assert busy["process_memory_usage_megabytes"] > before["process_memory_usage_megabytes"] + 90
    assert busy["process_cpu_utilization_percentage"] > 5
    assert 0 < busy["cpu_utilization_percentage"] <= 100
    assert set(MLFLOW) <= set(busy)
    after = machine.measure()
    assert after["processes"] == before["processes"]


@pytest.fixture
def queue(tmp_path: Path) -> RunQueue:
    return RunQueue(tmp_path, Description("r"), max_bytes=2**20)


def test_each_measurement_is_one_step(queue: RunQueue) -> None:
    watcher = SystemWatcher(interval_s=0.05)
    for _ in range(3):
        watcher.look(queue)
        time.sleep(0.06)
    assert {step for _, _, step, _ in queue.metrics} == {0, 1}
    assert {key for key, _, _, _ in queue.metrics} >= {f"system/{name}" for name in MLFLOW}
    queue.close()


def test_a_run_of_an_instant_is_not_measured(queue: RunQueue) -> None:
    watcher = SystemWatcher()
    watcher.look(queue)
    watcher.finish(queue)
    assert not queue.metrics
    queue.close()


class Driver:
    """What the driver's library says of two GPUs, one of which keeps its power for itself."""

    class NVMLError(Exception):
        pass

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, number: int) -> int:
        return number

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return SimpleNamespace(used=1e9 * (handle + 1), total=4e9)

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        return SimpleNamespace(gpu=50 + handle)

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        if handle == 1:
            raise self.NVMLError
        return 150_000

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: int) -> int:
        return 300_000


def test_a_gpu_tells_what_it_can() -> None:
    assert Gpus(Driver()).measure() == {
        "gpu_0_memory_usage_megabytes": 1000.0,
        "gpu_0_memory_usage_percentage": 25.0,
        "gpu_0_utilization_percentage": 50,
        "gpu_0_power_usage_watts": 150.0,
        "gpu_0_power_usage_percentage": 50.0,
        "gpu_1_memory_usage_megabytes": 2000.0,
        "gpu_1_memory_usage_percentage": 50.0,
        "gpu_1_utilization_percentage": 51,
    }
