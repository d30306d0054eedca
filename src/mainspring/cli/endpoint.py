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
    """What an endpoint serves now; ``url`` takes predictions, None when no data plane runs here.

    ``features`` is the view that fills what requests leave out, read by their column ``feature_key``.
    """

    endpoint: str
    release: str | None
    model: str | None
    canary: str | None
    canary_model: str | None
    canary_share: float
    features: str | None
    feature_key: str | None
    url: str | None


@click.command()
@click.argument("endpoint")
@click.argument("ref")
@click.option("--canary", type=float, default=None, metavar="SHARE", help="Give it only this share of the units.")
@click.option("--features", default=None, metavar="VIEW", help="Pin feature_view:NAME@N to fill what requests lack.")
@click.option("--feature-key", default="", metavar="COLUMN", help="Column of requests with the key of the view.")
@common_options
def deploy(
    target: Target, as_json: bool, endpoint: str, ref: str, canary: float | None, features: str | None, feature_key: str
) -> None:
    """Put model version REF behind ENDPOINT, which is made when it is not there.

    REF is like model:churn@7, model:churn@champion or churn (its latest version). Requests may leave out the columns
    that a view given with --features has; they are then read by the key, which is a column of the view's own name
    unless --feature-key says another.
    """
    from mainspring.serving.model import FeatureBinding

    if feature_key and features is None:
        raise click.UsageError("--feature-key belongs to --features, which names the view")
    binding = None if features is None else FeatureBinding(view=features, key=feature_key)
    with target.session() as session:
        release = session.releases.deploy(endpoint, ref, canary=canary, features=binding)
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
    status = session.releases.status(endpoint)
    found, read = status.endpoint, None if status.stable is None else status.stable.pinned.features
    serving = Serving(
        endpoint=found.name,
        release=found.stable,
        model=found.model,
        canary=found.canary,
        canary_model=found.canary_model,
        canary_share=found.canary_share,
        features=None if read is None else read.view,
        feature_key=None if read is None else read.key,
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
    if serving.features:
        click.echo(f"  features: {serving.features} by the column {serving.feature_key}")
    if serving.url:
        click.echo(f"  served: POST {serving.url}")
    else:
        click.echo("  recorded; no data plane runs on this home: `mainspring up` serves it")
