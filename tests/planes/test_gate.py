"""A control plane that asks for a login: who is let in, as whom, and what each may do through both protocols."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import mlflow
import msgspec
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

import mainspring
from mainspring.access.rules import Asked
from mainspring.access.service import Access
from mainspring.client.session import SERVICES, connect
from mainspring.core.errors import Forbidden, InvalidRequest, NotFound, Unauthenticated
from mainspring.core.operations import operations
from mainspring.core.settings import Settings
from mainspring.planes.embedded import Platform, attach
from mainspring.planes.up import environment, run_up
from mainspring.protocols.mlflow.app import all_calls
from mainspring.protocols.mlflow.guarding import MlflowRules
from mainspring.protocols.native.guarding import NativeRules
from mainspring.registry.logged.model import LoggedModel
from tests.holds.running import eventually
from tests.servers import free_port

ADMIN = ("admin", "of the tests")


class Guarded:
    """A control plane with a login, and how it is called."""

    def __init__(self, url: str, home: Path) -> None:
        self.url, self.home = url, home
        self.api = f"{url}/api/2.0/mlflow"

    def call(self, method: str, path: str, who: tuple[str, str] | None, **options: Any) -> httpx2.Response:
        return httpx2.request(method, self.url + path, auth=who, **options)

    def user(self, name: str, *, admin: bool = False) -> tuple[str, str]:
        """Make a user, or find the one who was made."""
        made = self.call("POST", "/users", ADMIN, json={"name": name, "password": f"of {name}", "admin": admin})
        assert made.status_code in (200, 409), made.text
        return name, f"of {name}"

    def grant(self, name: str, kind: str, resource: str, permission: str) -> None:
        body = {"permission": permission}
        told = self.call("PUT", f"/users/{name}/permissions/{kind}/{resource}", ADMIN, json=body)
        assert told.status_code == 200, told.text

    def experiment(self, name: str, who: tuple[str, str]) -> str:
        made = self.call("POST", "/api/2.0/mlflow/experiments/create", who, json={"name": name})
        assert made.status_code == 200, made.text
        return str(made.json()["experiment_id"])

    def run(self, experiment: str, who: tuple[str, str]) -> str:
        made = self.call("POST", "/api/2.0/mlflow/runs/create", who, json={"experiment_id": experiment})
        assert made.status_code == 200, made.text
        return str(made.json()["run"]["info"]["run_id"])


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    home = tmp_path_factory.mktemp("home")
    settings = Settings(home=str(home), policy_interval_s=0, port=free_port(), auth=True, admin_password=ADMIN[1])
    said = home / "said.txt"
    with said.open("wb") as stderr:
        control = subprocess.Popen(
            [sys.executable, "-m", "mainspring.planes.control"],
            env={**os.environ, **environment(settings)},
            stderr=stderr,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{settings.port}"

    def answers() -> bool:
        try:
            return httpx2.get(f"{url}/health").status_code == 200
        except httpx2.TransportError:
            return False

    try:
        eventually(lambda: control.poll() is not None or answers(), "no control plane")
        yield Guarded(url, home)
    finally:
        control.send_signal(signal.SIGTERM)
        control.wait(30)
    assert control.returncode == 0, said.read_text()
    assert ADMIN[1] not in said.read_text()
    assert not (home / "owner.token").exists()


# Who is let in --------------------------------------------------------------------------------------------------------


def test_nobody_is_let_in_without_a_login_but_everybody_told_that_it_runs(guarded: Guarded) -> None:
    for who in (None, ("admin", "wrong"), ("nobody", ADMIN[1])):
        told = guarded.call("GET", "/api/2.0/mlflow/experiments/search", who)
        assert (told.status_code, told.json()["error_code"]) == (401, "UNAUTHENTICATED")
        assert told.headers["www-authenticate"].startswith("Basic realm=")
        told = guarded.call("GET", "/models", who)
        assert (told.status_code, told.json()["error"]["code"]) == (401, "unauthenticated")
    for header in ("Bearer x", "Basic !", "Basic", "Digest abc", "Bearer"):
        assert httpx2.get(guarded.url + "/models", headers={"authorization": header}).status_code == 401
    for path in ("/health", "/version"):
        assert guarded.call("GET", path, None).status_code == 200
    for path in ("/openapi.json", "/metrics", "/objects/sha256:00", "/no/such/path", "/graphql", "/get-artifact"):
        assert guarded.call("GET", path, None).status_code == 401


def test_what_is_done_is_signed_by_who_logged_in_whatever_else_is_said(guarded: Guarded) -> None:
    ann = guarded.user("ann")
    token = guarded.call("POST", "/users/ann/tokens", ann, json={"name": "ci"}).json()["secret"]
    lie = {"x-mainspring-actor": "admin"}
    for number, login in enumerate(({"auth": ann}, {"headers": {"authorization": f"Bearer {token}"}})):
        headers = {**login.get("headers", {}), **lie}  # type: ignore[dict-item]
        made = httpx2.post(
            guarded.url + "/models", json={"name": f"signed-{number}"}, headers=headers, auth=login.get("auth")
        )
        assert made.status_code == 200, made.text
        [event] = [
            event
            for event in guarded.call("GET", "/events", ADMIN, params={"kind": "ModelCreated"}).json()
            if event["body"]["model"] == f"model:signed-{number}"
        ]
        assert event["actor"] == "ann"


def test_the_owner_of_the_home_is_let_in_from_this_machine(guarded: Guarded) -> None:
    file = guarded.home / "owner.token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with connect(guarded.url, token=file.read_text().strip()) as session:
        assert "admin" in [user.name for user in session.access.list_users()]
    with connect(guarded.url) as session, pytest.raises(Unauthenticated):
        session.access.list_users()


def test_a_client_logs_in_by_the_token_of_the_settings(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    guarded.user("ann")
    token = guarded.call("POST", "/users/ann/tokens", ADMIN, json={"name": "client"}).json()["secret"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAINSPRING_TOKEN", token)
    monkeypatch.setenv("MAINSPRING_CACHE", str(tmp_path / "cache"))
    with mainspring.connect(guarded.url) as session:
        with session.start_run("by-token") as run:
            run.log_metric("a", 1.0)
        assert session.tracking.get_run(run.run).run.name
    with mainspring.start_run("by-token", url=guarded.url) as run:
        run.log_metric("a", 1.0)
        assert run.flush()
    with attach(Settings(url=guarded.url, token=token, cache=str(tmp_path / "cache"))) as session:
        assert session.tracking.get_experiment("by-token")


def test_a_page_of_another_site_cannot_use_the_login_of_the_browser(guarded: Guarded) -> None:
    for origin, status in (("https://evil.example", 403), (guarded.url, 200), ("null", 403)):
        told = guarded.call("GET", "/models", ADMIN, headers={"origin": origin})
        assert told.status_code == status


def test_mlflow_s_client_logs_in_as_it_does_everywhere(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    name, password = guarded.user("ann")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", name)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(guarded.url)
    try:
        client = MlflowClient(guarded.url)
        experiment = client.create_experiment("of-ann")
        with mlflow.start_run(experiment_id=experiment) as run:
            mlflow.log_metric("a", 1.0)
            mlflow.log_text("hello", "note.txt")
        assert mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/note.txt") == "hello"
        name, password = guarded.user("bob")
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", name)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)
        assert client.get_run(run.info.run_id).data.metrics == {"a": 1.0}
        with pytest.raises(MlflowException) as caught:
            client.log_metric(run.info.run_id, "a", 2.0)
        assert caught.value.error_code == "PERMISSION_DENIED"
    finally:
        mlflow.set_tracking_uri(before)


# What each may do -----------------------------------------------------------------------------------------------------


def test_who_makes_a_thing_manages_it_and_others_read_it(guarded: Guarded) -> None:
    ann, bob = guarded.user("ann"), guarded.user("bob")
    experiment = guarded.experiment("made-by-ann", ann)
    run = guarded.run(experiment, ann)
    metric = {"run_id": run, "key": "a", "value": 1.0, "timestamp": 1}
    assert guarded.call("GET", f"/runs/{run}", bob).status_code == 200
    for who, status in ((bob, 403), (ann, 200)):
        calls = [
            ("POST", "/api/2.0/mlflow/runs/log-metric", metric),
            ("POST", f"/runs/{run}/tags", {"tags": {"a": "b"}}),
            ("POST", "/api/2.0/mlflow/experiments/delete", {"experiment_id": experiment}),
        ]
        for method, path, body in calls:
            assert guarded.call(method, path, who, json=body).status_code == status, path


def test_a_thing_that_is_hidden_is_found_by_no_way_in(guarded: Guarded) -> None:
    ann, eve = guarded.user("ann"), guarded.user("eve")
    experiment = guarded.experiment("hidden", ann)
    run = guarded.run(experiment, ann)
    assert guarded.call("POST", "/models", ann, json={"name": "hidden"}).status_code == 200
    put = guarded.call(
        "PUT", f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/secret.txt", ann, content=b"secret"
    )
    assert put.status_code == 200, put.text
    guarded.grant("eve", "experiment", experiment, "NO_PERMISSIONS")
    guarded.grant("eve", "registered_model", "hidden", "NO_PERMISSIONS")
    calls: list[tuple[str, str, Any]] = [
        ("GET", f"/api/2.0/mlflow/experiments/get?experiment_id={experiment}", None),
        ("GET", "/api/2.0/mlflow/experiments/get-by-name?experiment_name=hidden", None),
        ("GET", f"/api/2.0/mlflow/runs/get?run_id={run}", None),
        ("GET", f"/api/2.0/mlflow/runs/get?run_uuid={run}", None),
        ("HEAD", f"/runs/{run}", None),
        ("POST", "/api/2.0/mlflow/runs/search", {"experiment_ids": [experiment]}),
        ("POST", "/api/3.0/mlflow/traces/search", {"locations": [_location(experiment)]}),
        ("GET", f"/ajax-api/2.0/mlflow/metrics/get-history-bulk?run_id={run}&metric_key=a", None),
        ("GET", f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/secret.txt", None),
        ("GET", f"/api/2.0/mlflow-artifacts/artifacts/x/{run}/artifacts/secret.txt", None),
        ("GET", f"/api/2.0/mlflow-artifacts/artifacts?path={experiment}/{run}/artifacts", None),
        ("GET", f"/get-artifact?run_uuid={run}&path=secret.txt", None),
        ("GET", "/api/2.0/mlflow/registered-models/get?name=hidden", None),
        ("POST", "/graphql", {"query": f'{{ mlflowGetExperiment(input: {{experimentId: "{experiment}"}}) {{ x }} }}'}),
        ("GET", f"/runs/{run}", None),
        ("GET", "/experiments/hidden", None),
        ("GET", "/models/hidden", None),
        ("GET", "/model-refs/hidden", None),
        ("GET", "/model-refs/model:hidden", None),
        ("POST", "/runs/search", {"experiments": ["hidden"]}),
        ("POST", "/runs/search", {}),
        ("GET", f"/lineage?ref=run:{run}", None),
        ("GET", "/events", None),
    ]
    for method, path, body in calls:
        told = guarded.call(method, path, eve, json=body) if body is not None else guarded.call(method, path, eve)
        assert told.status_code == 403, (method, path, told.status_code, told.text)
    # Nor is it made one's own: a version is read with the rights on its model.
    assert guarded.call("POST", "/models", eve, json={"name": "eves"}).status_code == 200
    for source in (f"runs:/{run}/model", f"mlflow-artifacts:/{experiment}/{run}/artifacts/model"):
        body = {"name": "eves", "source": source}
        assert guarded.call("POST", "/api/2.0/mlflow/model-versions/create", eve, json=body).status_code == 403
    for path, key, field in (
        ("/api/2.0/mlflow/experiments/search?max_results=1000", "experiments", "name"),
        ("/api/2.0/mlflow/registered-models/search?max_results=1000", "registered_models", "name"),
    ):
        seen = [entry[field] for entry in guarded.call("GET", path, eve).json()[key]]
        assert seen and "hidden" not in seen
        assert "hidden" in [entry[field] for entry in guarded.call("GET", path, ann).json()[key]]
    for path in ("/experiments", "/models"):
        seen = [entry["name"] for entry in guarded.call("GET", f"{path}?limit=1000", eve).json()]
        assert seen and "hidden" not in seen
    found = guarded.call("POST", "/experiments/search", eve, json={"limit": 1000}).json()["experiments"]
    assert found and "hidden" not in [entry["name"] for entry in found]


def _location(experiment: str) -> dict[str, Any]:
    return {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}


def test_two_names_for_one_thing_are_both_looked_at(guarded: Guarded) -> None:
    ann, eve = guarded.user("ann"), guarded.user("mallory")
    hidden, open_ = guarded.experiment("two-hidden", ann), guarded.experiment("two-open", eve)
    secret, own = guarded.run(hidden, ann), guarded.run(open_, eve)
    guarded.grant("mallory", "experiment", hidden, "NO_PERMISSIONS")
    for one, other in ((secret, own), (own, secret)):
        path = f"/api/2.0/mlflow/runs/get?run_id={one}&run_uuid={other}"
        assert guarded.call("GET", path, eve).status_code == 403
        path = f"/api/2.0/mlflow/runs/get?run_id={one}&run_id={other}"
        assert guarded.call("GET", path, eve).status_code == 403
    twice = f'{{"run_id": "{own}", "run_id": "{secret}", "key": "a", "value": "b"}}'
    assert guarded.call("POST", "/api/2.0/mlflow/runs/set-tag", eve, content=twice).status_code == 403


def test_a_renamed_model_keeps_its_owner_and_a_deleted_one_leaves_nothing(guarded: Guarded) -> None:
    ann, bob = guarded.user("ann"), guarded.user("bob")
    models = "/api/2.0/mlflow/registered-models"
    assert guarded.call("POST", f"{models}/create", ann, json={"name": "before"}).status_code == 200
    rename = {"name": "before", "new_name": "after"}
    assert guarded.call("POST", f"{models}/rename", bob, json=rename).status_code == 403
    assert guarded.call("POST", f"{models}/rename", ann, json=rename).status_code == 200
    assert guarded.call("DELETE", f"{models}/delete", ann, json={"name": "after"}).status_code == 200
    assert guarded.call("POST", f"{models}/create", bob, json={"name": "after"}).status_code == 200
    change = {"name": "after", "description": "ann was here"}
    assert guarded.call("PATCH", f"{models}/update", ann, json=change).status_code == 403


def test_permissions_are_given_by_who_manages_the_thing_in_both_forms_of_mlflow(guarded: Guarded) -> None:
    ann, bob = guarded.user("ann"), guarded.user("bob")
    experiment = guarded.experiment("shared", ann)
    older = "/api/2.0/mlflow/experiments/permissions"
    body = {"username": "bob", "experiment_id": experiment, "permission": "EDIT"}
    assert guarded.call("POST", f"{older}/create", bob, json=body).status_code == 403
    made = guarded.call("POST", f"{older}/create", ann, json=body)
    assert made.json()["experiment_permission"]["permission"] == "EDIT"
    assert guarded.call("POST", f"{older}/create", ann, json=body).json()["error_code"] == "RESOURCE_ALREADY_EXISTS"
    assert guarded.run(experiment, bob)
    assert guarded.call("PATCH", f"{older}/update", ann, json={**body, "permission": "READ"}).status_code == 200
    asked = {"username": "bob", "experiment_id": experiment}
    found = guarded.call("GET", f"{older}/get", ann, params=asked).json()["experiment_permission"]
    assert found["permission"] == "READ"
    assert guarded.call("DELETE", f"{older}/delete", ann, json=asked).status_code == 200
    assert guarded.call("GET", f"{older}/get", ann, params=asked).status_code == 404
    newer = "/api/3.0/mlflow/users/permissions"
    thing = {"username": "bob", "resource_type": "experiment", "resource_id": experiment}
    assert guarded.call("POST", f"{newer}/grant", bob, json={**thing, "permission": "EDIT"}).status_code == 403
    assert guarded.call("POST", f"{newer}/grant", ann, json={**thing, "permission": "EDIT"}).status_code == 200
    told = guarded.call("GET", f"{newer}/get", bob, params=thing).json()
    assert told == {"allowed": True, "permission": "EDIT"}
    assert guarded.call("POST", f"{newer}/revoke", ann, json=thing).status_code == 200
    wrong = guarded.call("POST", f"{newer}/grant", ann, json={**thing, "permission": "OWN"})
    assert (wrong.status_code, wrong.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def test_users_look_after_themselves_and_admins_after_all(guarded: Guarded) -> None:
    carl, bob = guarded.user("carl"), guarded.user("bob")
    users = "/api/2.0/mlflow/users"
    assert guarded.call("GET", f"{users}/current", carl).json()["user"]["username"] == "carl"
    assert guarded.call("GET", f"{users}/get?username=carl", carl).status_code == 200
    assert guarded.call("GET", f"{users}/get?username=bob", carl).status_code == 403
    for method, path, body in (
        ("POST", f"{users}/create", {"username": "x", "password": "y"}),
        ("GET", f"{users}/list", None),
        ("PATCH", f"{users}/update-admin", {"username": "carl", "is_admin": True}),
        ("DELETE", f"{users}/delete", {"username": "bob"}),
        ("PATCH", f"{users}/update-password", {"username": "bob", "password": "y"}),
        ("GET", "/users", None),
        ("POST", "/users/bob/tokens", {"name": "x"}),
        ("POST", "/users/carl/admin", {"admin": True}),
        ("PUT", "/users/carl/permissions/experiment/0", {"permission": "MANAGE"}),
        ("GET", "/webhooks", None),
        ("POST", "/api/2.0/mlflow/webhooks", {"name": "x", "url": "https://example.com", "events": []}),
    ):
        told = guarded.call(method, path, carl, json=body) if body is not None else guarded.call(method, path, carl)
        assert told.status_code == 403, (method, path, told.text)
    change = {"username": "carl", "password": "new"}
    for wrong in ({}, {"current_password": "wrong"}):
        told = guarded.call("PATCH", f"{users}/update-password", carl, json={**change, **wrong})
        assert told.json()["error_code"] == "INVALID_PARAMETER_VALUE"
    told = guarded.call("PATCH", f"{users}/update-password", carl, json={**change, "current_password": carl[1]})
    assert told.status_code == 200
    assert guarded.call("GET", f"{users}/current", carl).status_code == 401
    assert guarded.call("GET", f"{users}/current", ("carl", "new")).status_code == 200
    own = guarded.call("DELETE", f"{users}/delete", ADMIN, json={"username": "admin"})
    assert "cannot delete their own account" in own.json()["message"]
    assert guarded.call("DELETE", f"{users}/delete", ADMIN, json={"username": "carl"}).status_code == 200
    assert guarded.call("GET", f"{users}/current", ("carl", "new")).status_code == 401
    assert bob


def test_parts_are_not_offered_to_clients_that_would_send_them_without_the_login(guarded: Guarded) -> None:
    info = guarded.call("GET", "/api/3.0/mlflow/server-info", guarded.user("ann")).json()
    assert info["multipart_uploads_enabled"] is False


def test_what_is_named_by_an_id_is_guarded_by_its_experiment_however_it_is_asked_for(guarded: Guarded) -> None:
    ann, eve = guarded.user("ann"), guarded.user("eve")
    secret, mine = guarded.experiment("kept from eve", ann), guarded.experiment("of eve", eve)
    guarded.grant("eve", "experiment", secret, "NO_PERMISSIONS")
    theirs, hers = guarded.run(secret, ann), guarded.run(mine, eve)
    api = "/api/3.0/mlflow"

    def made(path: str, body: dict[str, Any]) -> Any:
        told = guarded.call("POST", api + path, ann, json=body)
        assert told.status_code == 200, told.text
        return told.json()

    info = {"trace_id": "tr-kept", "trace_location": {"mlflow_experiment": {"experiment_id": secret}}, "state": "OK"}
    made("/traces", {"trace": {"trace_info": info}})
    dataset = made("/datasets/create", {"name": "cases", "experiment_ids": [secret]})["dataset"]["dataset_id"]
    issue = made("/issues", {"experiment_id": secret, "name": "a", "description": "b"})["issue"]["issue_id"]
    asked = {"experiment_id": secret, "name": "q", "type": "FEEDBACK", "input": {"text": {}}}
    schema = made("/label-schemas/create", asked)["label_schema"]["schema_id"]
    for path in (
        "/traces/tr-kept", "/traces/tr-kept/spans", f"/issues/{issue}", f"/label-schemas/{schema}",
        f"/evaluation-datasets/{dataset}", f"/evaluation-datasets/{dataset}/records", f"{api}/issues/{issue}",
        f"{api}/datasets/{dataset}", f"{api}/datasets/{dataset}/records", f"{api}/label-schemas/get?schema_id={schema}",
        f"/traces?experiments={secret}", f"/runs/{theirs}",
    ):  # fmt: skip
        assert guarded.call("GET", path, ann).status_code == 200, path
        assert guarded.call("GET", path, eve).status_code == 403, path
    for path in (
        f"/traces?experiments={secret}&experiments={mine}",
        f'/traces?experiments=["{secret}"]',
        f"/runs/{theirs}?run={hers}",
    ):
        assert guarded.call("GET", path, eve).status_code in (400, 403), path
    query = {"experiments": [secret], "view": "traces", "metric": "trace_count", "aggregations": [{"kind": "count"}]}
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("/traces/metrics", {"query": query}),
        (f"/issues?experiment={mine}", {"experiment": secret, "name": "a", "description": "b"}),
        (
            "/assessments",
            {"judged": {"id": "", "trace": "tr-kept", "name": "a", "kind": "feedback", "source_type": "x"}},
        ),
    ]
    for path, body in bodies:
        assert guarded.call("POST", path, eve, json=body).status_code == 403, path


# No call is forgotten -------------------------------------------------------------------------------------------------


class Things:
    """A platform with one of each thing, and the values that name them."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        experiment = platform.tracking.create_experiment("things")
        run = platform.tracking.create_run("things")
        platform.registry.create_model("thing")
        logged: LoggedModel = platform.logged_models.create(experiment.id, "thing")
        self.values: dict[str, Any] = {
            "experiment_id": experiment.id, "experiment_ids": [experiment.id], "experiment_name": "things",
            "run_id": run.id, "run_ids": [run.id], "run": run.id, "model_id": logged.id, "name": "thing",
            "experiment": "things", "experiments": ["things"], "model": "thing", "username": "somebody",
            "resource_type": "experiment", "resource_id": experiment.id, "locations": [_location(experiment.id)],
        }  # fmt: skip


@pytest.fixture
def things(tmp_path: Path) -> Iterator[Things]:
    with Platform(Settings(home=str(tmp_path / "home"))) as platform:
        assert isinstance(platform, Platform)
        platform.access.create_user("nobody", "x")
        yield Things(platform)


def _is_refused(things: Things, rules: MlflowRules | NativeRules, asked: Asked) -> bool:
    access = Access(things.platform.database, "NO_PERMISSIONS")
    try:
        access.check(access.get_user("nobody"), rules.wanted(asked))
    except Forbidden:
        return True
    except NotFound:
        # What it is about is looked for before: there is nothing to be seen or done.
        return True
    return False


def _fill(path: str, values: dict[str, Any]) -> str:
    return re.sub(r"{(\w+)(:path)?}", lambda found: str(values.get(found[1], "x")), path)


def test_every_call_of_mlflow_s_is_refused_to_who_may_nothing_but_those_that_anybody_may_make(things: Things) -> None:
    rules, free = MlflowRules(things.platform), set()
    for call in all_calls():
        named = {name: things.values[name] for name in call.ask.__struct_fields__ if name in things.values}
        query: dict[str, list[str]] = {}
        if call.method == "GET":
            query = {name: value if isinstance(value, list) else [str(value)] for name, value in named.items()}
        path = "/api" + _fill(call.path, things.values)
        asked = Asked(method=call.method, path=path, query=query, headers={}, body=None if query else named)
        assert rules.serves(path)
        if not _is_refused(things, rules, asked):
            free.add(call.path.partition("/mlflow/")[2])
    assert free == {
        "experiments/create", "experiments/search", "registered-models/create", "registered-models/search",
        "model-versions/search", "server-info", "gateway-proxy", "users/current",
    }  # fmt: skip


def test_every_operation_is_refused_to_who_may_nothing_but_those_that_anybody_may_make(things: Things) -> None:
    platform = things.platform
    services = [getattr(platform, name) for name in SERVICES]
    rules, free = NativeRules(platform, services), set()
    for service in services:
        for op in operations(type(service)):
            values = {**things.values, "name": "things" if op.path.startswith("/experiments") else "thing"}
            rest = {a.name: values[a.name] for a in op.arguments if not a.in_path and a.name in values}
            query = {name: value if isinstance(value, list) else [value] for name, value in rest.items()}
            asked = Asked(
                method=op.method, path=_fill(op.path, values), query=query if op.in_query else {}, headers={},
                body=None if op.in_query else rest,
            )  # fmt: skip
            if not _is_refused(things, rules, asked):
                free.add(op.name)
    assert free == {"create_experiment", "list_experiments", "search_experiments", "create_model", "list_models"}


# How it is started ----------------------------------------------------------------------------------------------------


def test_only_with_a_login_is_the_network_answered(tmp_path: Path) -> None:
    settings = Settings(home=str(tmp_path), host="0.0.0.0", port=0, data_port=0)
    with pytest.raises(InvalidRequest, match="--auth"):
        run_up(settings, lambda running: None)
    with pytest.raises(InvalidRequest, match="emptied by anybody"):
        run_up(Settings(home=str(tmp_path), auth=True), lambda running: None, testing=True)


def _environments(pids: Iterable[int]) -> dict[int, str]:
    return {pid: Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace") for pid in pids}


def test_a_platform_on_the_network_asks_for_a_login_and_keeps_its_secrets_to_the_control_plane(tmp_path: Path) -> None:
    home = tmp_path / "home"
    command = [sys.executable, "-m", "mainspring", "up", "--home", str(home), "--auth", "--json"]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAINSPRING_")}
    ports = {"MAINSPRING_PORT": "0", "MAINSPRING_DATA_PORT": "0", "MAINSPRING_HOST": "0.0.0.0"}
    secret = {"MAINSPRING_ADMIN_PASSWORD": "hush-hush"} if sys.platform == "linux" else {}
    with subprocess.Popen(command, env={**inherited, **ports, **secret}, stdout=subprocess.PIPE, cwd=tmp_path) as up:
        assert up.stdout is not None
        try:
            told = msgspec.json.decode(up.stdout.readline())
            assert told["data"].startswith("http://127.0.0.1:")
            control = told["control"].replace("0.0.0.0", "127.0.0.1")
            assert httpx2.get(f"{control}/models").status_code == 401
            assert httpx2.get(f"{control}/models", auth=("admin", "hush-hush")).status_code == 200
            # By its name on the network, too, as there is a login to guard it.
            named = {"host": "mainspring.example:7700"}
            assert httpx2.get(f"{control}/models", auth=("admin", "hush-hush"), headers=named).status_code == 200
            states = msgspec.json.decode((home / "run" / "processes.json").read_bytes())
            found = _environments(state["pid"] for state in states if state["name"] != "control")
            assert found and all("hush-hush" not in one for one in found.values())
            listed = subprocess.run(
                [sys.executable, "-m", "mainspring", "user", "list", "--home", str(home), "--json"],
                env=inherited, capture_output=True, text=True, cwd=tmp_path, timeout=60,
            )  # fmt: skip
            assert [user["name"] for user in msgspec.json.decode(listed.stdout)] == ["admin"], listed.stderr
            assert not (home / "admin-password").exists()
        finally:
            up.send_signal(signal.SIGTERM)
            up.wait(60)
