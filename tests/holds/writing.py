"""Clients of a tracking server that is being killed, each with a book of what it sent and what was answered."""

from __future__ import annotations

import http.client
import itertools
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

WRITES_PER_RUN = 25
PAUSE_S = 0.01
_BATCH_STEPS = 10


class Point(NamedTuple):
    """A measured value as it is sent; the time in milliseconds."""

    key: str
    value: float
    at_ms: int
    step: int


class Write:
    """One request for a run: points, params and tags that are there all or not at all, or its end."""

    def __init__(self, *, end: bool = False) -> None:
        self.points: list[Point] = []
        self.params: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.end = end
        self.answered = False


class Book:
    """What became of one run: how often its creation was sent, its id once that was answered, and what was written."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sent = 0
        self.id: str | None = None
        self.writes: list[Write] = []


class Failed(Exception):
    """A request without an answer: whether it was carried out nobody knows."""


class Caller(Protocol):
    """How requests are sent; raises Failed where no answer came."""

    def create(self, book: Book) -> str: ...

    def write(self, run: str, write: Write) -> None: ...

    def close(self) -> None: ...


class Raw:
    """Plain requests on one connection, each sent once, or *again* until it is answered."""

    def __init__(self, host: str, experiment: str, going: Callable[[], bool], *, again: bool) -> None:
        self._connection = http.client.HTTPConnection(host, timeout=30)
        self._experiment, self._going, self._again = experiment, going, again

    def create(self, book: Book) -> str:
        def sent() -> Any:
            book.sent += 1
            return self._post("runs/create", asked)

        asked = {"experiment_id": self._experiment, "run_name": book.name, "start_time": 1_790_000_000_000}
        return str(self._repeated(sent)["run"]["info"]["run_id"])

    def write(self, run: str, write: Write) -> None:
        self._repeated(lambda: self._post(*_as_request(run, write)))

    def close(self) -> None:
        self._connection.close()

    def _repeated(self, send: Callable[[], Any]) -> Any:
        while True:
            try:
                return send()
            except Failed:
                if not self._again or not self._going():
                    raise
                time.sleep(PAUSE_S)

    def _post(self, path: str, asked: dict[str, Any]) -> Any:
        try:
            self._connection.request(
                "POST", f"/api/2.0/mlflow/{path}", json.dumps(asked), {"Content-Type": "application/json"}
            )
            answer = self._connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Failed from error
        # A server that is killed does not answer; one that answers has no reason to refuse.
        assert answer.status == 200, f"{path}: {answer.status} {body!r}"
        return json.loads(body)


def _as_request(run: str, write: Write) -> tuple[str, dict[str, Any]]:
    points = [{"key": p.key, "value": p.value, "timestamp": p.at_ms, "step": p.step} for p in write.points]
    params, tags = ([{"key": k, "value": v} for k, v in texts.items()] for texts in (write.params, write.tags))
    if write.end:
        return "runs/update", {"run_id": run, "status": "FINISHED", "end_time": 1_790_000_060_000}
    if len(points) + len(params) + len(tags) > 1:
        return "runs/log-batch", {"run_id": run, "metrics": points, "params": params, "tags": tags}
    path = "runs/log-metric" if points else "runs/log-parameter" if params else "runs/set-tag"
    return path, {"run_id": run, **(points or params or tags)[0]}


class Real:
    """MLflow's own client, which sends again what was not answered."""

    def __init__(self, url: str, experiment: str) -> None:
        self._client, self._experiment = MlflowClient(url), experiment

    def create(self, book: Book) -> str:
        # Nobody sees how often the client sends it.
        book.sent += 1_000
        with _told():
            return str(self._client.create_run(self._experiment, run_name=book.name).info.run_id)

    def write(self, run: str, write: Write) -> None:
        with _told():
            path, asked = _as_request(run, write)
            if write.end:
                self._client.set_terminated(run)
            elif path == "runs/log-metric":
                self._client.log_metric(run, asked["key"], asked["value"], asked["timestamp"], asked["step"])
            elif path == "runs/log-parameter":
                self._client.log_param(run, asked["key"], asked["value"])
            elif path == "runs/set-tag":
                self._client.set_tag(run, asked["key"], asked["value"])
            else:
                self._client.log_batch(
                    run,
                    [Metric(point.key, point.value, point.at_ms, point.step) for point in write.points],
                    [Param(key, value) for key, value in write.params.items()],
                    [RunTag(key, value) for key, value in write.tags.items()],
                )

    def close(self) -> None:
        """Nothing: the client's connections are shared by all in this process."""


@contextmanager
def _told() -> Iterator[None]:
    """Make of MLflow's word for a server that cannot be reached that of the callers here."""
    try:
        yield
    except MlflowException as error:
        if "Max retries exceeded" not in str(error):
            raise
        raise Failed from error


class Client:
    """A client that makes runs and fills them without pause, in a thread of its own."""

    def __init__(self, name: str, caller: Caller, going: Callable[[], bool]) -> None:
        self.name, self.books, self.answers, self.failures = name, list[Book](), 0, 0
        self.broken: BaseException | None = None
        self._caller, self._going, self._chance = caller, going, random.Random(name)
        self._numbers = itertools.count()
        self._thread = threading.Thread(target=self._run, name=name)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self) -> None:
        """Wait for its end; raises what broke it."""
        self._thread.join(120)
        assert not self._thread.is_alive(), self.name
        if self.broken is not None:
            raise self.broken

    def _run(self) -> None:
        try:
            while self._going():
                self._one_run()
        except BaseException as error:  # Raised again in `join`.
            self.broken = error
        finally:
            self._caller.close()

    def _one_run(self) -> None:
        book = Book(f"{self.name}-{len(self.books)}")
        self.books.append(book)
        try:
            book.id = self._caller.create(book)
        except Failed:
            self._failed()
            return
        self.answers += 1
        for _ in range(WRITES_PER_RUN):
            if not self._going():
                return
            self._write(book, self._filled())
        self._write(book, Write(end=True))

    def _write(self, book: Book, write: Write) -> None:
        book.writes.append(write)
        assert book.id is not None
        try:
            self._caller.write(book.id, write)
        except Failed:
            self._failed()
            return
        write.answered = True
        self.answers += 1

    def _failed(self) -> None:
        self.failures += 1
        time.sleep(PAUSE_S)

    def _filled(self) -> Write:
        write, number, kind = Write(), next(self._numbers), self._chance.choice(["metric", "batch", "param", "tag"])
        if kind in ("metric", "batch"):
            steps = range(
                number * _BATCH_STEPS, (number + 1) * _BATCH_STEPS if kind == "batch" else number * _BATCH_STEPS + 1
            )
            write.points = [
                Point(key, self._chance.random(), number, step) for step in steps for key in ("loss", "auc")
            ]
        if kind == "metric":
            del write.points[1:]
        if kind in ("param", "batch"):
            write.params = {f"param-{number}": str(number)}
        if kind in ("tag", "batch"):
            write.tags = {f"tag-{number}": str(number)}
        return write
