"""Settings: defaults < mainspring.toml < MAINSPRING_* < flags; each value knows where it came from.

Nothing else in Mainspring reads the environment.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from mainspring.core.errors import InvalidRequest

_PREFIX = "MAINSPRING_"
_FILE = "mainspring.toml"
_CREDENTIALS = re.compile(r"(?<=://)([^/@:]*):[^/@]*@")


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set. A URL left empty means the embedded default under ``home``."""

    home: str = ".mainspring"
    """Folder of everything that Mainspring keeps."""
    cache: str = "~/.cache/mainspring"
    """Folder of this user and machine where a client keeps what a control plane at a distance has not taken yet."""
    url: str = ""
    """Control plane that the command line talks to; empty: the platform in ``home``, opened in this process."""
    database_url: str = ""
    """``sqlite:///FILE`` or ``postgresql://...``."""
    objects_url: str = ""
    """``file:///DIR`` or ``s3://BUCKET/PREFIX``."""
    tables_url: str = ""
    """``file:///DIR`` or ``s3://BUCKET/PREFIX``."""
    kv_url: str = ""
    """``lmdb:///DIR`` or ``redis://HOST``."""
    host: str = "127.0.0.1"
    """Address that the servers bind; only loopback is allowed until authentication is built."""
    port: int = 7700
    """Port of the control plane; 0 takes a free one."""
    data_port: int = 7701
    """Port of the data plane; 0 takes a free one."""
    data_workers: int = 1
    """Processes that answer predictions, on one port."""
    job_workers: int = 1
    """Processes that run pipeline steps."""
    control_threads: int = 16
    """Threads that run the calls of the control plane."""
    max_upload_bytes: int = 8 * 2**30
    """Largest object that may be uploaded."""
    max_request_bytes: int = 16 * 2**20
    """Largest body of any other request."""
    max_waiting_rows: int = 16_384
    """Rows that may wait for a model in one data worker before requests are refused with 503."""
    spool_max_bytes: int = 4 * 2**30
    """Size at which the spool of a data worker refuses more, until the control plane has taken some in."""
    ingest_interval_s: float = 0.5
    """How often the control plane takes in what the data plane wrote."""
    policy_interval_s: float = 15.0
    """How often monitors, triggers and rollouts look at what came in; 0: only when they are asked to."""
    lease_s: float = 10.0
    """How long a job worker that gave no sign of life keeps its step."""
    drain_timeout_s: float = 10.0
    """How long a server that was told to stop finishes what it has begun."""
    log_level: str = "info"
    """``debug``, ``info``, ``warning`` or ``error``."""


class Setting(msgspec.Struct, frozen=True):
    """One setting with its value and where it came from: ``default``, a file, a variable or a flag."""

    name: str
    value: Any
    origin: str


class Loaded(msgspec.Struct, frozen=True):
    """The settings in force, and the origin of each."""

    settings: Settings
    listing: list[Setting]


_FIELDS = {field.name: field for field in msgspec.structs.fields(Settings)}


def load_settings(
    flags: Mapping[str, Any] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Loaded:
    """Read the settings. Flags that are None were not given.

    The file is ``mainspring.toml`` in *folder* (default: where the process runs), or what MAINSPRING_CONFIG names.
    Raises InvalidRequest for an unknown name or a value of the wrong type, and says where it stands.
    """
    variables = os.environ if environment is None else environment
    named = variables.get(f"{_PREFIX}CONFIG")
    file = Path(named) if named else (folder or Path.cwd()) / _FILE
    given = [(name, value) for name, value in (flags or {}).items() if value is not None]
    layers = [
        *_from_file(file, required=named is not None),
        *_from_environment(variables),
        *((name, value, f"flag --{name.replace('_', '-')}") for name, value in given),
    ]
    found = {name: Setting(name, field.default, "default") for name, field in _FIELDS.items()}
    for name, value, origin in layers:
        found[name] = Setting(name, _checked(name, value, origin), origin)
    settings = Settings(**{name: setting.value for name, setting in found.items()})
    return Loaded(settings, [Setting(s.name, _hidden(s.value), s.origin) for s in found.values()])


def _from_file(file: Path, *, required: bool) -> list[tuple[str, Any, str]]:
    try:
        content = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        if required:
            raise InvalidRequest(f"{_PREFIX}CONFIG names {file}, which does not exist") from None
        return []
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{file} is not TOML: {error}", file=str(file)) from error
    for name in content:
        if name not in _FIELDS:
            raise InvalidRequest(f"{file}: unknown setting {name!r}; known: {', '.join(_FIELDS)}", setting=name)
    return [(name, value, str(file)) for name, value in content.items()]


def _from_environment(variables: Mapping[str, str]) -> list[tuple[str, Any, str]]:
    given = ((name, variables.get(f"{_PREFIX}{name.upper()}")) for name in _FIELDS)
    return [(name, value, f"{_PREFIX}{name.upper()}") for name, value in given if value is not None]


def _checked(name: str, value: Any, origin: str) -> Any:
    field = _FIELDS[name]
    try:
        return msgspec.convert(value, field.type, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{origin}: setting {name!r} is {value!r}: {error}", setting=name) from None


def _hidden(value: Any) -> Any:
    return _CREDENTIALS.sub(r"\1:***@", value) if isinstance(value, str) else value
