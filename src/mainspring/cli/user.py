"""``mainspring user``."""

from __future__ import annotations

from typing import TextIO

import click

from mainspring.cli.output import show
from mainspring.cli.target import Target, common_options
from mainspring.cli.verbs import ServiceGroup

user = ServiceGroup(
    "user",
    "mainspring.access.service:Access",
    "access",
    help="Users who may log in where `mainspring up --auth` asks for it, their tokens and their permissions.",
    verbs={
        "create_user": "create",
        "list_users": "list",
        "get_user": "get",
        "set_password": "password",
        "set_admin": "admin",
        "delete_user": "delete",
        "list_permissions": "permissions",
        "create_token": "token",
        "list_tokens": "tokens",
    },
)


@user.command("create", short_help="Create a user who may log in.")
@click.argument("name", metavar="NAME")
@click.option("--admin", is_flag=True, help="Somebody who may do everything.")
@click.option(
    "--password-file", type=click.File(), metavar="FILE", help="File with the password; - for standard input."
)
@common_options
def create(target: Target, as_json: bool, name: str, admin: bool, password_file: TextIO | None) -> None:
    """Create a user; the password is asked for, or read from a file."""
    password = _password(password_file)
    with target.session() as session:
        made = session.access.create_user(name, password, admin)
    show(made, as_json=as_json)


@user.command("password", short_help="Give a user another password.")
@click.argument("name", metavar="USER")
@click.option(
    "--password-file", type=click.File(), metavar="FILE", help="File with the password; - for standard input."
)
@common_options
def password(target: Target, as_json: bool, name: str, password_file: TextIO | None) -> None:
    """Give a user another password, which is asked for, or read from a file."""
    chosen = _password(password_file)
    with target.session() as session:
        session.access.set_password(name, chosen)
    show({"user": name, "changed": True}, as_json=as_json)


def _password(file: TextIO | None) -> str:
    # Never an option: lists of processes would show it.
    if file is not None:
        return file.read().rstrip("\n")
    asked: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return asked
