"""Webhooks are created, changed, tried out and deleted, in this process and at a distance; secrets stay inside."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from mainspring.core.clock import ManualClock
from mainspring.core.errors import Forbidden, InvalidRequest, NotFound, OverLimit
from mainspring.storage.secrets import SecretBox
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import latest_events
from mainspring.webhooks.sending import Sender
from mainspring.webhooks.service import Webhooks
from mainspring.webhooks.vocabulary import Journal
from tests.webhooks.receiver import Answer, Receiver, Request

PUBLIC = "https://93.184.216.34/hook"


@pytest.fixture
def webhooks(service: Webhooks, reached: Callable[[Webhooks], Webhooks]) -> Webhooks:
    return reached(service)


def test_a_webhook_is_kept_as_it_was_made(webhooks: Webhooks, clock: ManualClock) -> None:
    made = webhooks.create("bells", PUBLIC, ["BellRung", "*", "BellRung"], "for the tower", "a secret")
    assert webhooks.get(made.id) == made
    assert webhooks.list_webhooks() == [made]
    assert (made.events, made.description, made.status, made.signed) == (
        ["BellRung", "*"], "for the tower", "active", True,
    )  # fmt: skip
    assert made.created == made.updated == clock.now()


def test_only_what_is_given_is_changed(webhooks: Webhooks, clock: ManualClock) -> None:
    made = webhooks.create("bells", PUBLIC, ["BellRung"], secret="a secret")
    clock.advance(60)
    changed = webhooks.update(made.id, name="doors")
    assert (changed.name, changed.url, changed.events, changed.signed) == ("doors", PUBLIC, ["BellRung"], True)
    assert changed.updated == clock.now() > changed.created
    changed = webhooks.update(made.id, url=PUBLIC + "/2", events=["DoorOpened"], description="new", secret="")
    assert (changed.url, changed.events, changed.description, changed.signed) == (
        PUBLIC + "/2", ["DoorOpened"], "new", False,
    )  # fmt: skip
    assert webhooks.get(made.id) == changed


def test_a_webhook_that_is_deleted_is_gone(webhooks: Webhooks) -> None:
    made = webhooks.create("bells", PUBLIC, ["*"])
    webhooks.delete(made.id)
    assert webhooks.list_webhooks() == []
    for call in (webhooks.get, webhooks.delete, webhooks.test, webhooks.deliveries, webhooks.update):
        with pytest.raises(NotFound):
            call(made.id)
    with pytest.raises(NotFound):
        webhooks.redeliver(made.id, "none")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"name": "a b"}, "Webhook name"),
        ({"name": "x" * 64}, "Webhook name"),
        ({"url": "ftp://example.com"}, "scheme"),
        ({"events": []}, "empty"),
        ({"events": ["BellRang"]}, "did you mean 'BellRung'"),
        ({"description": "\0"}, "NUL"),
        ({"secret": "x" * 1001}, "1000 characters"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_changed(
    webhooks: Webhooks, wrong: dict[str, Any], says: str
) -> None:
    good: dict[str, Any] = {"name": "bells", "url": PUBLIC, "events": ["*"]}
    with pytest.raises(InvalidRequest, match=says):
        webhooks.create(**{**good, **wrong})
    assert webhooks.list_webhooks() == []
    made = webhooks.create(**good)
    with pytest.raises(InvalidRequest, match=says):
        webhooks.update(made.id, **wrong)
    assert webhooks.get(made.id) == made


def test_private_targets_are_refused_where_nobody_allowed_them(service: Webhooks, receiver: Receiver) -> None:
    service.sender = Sender(private_targets=False, timeout_s=5)
    with pytest.raises(Forbidden, match="webhook_private_targets"):
        service.create("bells", receiver.url, ["*"])
    made = service.create("bells", PUBLIC, ["*"])
    with pytest.raises(Forbidden):
        service.update(made.id, url="http://localhost:1/")
    # One that was allowed once is not posted to any more.
    service.sender = Sender(private_targets=True, timeout_s=5)
    made = service.create("bells", receiver.url, ["*"])
    service.sender = Sender(private_targets=False, timeout_s=5)
    attempt = service.test(made.id)
    assert (attempt.delivered, attempt.response) == (False, None)
    assert receiver.requests == []


def test_a_secret_is_neither_in_the_database_nor_in_the_journal(webhooks: Webhooks, database: Database) -> None:
    url = "https://93.184.216.34/services/capability"
    made = webhooks.create("bells", url, ["*"], secret="open sesame")
    webhooks.update(made.id, secret="swordfish")
    with database.read() as connection:
        [kept] = [dict(row._mapping) for row in connection.execute(text("SELECT * FROM webhooks"))]
        told = json.dumps([event.body for event in latest_events(connection)])
    for secret in ("open sesame", "swordfish", base64.b64encode(b"swordfish").decode()):
        assert secret not in json.dumps(kept, default=str)
        assert secret not in told
    assert "capability" not in told
    assert "secret" in told


def test_a_trial_posts_an_example_and_tells_what_was_answered(webhooks: Webhooks, receiver: Receiver) -> None:
    made = webhooks.create("bells", receiver.url, ["BellRung", "prompt.created"])
    assert webhooks.test(made.id).body == "thanks"
    receiver.answers = [(500, {}, b"not today")]
    attempt = webhooks.test(made.id, "prompt.created")
    assert (attempt.delivered, attempt.response, attempt.body) == (False, 500, "not today")
    first, second = receiver.requests
    assert (first.json["kind"], first.json["id"], first.json["origin"]) == ("BellRung", 0, "test")
    assert second.json["entity"] == "prompt"
    with pytest.raises(InvalidRequest, match="BellRang"):
        webhooks.test(made.id, "BellRang")


@pytest.mark.parametrize(
    ("secret", "key"), [("plain words", b"plain words"), ("whsec_" + base64.b64encode(b"\x00key").decode(), b"\x00key")]
)
def test_a_delivery_of_ours_is_signed_as_standard_webhooks_says(
    webhooks: Webhooks, receiver: Receiver, secret: str, key: bytes
) -> None:
    made = webhooks.create("bells", receiver.url, ["BellRung"], secret=secret)
    webhooks.test(made.id)
    [request] = receiver.requests
    signed = b".".join([request.headers[f"webhook-{name}"].encode() for name in ("id", "timestamp")] + [request.body])
    expected = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    assert request.headers["webhook-signature"] == f"v1,{expected}"


def test_only_so_many_are_tried_out_at_once(webhooks: Webhooks, receiver: Receiver) -> None:
    made = webhooks.create("slow", receiver.url, ["*"])
    go_on = threading.Event()

    def slow(request: Request) -> Answer:
        go_on.wait(10)
        return 200, {}, b""

    receiver.check = slow
    threads = [threading.Thread(target=webhooks.test, args=(made.id,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    receiver.wait(4)
    with pytest.raises(OverLimit):
        webhooks.test(made.id)
    go_on.set()
    for thread in threads:
        thread.join()
    assert webhooks.test(made.id).delivered


def test_every_kind_of_event_can_be_told_and_nothing_else(webhooks: Webhooks) -> None:
    names = webhooks.event_names()
    assert {"*", "BellRung", "DoorOpened", "model_version.created", "WebhookDeleted"} <= set(names)
    assert len(names) == len(set(names))
    assert "Event" not in names and not any(name.startswith("_") for name in names)


def test_a_key_that_is_lost_is_told_and_a_new_secret_mends_it(
    database: Database, receiver: Receiver, tmp_path: Path
) -> None:
    sender = Sender(private_targets=True, timeout_s=5)
    made = Webhooks(database, SecretBox(tmp_path / "a.key"), [Journal()], sender).create(
        "bells", receiver.url, ["*"], secret="lost"
    )
    other = Webhooks(database, SecretBox(tmp_path / "b.key"), [Journal()], sender)
    with pytest.raises(Exception, match=r"b\.key of the secrets is not there"):
        other.test(made.id)
    other.update(made.id, secret="found")
    assert other.test(made.id).delivered
