import threading

import pytest

from mainspring.core.actor import acting_as
from mainspring.core.errors import AlreadyExists, GateRefused, InvalidData, InvalidRequest, NotFound
from mainspring.registry.gate_model import GatePolicy, Holdout
from mainspring.storage.sql.journal import edges_up, latest_events
from tests.registry.graphs import matrix_graph

LENIENT = GatePolicy(max_p99_ms=1000, latency_requests=30)


def holdout(rows=200, wrong=0):
    """Rows whose truth is yes above 0, but for *wrong* of them."""
    x = [(n - rows / 2) / 20 + 0.01 for n in range(rows)]
    truth = ["yes" if value > 0 else "no" for value in x]
    truth[:wrong] = ["yes"] * wrong
    return Holdout(columns={"x": x, "town": ["Bonn"] * rows}, truth=truth, dataset="dataset:people@2")


def test_versions_count_up_and_keep_what_is_known(registry, digest):
    first = registry.register("churn", digest, run="run:abc", dataset="dataset:people@1", metrics={"accuracy": 0.9})
    second = registry.register("churn", digest, card="# Churn\nSecond try.", tags={"team": "ads"})
    assert (first.ref, second.ref) == ("model:churn@1", "model:churn@2")
    assert registry.get_version("churn", 1) == first
    assert (first.engine, first.info.task, first.stage) == ("onnx", "binary", "development")
    assert first.size_bytes > 1000
    assert [v.version for v in registry.list_versions("churn")] == [2, 1]
    assert [v.version for v in registry.list_versions("churn", before=2)] == [1]
    assert registry.get_model("churn").latest == 2
    assert registry.versions_of_run("run:abc") == [first]


def test_a_version_comes_from_its_run_and_dataset(registry, digest):
    registry.register("churn", digest, run="run:abc", dataset="dataset:people@1")
    with registry.database.read() as connection:
        sources = {edge.source for edge in edges_up(connection, ["model:churn@1"])}
    assert sources == {"run:abc", "dataset:people@1"}


def test_a_second_call_with_the_token_registers_nothing(registry, digest):
    first = registry.register("churn", digest, token="once")
    assert registry.register("churn", digest, token="once") == first
    assert registry.get_model("churn").latest == 1


def test_versions_registered_at_once_all_get_a_number(registry, digest):
    failures = []

    def register():
        try:
            registry.register("churn", digest)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=register) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [v.version for v in registry.list_versions("churn")] == [6, 5, 4, 3, 2, 1]


def test_an_onnx_file_is_registered_as_a_model_folder(registry, objects):
    version = registry.register("iris", objects.put_bytes(matrix_graph()), classes=["a", "b", "c"])
    assert version.info.classes == ["a", "b", "c"]
    assert version.info.signature.inputs[0].name == "X"


def test_a_refused_model_leaves_nothing(registry, objects):
    with pytest.raises(InvalidData):
        registry.register("churn", objects.put_bytes(b"no model"))
    assert registry.list_models() == []


def test_models_are_created_listed_and_changed(registry, digest):
    registry.create_model("b", description="second", tags={"a": "1"})
    registry.create_model("a")
    with pytest.raises(AlreadyExists):
        registry.create_model("a")
    assert [model.name for model in registry.list_models()] == ["a", "b"]
    assert [model.name for model in registry.list_models(after="a")] == ["b"]
    changed = registry.update_model("b", tags={"x": "2"})
    assert (changed.description, changed.tags, changed.latest) == ("second", {"a": "1", "x": "2"}, None)


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a@1"])
def test_a_bad_name_is_refused(registry, digest, name):
    with pytest.raises(InvalidRequest):
        registry.register(name, digest)


def test_what_is_not_there_is_not_found(registry, digest):
    with pytest.raises(NotFound, match="no model churn"):
        registry.get_model("churn")
    registry.create_model("churn")
    with pytest.raises(NotFound, match="no version yet"):
        registry.resolve("churn")
    registry.register("churn", digest)
    with pytest.raises(NotFound, match="no version 9"):
        registry.get_version("churn", 9)
    with pytest.raises(NotFound, match="no alias 'champion'"):
        registry.resolve("model:churn@champion")


def test_a_ref_means_a_version_an_alias_or_the_latest(registry, digest):
    for _ in range(3):
        registry.register("churn", digest)
    registry.set_alias("churn", "blue", 2)
    assert registry.resolve("model:churn@1").version == 1
    assert registry.resolve("churn@blue").version == 2
    assert registry.resolve("churn").version == 3
    assert registry.resolve("churn@blue").aliases == ["blue"]


def test_aliases_move_and_their_history_stays(registry, digest, clock):
    registry.register("churn", digest)
    registry.register("churn", digest)
    with acting_as("ann", "http"):
        registry.set_alias("churn", "blue", 1)
        clock.advance(60)
        registry.set_alias("churn", "blue", 2, reason="newer")
        registry.set_alias("churn", "blue", 2)
        registry.delete_alias("churn", "blue", reason="done")
    moves = registry.alias_history("churn", "blue")
    assert [(m.version, m.previous, m.reason) for m in moves] == [(1, None, ""), (2, 1, "newer"), (None, 2, "done")]
    assert {m.actor for m in moves} == {"ann"}
    assert (moves[1].at - moves[0].at).total_seconds() == 60
    with pytest.raises(NotFound):
        registry.delete_alias("churn", "blue")


def test_an_alias_must_not_look_like_a_version(registry, digest):
    registry.register("churn", digest)
    with pytest.raises(InvalidRequest):
        registry.set_alias("churn", "7", 1)


def test_stages_have_a_history(registry, digest):
    registry.register("churn", digest)
    registry.set_stage("churn", 1, "staging", reason="to try")
    registry.set_stage("churn", 1, "staging")
    registry.set_stage("churn", 1, "failed", reason="slow")
    stages = registry.stage_history("churn", 1)
    assert [(s.stage, s.reason) for s in stages] == [
        ("development", "registered"),
        ("staging", "to try"),
        ("failed", "slow"),
    ]
    assert [v.version for v in registry.list_versions("churn", stage="failed")] == [1]


def test_tags_of_a_version_are_added(registry, digest):
    registry.register("churn", digest, tags={"a": "1"})
    assert registry.tag_version("churn", 1, {"b": "2"}).tags == {"a": "1", "b": "2"}


def test_a_version_is_trusted_for_a_reason_that_is_kept(registry, digest):
    registry.register("churn", digest)
    with pytest.raises(InvalidRequest, match="say why"):
        registry.trust("churn", 1, " ")
    assert registry.trust("churn", 1, "trained by us").trusted
    assert registry.trust("churn", 1, "again").trusted
    with registry.database.read() as connection:
        (event,) = latest_events(connection, kind="ModelTrusted")
    assert event.body == {"model": "model:churn@1", "reason": "trained by us"}


def test_the_first_version_is_promoted_once_its_gates_passed(registry, digest):
    registry.register("churn", digest)
    with pytest.raises(GateRefused, match="never evaluated"):
        registry.promote("churn", 1)
    report = registry.evaluate_gates("churn", 1, holdout(), policy=LENIENT)
    assert (report.passed, report.champion, report.rows) == (True, None, 200)
    promoted = registry.promote("churn", 1)
    assert (promoted.stage, promoted.aliases) == ("production", ["champion"])
    assert registry.promote("churn", 1) == promoted
    assert registry.get_report(report.ref) == report
    assert registry.list_reports("churn", 1) == [report]


def test_a_better_version_takes_the_place_of_the_champion(registry, digest, worse):
    registry.register("churn", worse)
    registry.evaluate_gates("churn", 1, holdout(), policy=LENIENT)
    registry.promote("churn", 1)
    registry.register("churn", digest)
    report = registry.evaluate_gates("churn", 2, holdout(), policy=LENIENT)
    better = report.check("better_than_champion")
    assert report.champion == "model:churn@1"
    assert 0 < better.low < better.value < better.high
    registry.promote("churn", 2)
    assert registry.resolve("churn@champion").version == 2
    assert registry.get_version("churn", 1).stage == "archived"
    with registry.database.read() as connection:
        sources = {edge.source for edge in edges_up(connection, [report.ref])}
        promoted = {edge.source for edge in edges_up(connection, ["model:churn@champion"])}
    assert sources == {"model:churn@2", "model:churn@1", "dataset:people@2"}
    assert report.ref in promoted


def test_promotion_is_refused_while_a_gate_fails_and_names_it_with_its_numbers(registry, digest, worse):
    registry.register("churn", digest)
    registry.evaluate_gates("churn", 1, holdout(), policy=LENIENT)
    registry.promote("churn", 1)
    registry.register("churn", worse)
    report = registry.evaluate_gates("churn", 2, holdout(), policy=LENIENT)
    with pytest.raises(GateRefused, match=r"better_than_champion: accuracy 0\.9 against 1 of model:churn@1") as refused:
        registry.promote("churn", 2)
    assert refused.value.facts == {"model": "model:churn@2", "report": report.ref, "failed": ["better_than_champion"]}
    assert registry.resolve("churn@champion").version == 1
    with registry.database.read() as connection:
        assert latest_events(connection, kind="PromotionRefused", limit=1)[0].body["report"] == report.ref


def test_an_equal_version_is_not_better(registry, digest):
    for _ in range(2):
        registry.register("churn", digest)
    registry.evaluate_gates("churn", 1, holdout(), policy=LENIENT)
    registry.promote("churn", 1)
    assert not registry.evaluate_gates("churn", 2, holdout(), policy=LENIENT).passed
    tolerant = GatePolicy(margin=-0.01, max_p99_ms=1000, latency_requests=30)
    assert registry.evaluate_gates("churn", 2, holdout(), policy=tolerant).passed


def test_a_refusal_can_be_overruled_with_a_reason_that_is_kept(registry, digest):
    registry.register("churn", digest)
    with acting_as("ann", "http"):
        registry.promote("churn", 1, force="the champion is broken")
    with registry.database.read() as connection:
        event = latest_events(connection, kind="ModelPromoted", limit=1)[0]
    assert (event.actor, event.body["forced"]) == ("ann", "the champion is broken")
    assert registry.alias_history("churn", "champion")[0].reason == "forced: the champion is broken"


def test_a_report_against_another_champion_does_not_count(registry, digest, worse):
    registry.register("churn", worse)
    registry.register("churn", digest)
    registry.evaluate_gates("churn", 2, holdout(), policy=LENIENT)
    registry.promote("churn", 1, force="first")
    with pytest.raises(GateRefused, match=r"no champion, but the champion is model:churn@1"):
        registry.promote("churn", 2)


def test_a_report_is_about_one_version(registry, digest):
    registry.register("churn", digest)
    registry.register("churn", digest)
    report = registry.evaluate_gates("churn", 1, holdout(), policy=LENIENT)
    with pytest.raises(InvalidRequest, match="not about model:churn@2"):
        registry.promote("churn", 2, report=report.ref)
    with pytest.raises(NotFound):
        registry.promote("churn", 2, report="report:none")


def test_a_second_evaluation_with_the_token_gives_the_first_report(registry, digest):
    registry.register("churn", digest)
    first = registry.evaluate_gates("churn", 1, holdout(), policy=LENIENT, token="t")
    assert registry.evaluate_gates("churn", 1, holdout(wrong=90), policy=LENIENT, token="t") == first


def test_gates_need_a_scorer(registry, digest):
    registry.register("churn", digest)
    registry.scorer = None
    with pytest.raises(InvalidRequest, match="scorer"):
        registry.evaluate_gates("churn", 1, holdout())


def test_a_page_has_bounds(registry):
    with pytest.raises(InvalidRequest):
        registry.list_models(limit=0)
