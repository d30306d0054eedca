"""A plug-in for pytest: MLflow's own tests speak to a server that runs elsewhere, empty before each test.

It is loaded into MLflow's test session, so it needs pytest and mlflow only. Three kinds of tests meet the server: those
that start one of MLflow's (`_init_server`, `ServerThread`), those that log by the fluent API, and those of a SQL store,
whose place a `RestStore` takes.
"""

from __future__ import annotations

import importlib
import json
import os
import urllib.request
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

URL = os.environ["CONFORMANCE_URL"]
REPORT = os.environ["CONFORMANCE_REPORT"]

_UTILITIES = "tests.tracking.integration_test_utils"
_STORES = {
    "tests/store/tracking/": ("mlflow.store.tracking.rest_store", "RestStore"),
    "tests/store/model_registry/": ("mlflow.store.model_registry.rest_store", "RestStore"),
}
_OUTCOMES: dict[str, tuple[str, str]] = {}


def reset() -> None:
    """Empty the server."""
    urllib.request.urlopen(urllib.request.Request(f"{URL}/testing/reset", method="POST"), timeout=60).close()


@contextmanager
def _init_server(*given: Any, **named: Any) -> Iterator[str]:
    reset()
    yield URL


class _ServerThread:
    def __init__(self, *given: Any, **named: Any) -> None:
        pass

    def __enter__(self) -> str:
        reset()
        return URL

    def __exit__(self, *raised: object) -> None:
        pass


def pytest_configure(config: pytest.Config) -> None:
    """Replace what starts a server, before a test module takes it by its name."""
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "1"
    try:
        utilities = importlib.import_module(_UTILITIES)
    except ModuleNotFoundError:
        return
    for name, ours in (("_init_server", _init_server), ("ServerThread", _ServerThread)):
        if hasattr(utilities, name):
            setattr(utilities, name, ours)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what would be run twice: the server has one store, MLflow's tests several kinds."""
    left_out = [item for item in items if "file" in getattr(item, "callspec", _NoParams).params.values()]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


class _NoParams:
    params: dict[str, object] = {}


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: Any, request: Any) -> Any:
    """Give a store over the wire where a SQL store is asked for."""
    found = next((named for folder, named in _STORES.items() if request.node.nodeid.startswith(folder)), None)
    if fixturedef.argname != "store" or found is None:
        return None
    from mlflow.utils.rest_utils import MlflowHostCreds

    store = getattr(importlib.import_module(found[0]), found[1])(lambda: MlflowHostCreds(URL))
    fixturedef.cached_result = (store, fixturedef.cache_key(request), None)
    return store


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    """Begin with an empty server; what fixtures said of the address does not count."""
    reset()
    result = yield
    import mlflow

    mlflow.set_tracking_uri(URL)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Generator[None, Any, Any]:
    """Tell failures from tests that are about the inside of a SQL or file store, which no wire reaches."""
    report = yield
    said = "" if call.excinfo is None else str(call.excinfo.value)
    inside = call.excinfo is not None and call.excinfo.errisinstance(AttributeError) and "RestStore" in said
    outcome = "inside a store" if inside else report.outcome
    if report.when == "call" or outcome != "passed":
        _OUTCOMES[item.nodeid] = (outcome, said.partition("\n")[0][:300])
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write down how each test ended."""
    Path(REPORT).write_text(json.dumps(_OUTCOMES))
