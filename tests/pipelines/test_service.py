"""Jobs are started once for each token, listed in pages, and hold their parameters."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from mainspring.client.remote import remote
from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.pipelines.model import Pipeline, Step
from mainspring.pipelines.service import Pipelines
from mainspring.protocols.native.app import application
from mainspring.runtime.threads import Threads
from mainspring.storage.sql.journal import latest_events


@pytest.fixture(params=["near", "far"])
def pipelines(request: pytest.FixtureRequest, pipelines: Pipelines) -> Iterator[Pipelines]:
    if request.param == "near":
        yield pipelines
        return
    threads = Threads(8)
    app = application([pipelines], threads, max_body_bytes=1 << 20)
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        far = remote(Pipelines, client)
        far.database = pipelines.database
        yield far
    threads.close()


ONE = Pipeline("one", [Step(name="a", function="m:f")])
OTHER = Pipeline("other", [Step(name="a", function="m:f")])


def test_a_job_is_recorded_with_its_steps(pipelines: Pipelines) -> None:
    job = pipelines.start(ONE, {"x": [1, None, {"y": "z"}]})
    assert pipelines.get(job.id) == job
    assert (job.status, job.parameters, job.step("a").state) == ("running", {"x": [1, None, {"y": "z"}]}, "pending")


def test_starting_twice_with_one_token_gives_one_job(pipelines: Pipelines) -> None:
    found: list[str] = []
    barrier = threading.Barrier(6)

    def start() -> None:
        barrier.wait()
        found.append(pipelines.start(ONE, token="retrain@2026-11-21").id)

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1
    with pipelines.database.read() as connection:
        assert len(latest_events(connection, kind="JobStarted")) == 1


def test_a_pipeline_that_cannot_run_leaves_no_job(pipelines: Pipelines) -> None:
    with pytest.raises(InvalidRequest):
        pipelines.start(Pipeline("one", [Step(name="a", function="m:f", needs=["b"])]))
    assert pipelines.list() == []


def test_jobs_are_listed_newest_first_in_pages(pipelines: Pipelines) -> None:
    first, second, third = pipelines.start(ONE), pipelines.start(OTHER), pipelines.start(ONE)
    pipelines.cancel(first.id)
    assert [job.id for job in pipelines.list()] == [third.id, second.id, first.id]
    assert [job.id for job in pipelines.list(limit=1, before=third.id)] == [second.id]
    assert [job.id for job in pipelines.list(pipeline="one", status="running")] == [third.id]
    with pytest.raises(InvalidRequest):
        pipelines.list(limit=0)


def test_an_unknown_job_is_not_found(pipelines: Pipelines) -> None:
    for call in (pipelines.get, pipelines.cancel, pipelines.retry, pipelines.logs):
        with pytest.raises(NotFound, match="nobody"):
            call("nobody")
