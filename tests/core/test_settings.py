"""Settings: which source wins, and that each mistake is named with its place."""

from pathlib import Path

import pytest

from mainspring.core.errors import InvalidRequest
from mainspring.core.settings import load_settings


def test_flags_win_over_variables_over_the_file_over_defaults(tmp_path: Path) -> None:
    (tmp_path / "mainspring.toml").write_text('port = 1\ndata_port = 1\ncontrol_threads = 3\nhome = "from-file"\n')
    environment = {"MAINSPRING_PORT": "2", "MAINSPRING_DATA_PORT": "2"}
    loaded = load_settings({"port": 3, "home": None}, environment=environment, folder=tmp_path)
    assert (loaded.settings.port, loaded.settings.data_port, loaded.settings.control_threads) == (3, 2, 3)
    origin = {setting.name: setting.origin for setting in loaded.listing}
    assert origin["port"] == "flag --port"
    assert origin["data_port"] == "MAINSPRING_DATA_PORT"
    assert origin["home"] == str(tmp_path / "mainspring.toml")
    assert origin["lease_s"] == "default"


def test_an_unknown_setting_in_the_file_is_refused_with_those_known(tmp_path: Path) -> None:
    (tmp_path / "mainspring.toml").write_text("prot = 1\n")
    with pytest.raises(InvalidRequest, match=r"unknown setting 'prot'; known: home, .*port"):
        load_settings(environment={}, folder=tmp_path)


def test_a_value_of_the_wrong_type_is_refused_with_its_origin(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="MAINSPRING_PORT: setting 'port' is 'many'"):
        load_settings(environment={"MAINSPRING_PORT": "many"}, folder=tmp_path)


def test_a_named_file_that_is_missing_or_broken_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="which does not exist"):
        load_settings(environment={"MAINSPRING_CONFIG": str(tmp_path / "no.toml")}, folder=tmp_path)
    (tmp_path / "mainspring.toml").write_bytes(b"port = \xff")
    with pytest.raises(InvalidRequest, match="is not TOML"):
        load_settings(environment={}, folder=tmp_path)


def test_a_password_in_a_url_is_never_listed(tmp_path: Path) -> None:
    loaded = load_settings({"database_url": "postgresql://me:secret@db/x"}, environment={}, folder=tmp_path)
    assert loaded.settings.database_url == "postgresql://me:secret@db/x"
    assert all("secret" not in str(setting.value) for setting in loaded.listing)
