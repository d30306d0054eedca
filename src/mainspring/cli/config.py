"""``mainspring config``."""

from __future__ import annotations

import click

from mainspring.cli.output import show
from mainspring.core.settings import load_settings


@click.command()
@click.option("--home", default=None, metavar="DIR", help="As it would be given to another command.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on one line.")
def config(home: str | None, as_json: bool) -> None:
    """Print each setting, its value, and where the value came from.

    Defaults are overridden by mainspring.toml in this folder (or the file that MAINSPRING_CONFIG names), that by
    variables MAINSPRING_<NAME>, and those by flags.
    """
    click.get_current_context().ensure_object(dict)["as_json"] = as_json
    show(load_settings({"home": home}).listing, as_json=as_json)
