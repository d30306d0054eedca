"""A light closed-loop HTTP load generator: each connection sends its next request when the last answer is there."""

from __future__ import annotations

import asyncio
import time
from itertools import count
from pathlib import Path
from typing import cast

import msgspec
import uvloop


class Load(msgspec.Struct, frozen=True):
    """What one load run measured; CPU is that of the server, read from /proc."""

    requests: int
    failed: int
    seconds: float
    server_cpu_s: float
    client_cpu_s: float
    latencies_ms: list[float]

    @property
    def per_second(self) -> float:
        """Answers in a second of the clock."""
        return self.requests / self.seconds

    @property
    def per_core(self) -> float:
        """Answers in a second of the server's CPU."""
        return self.requests / self.server_cpu_s

    @property
    def cpu_us(self) -> float:
        """Microseconds of the server's CPU for one request."""
        return self.server_cpu_s / self.requests * 1e6

    def percentile_ms(self, share: float) -> float:
        """Give a percentile of the latencies."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def cpu_seconds(pid: int) -> float:
    """Read the CPU time that a process has used, all its threads together."""
    # schedstat counts nanoseconds, where the clock ticks of /proc/PID/stat would be too coarse.
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


class _Client(asyncio.Protocol):
    __slots__ = ("began", "buffer", "run", "transport")

    def __init__(self, run: _Run) -> None:
        self.run, self.buffer = run, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def send(self) -> None:
        self.began = time.perf_counter()
        self.transport.write(self.run.requests[next(self.run.numbers) % len(self.run.requests)])

    def data_received(self, data: bytes) -> None:
        if self.buffer:
            data = self.buffer + data
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self.buffer = data
            return
        at = data.find(b"ontent-length:") + 14
        size = int(data[at : data.find(b"\r\n", at)])
        if len(data) < end + 4 + size:
            self.buffer = data
            return
        self.buffer = b""
        run = self.run
        run.latencies.append(time.perf_counter() - self.began)
        if data[9:12] != b"200":
            run.failed += 1
        if run.going:
            self.send()

    def connection_lost(self, error: Exception | None) -> None:
        if self.run.going:
            self.run.failed += 1


class _Run:
    def __init__(self, requests: list[bytes]) -> None:
        self.requests, self.numbers = requests, count()
        self.latencies: list[float] = []
        self.failed, self.going = 0, True


async def _drive(port: int, requests: list[bytes], connections: int, seconds: float, pid: int) -> Load:
    loop = asyncio.get_running_loop()
    run = _Run(requests)
    clients = [(await loop.create_connection(lambda: _Client(run), "127.0.0.1", port))[1] for _ in range(connections)]
    for client in clients:
        client.send()
    await asyncio.sleep(min(1.0, seconds / 4))
    run.latencies.clear()
    began, cpu, own = time.perf_counter(), cpu_seconds(pid), time.process_time()
    await asyncio.sleep(seconds)
    took, used, client_used = time.perf_counter() - began, cpu_seconds(pid) - cpu, time.process_time() - own
    latencies = list(run.latencies)
    run.going = False
    for client in clients:
        client.transport.close()
    return Load(len(latencies), run.failed, took, used, client_used, [1000 * one for one in latencies])


def drive(port: int, requests: list[bytes], *, connections: int, seconds: float, pid: int) -> Load:
    """Load the server on *port* (process *pid*) with the ready-made *requests*, in turn."""
    return uvloop.run(_drive(port, requests, connections, seconds, pid))
