"""A protected alias moves when nothing is missing and not before, and says what is missing and how to bring it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mainspring.core.actor import acting_as
from mainspring.core.clock import ManualClock
from mainspring.core.errors import ApprovalNeeded, Forbidden, GateRefused, InvalidRequest, NotFound
from mainspring.registry.catalogue.service import Catalogue
from mainspring.registry.gate_model import GatePolicy, Holdout
from mainspring.registry.promotions.service import Promotions
from mainspring.registry.protection.model import PolicyContent
from mainspring.registry.service import Registry
from mainspring.storage.objects.store import ObjectStore, open_objects
from mainspring.storage.objects.tree import put_tree
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import latest_events
from tests.registry.conftest import FolderScorer
from tests.registry.graphs import columns_folder
from tests.registry.test_service import holdout

MEASURED = GatePolicy(max_p99_ms=1000, latency_requests=30)
GATES = PolicyContent(measured=MEASURED, holdout="dataset:people", target="label")
APPROVALS = PolicyContent(measured=None)


class People:
    """The rows that policies ask for: those of the tests of the gates."""

    def __init__(self) -> None:
        self.good, self.asked = True, 0

    def holdout(self, dataset: str, target: str) -> Holdout:
        self.asked += 1
        assert (dataset, target) == ("dataset:people", "label")
        return holdout()

    def quality(self, dataset: str) -> tuple[bool, str]:
        return self.good, f"{dataset} {'passed' if self.good else 'broke 2 of its expectations'}"


@pytest.fixture
def people() -> People:
    return People()


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return open_objects(f"file://{tmp_path / 'objects'}")


@pytest.fixture
def registry(database: Database, objects: ObjectStore, tmp_path: Path, people: People) -> Registry:
    made = Registry(database, objects, FolderScorer(objects, tmp_path / "open"), ManualClock(), people)
    for number, cut in enumerate((1.0, 0.0, 1.0)):  # The second is the best.
        made.register("m", put_tree(objects, columns_folder(tmp_path / str(number), cut=cut)))
    return made


@pytest.fixture
def promotions(registry: Registry, reached: Callable[[Promotions], Promotions]) -> Iterator[Promotions]:
    # At a distance who asks is told by a header; here all ask in their own name.
    with acting_as("ann", "local"):
        yield reached(Promotions(registry))


def kinds(registry: Registry) -> list[str]:
    with registry.database.read() as connection:
        return [event.kind for event in latest_events(connection, limit=50)]


def champion(registry: Registry) -> int | None:
    return registry.get_model("m").aliases.get("champion")


def test_a_policy_has_versions_that_stay(promotions: Promotions) -> None:
    first = promotions.define_policy("strict", GATES)
    assert promotions.define_policy("strict", GATES) == first
    second = promotions.define_policy("strict", PolicyContent(card=True))
    assert (first.ref, second.ref) == ("gate_policy:strict@1", "gate_policy:strict@2")
    assert promotions.get_policy("strict") == second
    assert promotions.get_policy("strict", 1).content == GATES
    assert [policy.version for policy in promotions.list_policies()] == [2, 1]
    with pytest.raises(NotFound, match="list-policies"):
        promotions.get_policy("nothing")


def test_a_protection_asks_for_something_that_is_there(promotions: Promotions) -> None:
    with pytest.raises(InvalidRequest, match="--gates POLICY"):
        promotions.protect("m", "champion")
    with pytest.raises(NotFound, match="gate_policy:nothing"):
        promotions.protect("m", "champion", gates="nothing")
    with pytest.raises(NotFound):
        promotions.protect("nobody", "champion", approvals=1)
    with pytest.raises(InvalidRequest, match="expected 0 to"):
        promotions.protect("m", "champion", approvals=99)


def test_the_gates_of_a_policy_are_measured_when_somebody_promotes(
    registry: Registry, promotions: Promotions, people: People
) -> None:
    promotions.define_policy("strict", GATES)
    promotions.protect("m", "champion", gates="strict")
    registry.promote("m", 1)
    assert registry.list_reports("m", 1)[0].under == "gate_policy:strict@1"
    registry.set_alias("m", "champion", 2)
    assert champion(registry) == 2
    with pytest.raises(
        GateRefused, match=r"gates: better_than_champion: accuracy 0\.9 against 1 of model:m@2"
    ) as refused:
        registry.promote("m", 3)
    assert "`mainspring model evaluate m 3 --alias champion --gates gate_policy:strict@1`" in str(refused.value)
    assert champion(registry) == 2
    assert people.asked == 3
    with pytest.raises(GateRefused):
        registry.promote("m", 3)
    assert people.asked == 3, "a report that counts is not made again"
    assert "PromotionRefused" in kinds(registry)


def test_a_report_of_another_policy_does_not_count(registry: Registry, promotions: Promotions) -> None:
    promotions.define_policy("strict", PolicyContent(measured=MEASURED))
    promotions.protect("m", "champion", gates="strict")
    registry.evaluate_gates("m", 1, holdout(), policy=MEASURED)
    with pytest.raises(GateRefused, match="never evaluated"):
        registry.promote("m", 1)
    report = promotions.evaluate("m", 1, dataset="dataset:people", truth="label")
    assert (report.under, report.passed) == ("gate_policy:strict@1", True)
    promotions.define_policy("strict", PolicyContent(measured=MEASURED, card=True))
    with pytest.raises(GateRefused, match="card: is missing"):
        registry.promote("m", 1)
    promotions.protect("m", "champion", gates="strict@1")
    registry.promote("m", 1)
    assert registry.get_version("m", 1).stage == "production"


def test_force_does_not_help(registry: Registry, promotions: Promotions) -> None:
    promotions.protect("m", "champion", approvals=1)
    with pytest.raises(InvalidRequest, match="force does not change"):
        registry.promote("m", 1, force="it is urgent")
    assert champion(registry) is None


def test_somebody_else_approves(registry: Registry, promotions: Promotions) -> None:
    promotions.protect("m", "champion", approvals=1)
    with pytest.raises(ApprovalNeeded, match=r"approvals: 0 of 1 by somebody other than ann") as needed:
        registry.promote("m", 2)
    assert "`mainspring model approve m 2`" in str(needed.value)
    with pytest.raises(ApprovalNeeded):
        registry.set_alias("m", "champion", 2)
    (request,) = promotions.list_requests()
    assert (request.actor, request.version, request.alias, request.status) == ("ann", 2, "champion", "pending")
    with pytest.raises(Forbidden, match="somebody else"):
        promotions.approve("m", 2)
    with pytest.raises(NotFound, match="nobody has asked"):
        promotions.approve("m", 3)
    with acting_as("bob", "local"):
        done = promotions.approve("m", 2, comment="looks good")
    assert (done.status, [(vote.actor, vote.comment) for vote in done.votes]) == ("done", [("bob", "looks good")])
    assert champion(registry) == 2
    assert registry.get_version("m", 2).stage == "production"
    assert promotions.list_requests("m") == []
    assert [one.status for one in promotions.list_requests("m", pending=False)] == ["done"]
    assert kinds(registry).count("PromotionRequested") == kinds(registry).count("PromotionJudged") == 1


def test_one_person_counts_once(registry: Registry, promotions: Promotions) -> None:
    promotions.protect("m", "champion", approvals=2)
    with pytest.raises(ApprovalNeeded):
        registry.promote("m", 1)
    for _ in range(2):
        with acting_as("bob", "local"):
            assert promotions.approve("m", 1).status == "pending"
    with acting_as("eve", "local"):
        assert promotions.approve("m", 1).status == "done"
    assert champion(registry) == 1


def test_approval_alone_is_not_enough_where_gates_fail(registry: Registry, promotions: Promotions) -> None:
    promotions.define_policy("signed", PolicyContent(measured=None, card=True))
    promotions.protect("m", "champion", gates="signed", approvals=1)
    with pytest.raises(GateRefused, match="card: is missing"):
        registry.promote("m", 1)
    with acting_as("bob", "local"):
        assert promotions.approve("m", 1).status == "pending"
    assert champion(registry) is None
    missing = {one.name: one.met for one in promotions.requirements("m", 1)}
    assert missing == {"card": False, "approvals": True}
    Catalogue(registry).describe("m", 1, "# A card")
    registry.promote("m", 1)
    assert champion(registry) == 1
    assert promotions.list_requests() == []


def test_a_request_that_was_rejected_ends(registry: Registry, promotions: Promotions) -> None:
    promotions.protect("m", "champion", approvals=1)
    with pytest.raises(ApprovalNeeded):
        registry.promote("m", 1)
    with acting_as("bob", "local"):
        assert promotions.reject("m", 1, comment="not this one").status == "rejected"
        with pytest.raises(NotFound):
            promotions.approve("m", 1)
    with pytest.raises(ApprovalNeeded, match="0 of 1"):
        registry.promote("m", 1)
    assert len(promotions.list_requests(pending=False)) == 2


def test_the_catalogue_and_stages_go_by_it_too(registry: Registry, promotions: Promotions) -> None:
    promotions.protect("m", "champion", approvals=1)
    catalogue = Catalogue(registry)
    for call in (
        lambda: catalogue.point("m", "champion", 1),
        lambda: catalogue.bring("m", 1, "production"),
        lambda: registry.set_stage("m", 1, "production"),
    ):
        with pytest.raises(ApprovalNeeded):
            call()
    assert (champion(registry), registry.get_version("m", 1).stage) == (None, "development")
    registry.set_stage("m", 1, "staging")
    registry.set_alias("m", "other", 1)
    registry.record_stage("m", 1, "production")
    assert registry.get_version("m", 1).stage == "production", "what is served is in production, whoever likes it"


def test_a_protected_alias_is_not_removed_in_any_way(registry: Registry, promotions: Promotions) -> None:
    registry.set_alias("m", "champion", 1)
    promotions.protect("m", "champion", approvals=1)
    catalogue = Catalogue(registry)
    for call in (
        lambda: registry.delete_alias("m", "champion"),
        lambda: catalogue.delete_version("m", 1),
        lambda: catalogue.delete_model("m"),
    ):
        with pytest.raises(GateRefused, match="mainspring model unprotect m champion"):
            call()
    assert champion(registry) == 1
    with pytest.raises(InvalidRequest, match="--reason"):
        promotions.unprotect("m", "champion")
    promotions.unprotect("m", "champion", "the model is retired")
    registry.delete_alias("m", "champion")
    with pytest.raises(NotFound, match="is not protected"):
        promotions.unprotect("m", "champion", "again")


def test_a_protection_goes_along_when_a_model_is_renamed(registry: Registry, promotions: Promotions) -> None:
    promotions.protect("m", "champion", approvals=1)
    Catalogue(registry).rename("m", "n")
    with pytest.raises(ApprovalNeeded):
        registry.set_alias("n", "champion", 1)


def test_what_stands_in_the_card_and_in_tags_is_asked_for(
    registry: Registry, promotions: Promotions, people: People, objects: ObjectStore, tmp_path: Path
) -> None:
    asked = PolicyContent(
        measured=None,
        card=True,
        owner=True,
        licence=True,
        signature=True,
        clean_scan=True,
        training_data=True,
        safety=["red-team"],
    )
    promotions.define_policy("whole", asked)
    promotions.protect("m", "champion", gates="whole")
    met = {one.name: one.met for one in promotions.requirements("m", 1)}
    assert met == {
        "card": False,
        "owner": False,
        "licence": False,
        "signature": True,
        "scan": True,
        "training data": False,
        "safety red-team": False,
    }
    tree = put_tree(objects, columns_folder(tmp_path / "new"))
    registry.register("m", tree, dataset="dataset:people@3", card="---\nlicense: mit\n---\n# It", tags={"owner": "ann"})
    promotions.record_check("m", 4, "red-team", False, "answered 3 of 100")
    unmet = [one for one in promotions.requirements("m", 4) if not one.met]
    assert [(one.name, one.detail) for one in unmet] == [("safety red-team", "failed: answered 3 of 100")]
    promotions.record_check("m", 4, "red-team", True, "answered none of 100", 0.0)
    people.good = False
    with pytest.raises(GateRefused, match="training data: dataset:people@3 broke 2 of its expectations"):
        registry.promote("m", 4)
    people.good = True
    registry.promote("m", 4)
    assert champion(registry) == 4


def test_what_is_not_protected_asks_for_nothing(registry: Registry, promotions: Promotions) -> None:
    assert promotions.requirements("m", 1) == []
    registry.set_alias("m", "champion", 1)
    with pytest.raises(InvalidRequest, match="--dataset"):
        promotions.evaluate("m", 2)
