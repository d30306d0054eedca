"""Logged models are kept and found by what they are, how they were made and how good they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mainspring.core.clock import ManualClock
from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.core.filters import parse_filter
from mainspring.registry.logged.model import LoggedMetric, MetricOrder, OnDataset
from mainspring.registry.logged.service import LoggedModels
from mainspring.storage.sql.database import Database

ENTITIES = {word: word.removesuffix("s") for word in ("metrics", "params", "tags")}
AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def logged(database: Database, clock: ManualClock) -> LoggedModels:
    return LoggedModels(database, clock)


def metric(key: str, value: float | None, **more: object) -> LoggedMetric:
    return LoggedMetric(key=key, value=value, **{"at": AT, "run": "r1", **more})  # type: ignore[arg-type]


def found(logged: LoggedModels, where: str = "", **options: object) -> list[str]:
    models = logged.search(["1"], parse_filter(where, ENTITIES), **options)  # type: ignore[arg-type]
    return [model.name for model in models]


@pytest.fixture
def three(logged: LoggedModels, clock: ManualClock) -> LoggedModels:
    for name, value in (("a", 0.5), ("b", None), ("c", 0.9)):
        clock.advance(1)
        model = logged.create("1", name, model_type="agent", run=f"run-{name}", params={"p": name}, tags={"t": name})
        logged.database.carry_out(
            logged.logging_metrics(model.id, [metric("auc", value, dataset=f"d{name}", dataset_digest="1")])
        )
    clock.advance(1)
    logged.create("1", "d")
    logged.create("2", "elsewhere")
    return logged


def test_a_logged_model_is_pending_until_it_is_complete(logged: LoggedModels) -> None:
    made = logged.create("1", "m", model_type="agent", run="r1", params={"p": "1"}, tags={"t": "2"})
    assert made.id.startswith("m-")
    assert logged.get(made.id) == made
    assert made.status == "pending"
    assert logged.set_status(made.id, "ready").status == "ready"


def test_a_name_is_made_where_none_is_given_and_refused_where_it_could_be_a_path(logged: LoggedModels) -> None:
    assert logged.create("1").name
    for name in ("", "a/b", "a:b", "a.b", "a%b"):
        with pytest.raises(InvalidRequest, match="Invalid model name"):
            logged.create("1", name)


def test_params_are_written_once_and_tags_changed(logged: LoggedModels) -> None:
    id = logged.create("1", "m", params={"p": "1"}).id
    logged.log_params(id, {"p": "1", "q": "2"})
    with pytest.raises(InvalidRequest, match="written once"):
        logged.log_params(id, {"q": "3"})
    logged.set_tags(id, {"a": "1", "b": "2"})
    assert logged.set_tags(id, {"a": "3"}).tags == {"a": "3", "b": "2"}
    logged.delete_tag(id, "a")
    with pytest.raises(NotFound, match="No tag with key 'a'"):
        logged.delete_tag(id, "a")
    assert (logged.get(id).params, logged.get(id).tags) == ({"p": "1", "q": "2"}, {"b": "2"})


def test_a_tag_is_changed_from_what_it_was(logged: LoggedModels) -> None:
    id = logged.create("1", "m").id
    for _ in range(2):
        logged.change_tag(id, "count", lambda known: str(int(known or 0) + 1))
    assert logged.get(id).tags == {"count": "2"}
    with pytest.raises(NotFound):
        logged.change_tag("m-nothing", "count", lambda known: "1")


def test_a_deleted_model_is_found_only_by_who_asks_for_deleted_ones(three: LoggedModels) -> None:
    (model,) = three.search(["1"], parse_filter("name = 'a'", ENTITIES))
    three.delete(model.id)
    assert found(three) == ["d", "c", "b"]
    with pytest.raises(NotFound):
        three.get(model.id)
    assert three.get(model.id, deleted=True).deleted is not None
    with pytest.raises(NotFound):
        three.set_tags(model.id, {"a": "b"})


def test_models_are_found_newest_first_by_what_is_asked(three: LoggedModels) -> None:
    assert found(three) == ["d", "c", "b", "a"]
    assert found(three, "metrics.auc > 0.6") == ["c"]
    assert found(three, "metrics.auc != 0.5") == ["c", "b"]
    assert found(three, "params.p = 'b' and tags.t like 'b%'") == ["b"]
    assert found(three, "model_type = 'agent' and source_run_id in ('run-a', 'run-c')") == ["c", "a"]
    assert found(three, "metrics.auc is null") == ["d"]
    assert found(three, "status = 'PENDING' and not name = 'd'") == ["c", "b", "a"]
    (model,) = three.search(["1"], parse_filter("name = 'b'", ENTITIES))
    at_ms = int(model.created.timestamp() * 1000)
    assert found(three, f"creation_timestamp = {at_ms}") == ["b"]
    assert found(three, limit=2, offset=1) == ["c", "b"]
    unknown = ("colour = 'x'", "name = 1", "created > 1e400")
    for wrong in ("metrics.auc = 'x'", "metrics.auc like 'x'", "params.p > 'a'", *unknown):
        with pytest.raises(InvalidRequest):
            found(three, wrong)


def test_models_are_sorted_by_their_latest_metric_with_those_without_last(three: LoggedModels) -> None:
    (model,) = three.search(["1"], parse_filter("name = 'a'", ENTITIES))
    three.database.carry_out(three.logging_metrics(model.id, [metric("auc", 0.95, at=AT + timedelta(seconds=1))]))
    assert found(three, order=[MetricOrder(key="auc", metric=True, descending=True)])[:2] == ["a", "c"]
    assert found(three, order=[MetricOrder(key="auc", metric=True)])[:2] == ["c", "a"]
    assert found(three, order=[MetricOrder(key="auc", metric=True, dataset="da")])[0] == "a"
    assert found(three, order=[MetricOrder(key="name")]) == ["a", "b", "c", "d"]
    with pytest.raises(InvalidRequest, match="Invalid order by field name"):
        found(three, order=[MetricOrder(key="colour")])


def test_metrics_count_only_on_the_datasets_that_are_named(three: LoggedModels) -> None:
    assert found(three, datasets=[OnDataset("da"), OnDataset("dc")]) == ["c", "a"]
    assert found(three, "metrics.auc > 0.1", datasets=[OnDataset("da", "1")]) == ["a"]
    assert found(three, "metrics.auc > 0.1", datasets=[OnDataset("da", "2")]) == []
