"""``mainspring deploy`` and ``mainspring rollback``: done when the data plane serves it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from mainspring.cli.output import show
from mainspring.cli.target import Target, common_options

if TYPE_CHECKING:
    from mainspring.client.session import Session


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """What an endpoint serves now; ``url`` takes predictions, None when no data plane runs here."""

    endpoint: str
    release: str | None
    model: str | None
    canary: str | None
    canary_model: str | None
    canary_share: float
    url: str | None


@click.command()
@click.argument("endpoint")
@click.argument("ref")
@click.option("--canary", type=float, default=None, metavar="SHARE", help="Give it only this share of the units.")
@common_options
def deploy(target: Target, as_json: bool, endpoint: str, ref: str, canary: float | None) -> None:
    """Put model version REF behind ENDPOINT, which is made when it is not there.

    REF is like model:churn@7, model:churn@champion or churn (its latest version).
    """
    with target.session() as session:
        release = session.releases.deploy(endpoint, ref, canary=canary)
        _tell(target, session, endpoint, release.ref, as_json)


@click.command()
@click.argument("endpoint")
@click.option("--to", type=int, default=None, metavar="N", help="The number of the release to restore.")
@click.option("--reason", default="", help="Why; kept in the history.")
@common_options
def rollback(target: Target, as_json: bool, endpoint: str, to: int | None, reason: str) -> None:
    """Undo what changed last at ENDPOINT: drop its canary, or restore the release before with all that it pinned."""
    with target.session() as session:
        after = session.releases.rollback(endpoint, to=to, reason=reason)
        _tell(target, session, endpoint, after.stable, as_json)


def _tell(target: Target, session: Session, endpoint: str, changed: str | None, as_json: bool) -> None:
    from mainspring.cli.served import wait_until_served

    data = wait_until_served(target.settings, endpoint, changed)
    found = session.releases.get(endpoint)
    serving = Serving(
        endpoint=found.name,
        release=found.stable,
        model=found.model,
        canary=found.canary,
        canary_model=found.canary_model,
        canary_share=found.canary_share,
        url=None if data is None else f"{data}/v2/models/{endpoint}/infer",
    )
    if as_json:
        show(serving, as_json=True)
        return
    click.echo(f"endpoint {endpoint}: {serving.release} with {serving.model}")
    if serving.canary:
        click.echo(
            f"  canary: {serving.canary} with {serving.canary_model}, for {serving.canary_share:.1%} of the units"
        )
    if serving.url:
        click.echo(f"  served: POST {serving.url}")
    else:
        click.echo("  recorded; no data plane runs on this home: `mainspring up` serves it")
