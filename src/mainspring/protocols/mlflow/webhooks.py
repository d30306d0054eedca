"""``webhooks/...``: MLflow's webhooks over ours, as far as they are told of what MLflow has a name for."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.protocols.mlflow.calls import CallList, Empty, Services
from mainspring.protocols.mlflow.entities import milliseconds
from mainspring.protocols.mlflow.registry_entities import next_token, read_token
from mainspring.protocols.mlflow.webhook_events import MlflowVocabulary
from mainspring.webhooks.model import Status, Webhook

DEFAULT_PAGE, MAX_PAGE = 100, 1_000
_STATUSES: dict[str, Status] = {"ACTIVE": "active", "DISABLED": "disabled"}
_KNOWN = frozenset(MlflowVocabulary().names())

calls = CallList()


class EventEntity(msgspec.Struct):
    """What happens, to what: ``CREATED`` and ``MODEL_VERSION``."""

    entity: str
    action: str


class WebhookEntity(msgspec.Struct, omit_defaults=True):
    """A webhook on the wire; its secret is not."""

    webhook_id: str
    name: str
    url: str
    events: list[EventEntity]
    status: str
    creation_timestamp: int
    last_updated_timestamp: int
    description: str = ""


class Create(msgspec.Struct):
    """A new webhook."""

    name: str
    url: str
    events: list[EventEntity] = []
    description: str | None = None
    secret: str | None = None
    status: str | None = None


class Update(msgspec.Struct):
    """What is to be changed of a webhook."""

    webhook_id: str
    name: str | None = None
    description: str | None = None
    url: str | None = None
    events: list[EventEntity] = []
    secret: str | None = None
    status: str | None = None


class ById(msgspec.Struct):
    """Which webhook is meant."""

    webhook_id: str


class Page(msgspec.Struct):
    """Which page of all webhooks is asked for."""

    max_results: int | None = None
    page_token: str = ""


class Trial(msgspec.Struct):
    """Which webhook is to be tried out, and with which event."""

    webhook_id: str
    event: EventEntity | None = None


class WebhookAnswer(msgspec.Struct):
    """One webhook."""

    webhook: WebhookEntity


class WebhooksAnswer(msgspec.Struct, omit_defaults=True):
    """A page of webhooks."""

    webhooks: list[WebhookEntity] = []
    next_page_token: str = ""


class TrialResult(msgspec.Struct, omit_defaults=True):
    """What came of a trial; without a status when nothing was answered."""

    success: bool
    response_status: int = 0
    response_body: str = ""
    error_message: str = ""


class TrialAnswer(msgspec.Struct):
    """The result of a trial."""

    result: TrialResult


@calls.on("POST", "webhooks")
def create(services: Services, ask: Create) -> WebhookAnswer:
    """Create a webhook."""
    made = services.webhooks.create(
        ask.name, ask.url, _names(ask.events), ask.description or "", ask.secret, _status(ask.status) or "active"
    )
    return WebhookAnswer(_entity(made))


@calls.on("GET", "webhooks")
def list_page(services: Services, ask: Page) -> WebhooksAnswer:
    """List the webhooks, newest first."""
    limit, offset = ask.max_results or DEFAULT_PAGE, read_token(ask.page_token)
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidRequest(f"max_results must be between 1 and {MAX_PAGE}.")
    found = [webhook for webhook in services.webhooks.list_webhooks() if _is_told(webhook)][offset:]
    return WebhooksAnswer([_entity(webhook) for webhook in found[:limit]], next_token(offset, limit, len(found)))


@calls.on("GET", "webhooks/{webhook_id}")
def get(services: Services, ask: ById) -> WebhookAnswer:
    """Get a webhook."""
    return WebhookAnswer(_entity(_known(services, ask.webhook_id)))


@calls.on("PATCH", "webhooks/{webhook_id}")
def update(services: Services, ask: Update) -> WebhookAnswer:
    """Change a webhook; it goes on being told of what MLflow has no name for."""
    known = _known(services, ask.webhook_id)
    others = [name for name in known.events if name not in _KNOWN]
    changed = services.webhooks.update(
        ask.webhook_id,
        name=ask.name,
        url=ask.url,
        events=[*_names(ask.events), *others] if ask.events else None,
        description=ask.description,
        secret=ask.secret,
        status=_status(ask.status),
    )
    return WebhookAnswer(_entity(changed))


@calls.on("DELETE", "webhooks/{webhook_id}")
def delete(services: Services, ask: ById) -> Empty:
    """Delete a webhook."""
    services.webhooks.delete(_known(services, ask.webhook_id).id)
    return Empty()


@calls.on("POST", "webhooks/{webhook_id}/test")
def test(services: Services, ask: Trial) -> TrialAnswer:
    """Post an example to a webhook, and tell what was answered."""
    names = _names([ask.event]) if ask.event is not None else _entity_names(_known(services, ask.webhook_id))
    found = services.webhooks.test(ask.webhook_id, names[0])
    return TrialAnswer(
        TrialResult(
            success=found.delivered,
            response_status=found.response or 0,
            response_body=found.body,
            error_message=found.error or "",
        )
    )


def _known(services: Services, id: str) -> Webhook:
    found = services.webhooks.get(id)
    if not _is_told(found):
        # Its clients cannot read a webhook without events of theirs.
        raise NotFound(f"Webhook with ID {id} not found.", webhook=id)
    return found


def _is_told(webhook: Webhook) -> bool:
    return not _KNOWN.isdisjoint(webhook.events)


def _entity(webhook: Webhook) -> WebhookEntity:
    return WebhookEntity(
        webhook_id=webhook.id,
        name=webhook.name,
        url=webhook.url,
        events=[EventEntity(*name.upper().split(".")) for name in _entity_names(webhook)],
        status=webhook.status.upper(),
        creation_timestamp=milliseconds(webhook.created),
        last_updated_timestamp=milliseconds(webhook.updated),
        description=webhook.description,
    )


def _entity_names(webhook: Webhook) -> list[str]:
    return [name for name in webhook.events if name in _KNOWN]


def _names(events: Sequence[EventEntity]) -> list[str]:
    names = [f"{event.entity}.{event.action}".lower() for event in events]
    for name in names:
        if name not in _KNOWN:
            raise InvalidRequest(f"Webhook events: {name!r} is not told of here; known: {', '.join(sorted(_KNOWN))}")
    return names


def _status(word: str | None) -> Status | None:
    if not word:
        return None
    if word not in _STATUSES:
        raise InvalidRequest(f"Invalid webhook status {word!r}: expected ACTIVE or DISABLED")
    return _STATUSES[word]
