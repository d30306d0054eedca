"""Users, tokens and permissions: kept, told at a distance, and what they allow."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from sqlalchemy import text

from mainspring.access.model import ALLOWED, Capability, Grant, Kind, Need, Wanted
from mainspring.access.service import Access
from mainspring.core.clock import ManualClock
from mainspring.core.errors import AlreadyExists, Conflict, Forbidden, InvalidRequest, NotFound
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import latest_events


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def service(database: Database, clock: ManualClock) -> Access:
    return Access(database, clock=clock)


@pytest.fixture
def access(service: Access, reached: Callable[[Access], Access]) -> Access:
    return reached(service)


def test_a_user_is_kept_and_logs_in(access: Access, service: Access) -> None:
    made = access.create_user("ann", "open sesame")
    assert access.get_user("ann") == made
    assert access.list_users() == [made]
    assert (made.name, made.admin) == ("ann", False)
    assert service.authenticate("ann", "open sesame") == made
    for name, password in (("ann", "open sesam"), ("ann", ""), ("bob", "open sesame"), ("", ""), ("ann", "x" * 5000)):
        assert service.authenticate(name, password) is None


def test_a_login_is_remembered_for_a_while_but_no_longer_than_it_is_right(
    service: Access, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.create_user("ann", "first")
    begun = time.process_time()
    assert service.authenticate("ann", "first")
    slow = time.process_time() - begun
    begun = time.process_time()
    for _ in range(10):
        assert service.authenticate("ann", "first")
    assert time.process_time() - begun < slow
    # Changed by another process, of whose changes nobody is told.
    Access(service.database).set_password("ann", "second")
    assert service.authenticate("ann", "first") is None
    assert service.authenticate("ann", "second")
    Access(service.database).delete_user("ann")
    assert service.authenticate("ann", "second") is None
    Access(service.database).create_user("ann", "third")
    assert service.authenticate("ann", "second") is None


def test_what_is_remembered_is_bounded(service: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3000):
        service._remember(str(number).encode())
    assert len(service._remembered) == 1000


def test_a_user_who_cannot_be_is_refused(access: Access) -> None:
    wrong = [("", "x"), ("a b", "x"), ("-a", "x"), ("a:b", "x"), ("x" * 129, "x"), ("a", ""), ("a", "x" * 1001)]
    for name, password in wrong:
        with pytest.raises(InvalidRequest):
            access.create_user(name, password)
    assert access.list_users() == []


def test_a_name_is_given_once(access: Access) -> None:
    access.create_user("ann", "x")
    with pytest.raises(AlreadyExists):
        access.create_user("ann", "y")
    for call in (access.get_user, access.delete_user, access.list_permissions, access.list_tokens):
        with pytest.raises(NotFound):
            call("bob")


def test_there_is_always_an_admin_once_there_was_one(access: Access) -> None:
    access.create_user("ann", "x", admin=True)
    access.create_user("bob", "x")
    for change in (lambda: access.set_admin("ann", False), lambda: access.delete_user("ann")):
        with pytest.raises(Conflict, match="last admin"):
            change()
    assert access.get_user("ann").admin
    assert access.set_admin("bob", True).admin
    access.delete_user("ann")
    assert [user.name for user in access.list_users()] == ["bob"]


def test_a_token_logs_in_until_it_expires_or_is_revoked(access: Access, service: Access, clock: ManualClock) -> None:
    user = access.create_user("ann", "x")
    for_ever, for_a_day = access.create_token("ann", "ci"), access.create_token("ann", "today", days=1)
    assert for_ever.secret != for_a_day.secret
    assert service.user_of_token(for_ever.secret) == service.user_of_token(for_a_day.secret) == user
    assert service.user_of_token("msp_" + "x" * 43) is None
    clock.advance(86_400)
    assert service.user_of_token(for_a_day.secret) is None
    access.revoke_token("ann", for_ever.id)
    assert service.user_of_token(for_ever.secret) is None
    with pytest.raises(NotFound):
        access.revoke_token("ann", for_ever.id)
    assert [token.name for token in access.list_tokens("ann")] == ["today"]


def test_nothing_of_a_user_is_left_to_the_next_of_the_name(access: Access, service: Access) -> None:
    access.create_user("ann", "x")
    token = access.create_token("ann", "ci")
    access.grant("ann", "experiment", "1", "MANAGE")
    access.delete_user("ann")
    access.create_user("ann", "x")
    assert service.user_of_token(token.secret) is None
    assert access.list_permissions("ann") == []


def test_secrets_are_neither_in_the_database_nor_in_the_journal(access: Access, database: Database) -> None:
    access.create_user("ann", "open sesame")
    access.set_password("ann", "swordfish")
    token = access.create_token("ann", "ci")
    with database.read() as connection:
        tables = ("access_users", "access_tokens")
        kept = [str(connection.execute(text(f"SELECT * FROM {name}")).all()) for name in tables]
        told = json.dumps([event.body for event in latest_events(connection)])
    for secret in ("open sesame", "swordfish", token.secret):
        assert secret not in told
        assert all(secret not in rows for rows in kept)


def test_permissions_are_given_changed_and_taken_away(access: Access) -> None:
    access.create_user("ann", "x")
    access.grant("ann", "experiment", "7", "READ")
    access.grant("ann", "experiment", "7", "EDIT")
    access.grant("ann", "registered_model", "a/b c", "MANAGE")
    assert access.list_permissions("ann") == [
        Grant("experiment", "7", "EDIT"), Grant("registered_model", "a/b c", "MANAGE"),
    ]  # fmt: skip
    access.revoke("ann", "registered_model", "a/b c")
    with pytest.raises(NotFound):
        access.revoke("ann", "registered_model", "a/b c")
    assert access.list_permissions("ann") == [Grant("experiment", "7", "EDIT")]


def allowed(service: Access, name: str, wanted: Wanted) -> bool:
    try:
        service.check(service.get_user(name), wanted)
    except Forbidden:
        return False
    return True


def test_a_permission_allows_what_it_says_and_the_default_counts_where_there_is_none(database: Database) -> None:
    Access(database).create_user("ann", "x")
    capabilities: list[Capability] = ["read", "use", "update", "delete", "manage"]
    for permission in ALLOWED:
        service = Access(database, permission)
        for capability in capabilities:
            expected = capability in ALLOWED[permission]
            assert allowed(service, "ann", Wanted(needs=[Need("experiment", "1", capability)])) is expected
            assert allowed(service, "ann", Wanted(general=capability)) is expected
            service.grant("ann", "experiment", "1", "MANAGE")
            assert allowed(service, "ann", Wanted(needs=[Need("experiment", "1", capability)]))
            # That of an experiment is not that of a model of the same name.
            assert allowed(service, "ann", Wanted(needs=[Need("registered_model", "1", capability)])) is expected
            service.revoke("ann", "experiment", "1")


def test_every_need_must_be_met(service: Access) -> None:
    service.create_user("ann", "x")
    service.grant("ann", "experiment", "1", "EDIT")
    needs = [Need("experiment", "1", "update"), Need("experiment", "2", "update")]
    assert not allowed(service, "ann", Wanted(needs=needs))
    service.grant("ann", "experiment", "2", "EDIT")
    assert allowed(service, "ann", Wanted(needs=needs))


def test_an_admin_may_do_everything_and_others_what_is_their_own(service: Access) -> None:
    service.create_user("root", "x", admin=True)
    service.create_user("ann", "x")
    service.grant("root", "experiment", "1", "NO_PERMISSIONS")
    assert allowed(service, "root", Wanted(needs=[Need("experiment", "1", "manage")], general="delete", admin=True))
    assert not allowed(service, "ann", Wanted(admin=True))
    assert allowed(service, "ann", Wanted(admin=True, or_self="ann"))
    assert not allowed(service, "ann", Wanted(admin=True, or_self="root"))


def test_who_has_things_hidden_is_told_nothing_that_may_be_about_them(service: Access) -> None:
    service.create_user("ann", "x")
    assert allowed(service, "ann", Wanted(general="read"))
    service.grant("ann", "experiment", "1", "NO_PERMISSIONS")
    assert not allowed(service, "ann", Wanted(general="read"))


def test_permissions_follow_a_thing_and_end_with_it(service: Access) -> None:
    service.create_user("ann", "x")
    ann = service.get_user("ann")
    kinds: list[Kind] = ["experiment", "registered_model"]
    for kind in kinds:
        service.own(ann, kind, "a")
        service.grant("ann", kind, "c", "READ")
        service.rename(kind, "a", "c")
        assert service.permission(ann, kind, "c") == "MANAGE"
        assert service.permission(ann, kind, "a") == "READ"
        service.forget(kind, "c")
        assert service.list_permissions("ann") == []
