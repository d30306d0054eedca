"""Settings: which source wins, and that each mistake is named with its place."""

from pathlib import Path

import msgspec
import pytest

from mainspring.core.errors import InvalidRequest, Unavailable
from mainspring.core.settings import Settings, load_settings


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


def test_an_unknown_setting_is_refused_wherever_it_stands_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"MAINSPRING_PROT is set: unknown setting 'prot'; did you mean 'port'\?"):
        load_settings(environment={"MAINSPRING_PROT": "1"}, folder=tmp_path)
    (tmp_path / "mainspring.toml").write_text("[server]\nport = 1\n")
    with pytest.raises(InvalidRequest, match=r"mainspring.toml: unknown setting 'server'; known: home, .*log_level"):
        load_settings(environment={}, folder=tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PORT", "many", "Expected `int`"),
        ("PORT", "70000", "<= 65535"),
        ("DATA_WORKERS", "0", ">= 1"),
        ("LEASE_S", "nan", "> 0.0"),
        ("LEASE_S", "inf", "finite"),
        ("DRAIN_TIMEOUT_S", "-1", ">= 0.0"),
        ("LOG_LEVEL", "loud", "expected one of debug, info, warning, error"),
        ("HOME", "", "length >= 1"),
        ("HOME", "~nobody-of-that-name/home", "home"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_origin_and_what_could(
    tmp_path: Path, name: str, value: str, said: str
) -> None:
    with pytest.raises(InvalidRequest, match=f"MAINSPRING_{name}: setting '{name.lower()}' is '{value}': .*{said}"):
        load_settings(environment={f"MAINSPRING_{name}": value}, folder=tmp_path)


def test_every_default_is_a_value_that_could_be_given() -> None:
    defaults = msgspec.structs.asdict(Settings())
    assert msgspec.convert(defaults, Settings) == Settings()


def test_what_people_write_for_a_level_or_a_home_is_understood(tmp_path: Path) -> None:
    (tmp_path / "mainspring.toml").write_bytes(b"\xef\xbb\xbfhome = '~/here'\nlog_level = 'INFO'\n")
    loaded = load_settings(environment={"MAINSPRING_CONFIG": ""}, folder=tmp_path)
    assert (loaded.settings.home, loaded.settings.log_level) == (str(Path.home() / "here"), "info")


def test_a_named_file_that_is_missing_or_broken_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="which does not exist"):
        load_settings(environment={"MAINSPRING_CONFIG": str(tmp_path / "no.toml")}, folder=tmp_path)
    with pytest.raises(Unavailable, match="cannot be read: Is a directory"):
        load_settings(environment={"MAINSPRING_CONFIG": str(tmp_path)}, folder=tmp_path)
    (tmp_path / "mainspring.toml").write_bytes(b"port = \xff")
    with pytest.raises(InvalidRequest, match="is not TOML"):
        load_settings(environment={}, folder=tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:secret@db/x",
        "postgresql://me:se/secret@secret@db:5432/x",
        "postgresql://db/x?password=secret&sslmode=require",
        "redis://:secret@db",
        "s3://bucket/x?access_key_id=me&secret_access_key=secret&session_token=secret",
    ],
)
def test_a_secret_in_a_url_is_never_listed(tmp_path: Path, url: str) -> None:
    loaded = load_settings({"database_url": url}, environment={}, folder=tmp_path)
    assert loaded.settings.database_url == url
    (shown,) = [setting.value for setting in loaded.listing if setting.name == "database_url"]
    assert "secret" not in shown.replace("secret_access_key", "") and "***" in shown
    assert shown.startswith(url.partition(":")[0])


def test_a_setting_that_is_a_secret_is_never_listed_nor_told_in_an_error(tmp_path: Path) -> None:
    given = {"MAINSPRING_TOKEN": "hush-hush", "MAINSPRING_ADMIN_PASSWORD": "hush-hush"}
    loaded = load_settings(environment=given, folder=tmp_path)
    assert loaded.settings.token == "hush-hush"
    listed = {setting.name: setting.value for setting in loaded.listing}
    assert (listed["token"], listed["admin_password"]) == ("***", "***")
    assert {setting.value for setting in load_settings(environment={}, folder=tmp_path).listing} >= {""}
    (tmp_path / "mainspring.toml").write_text('token = ["hush-hush"]')
    with pytest.raises(InvalidRequest) as caught:
        load_settings(environment={}, folder=tmp_path)
    assert "hush" not in str(caught.value)


def test_a_permission_is_understood_in_any_case(tmp_path: Path) -> None:
    found = load_settings({"auth_default_permission": "no_permissions"}, environment={}, folder=tmp_path).settings
    assert found.auth_default_permission == "NO_PERMISSIONS"
