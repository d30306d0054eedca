"""``users/...`` and ``.../permissions/...``: the calls of MLflow's basic-auth app over our users."""

from __future__ import annotations

from typing import Any

import msgspec

from mainspring.access.model import ALLOWED, Kind, Permission, User
from mainspring.core.actor import current_actor
from mainspring.core.errors import AlreadyExists, InvalidRequest, NotFound
from mainspring.protocols.mlflow.calls import CallList, Empty, Services

_KINDS: dict[str, Kind] = {
    "experiment": "experiment",
    "registered_model": "registered_model",
    "prompt": "registered_model",
}

calls = CallList()
newer = CallList("/3.0/mlflow")


class UserEntity(msgspec.Struct):
    """A user on the wire; older clients read the lists, which are asked for by other calls now."""

    id: int
    username: str
    is_admin: bool
    experiment_permissions: list[Any] = []
    registered_model_permissions: list[Any] = []


class Create(msgspec.Struct):
    """A new user."""

    username: str = ""
    password: str = ""


class ByName(msgspec.Struct):
    """Which user is meant."""

    username: str


class NewPassword(msgspec.Struct):
    """Another password of a user, who says the present one when it is the user's own call."""

    username: str
    password: str
    current_password: str | None = None


class NewAdmin(msgspec.Struct):
    """Whether a user is an admin."""

    username: str
    is_admin: bool


class Granted(msgspec.Struct):
    """A permission on a thing of some kind."""

    username: str
    resource_type: str
    resource_id: str
    permission: str = ""


class OnExperiment(msgspec.Struct):
    """A permission on an experiment."""

    username: str
    experiment_id: str
    permission: str = ""


class OnModel(msgspec.Struct):
    """A permission on a registered model."""

    username: str
    name: str
    permission: str = ""


class UserAnswer(msgspec.Struct):
    """One user."""

    user: UserEntity


class UsersAnswer(msgspec.Struct):
    """All users."""

    users: list[UserEntity]


class Effective(msgspec.Struct):
    """The permission that counts, and whether it lets one use the thing."""

    allowed: bool
    permission: str


@calls.on("POST", "users/create")
def create(services: Services, ask: Create) -> UserAnswer:
    """Create a user."""
    return UserAnswer(_entity(services, services.access.create_user(ask.username, ask.password)))


@calls.on("GET", "users/get")
def get(services: Services, ask: ByName) -> UserAnswer:
    """Get a user."""
    return UserAnswer(_entity(services, services.access.get_user(ask.username)))


@calls.on("GET", "users/current")
def current(services: Services, ask: Empty) -> UserAnswer:
    """Get who asks."""
    return UserAnswer(_entity(services, services.access.get_user(current_actor().name)))


@calls.on("GET", "users/list")
def list_users(services: Services, ask: Empty) -> UsersAnswer:
    """List the users."""
    return UsersAnswer([_entity(services, user) for user in services.access.list_users()])


@calls.on("PATCH", "users/update-password")
def update_password(services: Services, ask: NewPassword) -> Empty:
    """Change a password: one's own with the present one, so that a page that was left open is not enough."""
    if ask.username == current_actor().name:
        if not ask.current_password:
            raise InvalidRequest("Current password is required when changing your own password.")
        if services.access.authenticate(ask.username, ask.current_password) is None:
            raise InvalidRequest("Current password does not match.")
        if ask.password == ask.current_password:
            raise InvalidRequest("New password must differ from the current password.")
    services.access.set_password(ask.username, ask.password)
    return Empty()


@calls.on("PATCH", "users/update-admin")
def update_admin(services: Services, ask: NewAdmin) -> Empty:
    """Make a user an admin, or one no more."""
    services.access.set_admin(ask.username, ask.is_admin)
    return Empty()


@calls.on("DELETE", "users/delete")
def delete(services: Services, ask: ByName) -> Empty:
    """Delete a user, but not oneself."""
    if ask.username == current_actor().name:
        raise InvalidRequest("Users cannot delete their own account. Ask another admin to delete this user instead.")
    services.access.delete_user(ask.username)
    return Empty()


# Permissions of any kind, as clients of today ask ---------------------------------------------------------------------


@newer.on("POST", "users/permissions/grant")
def grant(services: Services, ask: Granted) -> Empty:
    """Give a permission, in place of the one before."""
    services.access.grant(ask.username, _kind(ask.resource_type), ask.resource_id, _permission(ask.permission))
    return Empty()


@newer.on("POST", "users/permissions/revoke")
def revoke(services: Services, ask: Granted) -> Empty:
    """Take a permission away."""
    services.access.revoke(ask.username, _kind(ask.resource_type), ask.resource_id)
    return Empty()


@newer.on("GET", "users/permissions/get")
def effective(services: Services, ask: Granted) -> Effective:
    """Tell which permission counts."""
    user = services.access.get_user(ask.username)
    found = services.access.permission(user, _kind(ask.resource_type), ask.resource_id)
    return Effective("use" in ALLOWED[found], found)


# Permissions by kind, as clients before asked -------------------------------------------------------------------------


@calls.on("POST", "experiments/permissions/create")
def create_on_experiment(services: Services, ask: OnExperiment) -> dict[str, Any]:
    """Give a permission on an experiment, where there is none."""
    return _created(services, ask.username, "experiment", ask.experiment_id, ask.permission)


@calls.on("GET", "experiments/permissions/get")
def get_on_experiment(services: Services, ask: OnExperiment) -> dict[str, Any]:
    """Tell the permission that was given on an experiment."""
    return _found(services, ask.username, "experiment", ask.experiment_id)


@calls.on("PATCH", "experiments/permissions/update")
def update_on_experiment(services: Services, ask: OnExperiment) -> Empty:
    """Change the permission that was given on an experiment."""
    return _updated(services, ask.username, "experiment", ask.experiment_id, ask.permission)


@calls.on("DELETE", "experiments/permissions/delete")
def delete_on_experiment(services: Services, ask: OnExperiment) -> Empty:
    """Take the permission on an experiment away."""
    services.access.revoke(ask.username, "experiment", ask.experiment_id)
    return Empty()


@calls.on("POST", "registered-models/permissions/create")
def create_on_model(services: Services, ask: OnModel) -> dict[str, Any]:
    """Give a permission on a model, where there is none."""
    return _created(services, ask.username, "registered_model", ask.name, ask.permission)


@calls.on("GET", "registered-models/permissions/get")
def get_on_model(services: Services, ask: OnModel) -> dict[str, Any]:
    """Tell the permission that was given on a model."""
    return _found(services, ask.username, "registered_model", ask.name)


@calls.on("PATCH", "registered-models/permissions/update")
def update_on_model(services: Services, ask: OnModel) -> Empty:
    """Change the permission that was given on a model."""
    return _updated(services, ask.username, "registered_model", ask.name, ask.permission)


@calls.on("DELETE", "registered-models/permissions/delete")
def delete_on_model(services: Services, ask: OnModel) -> Empty:
    """Take the permission on a model away."""
    services.access.revoke(ask.username, "registered_model", ask.name)
    return Empty()


def _created(services: Services, username: str, kind: Kind, resource: str, permission: str) -> dict[str, Any]:
    if _given(services, username, kind, resource) is not None:
        raise AlreadyExists(f"{username} has a permission on {kind} {resource} already; update it")
    services.access.grant(username, kind, resource, _permission(permission))
    return _found(services, username, kind, resource)


def _found(services: Services, username: str, kind: Kind, resource: str) -> dict[str, Any]:
    found = _given(services, username, kind, resource)
    if found is None:
        raise NotFound(f"{username} was given no permission on {kind} {resource}")
    named = "experiment_id" if kind == "experiment" else "name"
    user = services.access.get_user(username)
    return {f"{kind}_permission": {named: resource, "user_id": user.id, "permission": found}}


def _updated(services: Services, username: str, kind: Kind, resource: str, permission: str) -> Empty:
    _found(services, username, kind, resource)
    services.access.grant(username, kind, resource, _permission(permission))
    return Empty()


def _given(services: Services, username: str, kind: Kind, resource: str) -> Permission | None:
    given = services.access.list_permissions(username)
    return next((one.permission for one in given if (one.kind, one.resource) == (kind, resource)), None)


def _entity(services: Services, user: User) -> UserEntity:
    given = services.access.list_permissions(user.name)
    return UserEntity(
        id=user.id,
        username=user.name,
        is_admin=user.admin,
        experiment_permissions=[
            {"experiment_id": one.resource, "user_id": user.id, "permission": one.permission}
            for one in given
            if one.kind == "experiment"
        ],
        registered_model_permissions=[
            {"name": one.resource, "user_id": user.id, "permission": one.permission}
            for one in given
            if one.kind == "registered_model"
        ],
    )


def _permission(word: str) -> Permission:
    for known in ALLOWED:
        if word == known:
            return known
    raise InvalidRequest(f"Invalid permission '{word}'. Valid permissions are: {', '.join(ALLOWED)}")


def _kind(word: str) -> Kind:
    if word not in _KINDS:
        raise InvalidRequest(f"Invalid resource_type '{word}': permissions are on {', '.join(_KINDS)}")
    return _KINDS[word]
