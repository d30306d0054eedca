"""Webhooks of MLflow's client: what its receivers are sent, how it is signed, and what is told of its trials."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx2
import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities.webhook import VALID_ENTITY_ACTIONS, WebhookEvent
from mlflow.exceptions import MlflowException
from mlflow.webhooks.types import get_example_payload_for_event

from mainspring.testing.platform import server
from tests.webhooks.receiver import Answer, Receiver, Request, receiving

SECRET = "test-secret-key"
TOLD_OF = sorted(
    f"{entity}.{action}"
    for entity, actions in VALID_ENTITY_ACTIONS.items()
    for action in actions
    # There are no budgets here.
    if str(entity) != "budget_policy"
)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture
def client(tracking_url: str) -> Iterator[MlflowClient]:
    mlflow.set_tracking_uri(tracking_url)
    client = MlflowClient(tracking_url)
    yield client
    for webhook in client.list_webhooks():
        client.delete_webhook(webhook.webhook_id)


@pytest.fixture
def name() -> str:
    return f"thing-{uuid.uuid4()}"


def verified(request: Request) -> Answer:
    """What MLflow's documentation has receivers do, for whom only what is signed and of now is good."""
    signature, at = request.headers["X-MLflow-Signature"], request.headers["X-MLflow-Timestamp"]
    if not signature or not at or abs(time.time() - int(at)) > 300:
        return 400, {}, b"no signature, or an old one"
    signed = f"{request.headers['X-MLflow-Delivery-Id']}.{at}.{request.body.decode()}"
    expected = hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).digest()
    if not hmac.compare_digest(f"v1,{base64.b64encode(expected).decode()}", signature):
        return 401, {}, b"wrong signature"
    return 200, {}, b"verified"


def events_of(client: MlflowClient, receiver: Receiver, *events: str) -> None:
    client.create_webhook("told", receiver.url + "/hook", list(events))


def told(receiver: Receiver, count: int) -> list[tuple[str, dict[str, Any]]]:
    found = [request.json for request in receiver.wait(count)]
    return [(f"{body['entity']}.{body['action']}", body["data"]) for body in found]


def test_models_and_versions_that_are_created_are_told_with_what_is_known_of_them(
    client: MlflowClient, receiver: Receiver, name: str
) -> None:
    events_of(client, receiver, "registered_model.created", "model_version.created")
    client.create_registered_model(name, {"a": "b"}, "a model")
    client.create_model_version(name, "s3://bucket/model", "1234567890abcdef", {"c": "d"}, description="a version")
    client.create_model_version(name, "s3://bucket/model")
    first, second, third = told(receiver, 3)
    assert first == ("registered_model.created", {"name": name, "tags": {"a": "b"}, "description": "a model"})
    version = {"name": name, "version": "1", "source": "s3://bucket/model", "run_id": "1234567890abcdef"}
    assert second == ("model_version.created", {**version, "tags": {"c": "d"}, "description": "a version"})
    bare = {"version": "2", "run_id": None, "tags": {}, "description": None}
    assert third == ("model_version.created", {**version, **bare})
    request = receiver.requests[0]
    assert (request.path, request.headers["Content-Type"]) == ("/hook", "application/json")
    assert request.headers["X-MLflow-Signature"] is None
    assert request.json.keys() == {"entity", "action", "timestamp", "data"}


def test_tags_and_aliases_of_versions_are_told(client: MlflowClient, receiver: Receiver, name: str) -> None:
    names = [f"model_version_{what}" for what in ("tag.set", "tag.deleted", "alias.created", "alias.deleted")]
    events_of(client, receiver, *names)
    client.create_registered_model(name)
    client.create_model_version(name, "s3://bucket/model")
    client.set_registered_model_tag(name, "of", "the model")
    client.set_model_version_tag(name, "1", "key", "value")
    client.delete_model_version_tag(name, "1", "key")
    client.set_registered_model_alias(name, "live", "1")
    client.delete_registered_model_alias(name, "live")
    one = {"name": name, "version": "1"}
    assert told(receiver, 4) == [
        ("model_version_tag.set", {**one, "key": "key", "value": "value"}),
        ("model_version_tag.deleted", {**one, "key": "key"}),
        ("model_version_alias.created", {**one, "alias": "live"}),
        ("model_version_alias.deleted", {"name": name, "alias": "live"}),
    ]


def test_prompts_are_told_apart_from_models(client: MlflowClient, receiver: Receiver, name: str) -> None:
    events_of(client, receiver, *TOLD_OF)
    client.create_prompt(name, "a prompt", {"a": "b"})
    client.create_prompt_version(name, "Hello {{who}}", "first", {"c": "d"})
    mlflow.genai.set_prompt_tag(name, "team", "ads")
    mlflow.genai.delete_prompt_tag(name, "team")
    mlflow.genai.set_prompt_version_tag(name, 1, "key", "value")
    mlflow.genai.delete_prompt_version_tag(name, 1, "key")
    mlflow.genai.set_prompt_alias(name, "live", 1)
    mlflow.genai.delete_prompt_alias(name, "live")
    one = {"name": name, "version": "1"}
    found = told(receiver, 8)
    version = {**one, "template": "Hello {{who}}", "tags": {"c": "d"}, "description": "first"}
    assert [entry for entry in found if entry[0] != "prompt_tag.set" or entry[1]["key"] == "team"][:8] == [
        ("prompt.created", {"name": name, "tags": {"a": "b"}, "description": "a prompt"}),
        ("prompt_version.created", version),
        ("prompt_tag.set", {"name": name, "key": "team", "value": "ads"}),
        ("prompt_tag.deleted", {"name": name, "key": "team"}),
        ("prompt_version_tag.set", {**one, "key": "key", "value": "value"}),
        ("prompt_version_tag.deleted", {**one, "key": "key"}),
        ("prompt_alias.created", {**one, "alias": "live"}),
        ("prompt_alias.deleted", {"name": name, "alias": "live"}),
    ]


def test_a_signed_delivery_passes_the_check_that_mlflow_s_documentation_gives(
    client: MlflowClient, receiver: Receiver, name: str
) -> None:
    receiver.check = verified
    made = client.create_webhook("signed", receiver.url, ["registered_model.created"], secret=SECRET)
    client.create_registered_model(name, description="zażółć")
    assert verified(receiver.wait(1)[0])[2] == b"verified"
    result = client.test_webhook(made.webhook_id)
    assert (result.success, result.response_status, result.response_body) == (True, 200, "verified")
    client.update_webhook(made.webhook_id, secret="another")
    result = client.test_webhook(made.webhook_id)
    assert (result.success, result.response_status, result.error_message) == (False, 401, None)


def test_the_secret_is_never_given_out(client: MlflowClient, receiver: Receiver, tracking_url: str) -> None:
    made = client.create_webhook("secretive", receiver.url, ["registered_model.created"], secret=SECRET)
    base = f"{tracking_url}/api/2.0/mlflow/webhooks"
    answers = [
        httpx2.get(f"{base}/{made.webhook_id}"),
        httpx2.get(base),
        httpx2.patch(f"{base}/{made.webhook_id}", json={"secret": SECRET}),
        httpx2.post(f"{base}/{made.webhook_id}/test", json={}),
        httpx2.get(f"{tracking_url}/webhooks/{made.webhook_id}"),
        httpx2.get(f"{tracking_url}/events"),
    ]
    for answer in answers:
        assert answer.status_code == 200
        assert SECRET not in answer.text and "sealed" not in answer.text


@pytest.mark.parametrize(
    ("answers", "attempts"),
    [
        ([(500, {}, b""), (503, {}, b""), (200, {}, b"")], 3),
        ([(429, {"Retry-After": "2"}, b"too much"), (200, {}, b"")], 2),
    ],
)
def test_a_receiver_in_trouble_is_told_again_under_the_same_id(
    client: MlflowClient, receiver: Receiver, name: str, answers: list[Answer], attempts: int
) -> None:
    receiver.answers = list(answers)
    events_of(client, receiver, "registered_model.created")
    client.create_registered_model(name)
    begun = time.monotonic()
    found = receiver.wait(attempts)
    assert time.monotonic() - begun > 1.5
    assert len({request.headers["X-MLflow-Delivery-Id"] for request in found}) == 1
    assert {request.body for request in found} == {found[0].body}


def test_an_answer_that_is_no_success_is_told_to_who_tries_the_webhook_out(
    client: MlflowClient, receiver: Receiver
) -> None:
    made = client.create_webhook("refused", receiver.url, ["registered_model.created"])
    for status in (404, 302):
        receiver.answers = [(status, {"Location": f"{receiver.url}/elsewhere"}, b"not here")]
        result = client.test_webhook(made.webhook_id)
        assert (result.success, result.response_status, result.response_body) == (False, status, "not here")
        assert result.error_message is None
    assert [request.path for request in receiver.requests] == ["/", "/"]
    client.update_webhook(made.webhook_id, url="http://127.0.0.1:9/closed")
    result = client.test_webhook(made.webhook_id)
    assert (result.success, result.response_status) == (False, None)
    assert "cannot connect to 127.0.0.1" in result.error_message


@pytest.mark.parametrize("event", TOLD_OF)
def test_a_webhook_is_tried_out_with_mlflow_s_own_examples(
    client: MlflowClient, receiver: Receiver, event: str
) -> None:
    made = client.create_webhook("trial", receiver.url, TOLD_OF)
    assert client.test_webhook(made.webhook_id, event).success
    assert told(receiver, 1) == [(event, get_example_payload_for_event(WebhookEvent.from_str(event)))]


def test_webhooks_are_got_listed_changed_and_deleted(client: MlflowClient, receiver: Receiver) -> None:
    made = [
        client.create_webhook(f"hook-{number}", receiver.url, ["prompt.created", "prompt_tag.set"], "for ads")
        for number in range(3)
    ]
    assert client.get_webhook(made[0].webhook_id).name == "hook-0"
    assert [str(event) for event in made[0].events] == ["prompt.created", "prompt_tag.set"]
    assert (made[0].description, made[0].status, made[0].url) == ("for ads", "ACTIVE", receiver.url)
    page = client.list_webhooks(max_results=2)
    rest = client.list_webhooks(max_results=2, page_token=page.token)
    assert [webhook.name for webhook in [*page, *rest]] == ["hook-2", "hook-1", "hook-0"]
    assert not rest.token
    changed = client.update_webhook(
        made[0].webhook_id, name="other", events=["model_version.created"], status="DISABLED", description="new"
    )
    assert (changed.name, changed.status, changed.description) == ("other", "DISABLED", "new")
    assert [str(event) for event in changed.events] == ["model_version.created"]
    assert changed.last_updated_timestamp > changed.creation_timestamp
    client.delete_webhook(made[0].webhook_id)
    with pytest.raises(MlflowException, match="not found") as caught:
        client.get_webhook(made[0].webhook_id)
    assert caught.value.error_code == "RESOURCE_DOES_NOT_EXIST"


def test_one_that_is_disabled_is_told_nothing_of_what_happens_meanwhile(
    client: MlflowClient, receiver: Receiver, name: str
) -> None:
    made = client.create_webhook("off", receiver.url, ["registered_model.created"], status="DISABLED")
    client.create_registered_model(name)
    client.update_webhook(made.webhook_id, status="ACTIVE")
    client.create_registered_model(f"{name}-2")
    assert [data["name"] for _, data in told(receiver, 1)] == [f"{name}-2"]
    time.sleep(0.5)
    assert len(receiver.requests) == 1


def test_what_the_client_has_no_name_for_stays_with_the_webhook_and_is_hidden_from_it(
    client: MlflowClient, receiver: Receiver, tracking_url: str
) -> None:
    body = {"name": "ours", "url": receiver.url, "events": ["ReleaseDeployed", "prompt.created"]}
    made = httpx2.post(f"{tracking_url}/webhooks", json=body).json()
    only = httpx2.post(f"{tracking_url}/webhooks", json={**body, "events": ["*"]}).json()
    try:
        assert [webhook.webhook_id for webhook in client.list_webhooks()] == [made["id"]]
        client.update_webhook(made["id"], events=["model_version.created"])
        found = httpx2.get(f"{tracking_url}/webhooks/{made['id']}").json()
        assert found["events"] == ["model_version.created", "ReleaseDeployed"]
        with pytest.raises(MlflowException, match="not found"):
            client.get_webhook(only["id"])
    finally:
        httpx2.delete(f"{tracking_url}/webhooks/{only['id']}")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"name": "-bad-"}, "Webhook name '-bad-' is invalid"),
        ({"url": "ftp://somewhere/x"}, "Invalid webhook URL scheme"),
        ({"url": "http://"}, "must include a hostname"),
        ({"url": "http://user:password@example.com"}, "no user or password"),
        ({"events": []}, "events"),
        ({"events": [{"entity": "BUDGET_POLICY", "action": "EXCEEDED"}]}, "not told of"),
        ({"status": "SLEEPY"}, "SLEEPY"),
    ],
)
def test_what_no_webhook_can_be_is_refused(tracking_url: str, change: dict[str, Any], match: str) -> None:
    good = {"name": "a", "url": "http://127.0.0.1/", "events": [{"entity": "PROMPT", "action": "CREATED"}]}
    answer = httpx2.post(f"{tracking_url}/api/2.0/mlflow/webhooks", json={**good, **change})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert match in answer.json()["message"] and "password" not in answer.json()["message"].replace("or password", "")


def test_a_platform_for_testing_tells_receivers_beside_it_without_a_setting(receiver: Receiver) -> None:
    with server(settings={"job_workers": 0}) as platform:
        client = MlflowClient(platform.url)
        local = receiver.url.replace("127.0.0.1", "localhost")
        client.create_webhook("local", local, ["registered_model.created"], secret=SECRET)
        client.create_registered_model("churn")
        assert verified(receiver.wait(1)[0])[0] == 200
        platform.reset()
        assert client.list_webhooks() == []
        client.create_registered_model("churn")
        client.create_webhook("again", local, ["registered_model.created"])
        client.create_registered_model("other")
        assert told(receiver, 2)[1][1]["name"] == "other"
