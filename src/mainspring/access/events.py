"""What happens to users and their rights; secrets are no part of it."""

from __future__ import annotations

from mainspring.access.model import Kind, Permission
from mainspring.core.events import Event


class _OfUser(Event, frozen=True):
    user: str

    def makes(self) -> list[str]:
        """Give the user."""
        return [self.user]


class UserCreated(_OfUser, frozen=True):
    """A user was created."""

    admin: bool


class UserDeleted(_OfUser, frozen=True):
    """A user was deleted, with the tokens and permissions."""


class UserChanged(_OfUser, frozen=True):
    """A user's password was changed, or whether the user is an admin."""

    admin: bool
    password: bool


class PermissionChanged(_OfUser, frozen=True):
    """A user has another permission on a thing; None: the default one."""

    kind_of_resource: Kind
    resource: str
    permission: Permission | None


class TokenCreated(_OfUser, frozen=True):
    """A token was made for a user."""

    token: str
    name: str


class TokenRevoked(_OfUser, frozen=True):
    """A token opens nothing any more."""

    token: str
