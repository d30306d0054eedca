"""Settings: defaults < mainspring.toml < MAINSPRING_* < flags; each value knows where it came from.

Nothing else in Mainspring reads the environment.
"""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta

from mainspring.core.errors import InvalidRequest, Unavailable
from mainspring.core.urls import without_secrets

_PREFIX = "MAINSPRING_"
_CONFIG = f"{_PREFIX}CONFIG"
_FILE = "mainspring.toml"

Text = Annotated[str, Meta(min_length=1)]
Port = Annotated[int, Meta(ge=0, le=65_535)]
Positive = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(gt=0)]
SecondsOrZero = Annotated[float, Meta(ge=0)]
Mode = Literal["online", "offline"]
Level = Literal["debug", "info", "warning", "error"]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set. A URL left empty means the embedded default under ``home``."""

    home: Text = ".mainspring"
    """Folder of everything that Mainspring keeps."""
    cache: Text = "~/.cache/mainspring"
    """Folder of this user and machine where a client keeps what a control plane at a distance has not taken yet."""
    url: str = ""
    """Control plane that the command line talks to; empty: the platform in ``home``, opened in this process."""
    mode: Mode = "online"
    """``online``: runs are sent as they are logged; ``offline``: they are kept for `mainspring sync`."""
    offline: str = ""
    """Folder of the runs that are logged offline; empty: ``offline`` under ``home``."""
    capture: Text = "all"
    """What is recorded of a run besides: ``all``, ``none``, or some of command, environment, code, output, system."""
    run_spool_max_bytes: Positive = 4 * 2**30
    """What one run may keep on the disk until it has been sent; what is logged beyond that is dropped and counted."""
    database_url: str = ""
    """``sqlite:///FILE`` or ``postgresql://...``."""
    objects_url: str = ""
    """``file:///DIR`` or ``s3://BUCKET/PREFIX``."""
    tables_url: str = ""
    """``file:///DIR`` or ``s3://BUCKET/PREFIX``."""
    kv_url: str = ""
    """``lmdb:///DIR`` or ``redis://HOST``."""
    host: Text = "127.0.0.1"
    """Address that the control plane binds; any other than loopback needs `auth`. The data plane stays on loopback."""
    port: Port = 7700
    """Port of the control plane; 0 takes a free one."""
    data_port: Port = 7701
    """Port of the data plane; 0 takes a free one."""
    data_workers: Positive = 1
    """Processes that answer predictions, on one port."""
    job_workers: Count = 1
    """Processes that run pipeline steps; 0 where others do."""
    control_threads: Positive = 16
    """Threads that run the calls of the control plane."""
    max_upload_bytes: Positive = 8 * 2**30
    """Largest object that may be uploaded."""
    max_request_bytes: Positive = 16 * 2**20
    """Largest body of any other request."""
    max_waiting_rows: Positive = 16_384
    """Rows that may wait for a model in one data worker before requests are refused with 503."""
    spool_max_bytes: Positive = 4 * 2**30
    """Size at which the spool of a data worker refuses more, until the control plane has taken some in."""
    ingest_interval_s: Seconds = 0.5
    """How often the control plane takes in what the data plane wrote."""
    policy_interval_s: SecondsOrZero = 15.0
    """How often monitors, triggers and rollouts look at what came in; 0: only when they are asked to."""
    garbage_after_s: SecondsOrZero = 0.0
    """How long what was deleted can be restored before the control plane removes it; 0: until `mainspring gc`."""
    garbage_object_age_s: Seconds = 86_400.0
    """How long an object to which nothing refers is kept by the control plane: it may be on its way to its run."""
    lease_s: Seconds = 10.0
    """How long a job worker that gave no sign of life keeps its step."""
    drain_timeout_s: SecondsOrZero = 10.0
    """How long a server that was told to stop finishes what it has begun."""
    webhook_private_targets: bool = False
    """Whether webhooks may point to addresses that are not public; always so on a platform for testing."""
    webhook_timeout_s: Seconds = 10.0
    """How long a receiver of webhooks may take for its answer."""
    secret_key_file: str = ""
    """The key that secrets in the database are sealed with; empty: ``secret.key`` in ``home``, made when needed."""
    auth: bool = False
    """Whether the control plane asks for a login: HTTP Basic or a token."""
    auth_default_permission: Literal["NO_PERMISSIONS", "READ", "USE", "EDIT", "MANAGE"] = "READ"
    """What every user may do with what no permission was given on."""
    admin_password: str = ""
    """Password of the first admin; empty: one is made up and kept in ``admin-password`` in ``home``."""
    token: str = ""
    """Token that a client logs in with, where a login is asked for."""
    log_level: Level = "info"
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


SECRET = frozenset({"admin_password", "token"})
"""Settings that are never shown, nor handed to processes that have no use for them."""
_FIELDS = {field.name: field for field in msgspec.structs.fields(Settings)}


def load_settings(
    flags: Mapping[str, Any] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Loaded:
    """Read the settings. Flags that are None were not given.

    The file is ``mainspring.toml`` in *folder* (default: where the process runs), or what MAINSPRING_CONFIG names. A
    ``~`` at the beginning of ``home`` is the home folder of the user.
    Raises InvalidRequest for an unknown name or a value that cannot be, and says where it stands; Unavailable when the
    file cannot be read.
    """
    variables = os.environ if environment is None else environment
    named = variables.get(_CONFIG)
    file = Path(named) if named else (folder or Path.cwd()) / _FILE
    found = {name: Setting(name, field.default, "default") for name, field in _FIELDS.items()}
    for name, value, origin in [
        *_from_file(file, required=bool(named)),
        *_from_environment(variables),
        *((name, value, f"flag --{name.replace('_', '-')}") for name, value in (flags or {}).items()),
    ]:
        if value is not None:
            found[name] = Setting(name, _checked(name, value, origin), origin)
    settings = Settings(**{name: setting.value for name, setting in found.items()})
    return Loaded(settings, [Setting(s.name, _shown(s.value, s.name), s.origin) for s in found.values()])


def _from_file(file: Path, *, required: bool) -> list[tuple[str, Any, str]]:
    try:
        content = tomllib.loads(file.read_text("utf-8-sig"))
    except FileNotFoundError:
        if required:
            raise InvalidRequest(f"{_CONFIG} names {file}, which does not exist") from None
        return []
    except OSError as error:
        raise Unavailable(f"{file} cannot be read: {error.strerror}: mend or move it", file=str(file)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{file} is not TOML: {error}", file=str(file)) from error
    return [(_known(name, f"{file}: unknown setting"), value, str(file)) for name, value in content.items()]


def _from_environment(variables: Mapping[str, str]) -> list[tuple[str, Any, str]]:
    given = [name for name in variables if name.startswith(_PREFIX) and name != _CONFIG]
    return [
        (_known(name.removeprefix(_PREFIX).lower(), f"{name} is set: unknown setting"), variables[name], name)
        for name in given
    ]


def _known(name: str, problem: str) -> str:
    if name in _FIELDS:
        return name
    from difflib import get_close_matches

    close = get_close_matches(name, _FIELDS, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(_FIELDS)}"
    raise InvalidRequest(f"{problem} {name!r}; {hint}", setting=name)


def _checked(name: str, value: Any, origin: str) -> Any:
    kind = _FIELDS[name].type
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    try:
        if choices and isinstance(value, str):
            # Choices are read in any case.
            value = next((choice for choice in choices if choice.lower() == value.lower()), value)
        found = msgspec.convert(value, kind, strict=False)
        if isinstance(found, float) and not math.isfinite(found):
            raise ValueError("Expected a finite number")
        # A file and a variable have no shell to do so.
        return str(Path(found).expanduser()) if name == "home" else found
    except (ValueError, RuntimeError) as error:
        expected = f"expected one of {', '.join(choices)}" if choices else error
        raise InvalidRequest(
            f"{origin}: setting {name!r} is {_shown(value, name)!r}: {expected}", setting=name
        ) from None


def _shown(value: Any, name: str) -> Any:
    if name in SECRET and value:
        return "***"
    return without_secrets(value) if isinstance(value, str) else value
