"""What is missing before a protected alias may point to a version."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Protocol

from mainspring.core.errors import NotFound
from mainspring.core.refs import Ref, ref
from mainspring.registry import store as registry_store
from mainspring.registry.cards.front_matter import facts_of
from mainspring.registry.cards.writing import missing_parts
from mainspring.registry.gate_model import GateReport, objections
from mainspring.registry.model import Model, ModelVersion
from mainspring.registry.protection import store
from mainspring.registry.protection.model import NamedPolicy, PromotionRequest, Protection, Requirement
from mainspring.registry.scanning import store as scan_store


class TrainingData(Protocol):
    """Tells of datasets whether they passed their expectations."""

    def quality(self, dataset: str) -> tuple[bool, str]: ...


def policy_of(connection: store.Connection, gates: str) -> NamedPolicy:
    """Give the policy that a ref names; raises NotFound."""
    wanted = Ref.parse(gates, kind="gate_policy")
    found = store.find_policy(connection, wanted.name, wanted.version)
    if found is None:
        raise NotFound(f"there is no {gates}; `mainspring model list-policies` shows those there are", policy=gates)
    return found


def requirements(
    connection: store.Connection,
    protection: Protection,
    version: ModelVersion,
    data: TrainingData | None,
) -> list[Requirement]:
    """Say of each thing that a protection asks for whether it is there."""
    model = registry_store.require_model(connection, version.name)
    found: list[Requirement] = []
    if protection.gates is not None:
        policy = policy_of(connection, protection.gates)
        found += _of_policy(connection, policy, protection.alias, model, version, data)
    if protection.approvals:
        request = store.pending_request(connection, version.name, version.version, protection.alias)
        found.append(_approvals(protection, request, version))
    return found


def _of_policy(
    connection: store.Connection,
    policy: NamedPolicy,
    alias: str,
    model: Model,
    version: ModelVersion,
    data: TrainingData | None,
) -> Iterator[Requirement]:
    content, place = policy.content, f"{shlex.quote(version.name)} {version.version}"
    if content.measured is not None:
        current = model.aliases.get(alias)
        report = report_under(connection, version, policy)
        against = None if current is None or current == version.version else ref("model", version.name, current)
        failed = objections(report, against)
        rows = "" if content.holdout and content.target else " --dataset DATASET --truth COLUMN"
        yield Requirement(
            name="gates",
            met=not failed,
            detail="; ".join(failed.values()) or f"passed {report.ref if report else ''}",
            command=f"mainspring model evaluate {place} --alias {alias} --gates {policy.ref}{rows}",
        )
    facts = {**facts_of(version.card), **model.tags, **version.tags}
    if content.card:
        yield _card(version, place)
    if content.owner:
        yield _present(
            "owner", bool(facts.get("owner")), f'mainspring model tag-version {place} \'{{"owner": "NAME"}}\''
        )
    if content.licence:
        licensed = bool(facts.get("license") or facts.get("licence"))
        yield _present("licence", licensed, f'mainspring model tag-version {place} \'{{"license": "apache-2.0"}}\'')
    if content.signature:
        signed = version.info is not None and bool(version.info.signature.inputs)
        yield _present("signature", signed, "save the model with a signature (input_example=...) and register it again")
    if content.clean_scan:
        scan = scan_store.find(connection, version.name, version.version, version.ref)
        said = "its files were not looked through" if scan is None else f"its scan is {scan.verdict}"
        clean = scan is not None and scan.verdict == "clean"
        yield Requirement(name="scan", met=clean, detail=said, command=f"mainspring model scan-version {place}")
    if content.training_data:
        yield _quality(version, data)
    checks = store.latest_checks(connection, version.name, version.version)
    for suite in content.safety:
        check = checks.get(suite)
        said = "was not run" if check is None else f"{'passed' if check.passed else 'failed'}: {check.detail}"
        command = f"mainspring model record-check {place} {shlex.quote(suite)} true 'WHAT IT FOUND'"
        met = check is not None and check.passed
        yield Requirement(name=f"safety {suite}", met=met, detail=said, command=command)


def report_under(connection: store.Connection, version: ModelVersion, policy: NamedPolicy) -> GateReport | None:
    """Give the latest report of a version that this policy was measured for."""
    reports = registry_store.reports_of(connection, version.name, version.version)
    return next((one for one in reports if one.under == policy.ref), None)


def _present(name: str, there: bool, command: str) -> Requirement:
    return Requirement(name=name, met=there, detail="is there" if there else "is missing", command=command)


def _card(version: ModelVersion, place: str) -> Requirement:
    left, command = missing_parts(version.card), f"mainspring model set-card {place} TEXT"
    if not version.card.strip():
        return Requirement(name="card", met=False, detail="is missing", command=f"mainspring model make-card {place}")
    said = f"has parts that are to be written: {', '.join(left)}" if left else "is there"
    return Requirement(name="card", met=not left, detail=said, command=command)


def _quality(version: ModelVersion, data: TrainingData | None) -> Requirement:
    if version.dataset is None or data is None:
        detail = "the version does not say which dataset it was trained on"
        return Requirement(name="training data", met=False, detail=detail, command="register it with its dataset")
    passed, detail = data.quality(version.dataset)
    dataset = Ref.parse(version.dataset, kind="dataset")
    command = f"mainspring dataset check {shlex.quote(dataset.name)} {dataset.version or ''}".strip()
    return Requirement(name="training data", met=passed, detail=detail, command=command)


def _approvals(protection: Protection, request: PromotionRequest | None, version: ModelVersion) -> Requirement:
    agreed = [] if request is None else [vote.actor for vote in request.votes if vote.approved]
    asked = f" other than {request.actor}" if request is not None else " other than who asks"
    by = f" (by {', '.join(agreed)})" if agreed else ""
    alias = f" --alias {protection.alias}" if protection.alias != "champion" else ""
    return Requirement(
        name="approvals",
        met=len(agreed) >= protection.approvals,
        detail=f"{len(agreed)} of {protection.approvals} by somebody{asked}{by}",
        command=f"mainspring model approve {shlex.quote(version.name)} {version.version}{alias}",
    )
