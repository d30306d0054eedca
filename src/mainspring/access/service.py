"""The verbs of access: users, passwords, tokens, permissions; and who somebody is, and may do."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import threading
from collections import OrderedDict
from datetime import timedelta
from functools import cache

from mainspring.access import store
from mainspring.access.events import (
    PermissionChanged,
    TokenCreated,
    TokenRevoked,
    UserChanged,
    UserCreated,
    UserDeleted,
)
from mainspring.access.model import ALLOWED, Grant, Kind, Need, NewToken, Permission, Token, User, Wanted
from mainspring.access.passwords import hashed, matches
from mainspring.core.clock import Clock, SystemClock
from mainspring.core.errors import AlreadyExists, Conflict, Forbidden, InvalidRequest, NotFound
from mainspring.core.ids import new_id
from mainspring.core.operations import operation
from mainspring.core.refs import ref
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import emit

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}")
MAX_PASSWORD_CHARS = 1_000
TOKEN_PREFIX = "msp_"
_REMEMBERED, _REMEMBERED_S = 1_000, 30.0


class Access:
    """Users and rights, kept in *database*. *default* is the permission where none was given."""

    def __init__(self, database: Database, default: Permission = "READ", clock: Clock | None = None) -> None:
        self.database, self.default, self._clock = database, default, clock or SystemClock()
        self._lock, self._salt = threading.Lock(), os.urandom(32)
        self._remembered: OrderedDict[bytes, float] = OrderedDict()

    # Users

    @operation("POST /users")
    def create_user(self, name: str, password: str, admin: bool = False) -> User:
        """Create a user who may log in. Raises AlreadyExists, InvalidRequest for a name or password that cannot be."""
        if not _NAME.fullmatch(name):
            raise InvalidRequest(
                f"{name!r} cannot be the name of a user: use 1 to 128 letters, digits, '.', '_', '@', '+' or '-', "
                "beginning with a letter or digit"
            )
        kept, now = hashed(_checked(password)), self._clock.now()
        with self.database.begin() as connection:
            if not store.insert_user(connection, name, kept, admin, now):
                raise AlreadyExists(f"User (username={name}) already exists.", user=name)
            emit(connection, UserCreated(user=_ref(name), admin=admin))
            return store.require_user(connection, name)

    @operation("GET /users")
    def list_users(self) -> list[User]:
        """List the users by name."""
        with self.database.read() as connection:
            return store.every_user(connection)

    @operation("GET /users/{user}")
    def get_user(self, user: str) -> User:
        """Get a user; raises NotFound."""
        with self.database.read() as connection:
            return store.require_user(connection, user)

    @operation("POST /users/{user}/password")
    def set_password(self, user: str, password: str) -> None:
        """Give a user another password; raises NotFound, InvalidRequest."""
        kept = hashed(_checked(password))
        with self.database.begin() as connection:
            found = store.require_user(connection, user)
            store.change_user(connection, found, {"password": kept, "updated": self._clock.now()})
            emit(connection, UserChanged(user=_ref(user), admin=found.admin, password=True))
        self._forget()

    @operation("POST /users/{user}/admin")
    def set_admin(self, user: str, admin: bool) -> User:
        """Make a user an admin, or one no more; raises NotFound, Conflict for the last admin."""
        with self.database.begin() as connection:
            found = store.require_user(connection, user)
            store.change_user(connection, found, {"admin": admin, "updated": self._clock.now()})
            if found.admin and store.count_admins(connection) == 0:
                raise Conflict(f"{user} is the last admin: make somebody else one first", user=user)
            emit(connection, UserChanged(user=_ref(user), admin=admin, password=False))
            return store.require_user(connection, user)

    @operation("DELETE /users/{user}")
    def delete_user(self, user: str) -> None:
        """Delete a user with tokens and permissions; raises NotFound, Conflict for the last admin."""
        with self.database.begin() as connection:
            found = store.require_user(connection, user)
            store.remove_user(connection, found)
            if found.admin and store.count_admins(connection) == 0:
                raise Conflict(f"{user} is the last admin: make somebody else one first", user=user)
            emit(connection, UserDeleted(user=_ref(user)))
        self._forget()

    # Permissions

    @operation("GET /users/{user}/permissions")
    def list_permissions(self, user: str) -> list[Grant]:
        """List the permissions that a user was given; on everything else the default counts. Raises NotFound."""
        with self.database.read() as connection:
            return store.grants_of(connection, store.require_user(connection, user))

    @operation("PUT /users/{user}/permissions/{kind}/{resource:path}")
    def grant(self, user: str, kind: Kind, resource: str, permission: Permission) -> Grant:
        """Give a user a permission on an experiment (by its id) or on a model or prompt (by its name).

        It takes the place of the one before and of the default one, also when it is less: ``NO_PERMISSIONS`` hides a
        thing. Raises NotFound for an unknown user.
        """
        with self.database.begin() as connection:
            found = store.require_user(connection, user)
            store.set_grant(connection, found, kind, resource, permission)
            told = PermissionChanged(user=_ref(user), kind_of_resource=kind, resource=resource, permission=permission)
            emit(connection, told)
        return Grant(kind, resource, permission)

    @operation("DELETE /users/{user}/permissions/{kind}/{resource:path}")
    def revoke(self, user: str, kind: Kind, resource: str) -> None:
        """Take a permission away, so that the default one counts; raises NotFound when there is none."""
        with self.database.begin() as connection:
            found = store.require_user(connection, user)
            if not store.remove_grant(connection, found, kind, resource):
                raise NotFound(f"user {user} was given no permission on {kind} {resource}", user=user)
            told = PermissionChanged(user=_ref(user), kind_of_resource=kind, resource=resource, permission=None)
            emit(connection, told)

    # Tokens

    @operation("POST /users/{user}/tokens")
    def create_token(self, user: str, name: str, days: int | None = None) -> NewToken:
        """Make a token by which programs log in as *user*, for so many *days*; its text is shown this once.

        It is sent as ``Authorization: Bearer TOKEN``. Raises NotFound, InvalidRequest.
        """
        if not 1 <= len(name) <= 100 or "\0" in name or (days is not None and not 1 <= days <= 36_500):
            raise InvalidRequest("a token has a name of 1 to 100 characters, and is for 1 to 36500 days or for ever")
        now, secret = self._clock.now(), TOKEN_PREFIX + secrets.token_urlsafe(32)
        expires = None if days is None else now + timedelta(days=days)
        made = NewToken(id=new_id(), user=user, name=name, created=now, expires=expires, secret=secret)
        with self.database.begin() as connection:
            found = store.require_user(connection, user)
            store.insert_token(connection, made, found, _digest(secret))
            emit(connection, TokenCreated(user=_ref(user), token=made.id, name=name))
        return made

    @operation("GET /users/{user}/tokens")
    def list_tokens(self, user: str) -> list[Token]:
        """List the tokens of a user, newest first, without their texts; raises NotFound."""
        with self.database.read() as connection:
            return store.tokens_of(connection, store.require_user(connection, user))

    @operation("DELETE /users/{user}/tokens/{token}")
    def revoke_token(self, user: str, token: str) -> None:
        """Let a token open nothing any more; raises NotFound."""
        with self.database.begin() as connection:
            if not store.remove_token(connection, store.require_user(connection, user), token):
                raise NotFound(f"user {user} has no token {token}", user=user, token=token)
            emit(connection, TokenRevoked(user=_ref(user), token=token))

    # Who somebody is

    def authenticate(self, name: str, password: str) -> User | None:
        """Find the user who has this name and password; None when there is none."""
        with self.database.read() as connection:
            found = store.find_user(connection, name)
        # What is kept of a password changes with it, so what is remembered of the one before is found no more.
        kept = _nobody() if found is None else found[1]
        mark = hmac.digest(self._salt, f"{len(name)}:{name}{kept}{password}".encode(), hashlib.sha256)
        if not self._is_remembered(mark):
            if len(password) > MAX_PASSWORD_CHARS or not matches(password, kept) or found is None:
                return None
            self._remember(mark)
        return None if found is None else found[0]

    def user_of_token(self, secret: str) -> User | None:
        """Find the user whose token this is; None when it opens nothing."""
        with self.database.read() as connection:
            return store.user_of_token(connection, _digest(secret), self._clock.now())

    # What somebody may do

    def permission(self, user: User, kind: Kind, resource: str) -> Permission:
        """Give the permission of a user on a thing."""
        if user.admin:
            return "MANAGE"
        with self.database.read() as connection:
            return store.find_grant(connection, user, kind, resource) or self.default

    def check(self, user: User, wanted: Wanted) -> None:
        """Raise Forbidden when a user may not do what is wanted."""
        if user.admin or (wanted.or_self is not None and wanted.or_self == user.name):
            return
        if wanted.admin:
            raise Forbidden(f"Permission denied: {user.name} is no admin")
        for need in wanted.needs:
            self._check_need(user, need)
        if wanted.general is None:
            return
        if wanted.general not in ALLOWED[self.default]:
            raise Forbidden(
                f"Permission denied: this needs the right to {wanted.general} in general, the default permission is "
                f"{self.default}"
            )
        hidden = [grant for grant in self.list_permissions(user.name) if "read" not in ALLOWED[grant.permission]]
        if hidden:
            # What this call would tell of cannot be told apart here.
            raise Forbidden("Permission denied: some things are hidden from you, and this may tell of them")

    def visible(self, user: User, kind: Kind) -> Visible:
        """Give what tells which things of a kind a user may read."""
        granted = {grant.resource: grant.permission for grant in self.list_permissions(user.name) if grant.kind == kind}
        return Visible(user.admin, self.default, granted)

    # What happens to things

    def own(self, user: User, kind: Kind, resource: str) -> None:
        """Let who created a thing manage it."""
        if not user.admin:
            self.grant(user.name, kind, resource, "MANAGE")

    def forget(self, kind: Kind, resource: str) -> None:
        """Take away the permissions on a thing that is gone, before another comes by its name."""
        with self.database.begin() as connection:
            store.forget_resource(connection, kind, resource)

    def rename(self, kind: Kind, resource: str, to: str) -> None:
        """Let the permissions follow a thing to its other name."""
        with self.database.begin() as connection:
            store.forget_resource(connection, kind, to)
            store.rename_resource(connection, kind, resource, to)

    # Steps

    def _check_need(self, user: User, need: Need) -> None:
        permission = self.permission(user, need.kind, need.resource)
        if need.capability not in ALLOWED[permission]:
            raise Forbidden(
                f"Permission denied: {user.name} may not {need.capability} {need.kind} {need.resource}; the permission "
                f"is {permission}"
            )

    def _is_remembered(self, mark: bytes) -> bool:
        with self._lock:
            until = self._remembered.get(mark)
        return until is not None and until > self._clock.monotonic()

    def _remember(self, mark: bytes) -> None:
        with self._lock:
            self._remembered[mark] = self._clock.monotonic() + _REMEMBERED_S
            while len(self._remembered) > _REMEMBERED:
                self._remembered.popitem(last=False)

    def _forget(self) -> None:
        with self._lock:
            self._remembered.clear()


class Visible:
    """Tells which things of a kind may be read."""

    def __init__(self, everything: bool, default: Permission, granted: dict[str, Permission]) -> None:
        self._everything, self._default, self._granted = everything, default, granted

    def __contains__(self, resource: str) -> bool:
        return self._everything or "read" in ALLOWED[self._granted.get(resource, self._default)]


@cache
def _nobody() -> str:
    # Whether there is such a user is not told by how long the answer takes.
    return hashed(secrets.token_hex())


def _checked(password: str) -> str:
    if not password or len(password) > MAX_PASSWORD_CHARS:
        raise InvalidRequest(f"Username and password cannot be empty, nor be over {MAX_PASSWORD_CHARS} characters")
    return password


def _digest(secret: str) -> str:
    # A token is chance itself: there is nothing to guess that a slow hash would make dear.
    return hashlib.sha256(secret.encode()).hexdigest()


def _ref(user: str) -> str:
    return ref("user", user)
