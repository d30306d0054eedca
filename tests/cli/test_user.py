"""`mainspring user`: users, tokens and permissions, without a password on the command line."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Cli


def test_a_user_is_created_given_rights_and_deleted(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("open sesame\n")
    made = cli("user", "create", "ann", "--admin", "--password-file", str(file), "--json").json
    assert (made["name"], made["admin"]) == ("ann", True)
    assert cli("user", "create", "bob", "--password-file", str(file), "--json").json["admin"] is False
    assert cli("user", "password", "bob", "--password-file", str(file)).code == 0
    token = cli("user", "token", "bob", "ci", "--days", "90", "--json").json
    assert token["secret"].startswith("msp_")
    listed = cli("user", "tokens", "bob", "--json")
    assert [one["name"] for one in listed.json] == ["ci"]
    assert token["secret"] not in listed.out
    assert cli("user", "revoke-token", "bob", token["id"]).code == 0
    assert cli("user", "grant", "bob", "experiment", "7", "EDIT").code == 0
    assert cli("user", "permissions", "bob", "--json").json == [
        {"kind": "experiment", "resource": "7", "permission": "EDIT"}
    ]
    assert cli("user", "revoke", "bob", "experiment", "7").code == 0
    refused = cli("user", "grant", "bob", "experiment", "7", "OWN")
    assert (refused.code, "OWN" in refused.err) == (2, True)
    assert cli("user", "admin", "bob", "true", "--json").json["admin"] is True
    assert cli("user", "delete", "ann").code == 0
    assert cli("user", "delete", "bob").code == 4
    assert [user["name"] for user in cli("user", "list", "--json").json] == ["bob"]
