"""A canary grows, is promoted, or is rolled back, on evidence that is kept; a crash in between changes nothing."""

from __future__ import annotations

import msgspec
import pytest

from mainspring.core.clock import ManualClock
from mainspring.core.errors import Conflict, InvalidRequest, NotFound, Unavailable
from mainspring.releases.service import Releases
from mainspring.rollouts.model import Look, RolloutPolicy
from mainspring.rollouts.service import Rollouts
from mainspring.storage.sql.journal import read_events
from tests.rollouts.conftest import Behaviour, Surroundings, Traffic

POLICY = RolloutPolicy(steps=(0.1, 0.5), step_requests=100, min_requests=600)


def drive(rollouts: Rollouts, traffic: Traffic, clock: ManualClock, looks: int = 60, requests: int = 300) -> list[Look]:
    """Send traffic and look, until the rollout ends."""
    found = []
    for _ in range(looks):
        traffic.send(requests)
        clock.advance(60)
        look = rollouts.look("churn")
        assert look is not None
        found.append(look)
        if not rollouts.status("churn").active:
            return found
    return found


def test_a_canary_that_does_no_harm_grows_and_is_promoted(
    rollouts: Rollouts, traffic: Traffic, clock: ManualClock, releases: Releases, surroundings: Surroundings
) -> None:
    started = rollouts.start("churn", "model:churn@2", POLICY)
    assert (started.release, started.stable, started.status) == ("release:churn@2", "release:churn@1", "running")
    looks = drive(rollouts, traffic, clock)
    decisions = [look.decision for look in looks if look.decision != "continue"]
    assert decisions == ["grow", "promote"]
    assert [look.share for look in looks][-1] == 0.5
    assert releases.get("churn").stable == "release:churn@2"
    ended = rollouts.status("churn")
    assert (ended.status, ended.pending, ended.ended) == ("promoted", None, clock.now())
    assert "errors" in ended.reason
    assert surroundings.stages == {"model:churn@1": "archived", "model:churn@2": "production"}


@pytest.mark.parametrize(
    ("behaviour", "named"),
    [
        (Behaviour(errors=0.05), "more errors"),
        (Behaviour(latency_ms=60), "more slow requests"),
        (Behaviour(wrong=0.5), "larger losses"),
        (Behaviour(lost=0.8), "of the units where"),
    ],
    ids=["errors", "latency", "quality", "lost requests"],
)
def test_a_canary_that_is_proven_harmful_is_rolled_back(
    rollouts: Rollouts,
    traffic: Traffic,
    clock: ManualClock,
    releases: Releases,
    surroundings: Surroundings,
    behaviour: Behaviour,
    named: str,
) -> None:
    traffic.arms["canary"] = behaviour
    rollouts.start("churn", "model:churn@2", POLICY)
    looks = drive(rollouts, traffic, clock)
    assert looks[-1].decision == "rollback"
    assert named in looks[-1].reason
    endpoint = releases.get("churn")
    assert (endpoint.stable, endpoint.canary) == ("release:churn@1", None)
    assert rollouts.status("churn").status == "rolled_back"
    assert releases.history("churn")[0].reason == looks[-1].reason
    assert surroundings.stages["model:churn@2"] == "rolled_back"


def test_one_user_who_fails_again_and_again_is_no_proof_that_the_canary_does_harm(
    rollouts: Rollouts, traffic: Traffic, clock: ManualClock
) -> None:
    rollouts.start("churn", "model:churn@2", POLICY)
    for _ in range(8):
        traffic.of_one_user += 25
        (look,) = drive(rollouts, traffic, clock, looks=1)
        assert look.decision != "rollback", look.reason
    errors = look.measures[0]
    assert errors.canary is not None
    assert errors.canary > 0.1
    assert (errors.verdict, errors.design_effect > 50) == ("open", True)


@pytest.mark.parametrize(("users", "says"), [(2, "fewer than 10 units cannot prove it"), (12, "always-valid p")])
def test_a_canary_that_fails_all_of_its_few_users_never_grows(
    rollouts: Rollouts, traffic: Traffic, clock: ManualClock, releases: Releases, users: int, says: str
) -> None:
    traffic.canary_users, traffic.arms["canary"] = users, Behaviour(errors=1.0)
    rollouts.start("churn", "model:churn@2", POLICY)
    looks = drive(rollouts, traffic, clock)
    assert [look.decision for look in looks if look.decision != "continue"] == ["rollback"]
    assert looks[-1].reading.canary.requests < 2 * POLICY.step_requests
    assert says in looks[-1].reason
    assert releases.get("churn").canary is None


def test_an_equal_canary_at_a_high_error_rate_is_not_rolled_back(
    rollouts: Rollouts, traffic: Traffic, clock: ManualClock
) -> None:
    # Rules with a fixed threshold roll back here: both arms fail in 8 % of the requests.
    traffic.arms = {"stable": Behaviour(errors=0.08), "canary": Behaviour(errors=0.08)}
    rollouts.start("churn", "model:churn@2", msgspec.structs.replace(POLICY, error_margin=0.05))
    assert drive(rollouts, traffic, clock)[-1].decision == "promote"


def test_a_difference_within_the_margin_is_no_harm_even_when_it_is_proven(
    rollouts: Rollouts, traffic: Traffic, clock: ManualClock
) -> None:
    traffic.arms = {"stable": Behaviour(errors=0.0), "canary": Behaviour(errors=0.02)}
    rollouts.start("churn", "model:churn@2", msgspec.structs.replace(POLICY, error_margin=0.2))
    assert drive(rollouts, traffic, clock)[-1].decision == "promote"


def test_no_promotion_before_the_labels_that_the_policy_wants(
    rollouts: Rollouts, traffic: Traffic, clock: ManualClock
) -> None:
    traffic.labelled = 0.0
    policy = msgspec.structs.replace(POLICY, min_labels=300, quality_margin=0.5, patience_requests=3_000)
    rollouts.start("churn", "model:churn@2", policy)
    looks = drive(rollouts, traffic, clock, looks=10)
    assert looks[-1].decision == "continue"
    assert "quality not yet shown" in looks[-1].reason
    traffic.labelled = 1.0
    last = drive(rollouts, traffic, clock)[-1]
    assert last.decision == "promote"
    assert last.measures[2].canary_rows >= 300


def test_a_canary_that_cannot_be_shown_to_be_no_worse_is_dropped_in_the_end(
    rollouts: Rollouts, traffic: Traffic, clock: ManualClock
) -> None:
    policy = msgspec.structs.replace(POLICY, error_margin=0.0001, patience_requests=1_500)
    rollouts.start("churn", "model:churn@2", policy)
    last = drive(rollouts, traffic, clock)[-1]
    assert (last.decision, rollouts.status("churn").status) == ("rollback", "rolled_back")
    assert "errors not shown to be no worse" in last.reason


def test_every_look_is_kept_with_its_evidence(rollouts: Rollouts, traffic: Traffic, clock: ManualClock) -> None:
    traffic.arms["canary"] = Behaviour(errors=0.06)
    started = rollouts.start("churn", "model:churn@2", POLICY)
    looks = drive(rollouts, traffic, clock)
    assert rollouts.looks(started.id) == looks
    assert [look.number for look in looks] == list(range(1, len(looks) + 1))
    errors = looks[-1].measures[0]
    assert (errors.name, errors.verdict, errors.alpha) == ("errors", "harm", pytest.approx(0.05 / 3))
    assert errors.bounds.p_value is not None
    assert errors.bounds.p_value <= errors.alpha
    assert errors.canary_rows == looks[-1].reading.canary.requests
    with rollouts.database.read() as connection:
        ended = [event for event in read_events(connection) if event.kind == "RolloutEnded"]
    assert ended[0].body["outcome"] == "rolled_back"
    assert ended[0].body["evidence"]["reason"] == looks[-1].reason


def test_a_second_start_with_the_same_token_gives_the_first_rollout(rollouts: Rollouts, releases: Releases) -> None:
    first = rollouts.start("churn", "model:churn@2", POLICY, token="once")
    assert rollouts.start("churn", "model:churn@2", POLICY, token="once").id == first.id
    assert len(releases.releases("churn")) == 2
    with pytest.raises(Conflict, match="a rollout goes on"):
        rollouts.start("churn", "model:churn@3", POLICY)


def test_a_rollout_of_an_unknown_model_fails_and_leaves_the_endpoint_free(rollouts: Rollouts) -> None:
    with pytest.raises(NotFound):
        rollouts.start("churn", "model:nobody@1")
    assert rollouts.status("churn").status == "failed"
    assert rollouts.start("churn", "model:churn@2").status == "running"


def test_an_aborted_rollout_drops_its_canary(rollouts: Rollouts, releases: Releases) -> None:
    rollouts.start("churn", "model:churn@2", POLICY)
    assert rollouts.abort("churn", "bad feeling").status == "aborted"
    assert releases.get("churn").canary is None
    assert rollouts.active() == []
    with pytest.raises(NotFound, match="no rollout goes on"):
        rollouts.look("churn")
    with pytest.raises(NotFound):
        rollouts.abort("churn")


def test_an_abort_that_died_halfway_is_an_abort_to_whoever_looks_next(
    rollouts: Rollouts, releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollouts.start("churn", "model:churn@2", POLICY)
    with monkeypatch.context() as patch:
        drop = releases.drop_canary

        def drop_and_die(*arguments: object, **named: object) -> None:
            drop(*arguments, **named)  # type: ignore[arg-type]
            raise Unavailable("killed here")

        patch.setattr(releases, "drop_canary", drop_and_die)
        with pytest.raises(Unavailable):
            rollouts.abort("churn", "bad feeling")
    assert rollouts.look("churn") is None
    ended = rollouts.status("churn")
    assert (ended.status, ended.reason) == ("aborted", "bad feeling")


def test_a_rollout_whose_canary_somebody_else_ended_is_superseded(
    rollouts: Rollouts, releases: Releases, traffic: Traffic
) -> None:
    rollouts.start("churn", "model:churn@2", POLICY)
    releases.rollback("churn")
    traffic.send(100)
    assert rollouts.look("churn") is None
    assert rollouts.status("churn").status == "superseded"


@pytest.mark.parametrize("decision", ["grow", "promote", "rollback"])
def test_what_was_decided_before_a_crash_is_done_after_it(
    rollouts: Rollouts,
    traffic: Traffic,
    clock: ManualClock,
    releases: Releases,
    monkeypatch: pytest.MonkeyPatch,
    decision: str,
) -> None:
    if decision == "rollback":
        traffic.arms["canary"] = Behaviour(errors=0.3)
    rollouts.start("churn", "model:churn@2", POLICY)

    def die(*_: object) -> None:
        raise Unavailable("killed here")

    for verb in ("set_share", "promote_canary", "drop_canary"):
        if {"grow": "set_share", "promote": "promote_canary", "rollback": "drop_canary"}[decision] == verb:
            monkeypatch.setattr(releases, verb, die)
    with pytest.raises(Unavailable):
        drive(rollouts, traffic, clock)
    assert rollouts.status("churn").pending == decision
    looks = len(rollouts.looks(rollouts.status("churn").id))
    monkeypatch.undo()
    assert rollouts.look("churn") is None
    assert len(rollouts.looks(rollouts.status("churn").id)) == looks
    endpoint = releases.get("churn")
    after = (endpoint.stable, endpoint.canary, endpoint.canary_share)
    assert (
        after
        == {
            "grow": ("release:churn@1", "release:churn@2", 0.5),
            "promote": ("release:churn@2", None, 0.0),
            "rollback": ("release:churn@1", None, 0.0),
        }[decision]
    )


@pytest.mark.parametrize("by_hand", ["promote_canary", "drop_canary"])
@pytest.mark.parametrize("decision", ["grow", "promote", "rollback"])
def test_a_decision_that_somebody_else_overtook_does_not_hold_the_endpoint(
    rollouts: Rollouts,
    traffic: Traffic,
    clock: ManualClock,
    releases: Releases,
    monkeypatch: pytest.MonkeyPatch,
    decision: str,
    by_hand: str,
) -> None:
    if decision == "rollback":
        traffic.arms["canary"] = Behaviour(errors=0.3)
    started = rollouts.start("churn", "model:churn@2", POLICY)

    def die(*_: object) -> None:
        raise Unavailable("killed here")

    with monkeypatch.context() as patch:
        patch.setattr(
            releases, {"grow": "set_share", "promote": "promote_canary", "rollback": "drop_canary"}[decision], die
        )
        with pytest.raises(Unavailable):
            drive(rollouts, traffic, clock)
    assert rollouts.status("churn").pending == decision
    getattr(releases, by_hand)("churn")
    stable = releases.get("churn").stable
    assert rollouts.look("churn") is None
    same = {("promote", "promote_canary"): "promoted", ("rollback", "drop_canary"): "rolled_back"}
    assert rollouts.status("churn").status == same.get((decision, by_hand), "superseded")
    assert releases.get("churn").stable == stable
    assert rollouts.start("churn", "model:churn@3", POLICY).id != started.id


def test_aborting_a_start_that_died_after_the_deployment_leaves_no_canary(
    rollouts: Rollouts, releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        deploy = releases.deploy

        def deploy_and_die(*arguments: object, **named: object) -> None:
            deploy(*arguments, **named)  # type: ignore[arg-type]
            raise Unavailable("killed here")

        patch.setattr(releases, "deploy", deploy_and_die)
        with pytest.raises(Unavailable):
            rollouts.start("churn", "model:churn@2", POLICY)
    assert rollouts.abort("churn").status == "aborted"
    assert releases.get("churn").canary is None


def test_a_start_that_died_after_the_deployment_is_finished_by_a_look(
    rollouts: Rollouts, releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        deploy = releases.deploy

        def deploy_and_die(*arguments: object, **named: object) -> None:
            deploy(*arguments, **named)  # type: ignore[arg-type]
            raise Unavailable("killed here")

        patch.setattr(releases, "deploy", deploy_and_die)
        with pytest.raises(Unavailable):
            rollouts.start("churn", "model:churn@2", POLICY)
    assert rollouts.status("churn").status == "starting"
    assert rollouts.look("churn") is None
    assert (rollouts.status("churn").status, rollouts.status("churn").release) == ("running", "release:churn@2")
    assert len(releases.releases("churn")) == 2


@pytest.mark.parametrize(
    "policy",
    [
        RolloutPolicy(steps=()),
        RolloutPolicy(steps=(0.5, 0.1)),
        RolloutPolicy(steps=(0.5, 1.0)),
        RolloutPolicy(alpha=0),
        RolloutPolicy(latency_quantile=1.5),
        RolloutPolicy(error_margin=0),
        RolloutPolicy(min_requests=10, patience_requests=5),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(rollouts: Rollouts, policy: RolloutPolicy) -> None:
    with pytest.raises(InvalidRequest):
        rollouts.start("churn", "model:churn@2", policy)
    assert rollouts.list("churn") == []


def test_a_look_without_any_traffic_waits(rollouts: Rollouts) -> None:
    rollouts.start("churn", "model:churn@2", POLICY)
    look = rollouts.look("churn")
    assert look is not None
    assert look.decision == "continue"
    assert {measure.verdict for measure in look.measures} == {"not measured"}
