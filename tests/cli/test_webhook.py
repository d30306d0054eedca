"""`mainspring webhook`: what is told to whom, without a secret on the command line."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Cli


def test_a_webhook_is_created_with_a_secret_from_a_file(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("open sesame\n")
    made = cli(
        "webhook", "create", "bells", "https://93.184.216.34/hook", "ReleaseDeployed,model_version.created",
        "--secret-file", str(file), "--json",
    ).json  # fmt: skip
    assert made["signed"] is True
    assert made["events"] == ["ReleaseDeployed", "model_version.created"]
    assert "sesame" not in str(made)
    [listed] = cli("webhook", "list", "--json").json
    assert listed == made
    changed = cli("webhook", "update", made["id"], "--status", "disabled", "--json").json
    assert changed["status"] == "disabled"
    assert cli("webhook", "deliveries", made["id"], "--json").json == []
    assert cli("webhook", "delete", made["id"]).code == 0
    assert cli("webhook", "get", made["id"]).code == 3


def test_what_webhooks_can_be_told_of_is_listed(cli: Cli) -> None:
    names = cli("webhook", "events", "--json").json
    assert {"*", "ReleaseDeployed", "DriftDetected", "model_version.created"} <= set(names)


def test_an_unknown_event_names_the_one_that_is_meant(cli: Cli) -> None:
    refused = cli("webhook", "create", "bells", "https://93.184.216.34/hook", "ReleaseDeploid")
    assert refused.code == 2
    assert "did you mean 'ReleaseDeployed'" in refused.err
