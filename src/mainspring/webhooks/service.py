"""The verbs of webhooks: create, list, change, delete, try out, look at what was delivered."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Collection, Sequence

import msgspec

from mainspring.core.clock import Clock, SystemClock
from mainspring.core.errors import InvalidRequest, MainspringError, OverLimit
from mainspring.core.events import Recorded
from mainspring.core.ids import new_id
from mainspring.core.operations import operation
from mainspring.core.refs import ref
from mainspring.storage.secrets import SecretBox
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import emit
from mainspring.webhooks import store
from mainspring.webhooks.events import WebhookChanged, WebhookCreated, WebhookDeleted
from mainspring.webhooks.model import Attempt, Delivery, DeliveryState, Status, Webhook
from mainspring.webhooks.sending import Sender
from mainspring.webhooks.store import Subscriber
from mainspring.webhooks.targets import read_target
from mainspring.webhooks.vocabulary import Vocabulary

MAX_WEBHOOKS = 1_000
MAX_PAGE = 1_000
_MAX_SECRET_CHARS = 1_000
_MAX_DESCRIPTION_CHARS = 5_000
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_TRIALS = 4
_HIDDEN = ("position", "since")


class Webhooks:
    """Who is told of what happens. *vocabularies* have the names for it, *box* seals the secrets, *sender* posts."""

    def __init__(
        self,
        database: Database,
        box: SecretBox,
        vocabularies: Sequence[Vocabulary],
        sender: Sender,
        clock: Clock | None = None,
    ) -> None:
        self.database, self.sender = database, sender
        self._box, self._vocabularies, self._clock = box, vocabularies, clock or SystemClock()
        self._trials = threading.BoundedSemaphore(_TRIALS)
        self._by_name: dict[str, Vocabulary] = {}

    @operation("POST /webhooks")
    def create(
        self,
        name: str,
        url: str,
        events: list[str],
        description: str = "",
        secret: str | None = None,
        status: Status = "active",
    ) -> Webhook:
        """Create a webhook: from now on *url* is told of these *events* by POST requests with JSON.

        *events* are kinds of the journal such as ``ReleaseDeployed``, ``*`` for every one, or MLflow's names such as
        ``model_version.created``; `event_names` lists them. With a *secret* each request is signed with it by
        HMAC-SHA256. Raises InvalidRequest for what cannot be posted to, Forbidden for an address that is not public.
        """
        now = self._clock.now()
        webhook = Webhook(
            id=new_id(),
            name=_named(name),
            url=self._checked_url(url),
            events=self._checked_events(events),
            description=_described(description),
            status=status,
            created=now,
            updated=now,
        )
        sealed = self._sealed(secret, webhook.id)
        with self.database.begin() as connection:
            if store.count(connection) >= MAX_WEBHOOKS:
                raise OverLimit(f"there are {MAX_WEBHOOKS} webhooks, which is as many as can be; delete one first")
            newest = store.newest_event(connection)
            store.insert(connection, webhook, sealed, newest, dict.fromkeys(webhook.events, newest))
            told = WebhookCreated(
                webhook=_ref(webhook.id), name=name, host=read_target(url).host, events=webhook.events
            )
            emit(connection, told)
            return store.require(connection, webhook.id).webhook

    @operation("GET /webhooks")
    def list_webhooks(self) -> list[Webhook]:
        """List the webhooks, newest first."""
        with self.database.read() as connection:
            return store.every(connection)

    @operation("GET /webhooks/{webhook}")
    def get(self, webhook: str) -> Webhook:
        """Get a webhook by its id; raises NotFound."""
        with self.database.read() as connection:
            return store.require(connection, webhook).webhook

    @operation("PATCH /webhooks/{webhook}")
    def update(
        self,
        webhook: str,
        name: str | None = None,
        url: str | None = None,
        events: list[str] | None = None,
        description: str | None = None,
        secret: str | None = None,
        status: Status | None = None,
    ) -> Webhook:
        """Change what is given; an empty *secret* ends the signing. One that is disabled misses what happens meanwhile.

        Raises NotFound, and what `create` raises.
        """
        values: dict[str, object] = {}
        if name is not None:
            values["name"] = _named(name)
        if url is not None:
            values["url"] = self._checked_url(url)
        if events is not None:
            values["events"] = self._checked_events(events)
        if description is not None:
            values["description"] = _described(description)
        if secret is not None:
            values["sealed"] = self._sealed(secret, webhook)
        if status is not None:
            values["status"] = status
        now = self._clock.now()
        with self.database.begin() as connection:
            known = store.require(connection, webhook)
            before, newest = known.webhook, store.newest_event(connection)
            if events is not None:
                # What was not asked for until now is told from now on.
                values["since"] = {name: known.since.get(name, newest) for name in events}
            if status == "active" and before.status == "disabled":
                values["position"] = newest
            if status == "disabled":
                store.give_up_pending(connection, webhook, now, "the webhook was disabled")
            store.change(connection, webhook, {**values, "updated": now})
            found = store.require(connection, webhook).webhook
            told = WebhookChanged(
                webhook=_ref(webhook),
                name=found.name,
                host=read_target(found.url).host,
                events=found.events,
                status=found.status,
                changed=sorted({"sealed": "secret"}.get(key, key) for key in values if key not in _HIDDEN),
            )
            emit(connection, told)
        return found

    @operation("DELETE /webhooks/{webhook}")
    def delete(self, webhook: str) -> None:
        """Delete a webhook with what is on its way to it; raises NotFound."""
        with self.database.begin() as connection:
            found = store.require(connection, webhook).webhook
            store.remove(connection, webhook)
            emit(connection, WebhookDeleted(webhook=_ref(webhook), name=found.name))

    @operation("POST /webhooks/{webhook}/test")
    def test(self, webhook: str, event: str | None = None) -> Attempt:
        """Post a made-up *event* (default: the first of the webhook's) once, and tell what was answered.

        Raises NotFound, InvalidRequest for an unknown event, OverLimit while too many are tried at once.
        """
        with self.database.read() as connection:
            found = store.require(connection, webhook)
        name = event or found.webhook.events[0]
        self._checked_events([name])
        if not self._trials.acquire(blocking=False):
            raise OverLimit(f"{_TRIALS} webhooks are tried out just now; try again in a few seconds")
        try:
            return self.send(found, new_id(), name, self.vocabulary(name).example(name))
        finally:
            self._trials.release()

    @operation("GET /webhooks/{webhook}/deliveries")
    def deliveries(self, webhook: str, state: DeliveryState | None = None, limit: int = 100) -> list[Delivery]:
        """List what was sent to a webhook or waits for it, newest first; raises NotFound."""
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidRequest(f"limit={limit}: expected 1 to {MAX_PAGE}")
        with self.database.read() as connection:
            store.require(connection, webhook)
            return store.listed(connection, webhook, state=state, limit=limit)

    @operation("POST /webhooks/{webhook}/deliveries/{delivery}/redeliver")
    def redeliver(self, webhook: str, delivery: str) -> Delivery:
        """Send a delivery again, under the id that it has; raises NotFound, InvalidRequest for a disabled webhook."""
        with self.database.begin() as connection:
            if store.require(connection, webhook).webhook.status == "disabled":
                raise InvalidRequest(f"webhook {webhook} is disabled: enable it first", webhook=webhook)
            store.require_delivery(connection, webhook, delivery)
            store.try_again(connection, delivery, self._clock.now())
            return store.require_delivery(connection, webhook, delivery)

    @operation("GET /webhook-events")
    def event_names(self) -> list[str]:
        """List the names of events that webhooks can be told of."""
        return [name for vocabulary in self._vocabularies for name in vocabulary.names()]

    # For whoever delivers

    def vocabulary(self, name: str) -> Vocabulary:
        """Give the vocabulary that has a name; raises InvalidRequest when none has."""
        if name not in self._by_name:
            self._by_name = {known: vocabulary for vocabulary in self._vocabularies for known in vocabulary.names()}
        if name not in self._by_name:
            raise InvalidRequest(f"there is no event {name!r} that a webhook can be told of", event=name)
        return self._by_name[name]

    def kinds(self, name: str) -> Collection[str] | None:
        """List the kinds of the journal that may mean *name*; None: any."""
        try:
            return self.vocabulary(name).kinds(name)
        except InvalidRequest:
            # Written by a version that knew more events, or others.
            return []

    def body(self, event: Recorded, name: str) -> object | None:
        """Give what tells of *event* as *name*; None when it does not mean that."""
        kinds = self.kinds(name)
        return self.vocabulary(name).tell(event, name) if kinds is None or event.kind in kinds else None

    def send(self, subscriber: Subscriber, delivery: str, name: str, body: object) -> Attempt:
        """Post *body* as one delivery, signed where there is a secret; raises Corrupt or Unavailable for its key."""
        webhook = subscriber.webhook
        secret = None if subscriber.sealed is None else self._box.open(subscriber.sealed, _ref(webhook.id))
        content = msgspec.json.encode(body)
        headers = self.vocabulary(name).headers(delivery, int(time.time()), content, secret)
        return self.sender.post(webhook.url, content, headers)

    # Checks

    def _checked_url(self, url: str) -> str:
        self.sender.check(url)
        return url

    def _checked_events(self, events: Sequence[str]) -> list[str]:
        if not events:
            raise InvalidRequest("Webhook events cannot be empty; `mainspring webhook events` lists what there is")
        for name in events:
            try:
                self.vocabulary(name)
            except MainspringError:
                from difflib import get_close_matches

                close = get_close_matches(name, self.event_names(), 1)
                hint = f"did you mean {close[0]!r}?" if close else "see `mainspring webhook events`"
                raise InvalidRequest(f"{name!r} is no event that a webhook can be told of; {hint}") from None
        return [*dict.fromkeys(events)]

    def _sealed(self, secret: str | None, webhook: str) -> str | None:
        if not secret:
            return None
        if len(secret) > _MAX_SECRET_CHARS or "\0" in secret:
            raise InvalidRequest(f"a secret has at most {_MAX_SECRET_CHARS} characters, and no NUL among them")
        return self._box.seal(secret, _ref(webhook))


def _ref(webhook: str) -> str:
    return ref("webhook", webhook)


def _named(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"Webhook name {name!r} is invalid. Use 1 to 63 letters, digits, '.', '_' or '-', beginning and ending "
            "with a letter or digit."
        )
    return name


def _described(text: str) -> str:
    if len(text) > _MAX_DESCRIPTION_CHARS or "\0" in text:
        raise InvalidRequest(
            f"the description of a webhook has at most {_MAX_DESCRIPTION_CHARS} characters, and no NUL among them"
        )
    return text
