"""MLflow's client judges an application, its prompts and its answers end to end: records, traces, judgements, a run."""

from __future__ import annotations

import uuid
from typing import Any

import mlflow
import pytest
from mlflow.genai import scorer
from mlflow.genai.datasets import create_dataset

import mainspring
from tests.holds.running import eventually

pytestmark = pytest.mark.filterwarnings("ignore")


@scorer
def exact(outputs: str, expectations: dict[str, Any]) -> bool:
    return outputs == expectations["answer"]


@scorer
def length(outputs: str) -> int:
    return len(outputs)


@mlflow.trace
def shout(question: str) -> str:
    return question.upper()


def test_an_application_is_judged_on_an_evaluation_dataset(
    tracking_url: str, traced_experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_GENAI_EVAL_SKIP_TRACE_VALIDATION", "true")
    cases = create_dataset(name=f"qa {uuid.uuid4()}")
    cases.merge_records(
        [
            {"inputs": {"question": "a"}, "expectations": {"answer": "A"}},
            {"inputs": {"question": "bb"}, "expectations": {"answer": "b"}},
        ]
    )
    result = mlflow.genai.evaluate(data=cases, predict_fn=shout, scorers=[exact, length])
    assert result.metrics == {"exact/mean": 0.5, "length/mean": 1.5}
    run = mlflow.get_run(result.run_id)
    assert run.data.metrics == result.metrics and run.info.status == "FINISHED"
    (read,) = run.inputs.dataset_inputs
    assert (read.dataset.name, read.dataset.source_type) == (cases.name, "mlflow_evaluation_dataset")
    traces = mlflow.search_traces(run_id=result.run_id, return_type="list")
    judged = {trace.info.request_preview: {one.name: one.value for one in trace.info.assessments} for trace in traces}
    assert judged == {
        '{"question": "a"}': {"exact": True, "length": 1, "answer": "A"},
        '{"question": "bb"}': {"exact": False, "length": 2, "answer": "b"},
    }
    with mainspring.connect(tracking_url) as session:
        above = session.trace(f"run:{result.run_id}").edges
        found = session.traces.search_traces([traced_experiment], "feedback.exact = 'true'").traces
    assert f"evaluation_dataset:{cases.dataset_id}@1" in {edge.source for edge in above}
    assert [trace.request for trace in found] == ['{"question": "a"}']


def test_answers_that_are_there_already_are_judged(traced_experiment: str) -> None:
    shout("why")
    (trace,) = mlflow.search_traces(locations=[traced_experiment], return_type="list")
    rows = [{"inputs": {"question": "x"}, "outputs": "X", "expectations": {"answer": "X"}}]
    assert mlflow.genai.evaluate(data=rows, scorers=[exact]).metrics == {"exact/mean": 1.0}
    again = mlflow.genai.evaluate(data=[trace], scorers=[length])
    assert again.metrics == {"length/mean": 3.0}
    found = mlflow.get_trace(trace.info.trace_id)
    assert [(one.name, one.value) for one in found.info.assessments] == [("length", 3)]
    assert [one.info.trace_id for one in mlflow.search_traces(run_id=again.run_id, return_type="list")] == [
        trace.info.trace_id
    ]


def test_prompts_are_linked_with_the_traces_and_runs_that_used_them(
    traced_experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_LOGGING", "false")
    name = f"greet_{uuid.uuid4().hex}"
    mlflow.genai.register_prompt(name=name, template="Hi {{who}}", commit_message="first", tags={"team": "ads"})
    mlflow.genai.register_prompt(name=name, template=[{"role": "user", "content": "Hello {{who}}"}])
    mlflow.genai.set_prompt_alias(name, alias="live", version=1)

    @mlflow.trace
    def greet(who: str) -> str:
        return str(mlflow.genai.load_prompt(f"prompts:/{name}@live").format(who=who))

    assert greet("you") == "Hi you"

    def linked() -> list[str]:
        found = mlflow.search_traces(
            locations=[traced_experiment], filter_string=f"prompt = '{name}/1'", return_type="list"
        )
        return [trace.info.request_preview for trace in found]

    # The client links in a thread of its own, whatever else it waits for.
    eventually(lambda: linked() == ['{"who": "you"}'], "the trace was not linked")
    with mlflow.start_run() as run:
        assert mlflow.genai.load_prompt(f"prompts:/{name}/2").format(who="me")[0]["content"] == "Hello me"
    assert f'"name": "{name}", "version": "2"' in mlflow.get_run(run.info.run_id).data.tags["mlflow.linkedPrompts"]
    assert [prompt.name for prompt in mlflow.genai.search_prompts(f"name='{name}'")] == [name]
    mlflow.genai.delete_prompt_alias(name, alias="live")
    assert mlflow.genai.load_prompt(f"prompts:/{name}@live", allow_missing=True) is None
