"""The first logins of a platform that asks for one: the owner of the home, and an admin."""

from __future__ import annotations

import logging
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mainspring.client.credentials import OWNER_FILE
from mainspring.core.errors import AlreadyExists
from mainspring.storage.durable import flush_file, write_all

if TYPE_CHECKING:  # `mainspring up` only asks for names here, and speaks no SQL itself.
    from mainspring.access.service import Access

logger = logging.getLogger("mainspring.control")

ADMIN = "admin"
PASSWORD_FILE = "admin-password"
"""In a home: the password that was made up for the first admin; to be deleted when it is known elsewhere."""


def make_owner_token(home: Path) -> str:
    """Write the token of this start, which opens everything for whoever may read the home."""
    token = secrets.token_urlsafe(32)
    _write_secret(home / OWNER_FILE, token)
    return token


def forget_owner_token(home: Path) -> None:
    """Remove the token of this start."""
    with suppress(FileNotFoundError):
        (home / OWNER_FILE).unlink()


def make_first_admin(access: Access, home: Path, password: str) -> None:
    """Make an admin where there are no users yet; without a *password* one is made up and kept in the home."""
    if access.list_users():
        return
    made_up = password or secrets.token_urlsafe(12)
    if not password:
        # Before the user: after a crash in between, the file of the next start counts.
        _write_secret(home / PASSWORD_FILE, made_up)
    with suppress(AlreadyExists):
        access.create_user(ADMIN, made_up, admin=True)
    where = "the setting admin_password" if password else str(home / PASSWORD_FILE)
    logger.info("made the first admin %r; the password is in %s", ADMIN, where)


def _write_secret(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}.new")
    aside.unlink(missing_ok=True)
    file = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        write_all(file, f"{text}\n".encode())
        flush_file(file)
    finally:
        os.close(file)
    aside.replace(path)
