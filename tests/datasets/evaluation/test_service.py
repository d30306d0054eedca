"""Records are merged by their inputs, all or none; each change makes a version that can be read again."""

from __future__ import annotations

import math
import threading
from typing import Any

import pytest

from mainspring.core.clock import ManualClock
from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.datasets.evaluation.model import EvaluationRecord, RecordDraft, RecordSource
from mainspring.datasets.evaluation.service import EvaluationDatasets
from mainspring.storage.sql.journal import edges_up, latest_events


def asked(question: str, **also: Any) -> RecordDraft:
    return RecordDraft(inputs={"question": question}, **also)


def questions(found: list[EvaluationRecord]) -> list[str]:
    return [record.inputs["question"] for record in found]


def test_a_new_dataset_is_empty_and_knows_its_maker(datasets: EvaluationDatasets) -> None:
    made = datasets.create("qa", experiments=["2", "1"], tags={"mlflow.user": "ann", "team": "ads"})
    assert datasets.get(made.id) == made
    assert (made.version, made.records, made.fields, made.created_by, made.updated_by) == (0, 0, None, "ann", "ann")
    assert datasets.experiments(made.id) == ["2", "1"]
    assert datasets.records(made.id).records == []
    assert datasets.versions(made.id) == []


def test_records_of_the_same_inputs_are_one(datasets: EvaluationDatasets, clock: ManualClock) -> None:
    made = datasets.create("qa")
    trace = RecordSource("TRACE", {"trace_id": "tr-1"})
    done = datasets.merge(
        made.id,
        [
            RecordDraft(inputs={"q": "a", "k": 1}, expectations={"x": 1, "y": 1}, tags={"v": "1"}, source=trace),
            RecordDraft(inputs={"k": 1, "q": "a"}, expectations={"y": 2}, tags={"w": "2"}, outputs="said"),
            RecordDraft(inputs={"q": "a", "k": 2}),
        ],
    )
    assert (done.inserted, done.updated, done.version) == (2, 1, 1)
    clock.advance(5)
    done = datasets.merge(made.id, [RecordDraft(inputs={"q": "a", "k": 1}, expectations={"z": 3})])
    assert (done.inserted, done.updated, done.version) == (0, 1, 2)
    first, second = datasets.records(made.id).records
    assert first.expectations == {"x": 1, "y": 2, "z": 3}
    assert (first.tags, first.outputs, first.source, first.since) == ({"v": "1", "w": "2"}, "said", trace, 2)
    assert first.updated > first.created == second.created == second.updated
    assert (second.outputs, second.expectations, second.tags, second.source) == ({}, None, {}, None)
    assert datasets.get(made.id).records == 2


def test_outputs_are_replaced_and_may_be_anything(datasets: EvaluationDatasets) -> None:
    made = datasets.create("qa")
    for outputs in ("text", ["a", 1], {"a": {"b": None}}, 2.5, False, None):
        datasets.merge(made.id, [asked("a", outputs=outputs)])
        assert datasets.records(made.id).records[0].outputs == outputs
    datasets.merge(made.id, [asked("a", expectations={"x": 1})])
    assert datasets.records(made.id).records[0].outputs is None


def test_what_says_nothing_new_makes_no_version(datasets: EvaluationDatasets, clock: ManualClock) -> None:
    made = datasets.create("qa")
    drafts = [asked("a", expectations={"x": 1}, tags={"t": "1"}), asked("b")]
    assert datasets.merge(made.id, drafts).version == 1
    before = datasets.get(made.id)
    clock.advance(5)
    done = datasets.merge(made.id, drafts)
    assert (done.inserted, done.updated, done.version) == (0, 2, 1)
    assert datasets.merge(made.id, []).version == 1
    assert datasets.get(made.id) == before


def test_every_version_is_read_again_as_it_was(datasets: EvaluationDatasets) -> None:
    made = datasets.create("qa")
    datasets.merge(made.id, [asked("a"), asked("b")])
    datasets.merge(made.id, [asked("b", expectations={"x": 1}), asked("c")])
    gone = [record.id for record in datasets.records(made.id).records if record.inputs["question"] == "a"]
    assert datasets.remove(made.id, [*gone, *gone, "dr-none"]).records == 1
    datasets.merge(made.id, [asked("a", tags={"again": "1"})])

    read = {version: datasets.records(made.id, version).records for version in range(5)}
    asked_in = [questions(read[version]) for version in range(5)]
    assert asked_in == [[], ["a", "b"], ["a", "b", "c"], ["b", "c"], ["b", "c", "a"]]
    assert [record.expectations for record in read[1]] == [None, None]
    assert [record.expectations for record in read[2]] == [None, {"x": 1}, None]
    assert [version.version for version in datasets.versions(made.id)] == [4, 3, 2, 1]
    assert [version.records for version in datasets.versions(made.id)] == [3, 2, 3, 2]
    with pytest.raises(NotFound, match="no version 5"):
        datasets.records(made.id, 5)


def test_the_digest_follows_from_the_content_alone(datasets: EvaluationDatasets) -> None:
    one, other, named = (datasets.create(name) for name in ("qa", "qa", "other"))
    datasets.merge(one.id, [asked("a"), asked("b", expectations={"x": 1})])
    datasets.merge(other.id, [asked("b")])
    datasets.merge(named.id, [asked("a"), asked("b", expectations={"x": 1})])
    differing = datasets.get(other.id).digest
    datasets.merge(other.id, [asked("b", expectations={"x": 1})])
    datasets.merge(other.id, [asked("c")])
    datasets.merge(other.id, [asked("a")])
    (extra,) = (record.id for record in datasets.records(other.id).records if record.inputs["question"] == "c")
    datasets.remove(other.id, [extra])
    digest = datasets.get(one.id).digest
    assert datasets.get(other.id).digest == digest != differing
    assert len({digest, one.digest, differing, datasets.get(named.id).digest}) == 4
    assert datasets.version_with(other.id, digest) == datasets.get(other.id).version
    assert datasets.version_with(one.id, differing) is None


def test_fields_keep_the_type_that_they_had_first(datasets: EvaluationDatasets) -> None:
    made = datasets.create("qa")
    values = {"a": "x", "b": 1, "c": 1.5, "d": True, "e": [1], "f": {}, "g": None}
    datasets.merge(made.id, [RecordDraft(inputs=values, outputs={"o": 1}, expectations={"x": 1})])
    datasets.merge(made.id, [RecordDraft(inputs={"b": "x", "h": 1}, outputs="plain", expectations={"y": 1.0})])
    fields = datasets.get(made.id).fields
    assert fields is not None
    names = ("string", "integer", "float", "boolean", "array", "object", "null", "integer")
    assert fields.inputs == dict(zip("abcdefgh", names, strict=True))
    assert (fields.outputs, fields.expectations) == ({"o": "integer"}, {"x": "integer", "y": "float"})
    plain = datasets.create("plain")
    datasets.merge(plain.id, [asked("a", outputs="said"), asked("b", outputs={"o": 1})])
    found = datasets.get(plain.id).fields
    assert found is not None and found.outputs == "string"


def test_records_come_page_by_page_in_the_order_in_which_they_came(datasets: EvaluationDatasets) -> None:
    made = datasets.create("qa")
    datasets.merge(made.id, [asked(str(number)) for number in range(1200)])
    datasets.merge(made.id, [asked("0", tags={"changed": "1"})])
    found: list[str] = []
    page: str | None = None
    while True:
        part = datasets.records(made.id, limit=500, page=page)
        found += questions(part.records)
        if (page := part.next_page) is None:
            break
    assert found == [str(number) for number in range(1200)]
    with pytest.raises(InvalidRequest, match="page token"):
        datasets.records(made.id, page="x")


def test_writers_at_once_lose_nothing(datasets: EvaluationDatasets) -> None:
    made = datasets.create("qa")

    def write(name: str) -> None:
        for number in range(10):
            datasets.merge(made.id, [asked(str(number), expectations={name: number}), asked(f"{name}{number}")])

    writers = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    records = datasets.records(made.id).records
    shared = [record.expectations for record in records if record.inputs["question"].isdigit()]
    assert len(records) == datasets.get(made.id).records == 50
    assert all(one == dict.fromkeys("abcd", one["a"]) for one in shared if one is not None)
    assert sorted(one["a"] for one in shared if one is not None) == list(range(10))
    assert datasets.get(made.id).version == 40


def test_what_no_database_keeps_in_a_text_is_kept_in_a_record(database: Any) -> None:
    datasets = EvaluationDatasets(database, lambda id: None)
    made = datasets.create("qa")
    odd = {"nul": "a\0b", "half": "\ud800", "big": 2**70, "nan": math.nan, "deep": [[{"x": []}]]}
    datasets.merge(made.id, [RecordDraft(inputs=odd, expectations={"\0": math.inf})])
    (record,) = datasets.records(made.id).records
    assert str(record.inputs) == str(odd) and record.expectations == {"\0": math.inf}
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InvalidRequest, match="cannot be kept"):
        datasets.merge(made.id, [RecordDraft(inputs={"a": 1}), RecordDraft(inputs={"deep": deep})])
    assert datasets.get(made.id).records == 1


def test_lineage_leads_from_a_version_to_the_one_before_and_to_traces(datasets: EvaluationDatasets) -> None:
    made = datasets.create("qa")
    datasets.merge(made.id, [asked("a")])
    traced = [asked(str(n), source=RecordSource("TRACE", {"trace_id": f"tr-{n % 2}"})) for n in range(3)]
    datasets.merge(made.id, traced)
    ref = datasets.get(made.id).ref
    assert ref == f"evaluation_dataset:{made.id}@2"
    with datasets.database.read() as connection:
        above = {edge.source for edge in edges_up(connection, [ref])}
        kinds = [event.kind for event in latest_events(connection, ref=f"evaluation_dataset:{made.id}")]
    assert above == {f"evaluation_dataset:{made.id}@1", "trace:tr-0", "trace:tr-1"}
    assert kinds == ["EvaluationRecordsChanged", "EvaluationDatasetCreated"]


def test_tags_and_experiments_are_added_and_removed(datasets: EvaluationDatasets) -> None:
    made = datasets.create("qa", experiments=["1"], tags={"a": "1"})
    assert datasets.set_tags(made.id, {"a": "2", "b/c d": "x" * 5000}).tags == {"a": "2", "b/c d": "x" * 5000}
    datasets.delete_tag(made.id, "b/c d")
    with pytest.raises(NotFound):
        datasets.delete_tag(made.id, "b/c d")
    with pytest.raises(InvalidRequest, match="5000"):
        datasets.set_tags(made.id, {"a": "x" * 5001})
    assert datasets.get(made.id).tags == {"a": "2"}
    datasets.add_experiments(made.id, ["2", "1", "2"])
    assert datasets.experiments(made.id) == ["1", "2"]
    datasets.remove_experiments(made.id, ["1", "3"])
    assert datasets.experiments(made.id) == ["2"]
    with pytest.raises(NotFound, match="No Experiment with id=3"):
        datasets.add_experiments(made.id, ["1", "3"])
    assert datasets.experiments(made.id) == ["2"]


@pytest.mark.parametrize("name", ["", "x" * 256, "a\0b", "\ud800"])
def test_a_name_that_cannot_be_kept_is_refused(database: Any, name: str) -> None:
    with pytest.raises(InvalidRequest):
        EvaluationDatasets(database, lambda id: None).create(name)


def test_nothing_is_left_of_a_dataset_that_was_deleted(datasets: EvaluationDatasets) -> None:
    made, other = datasets.create("qa", ["1"], {"a": "1"}), datasets.create("qa")
    datasets.merge(made.id, [asked("a")])
    datasets.merge(other.id, [asked("a")])
    datasets.delete(made.id)
    for call in (datasets.get, datasets.delete, datasets.records, datasets.versions):
        with pytest.raises(NotFound, match=f"'{made.id}' not found"):
            call(made.id)
    with pytest.raises(NotFound):
        datasets.merge(made.id, [asked("a")])
    assert questions(datasets.records(other.id).records) == ["a"]
    with datasets.database.read() as connection:
        left = connection.exec_driver_sql("SELECT count(*) FROM evaluation_records").scalar_one()
    assert left == 1
