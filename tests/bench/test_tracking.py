from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow import MlflowClient

from bench import report
from bench.tracking import __main__ as bench_tracking
from bench.tracking import homes, servers, wire
from mainspring.core.settings import Settings
from mainspring.planes.embedded import Platform
from mainspring.tracking.files.places import Place
from mainspring.tracking.model import Metric


class Recorder(socketserver.ThreadingTCPServer):
    """Answers every request with ``{}``, and keeps what was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Reader)
        self.sent: list[tuple[bytes, bytes]] = []


class Reader(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Recorder)
        lines: list[bytes] = []
        while line := self.rfile.readline():
            lines.append(line)
            if line == b"\r\n":
                sizes = [line for line in lines if line.startswith(b"Content-Length: ")]
                body = self.rfile.read(int(sizes[0][16:])) if sizes else b""
                self.server.sent.append((b"".join(lines), body))
                lines = []
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")


@contextmanager
def recorded() -> Iterator[Recorder]:
    with Recorder() as recorder:
        threading.Thread(target=recorder.serve_forever, daemon=True).start()
        yield recorder
        recorder.shutdown()


def test_the_requests_are_those_of_mlflows_client() -> None:
    with recorded() as recorder:
        host = f"127.0.0.1:{recorder.server_address[1]}"
        client = MlflowClient(f"http://{host}")
        client.log_metric("r", "loss", 0.5, timestamp=7, step=3)
        client.get_metric_history("r", "loss")
    posted = {"run_uuid": "r", "key": "loss", "value": 0.5, "timestamp": 7, "step": 3, "run_id": "r"}
    asked = [("run_uuid", "r"), ("metric_key", "loss"), ("run_id", "r"), ("max_results", 25_000)]
    expected = [wire.post("runs/log-metric", posted), wire.get("metrics/get-history", asked)]
    assert len(recorder.sent) == 2
    for (head, body), request in zip(recorder.sent, expected, strict=True):
        assert body == request.body
        assert head == request.head.replace(b"Host: 127.0.0.1\r\n", f"Host: {host}\r\n".encode())


@pytest.mark.timeout(400)
def test_the_bench_measures_a_real_platform_and_a_part_of_it_overwrites_no_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    # It ends where something is refused, or not found.
    assert bench_tracking.main(["--quick", "--no-peer", "--only", "batch,files,page,history,chart,artifacts"]) == 0
    told = capsys.readouterr().out
    for work in (
        "log a batch of 1,000 metrics",
        "upload an artifact of 2 MB",
        "page through",
        "history",
        "chart",
        "list",
    ):
        assert work in told
    assert "log one metric" not in told
    assert list(tmp_path.iterdir()) == []


def test_the_cpu_of_a_server_is_that_of_all_its_processes(tmp_path: Path) -> None:
    with servers.ours(tmp_path) as server:
        processes = server.processes()
        cpu = server.cpu_s()
        assert len(processes) >= 4
        counted = sum(process.cpu_times().user + process.cpu_times().system for process in processes)
        assert cpu == pytest.approx(counted, rel=0.2)
    assert not any(process.is_running() for process in processes)


def test_a_home_that_was_filled_in_bulk_reads_like_one_that_was_logged(tmp_path: Path) -> None:
    sizes = homes.Sizes({"small": 30, "other": 5}, points=500, artifacts=7)
    seeded = homes.seed_ours(tmp_path / "home", sizes)
    rows = list(homes.rows(30))
    with Platform(Settings(home=str(tmp_path / "home"))) as platform:
        assert isinstance(platform, Platform)
        tracking = platform.tracking
        best = max(rows, key=lambda row: row.metrics[0])
        found = tracking.search_runs(["small"], order_by=["metrics.auc desc"]).runs
        assert (found[0].run.name, len(found)) == (best.name, 31)  # The long one is there, too.
        assert {key: metric.value for key, metric in found[0].metrics.items()} == dict(
            zip(homes.METRICS, best.metrics, strict=True)
        )
        assert (found[0].params, found[0].tags) == (dict(zip(homes.PARAMS, best.params, strict=True)), dict(best.tags))
        history = tracking.metric_history(seeded.run, homes.HISTORY_KEY)
        assert (history.steps, len(history.values)) == (list(range(500)), 500)
        assert tracking.metric_history(found[0].run.id, "auc").values == [best.metrics[0]]
        # What goes on to be logged finds its place behind what was filled in.
        tracking.log_batch(seeded.run, [Metric(homes.HISTORY_KEY, 7.0, 500)])
        tracking.log_batch(found[0].run.id, [Metric("new", 8.0, 0)])
        assert tracking.get_run(seeded.run).metrics[homes.HISTORY_KEY].value == 7.0
        assert tracking.get_run(found[0].run.id).metrics["new"].value == 8.0
        assert len(tracking.files.children(Place("run", seeded.run), homes.FOLDER)) == 7
