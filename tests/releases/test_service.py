"""What is deployed is served whole, what is canaried never moves a unit back, and every step can be undone."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mainspring.core.actor import acting_as
from mainspring.core.errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    InvalidRequest,
    MainspringError,
    NotFound,
    Unavailable,
)
from mainspring.registry.signature import Field, Signature
from mainspring.releases.service import Releases
from mainspring.serving.engine.routing import Split
from mainspring.serving.model import FeatureBinding, ServingState
from mainspring.storage.sql.journal import edges_up, read_events
from tests.releases.conftest import Shelf, Wire


def test_a_deployed_model_answers_with_everything_that_was_pinned(releases: Releases, shelf: Shelf, wire: Wire) -> None:
    release = releases.deploy("churn", "model:churn@champion", configuration={"threshold": 0.4})
    assert (release.ref, release.model, release.configuration) == (
        "release:churn@1",
        "model:churn@1",
        {"threshold": 0.4},
    )
    served = wire.served("churn")
    assert (served.stable.release, served.stable.model, served.canary) == ("release:churn@1", "model:churn@1", None)
    assert (Path(served.stable.path) / "model.onnx").read_text() == "model:churn@1"
    assert served.stable.digest == shelf.candidates["model:churn@1"].digest
    endpoint = releases.get("churn")
    assert (endpoint.task, endpoint.metric, endpoint.model) == ("binary", "accuracy", "model:churn@1")


def test_an_alias_that_moves_does_not_move_a_release(releases: Releases, shelf: Shelf, wire: Wire) -> None:
    releases.deploy("churn", "model:churn@champion")
    shelf.aliases["model:churn@champion"] = "model:churn@2"
    releases.republish()
    assert wire.served("churn").stable.model == "model:churn@1"


def test_a_second_call_with_the_same_token_gives_the_first_release(releases: Releases) -> None:
    first = releases.deploy("churn", "model:churn@1", token="once")
    assert releases.deploy("churn", "model:churn@1", token="once") == first
    assert len(releases.history("churn")) == 1
    with pytest.raises(Conflict, match="release:churn@1"):
        releases.deploy("other", "model:churn@1", token="once")


def test_a_canary_takes_its_share_and_the_stable_release_the_rest(releases: Releases, wire: Wire) -> None:
    releases.deploy("churn", "model:churn@1")
    canary = releases.deploy("churn", "model:churn@2", canary=0.05)
    served = wire.served("churn")
    assert served.canary is not None
    assert (served.stable.release, served.canary.release, served.canary_share) == ("release:churn@1", canary.ref, 0.05)
    endpoint = releases.get("churn")
    assert (endpoint.model, endpoint.canary_model) == ("model:churn@1", "model:churn@2")


def test_a_growing_canary_keeps_its_units_and_the_next_one_deals_anew(releases: Releases, wire: Wire) -> None:
    units = [b"user-%d" % number for number in range(2000)]

    def on_canary() -> set[bytes]:
        served = wire.served("churn")
        split = Split(served.salt, served.canary_share)
        return {unit for unit in units if split.canary(unit)}

    releases.deploy("churn", "model:churn@1")
    releases.deploy("churn", "model:churn@2", canary=0.05)
    small = on_canary()
    releases.set_share("churn", 0.25)
    large = on_canary()
    assert small < large
    assert 0.2 < len(large) / len(units) < 0.3
    releases.drop_canary("churn")
    releases.deploy("churn", "model:churn@3", canary=0.25)
    assert len(on_canary() & large) < 0.5 * len(large)


def test_a_canary_only_grows(releases: Releases) -> None:
    releases.deploy("churn", "model:churn@1")
    releases.deploy("churn", "model:churn@2", canary=0.25)
    releases.set_share("churn", 0.25)
    with pytest.raises(Conflict, match="only grows"):
        releases.set_share("churn", 0.1)
    assert len(releases.history("churn")) == 2


@pytest.mark.parametrize("share", [0, 1, -0.1, 5, float("nan")])
def test_a_share_outside_of_0_to_1_is_refused(releases: Releases, share: float) -> None:
    releases.deploy("churn", "model:churn@1")
    with pytest.raises(InvalidRequest, match=r"between 0 and 1|finite"):
        releases.deploy("churn", "model:churn@2", canary=share)
    releases.deploy("churn", "model:churn@2", canary=0.1)
    with pytest.raises(InvalidRequest, match=r"between 0 and 1|finite"):
        releases.set_share("churn", share)


def test_a_promoted_canary_takes_all_traffic(releases: Releases, wire: Wire) -> None:
    releases.deploy("churn", "model:churn@1")
    canary = releases.deploy("churn", "model:churn@2", canary=0.5)
    releases.promote_canary("churn", canary.ref)
    served = wire.served("churn")
    assert (served.stable.release, served.canary, served.canary_share) == (canary.ref, None, 0.0)
    releases.promote_canary("churn", canary.ref)
    assert [change.action for change in releases.history("churn")] == ["canary_promoted", "canary_started", "deployed"]


def test_a_dropped_canary_leaves_the_stable_release_alone(releases: Releases, wire: Wire) -> None:
    releases.deploy("churn", "model:churn@1")
    canary = releases.deploy("churn", "model:churn@2", canary=0.5)
    releases.drop_canary("churn", canary.ref, reason="errors")
    served = wire.served("churn")
    assert (served.stable.model, served.canary) == ("model:churn@1", None)
    releases.drop_canary("churn", canary.ref)
    last = releases.history("churn")[0]
    assert (last.action, last.release, last.reason) == ("canary_dropped", canary.ref, "errors")
    assert len(releases.history("churn")) == 3


def test_verbs_that_name_another_canary_are_refused(releases: Releases) -> None:
    releases.deploy("churn", "model:churn@1")
    with pytest.raises(Conflict, match="no canary runs"):
        releases.promote_canary("churn")
    canary = releases.deploy("churn", "model:churn@2", canary=0.5)
    for verb in (releases.promote_canary, lambda name, release: releases.set_share(name, 0.7, release)):
        with pytest.raises(Conflict, match=canary.ref):
            verb("churn", "release:churn@9")
    releases.promote_canary("churn")
    with pytest.raises(Conflict, match="it was promoted"):
        releases.drop_canary("churn", canary.ref)


def test_a_canary_needs_a_stable_release_and_no_other_canary(releases: Releases) -> None:
    with pytest.raises(Conflict, match="no release that a canary could be compared with"):
        releases.deploy("churn", "model:churn@1", canary=0.5)
    assert releases.list() == []
    releases.deploy("churn", "model:churn@1")
    releases.deploy("churn", "model:churn@2", canary=0.5)
    for share in (None, 0.1):
        with pytest.raises(Conflict, match="promote or drop it first"):
            releases.deploy("churn", "model:churn@3", canary=share)


def test_a_rollback_restores_what_was_pinned_in_one_snapshot(
    releases: Releases, shelf: Shelf, wire: Wire, features: Callable[[int], FeatureBinding]
) -> None:
    shelf.add("model:rider@1", features=features(1))
    shelf.add("model:rider@2", features=features(2))
    first = releases.deploy("rider", "model:rider@1", configuration={"threshold": 0.1})
    before = wire.served("rider")
    releases.deploy("rider", "model:rider@2", configuration={"threshold": 0.9})
    assert wire.served("rider").features == features(2)
    number = wire.published.version
    releases.rollback("rider")
    assert wire.served("rider") == before
    assert wire.served("rider").features == features(1)
    assert wire.published.version == number + 1
    assert releases.status("rider").stable == first


def test_rolling_back_twice_restores_what_was_rolled_back(releases: Releases) -> None:
    for version in (1, 2, 3):
        releases.deploy("churn", f"model:churn@{version}")
    assert releases.rollback("churn").model == "model:churn@2"
    assert releases.rollback("churn").model == "model:churn@3"
    assert releases.rollback("churn", to=1).model == "model:churn@1"
    assert releases.rollback("churn").model == "model:churn@3"
    assert [change.action for change in releases.history("churn", limit=4)] == ["rolled_back"] * 4
    with pytest.raises(NotFound, match="no release 9"):
        releases.rollback("churn", to=9)
    with pytest.raises(Conflict, match="serves release:churn@3 already"):
        releases.rollback("churn", to=3)


def test_a_rollback_that_is_sent_again_does_not_go_forward(releases: Releases) -> None:
    releases.deploy("churn", "model:churn@1")
    releases.deploy("churn", "model:churn@2")
    for _ in range(2):
        assert releases.rollback("churn", token="panic").model == "model:churn@1"


def test_with_a_canary_a_rollback_drops_it(releases: Releases, wire: Wire) -> None:
    for version in (1, 2):
        releases.deploy("churn", f"model:churn@{version}")
    releases.deploy("churn", "model:churn@3", canary=0.5)
    for _ in range(2):
        releases.rollback("churn", token="panic")
        assert (wire.served("churn").stable.model, wire.served("churn").canary) == ("model:churn@2", None)
    releases.deploy("churn", "model:churn@3", canary=0.5)
    releases.rollback("churn", to=1)
    assert (wire.served("churn").stable.model, wire.served("churn").canary) == ("model:churn@1", None)


def test_with_nothing_before_it_a_release_cannot_be_rolled_back(releases: Releases) -> None:
    with pytest.raises(NotFound, match="mainspring deploy churn"):
        releases.rollback("churn")
    releases.deploy("churn", "model:churn@1")
    with pytest.raises(Conflict, match="no earlier release"):
        releases.rollback("churn")


def test_the_stages_of_models_follow(releases: Releases, shelf: Shelf) -> None:
    releases.deploy("churn", "model:churn@1")
    releases.deploy("churn", "model:churn@2", canary=0.5)
    assert shelf.stages == {"model:churn@1": "production", "model:churn@2": "staging"}
    releases.promote_canary("churn")
    assert shelf.stages == {"model:churn@1": "archived", "model:churn@2": "production"}
    releases.rollback("churn")
    assert shelf.stages == {"model:churn@1": "production", "model:churn@2": "rolled_back"}
    releases.deploy("churn", "model:churn@3", canary=0.5)
    releases.drop_canary("churn")
    assert shelf.stages["model:churn@3"] == "rolled_back"


def test_a_model_that_another_endpoint_serves_stays_in_production(releases: Releases, shelf: Shelf) -> None:
    releases.deploy("one", "model:churn@1")
    releases.deploy("two", "model:churn@1")
    releases.deploy("two", "model:churn@2")
    assert shelf.stages == {"model:churn@1": "production", "model:churn@2": "production"}


def test_a_model_of_another_task_is_refused(releases: Releases, shelf: Shelf) -> None:
    shelf.add("model:price@1", task="regression", metric="rmse")
    releases.deploy("churn", "model:churn@1")
    with pytest.raises(Conflict, match="is a regression model"):
        releases.deploy("churn", "model:price@1")
    assert len(releases.releases("churn")) == 1


def test_code_of_unknown_origin_is_not_deployed(releases: Releases, shelf: Shelf) -> None:
    shelf.add("model:pickle@1", engine="process")
    shelf.add("model:pickle@2", engine="process", trusted=True)
    with pytest.raises(Forbidden, match="unknown origin"):
        releases.deploy("churn", "model:pickle@1")
    assert releases.deploy("churn", "model:pickle@2").version == 1


def test_a_canary_with_other_features_is_refused(
    releases: Releases, shelf: Shelf, features: Callable[[int], FeatureBinding]
) -> None:
    for version in (1, 2):
        shelf.add(f"model:rider@{version}", features=features(version))
    releases.deploy("rider", "model:rider@1")
    with pytest.raises(Conflict, match="other features"):
        releases.deploy("rider", "model:rider@2", canary=0.1)


def test_a_release_pins_a_version_of_a_view_with_its_lineage(releases: Releases, wire: Wire) -> None:
    pinned = releases.deploy("churn", "model:churn@1", features=FeatureBinding(view="rider")).pinned.features
    assert pinned == FeatureBinding(view="feature_view:rider@3", key="rider", columns=["age", "trips"])
    assert wire.served("churn").features == pinned
    with releases.database.read() as connection:
        above = {edge.source for edge in edges_up(connection, ["release:churn@1"])}
    assert above == {"model:churn@1", "dataset:trips@1", "feature_view:rider@3"}


def test_the_view_that_is_asked_for_goes_before_the_one_that_the_model_remembers(
    releases: Releases, shelf: Shelf, features: Callable[[int], FeatureBinding]
) -> None:
    shelf.add("model:rider@1", features=FeatureBinding(view="feature_view:rider@1"))
    assert releases.deploy("rider", "model:rider@1").pinned.features == FeatureBinding(
        view="feature_view:rider@1", key="rider", columns=["age", "trips"]
    )
    asked = FeatureBinding(view="feature_view:rider@2", key="who", columns=["age"])
    assert releases.deploy("rider", "model:rider@1", features=asked).pinned.features == asked


@pytest.mark.parametrize(
    ("wish", "error", "says"),
    [
        (FeatureBinding(view="nobody"), NotFound, "nobody"),
        (FeatureBinding(view="rider@4"), NotFound, "rider@4"),
        (FeatureBinding(view="rider", columns=["height"]), InvalidRequest, "has no feature height; it has age, trips"),
        (FeatureBinding(view="rider", columns=["town"]), InvalidRequest, "takes no column town; it takes age, trips"),
        (FeatureBinding(view="rider", key="age"), InvalidRequest, "another key column"),
    ],
)
def test_features_that_cannot_be_read_are_refused_and_change_nothing(
    releases: Releases, wish: FeatureBinding, error: type[MainspringError], says: str
) -> None:
    with pytest.raises(error, match=says):
        releases.deploy("churn", "model:churn@1", features=wish)
    assert releases.list() == []


def test_a_model_without_any_of_the_features_cannot_pin_them(releases: Releases, shelf: Shelf) -> None:
    shelf.add("model:other@1", signature=Signature([Field("height", "double")], []))
    with pytest.raises(InvalidRequest, match="takes none of the features of feature_view:rider@3"):
        releases.deploy("other", "model:other@1", features=FeatureBinding(view="rider"))


def test_a_canary_reads_the_rows_of_the_stable_release_and_what_it_takes_of_them(
    releases: Releases, shelf: Shelf, wire: Wire
) -> None:
    shelf.add("model:rider@1", signature=Signature([Field("age", "double"), Field("town", "string")], []))
    releases.deploy("rider", "model:rider@1", features=FeatureBinding(view="rider@2", key="who"))
    canary = releases.deploy("rider", "model:churn@1", canary=0.1)
    assert canary.pinned.features == FeatureBinding(view="feature_view:rider@2", key="who", columns=["age", "trips"])
    served = wire.served("rider").features
    assert served is not None
    assert (served.view, served.columns) == ("feature_view:rider@2", ["age", "town", "trips"])
    releases.promote_canary("rider")
    assert wire.served("rider").features == canary.pinned.features


def test_an_unknown_model_changes_nothing(releases: Releases) -> None:
    with pytest.raises(NotFound):
        releases.deploy("churn", "model:nobody@1")
    with pytest.raises(InvalidRequest):
        releases.deploy("churn", "dataset:trips@1")
    assert releases.list() == []


def test_an_endpoint_may_be_made_before_its_first_release(releases: Releases, wire: Wire) -> None:
    made = releases.create_endpoint("churn", "binary", "roc_auc")
    assert releases.create_endpoint("churn", "binary", "roc_auc") == made
    with pytest.raises(AlreadyExists):
        releases.create_endpoint("churn", "binary", "accuracy")
    with pytest.raises(InvalidRequest, match="rmse"):
        releases.create_endpoint("other", "binary", "rmse")
    releases.deploy("churn", "model:churn@1")
    assert (releases.get("churn").metric, wire.served("churn").stable.model) == ("roc_auc", "model:churn@1")


def test_every_change_is_in_the_journal_with_its_lineage_and_its_actor(releases: Releases) -> None:
    with acting_as("ada", "test"):
        releases.deploy("churn", "model:churn@1")
        releases.deploy("churn", "model:churn@2", canary=0.5)
        releases.set_share("churn", 0.7)
        releases.promote_canary("churn")
        releases.rollback("churn", reason="too many complaints")
        releases.deploy("churn", "model:churn@3", canary=0.5)
        releases.drop_canary("churn")
    with releases.database.read() as connection:
        events = read_events(connection)
        up = {edge.source for edge in edges_up(connection, ["release:churn@2"])}
        served = {edge.source for edge in edges_up(connection, ["endpoint:churn"])}
    kinds = [event.kind for event in events if event.kind not in ("EndpointCreated", "ReleaseCreated")]
    assert kinds == [
        "ReleaseDeployed",
        "CanaryStarted",
        "CanaryGrown",
        "CanaryPromoted",
        "ReleaseRolledBack",
        "CanaryStarted",
        "CanaryDropped",
    ]
    assert {event.actor for event in events} == {"ada"}
    assert up == {"model:churn@2", "dataset:trips@2"}
    assert served == {"release:churn@1", "release:churn@2", "release:churn@3"}
    assert releases.history("churn")[-1].actor == "ada"


def test_a_publication_that_failed_is_made_up_for_by_the_same_token(
    releases: Releases, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    releases.deploy("churn", "model:churn@1")

    def full(state: ServingState) -> None:
        raise Unavailable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(wire, "publish", full)
        with pytest.raises(Unavailable):
            releases.deploy("churn", "model:churn@2", token="again")
    assert wire.served("churn").stable.model == "model:churn@1"
    assert releases.deploy("churn", "model:churn@2", token="again").version == 2
    assert wire.served("churn").stable.model == "model:churn@2"


def test_a_state_is_published_again_with_its_folders(
    releases: Releases, wire: Wire, shelf: Shelf, tmp_path: Path
) -> None:
    releases.deploy("churn", "model:churn@1")
    path = Path(wire.served("churn").stable.path)
    shutil.rmtree(path)
    shelf.stages.clear()
    releases.republish()
    assert (path / "model.onnx").exists()
    assert shelf.stages == {"model:churn@1": "production"}


def test_a_rollback_to_files_that_are_gone_changes_nothing(
    releases: Releases, wire: Wire, shelf: Shelf, tmp_path: Path
) -> None:
    releases.deploy("churn", "model:churn@1")
    gone = Path(wire.served("churn").stable.path)
    releases.deploy("churn", "model:churn@2")
    shutil.rmtree(gone)
    shutil.rmtree(tmp_path / "objects")
    for to in (None, 1):
        with pytest.raises(MainspringError):
            releases.rollback("churn", to=to)
    assert releases.get("churn").model == "model:churn@2"
    assert wire.served("churn").stable.model == "model:churn@2"


def test_an_endpoint_whose_files_are_gone_is_served_on_and_holds_up_no_other(
    releases: Releases, wire: Wire, shelf: Shelf, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    releases.deploy("one", "model:churn@1")
    releases.deploy("two", "model:churn@2")
    before = wire.served("one")
    shutil.rmtree(before.stable.path)
    shutil.rmtree(tmp_path / "objects")
    releases.deploy("two", "model:churn@2", token="again")
    assert wire.served("two").stable.release == "release:two@2"
    assert wire.served("one") == before
    assert "model:churn@1 in release:one@1 cannot be laid out" in caplog.text


def test_whatever_is_done_at_once_leaves_one_history_and_the_state_that_it_leads_to(
    releases: Releases, wire: Wire, shelf: Shelf
) -> None:
    releases.deploy("churn", "model:churn@1")
    verbs: list[Callable[[], object]] = [
        lambda: releases.deploy("churn", "model:churn@2"),
        lambda: releases.deploy("churn", "model:churn@3", canary=0.1),
        lambda: releases.set_share("churn", 0.5),
        lambda: releases.promote_canary("churn"),
        lambda: releases.drop_canary("churn"),
        lambda: releases.rollback("churn"),
    ]
    unexpected: list[Exception] = []

    def act(first: int) -> None:
        for number in range(6):
            try:
                verbs[(first + number) % len(verbs)]()
            except Conflict:
                pass  # What another thread did stands in the way.
            except Exception as error:
                unexpected.append(error)

    threads = [threading.Thread(target=act, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert unexpected == []
    stable = canary = None
    for change in reversed(releases.history("churn", limit=1000)):
        if change.action in ("deployed", "canary_promoted", "rolled_back"):
            assert change.replaced == stable
            assert change.action != "canary_promoted" or change.release == canary
            stable, canary = change.release, None
        elif change.action == "canary_dropped":
            assert change.release == canary
            canary = None
        else:
            assert canary in (None, change.release)
            canary = change.release
    served, endpoint = wire.served("churn"), releases.get("churn")
    assert (endpoint.stable, endpoint.canary) == (stable, canary)
    assert (served.stable.release, served.canary and served.canary.release) == (stable, canary)
    assert served.canary_share == endpoint.canary_share
    production = [model for model, stage in shelf.stages.items() if stage == "production"]
    assert production == [served.stable.model]


def test_of_many_who_deploy_at_once_each_gets_a_release_and_the_last_state_is_published(
    releases: Releases, wire: Wire
) -> None:
    failed: list[MainspringError] = []

    def deploy(number: int) -> None:
        try:
            releases.deploy("churn", f"model:churn@{number % 3 + 1}")
        except MainspringError as error:
            failed.append(error)

    threads = [threading.Thread(target=deploy, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert [release.version for release in releases.releases("churn")] == list(range(8, 0, -1))
    assert wire.served("churn").stable.release == releases.get("churn").stable
