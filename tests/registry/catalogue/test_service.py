"""The catalogue finds, records, renames and deletes without ever letting a ref mean two things."""

from __future__ import annotations

import pytest

from mainspring.core.errors import AlreadyExists, GateRefused, InvalidRequest, NotFound, Unsupported
from mainspring.core.filters import parse_filter, parse_order
from mainspring.registry.catalogue.service import Catalogue
from mainspring.registry.gate_model import GatePolicy
from mainspring.registry.service import Registry
from mainspring.storage.objects.store import ObjectStore
from mainspring.storage.objects.tree import TreeEntry, put_entries
from mainspring.storage.sql.journal import edges_up, latest_events
from tests.registry.test_service import holdout

LENIENT = GatePolicy(max_p99_ms=1000, latency_requests=30)
TAGS = {"tag": "tag", "tags": "tag"}


def names(catalogue: Catalogue, where: str = "", order: str = "name", **without: str) -> list[str]:
    found = catalogue.search_models(parse_filter(where, TAGS), [parse_order(order, TAGS)], without=without, limit=100)
    return [model.name for model in found]


def refs(catalogue: Catalogue, where: str = "", *order: str, limit: int = 100, offset: int = 0) -> list[str]:
    found = catalogue.search_versions(
        parse_filter(where, TAGS), [parse_order(one, TAGS) for one in order], without={}, limit=limit, offset=offset
    )
    return [version.ref for version in found]


def test_a_version_whose_files_are_elsewhere_is_a_record_that_says_so(registry: Registry, catalogue: Catalogue) -> None:
    registry.create_model("My Model")
    made = catalogue.record("My Model", "s3://bucket/model", run="r1", tags={"a": "b"}, card="about it")
    assert (made.ref, made.digest, made.engine, made.info) == ("model:My Model@1", None, None, None)
    assert (made.source, made.location, made.run, made.card) == (
        "s3://bucket/model",
        "s3://bucket/model",
        "run:r1",
        "about it",
    )
    assert registry.resolve("model:My Model@1") == made
    with pytest.raises(Unsupported, match=r"model:My Model@1 is a record only and cannot be served: .*s3://bucket/mod"):
        made.servable()
    with pytest.raises(Unsupported, match="is a record only"):
        registry.evaluate_gates("My Model", 1, holdout())
    with registry.database.read() as connection:
        assert [edge.source for edge in edges_up(connection, ["model:My Model@1"])] == ["run:r1"]


def test_a_version_whose_files_are_here_can_be_served(registry: Registry, catalogue: Catalogue, digest: str) -> None:
    registry.create_model("m")
    made = catalogue.record("m", "runs:/r1/model", tree=digest).servable()
    assert (made.engine, made.unservable, made.trusted) == ("onnx", None, False)
    assert made.info.signature.inputs
    assert made.size_bytes > 0


def test_files_that_are_no_model_to_serve_are_kept_with_the_reason(
    registry: Registry, catalogue: Catalogue, objects: ObjectStore
) -> None:
    registry.create_model("m")
    data = b"flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n"
    tree = put_entries(objects, [TreeEntry("MLmodel", objects.put_bytes(data), len(data))])
    made = catalogue.record("m", "runs:/r1/model", tree=tree)
    assert (made.digest, made.size_bytes, made.info) == (tree, len(data), None)
    with pytest.raises(Unsupported, match="has no signature"):
        made.servable()


def test_only_known_models_get_records(catalogue: Catalogue) -> None:
    with pytest.raises(NotFound, match="there is no model m"):
        catalogue.record("m", "s3://bucket/model")


def test_models_are_found_by_name_and_tags(registry: Registry, catalogue: Catalogue) -> None:
    registry.create_model("ads", tags={"team": "a", "kind": "prompt"})
    registry.create_model("bids", tags={"team": "a"})
    registry.create_model("Cats", tags={"team": "b", "odd key's": "100%"})
    assert names(catalogue, "name = 'ads'") == ["ads"]
    assert names(catalogue, "tags.team = 'a' and name LIKE 'b%'") == ["bids"]
    assert names(catalogue, "name like 'c%'") == []
    assert names(catalogue, "name ilike 'c%'") == ["Cats"]
    assert names(catalogue, "tags.kind != 'x'") == ["ads"]
    assert set(names(catalogue, "tags.kind is null")) == {"bids", "Cats"}
    assert names(catalogue, "tags.\"odd key's\" like '100%'") == ["Cats"]
    assert set(names(catalogue, "name in ('ads', 'Cats') or tags.team = 'b'")) == {"ads", "Cats"}
    assert set(names(catalogue, kind="prompt")) == {"bids", "Cats"}
    for wrong in ("name > 'a'", "name = 1", "description = 'x'", "tags.team < 'a'"):
        with pytest.raises(InvalidRequest):
            names(catalogue, wrong)


def test_versions_are_found_by_what_they_came_from(registry: Registry, catalogue: Catalogue) -> None:
    for name in ("a", "b"):
        registry.create_model(name)
        for number in range(1, 4):
            catalogue.record(name, f"s3://{name}/{number}", run=f"run{number}", tags={"n": str(number)})
    assert refs(catalogue, "name = 'a'") == ["model:a@3", "model:a@2", "model:a@1"]
    assert refs(catalogue, "run_id = 'run2'") == ["model:a@2", "model:b@2"]
    assert refs(catalogue, "run_id IN ('run1', 'run3') and name != 'a'") == ["model:b@3", "model:b@1"]
    assert refs(catalogue, "source_path like 's3://b%'", "version_number ASC") == [f"model:b@{n}" for n in (1, 2, 3)]
    assert refs(catalogue, "version_number >= 2 and tag.n = '3'", "name DESC") == ["model:b@3", "model:a@3"]
    assert refs(catalogue, "version between 1 and 2 and name='a'") == ["model:a@2", "model:a@1"]
    assert refs(catalogue, limit=2, offset=2) == ["model:a@1", "model:b@3"]
    for wrong in ("version = 1.5", "version = 'x'", "version like '1'", "stages = 'x'"):
        with pytest.raises(InvalidRequest):
            refs(catalogue, wrong)
    with pytest.raises(InvalidRequest, match="duplicate"):
        refs(catalogue, "", "name", "name desc")


def test_a_number_is_never_given_again(registry: Registry, catalogue: Catalogue) -> None:
    registry.create_model("m", tags={"a": "b"})
    for _ in range(2):
        catalogue.record("m", "s3://bucket/model")
    registry.set_alias("m", "best", 2)
    catalogue.delete_version("m", 2)
    assert registry.get_model("m").aliases == {}
    assert [move.version for move in registry.alias_history("m", "best")] == [2, None]
    assert catalogue.record("m", "s3://bucket/model").version == 3
    catalogue.delete_model("m")
    with pytest.raises(NotFound):
        registry.get_version("m", 1)
    assert registry.create_model("m").tags == {}
    assert catalogue.record("m", "s3://bucket/model").version == 4
    with registry.database.read() as connection:
        assert latest_events(connection, kind="ModelDeleted", limit=1)[0].body == {"model": "model:m", "versions": 2}


def test_a_renamed_model_keeps_everything_and_its_lineage(
    registry: Registry, catalogue: Catalogue, digest: str
) -> None:
    registry.register("old", digest, run="r1", tags={"a": "b"})
    registry.set_alias("old", "best", 1)
    registry.create_model("taken")
    with pytest.raises(AlreadyExists):
        catalogue.rename("old", "taken")
    with pytest.raises(InvalidRequest):
        catalogue.rename("old", "a/b")
    assert catalogue.rename("old", "new name").aliases == {"best": 1}
    with pytest.raises(NotFound):
        registry.get_model("old")
    assert registry.resolve("model:new name@best").tags == {"a": "b"}
    assert [move.version for move in registry.alias_history("new name", "best")] == [1]
    with registry.database.read() as connection:
        assert [edge.source for edge in edges_up(connection, ["model:new name@1"])] == ["model:old@1"]
    assert registry.register("old", digest).version == 2
    with pytest.raises(NotFound):
        catalogue.rename("nobody", "x")


def test_the_others_of_a_stage_go_to_the_archive_where_that_is_asked(registry: Registry, catalogue: Catalogue) -> None:
    registry.create_model("m")
    for _ in range(3):
        catalogue.record("m", "s3://bucket/model")
    catalogue.bring("m", 1, "production")
    catalogue.bring("m", 2, "production")
    assert [registry.get_version("m", n).stage for n in (1, 2)] == ["production", "production"]
    catalogue.bring("m", 3, "production", archive_others=True)
    assert [registry.get_version("m", n).stage for n in (1, 2, 3)] == ["archived", "archived", "production"]
    assert [change.stage for change in registry.stage_history("m", 1)] == ["development", "production", "archived"]
    assert {v.ref: v.stage for v in catalogue.latest_by_stage(["m"])["m"]} == {
        "model:m@2": "archived",
        "model:m@3": "production",
    }


def test_a_model_with_gates_is_promoted_by_them_whoever_asks(
    registry: Registry, catalogue: Catalogue, digest: str
) -> None:
    registry.register("m", digest)
    catalogue.point("m", "champion", 1)
    registry.delete_alias("m", "champion")
    registry.register("m", digest)
    registry.evaluate_gates("m", 1, holdout(), policy=LENIENT)
    with pytest.raises(GateRefused, match="never evaluated"):
        catalogue.point("m", "champion", 2)
    with pytest.raises(GateRefused, match="never evaluated"):
        catalogue.bring("m", 2, "production")
    catalogue.point("m", "other", 2)
    catalogue.bring("m", 2, "staging")
    catalogue.point("m", "champion", 1)
    promoted = registry.get_version("m", 1)
    assert (promoted.stage, promoted.aliases) == ("production", ["champion"])


def test_a_card_and_tags_change_and_nothing_else(registry: Registry, catalogue: Catalogue) -> None:
    registry.create_model("m", tags={"a": "1", "b": "2"})
    catalogue.record("m", "s3://bucket/model", tags={"c": "3"})
    assert catalogue.describe("m", 1, "better").card == "better"
    catalogue.delete_version_tag("m", 1, "c")
    catalogue.delete_version_tag("m", 1, "c")
    catalogue.delete_model_tag("m", "a")
    assert (registry.get_version("m", 1).tags, registry.get_model("m").tags) == ({}, {"b": "2"})
    for call in (lambda: catalogue.delete_model_tag("x", "a"), lambda: catalogue.delete_version_tag("m", 2, "a")):
        with pytest.raises(NotFound):
            call()
