"""MLflow's client traces, finds, reads, tags, links and deletes here as with its own server."""

from __future__ import annotations

import uuid
from typing import Any

import httpx2
import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import SpanEvent, SpanStatusCode, SpanType, Trace, TraceState
from mlflow.entities.model_registry import PromptVersion
from mlflow.entities.trace_status import TraceStatus
from mlflow.exceptions import MlflowException

# The client swallows what goes wrong while it traces, and a warning of its own would go wrong here.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def experiment(traced_experiment: str) -> str:
    return traced_experiment


@pytest.fixture
def client(tracking_url: str, experiment: str) -> MlflowClient:
    return MlflowClient(tracking_url)


@mlflow.trace(span_type=SpanType.TOOL)
def find(question: str) -> list[Any]:
    return [question, 1.5, None, "żółw"]


@mlflow.trace(name="answering")
def answer(question: str) -> dict[str, Any]:
    with mlflow.start_span("thinking", span_type="LLM") as span:
        span.set_attributes({"whole": 1, "real": 2.0, "list": [1, "x"], "map": {"a": [True]}, "nothing": None})
        span.add_event(SpanEvent("saw", timestamp=1_700_000_000_123_456_789, attributes={"n": 1, "t": "x"}))
        return {"found": find(question)}


def traced() -> str:
    return str(mlflow.get_last_active_trace_id())


def found(experiment: str, **options: Any) -> list[Trace]:
    result = mlflow.search_traces(locations=[experiment], return_type="list", **options)
    assert isinstance(result, list)
    return result


def ids(experiment: str, **options: Any) -> list[str]:
    return [one.info.trace_id for one in found(experiment, **options)]


def test_nested_spans_come_back_as_they_were_traced(experiment: str) -> None:
    answer("who?")
    trace = mlflow.get_trace(traced())
    root, thinking, finding = trace.data.spans
    assert [span.name for span in trace.data.spans] == ["answering", "thinking", "find"]
    assert (root.parent_id, thinking.parent_id, finding.parent_id) == (None, root.span_id, thinking.span_id)
    assert [span.span_type for span in trace.data.spans] == ["UNKNOWN", "LLM", "TOOL"]
    assert root.inputs == {"question": "who?"}
    assert root.outputs == {"found": ["who?", 1.5, None, "żółw"]}
    attributes = thinking.attributes
    assert {key: attributes[key] for key in ("whole", "real", "list", "map", "nothing")} == {
        "whole": 1, "real": 2.0, "list": [1, "x"], "map": {"a": [True]}, "nothing": None
    }  # fmt: skip
    assert isinstance(attributes["real"], float)
    (event,) = thinking.events
    assert (event.name, event.timestamp, dict(event.attributes)) == (
        "saw", 1_700_000_000_123_456_789, {"n": 1, "t": "x"}
    )  # fmt: skip
    assert root.start_time_ns <= thinking.start_time_ns <= finding.start_time_ns
    assert {span.status.status_code for span in trace.data.spans} == {SpanStatusCode.OK}
    info = trace.info
    assert (info.state, info.experiment_id) == (TraceState.OK, experiment)
    assert info.request_preview == '{"question": "who?"}'
    assert info.tags["mlflow.traceName"] == "answering"
    assert info.tags["mlflow.trace.spansLocation"] == "TRACKING_STORE"
    assert info.tags["mlflow.artifactLocation"] == f"mlflow-artifacts:/{experiment}/traces/{info.trace_id}/artifacts"
    assert info.execution_duration is not None


def test_a_span_that_fails_says_why(experiment: str) -> None:
    with pytest.raises(ValueError, match="no"), mlflow.start_span("fails"):
        raise ValueError("no")
    trace = mlflow.get_trace(traced())
    (span,) = trace.data.spans
    assert trace.info.state == TraceState.ERROR
    assert (span.status.status_code, span.status.description) == (SpanStatusCode.ERROR, "ValueError: no")
    assert span.events[0].name == "exception"
    assert "raise ValueError" in str(span.events[0].attributes["exception.stacktrace"])


def test_traces_that_are_sent_in_the_background_arrive(experiment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "true")
    mlflow.tracing.reset()
    for number in range(20):
        answer(str(number))
    mlflow.flush_trace_async_logging()
    assert [len(trace.data.spans) for trace in found(experiment)] == [3] * 20


def test_spans_started_by_hand_in_the_client_are_kept(client: MlflowClient, experiment: str) -> None:
    root = client.start_trace("by hand", inputs={"a": 1}, tags={"k": "v"}, experiment_id=experiment)
    child = client.start_span("child", trace_id=root.trace_id, parent_id=root.span_id)
    client.end_span(root.trace_id, child.span_id, outputs={"b": 2}, status="ERROR")
    client.end_trace(root.trace_id, outputs={"c": 3})
    trace = client.get_trace(root.trace_id)
    assert trace.info.tags["k"] == "v"
    assert [(span.name, span.status.status_code.name) for span in trace.data.spans] == [
        ("by hand", "OK"),
        ("child", "ERROR"),
    ]
    assert trace.data.spans[1].outputs == {"b": 2}


def test_searches_find_by_what_traces_their_spans_and_judgements_are(client: MlflowClient, experiment: str) -> None:
    answer("first")
    first = traced()
    with pytest.raises(ValueError), mlflow.start_span("broken", span_type="PARSER"):
        mlflow.update_current_trace(tags={"team": "ads"}, metadata={"who": "me"}, client_request_id="c-1")
        raise ValueError
    second = traced()
    mlflow.log_feedback(trace_id=first, name="score", value=0.9)
    mlflow.log_feedback(trace_id=second, name="right", value=True)
    mlflow.log_expectation(trace_id=second, name="facts", value="Paris")
    for where, expected in {
        "status = 'OK'": [first],
        "trace.status = 'ERROR'": [second],
        "timestamp_ms > 0": [second, first],
        "execution_time_ms > 10000000": [],
        "name = 'answering'": [first],
        "tags.team = 'ads'": [second],
        "metadata.who LIKE 'm%'": [second],
        "client_request_id = 'c-1'": [second],
        "span.type = 'TOOL' AND span.name = 'find'": [first],
        "span.attributes.whole = '1'": [first],
        "trace.text LIKE '%żółw%'": [first],
        "feedback.score > 0.5": [first],
        "feedback.right = 'true'": [second],
        "expectation.facts = 'Paris'": [second],
        "feedback.score IS NULL": [second],
    }.items():
        assert ids(experiment, filter_string=where) == expected, where
    assert ids(experiment, order_by=["timestamp ASC"]) == [first, second]
    assert [one.data.spans for one in found(experiment, include_spans=False)] == [[], []]
    with pytest.raises(MlflowException, match="Invalid attribute key 'nothing'") as refused:
        found(experiment, filter_string="nothing = 'x'")
    assert refused.value.error_code == "INVALID_PARAMETER_VALUE"


def test_searches_go_on_page_by_page(client: MlflowClient, experiment: str) -> None:
    for number in range(5):
        answer(str(number))
    seen: list[str] = []
    token = None
    while True:
        page = client.search_traces(locations=[experiment], max_results=2, page_token=token)
        seen += [one.info.trace_id for one in page]
        token = page.token
        if not token:
            break
    assert seen == ids(experiment) and len(set(seen)) == 5
    assert len(ids(experiment, max_results=3)) == 3


def test_tags_are_set_and_deleted(client: MlflowClient, experiment: str) -> None:
    answer("tag")
    trace = traced()
    mlflow.set_trace_tag(trace, "team", "ads")
    client.set_trace_tag(trace, "other", "x" * 9000)
    client.delete_trace_tag(trace, "team")
    tags = client.get_trace(trace).info.tags
    assert "team" not in tags and tags["other"] == "x" * 8000
    with pytest.raises(MlflowException, match="No tag with key 'team'") as missing:
        client.delete_trace_tag(trace, "team")
    assert missing.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    with pytest.raises(MlflowException, match="not found"):
        client.set_trace_tag("tr-none", "a", "b")


def test_traces_of_a_run_are_found_by_it(client: MlflowClient, experiment: str) -> None:
    with mlflow.start_run() as run:
        answer("within")
        within = traced()
    answer("later")
    later = traced()
    assert ids(experiment, run_id=run.info.run_id) == [within]
    client.link_traces_to_run([later], run.info.run_id)
    client.link_traces_to_run([later], run.info.run_id)
    assert ids(experiment, run_id=run.info.run_id) == [later, within]
    with pytest.raises(MlflowException) as missing:
        client.link_traces_to_run([later], "none")
    assert missing.value.error_code == "RESOURCE_DOES_NOT_EXIST"


def test_traces_are_found_by_the_prompts_that_they_used(client: MlflowClient, experiment: str) -> None:
    answer("greet")
    client.link_prompt_versions_to_trace([PromptVersion("greeting", 2, "hello")], traced())
    assert ids(experiment, filter_string="prompt = 'greeting/2'") == [traced()]
    assert ids(experiment, filter_string="prompt = 'greeting/1'") == []


def test_traces_are_deleted_by_id_and_by_time(client: MlflowClient, experiment: str) -> None:
    for number in range(4):
        answer(str(number))
    newest, second, _, oldest = found(experiment)
    assert client.delete_traces(experiment, trace_ids=[second.info.trace_id, "tr-none"]) == 1
    until = newest.info.request_time
    assert client.delete_traces(experiment, max_timestamp_millis=until, max_traces=1) == 1
    assert oldest.info.trace_id not in ids(experiment)
    assert client.delete_traces(experiment, max_timestamp_millis=until) == 2
    assert ids(experiment) == []
    with pytest.raises(MlflowException, match="not found") as gone:
        client.get_trace(newest.info.trace_id)
    assert gone.value.error_code == "RESOURCE_DOES_NOT_EXIST"


def test_a_trace_of_a_deleted_experiment_is_refused(client: MlflowClient, experiment: str, tracking_url: str) -> None:
    client.delete_experiment(experiment)
    info = {
        "trace_id": "tr-late",
        "trace_location": {"mlflow_experiment": {"experiment_id": experiment}},
        "request_time": "2026-01-31T12:00:00.250Z",
    }
    refused = httpx2.post(f"{tracking_url}/api/3.0/mlflow/traces", json={"trace": {"trace_info": info}})
    assert (refused.status_code, refused.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    client.restore_experiment(experiment)
    kept = httpx2.post(f"{tracking_url}/api/3.0/mlflow/traces", json={"trace": {"trace_info": info}})
    told = kept.json()["trace"]["trace_info"]
    assert (told["request_time"], told["state"]) == ("2026-01-31T12:00:00.250Z", "STATE_UNSPECIFIED")
    assert "execution_duration" not in told and "spansLocation" not in str(told["tags"])


def test_a_trace_is_waited_for_until_all_its_spans_came(
    client: MlflowClient, experiment: str, tracking_url: str
) -> None:
    base = f"{tracking_url}/api/3.0/mlflow/traces"
    info = {
        "trace_id": "tr-" + uuid.uuid4().hex,
        "trace_location": {"mlflow_experiment": {"experiment_id": experiment}},
        "trace_metadata": {"mlflow.trace.sizeStats": '{"num_spans": 2}'},
        "execution_duration": "1.5s",
        "state": "OK",
    }
    httpx2.post(base, json={"trace": {"trace_info": info}}).raise_for_status()
    asked = {"trace_id": info["trace_id"]}
    early = httpx2.get(f"{base}/get", params=asked)
    assert early.status_code == 404 and "not fully exported" in early.json()["message"]
    partial = httpx2.get(f"{base}/get", params=asked | {"allow_partial": "True"}).json()["trace"]
    assert partial["spans"] == [] and partial["trace_info"]["execution_duration"] == "1.500s"
    many = {"trace_ids": [info["trace_id"], "tr-none"]}
    assert httpx2.get(f"{base}/batchGet", params=many).json() == {"traces": []}
    infos = httpx2.post(f"{base}/batchGetInfos", json=many).json()["trace_infos"]
    assert [one["trace_id"] for one in infos] == [info["trace_id"]]


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("search", {"locations": [{"mlflow_experiment": {"experiment_id": "0"}}], "max_results": 501}, "501"),
        ("search", {}, "locations"),
        ("search", {"locations": [{"mlflow_experiment": {"experiment_id": "0"}}], "page_token": "x"}, "page token"),
        ("delete-traces", {"experiment_id": "0"}, "must be given"),
        ("link-to-run", {"run_id": "r"}, "trace_ids"),
        ("batchGetInfos", {"trace_ids": []}, "trace_ids"),
        ("", {"trace": {"trace_info": {"trace_id": "t", "trace_location": {}}}}, "experiment_id"),
    ],
)
def test_what_cannot_be_read_is_refused(tracking_url: str, path: str, body: dict[str, Any], said: str) -> None:
    answer = httpx2.post(f"{tracking_url}/api/3.0/mlflow/traces/{path}".rstrip("/"), json=body)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert said in answer.json()["message"]


@pytest.mark.parametrize("form", ["2.0", "3.0"])
def test_tags_that_say_how_a_trace_is_stored_are_not_set(tracking_url: str, form: str) -> None:
    path = f"{tracking_url}/api/{form}/mlflow/traces/tr-1/tags"
    body = {"key": "mlflow.trace.spansLocation", "value": "x"}
    for answer in (httpx2.patch(path, json=body), httpx2.request("DELETE", path, json=body)):
        assert answer.status_code == 400 and "immutable" in answer.json()["message"]


def test_the_second_form_starts_ends_reads_and_finds_a_trace(client: MlflowClient, experiment: str) -> None:
    store = client._tracing_client.store
    begun = store.deprecated_start_trace_v2(experiment, 1000, {"m": "1"}, {"mlflow.traceName": "old", "t": "1"})
    assert (begun.status.value, begun.execution_time_ms, begun.tags["t"]) == ("IN_PROGRESS", 0, "1")
    ended = store.deprecated_end_trace_v2(begun.request_id, 1500, TraceStatus.OK, {"n": "2"}, {"t": "2", "u": "3"})
    assert (ended.timestamp_ms, ended.execution_time_ms, ended.status.value) == (1000, 500, "OK")
    info = store.get_trace_info(begun.request_id)
    assert {"m": "1", "n": "2"}.items() <= info.trace_metadata.items()
    assert {"t": "2", "u": "3", "mlflow.traceName": "old"}.items() <= info.tags.items()
    assert "mlflow.trace.spansLocation" not in info.tags


def test_the_second_form_searches_as_the_third_does(experiment: str, tracking_url: str) -> None:
    answer("first")
    answer("second")
    asked = {
        "experiment_ids": [experiment],
        "filter": "name = 'answering'",
        "max_results": 1,
        "order_by": ["timestamp"],
    }
    first = httpx2.get(f"{tracking_url}/api/2.0/mlflow/traces", params=asked).json()
    rest = httpx2.get(
        f"{tracking_url}/api/2.0/mlflow/traces", params=asked | {"page_token": first["next_page_token"]}
    ).json()
    seen = [one["request_id"] for page in (first, rest) for one in page["traces"]]
    assert seen == ids(experiment)[::-1] and "next_page_token" not in rest
    told = httpx2.get(f"{tracking_url}/api/2.0/mlflow/traces/{seen[0]}/info").json()["trace_info"]
    assert told == first["traces"][0] and told["status"] == "OK"
