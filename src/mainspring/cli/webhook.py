"""``mainspring webhook``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TextIO

import click

from mainspring.cli.output import show
from mainspring.cli.target import Target, common_options
from mainspring.cli.verbs import ServiceGroup, names_given

webhook = ServiceGroup(
    "webhook",
    "mainspring.webhooks.service:Webhooks",
    "webhooks",
    help="Webhooks: POST requests to whoever wants to know what happens here.",
    verbs={"list_webhooks": "list", "event_names": "events"},
)


def _secret_file(function: Callable[..., Any]) -> Callable[..., Any]:
    # Not an option with the secret itself: lists of processes would show it.
    text = "File with the secret that requests are signed with; - for standard input."
    return click.option("--secret-file", type=click.File(), metavar="FILE", help=text)(function)


@webhook.command("create", short_help="Create a webhook: its URL is told of events from now on.")
@click.argument("name", metavar="NAME")
@click.argument("address", metavar="URL")
@click.argument("events", metavar="EVENTS")
@click.option("--description", default="", help="What it is for.")
@_secret_file
@common_options
def create(
    target: Target, as_json: bool, name: str, address: str, events: str, description: str, secret_file: TextIO | None
) -> None:
    """Create a webhook: URL is told of EVENTS (a,b,c) by POST requests from now on.

    `mainspring webhook events` lists what it can be told of; ``*`` is everything.
    """
    secret = None if secret_file is None else secret_file.read().strip()
    with target.session() as session:
        made = session.webhooks.create(name, address, names_given(events) or [], description, secret)
    show(made, as_json=as_json)


@webhook.command("update", short_help="Change what is given of a webhook.")
@click.argument("webhook_id", metavar="WEBHOOK")
@click.option("--name", help="Another name.")
@click.option("--address", metavar="URL", help="Another URL to post to.")
@click.option("--events", metavar="EVENTS", help="All that it is told of from now on: a,b,c.")
@click.option("--description", help="What it is for.")
@click.option("--status", type=click.Choice(["active", "disabled"]), help="One that is disabled is told nothing.")
@_secret_file
@common_options
def update(
    target: Target, as_json: bool, webhook_id: str, secret_file: TextIO | None, events: str | None, **given: Any
) -> None:
    """Change what is given of a webhook; an empty secret ends the signing.

    One that is disabled misses what happens meanwhile, and what waited for it is given up.
    """
    given["url"] = given.pop("address")
    secret = None if secret_file is None else secret_file.read().strip()
    with target.session() as session:
        changed = session.webhooks.update(webhook_id, events=names_given(events), secret=secret, **given)
    show(changed, as_json=as_json)
