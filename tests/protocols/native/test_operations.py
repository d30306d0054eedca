"""One declared verb gives the route, the document and the remote client; errors are the same on both sides."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from enum import StrEnum

import httpx2
import msgspec
import pytest
from openapi_spec_validator import validate
from starlette.testclient import TestClient

from mainspring.client.remote import remote
from mainspring.core.actor import current_actor
from mainspring.core.errors import GateRefused, InvalidRequest, NotFound, TooLarge, Unavailable
from mainspring.core.operations import operation
from mainspring.protocols.native.app import application
from mainspring.protocols.native.openapi import openapi
from mainspring.runtime.telemetry.logs import start_logs
from mainspring.runtime.telemetry.trace import new_trace
from mainspring.runtime.threads import Threads


class Colour(StrEnum):
    RED = "red"


class Tea(msgspec.Struct, frozen=True):
    name: str
    grams: float = 2.0
    colours: list[Colour] = []


class Shop:
    def __init__(self) -> None:
        self.teas: dict[str, Tea] = {}

    @operation("POST /teas")
    def add(self, tea: Tea, note: str | None = None) -> Tea:
        """Add a tea."""
        self.teas[tea.name] = tea
        return tea

    @operation("GET /teas/{name}")
    def get(self, name: str) -> Tea:
        """Give a tea."""
        if name not in self.teas:
            raise NotFound(f"no tea {name}; add it first", name=name)
        return self.teas[name]

    @operation("GET /teas/best")
    def best(self) -> str:
        """Give the best."""
        return "oolong"

    @operation("GET /teas")
    def search(self, colours: list[Colour] | None = None, least: float = 0.0, strong: bool = False) -> list[str]:
        """Find teas."""
        return [f"{colours}", f"{least}", f"{strong}"]

    @operation("DELETE /teas/{name}")
    def remove(self, name: str) -> None:
        """Remove a tea."""
        del self.teas[name]

    @operation("POST /refuse")
    def refuse(self) -> None:
        """Refuse."""
        raise GateRefused("too weak: 0.1 < 0.2", checks=["weak"])

    @operation("GET /who")
    def who(self) -> list[str]:
        """Say who asks."""
        return [current_actor().name, current_actor().origin]


@pytest.fixture
def http() -> Iterator[TestClient]:
    threads = Threads(4)
    app = application([Shop()], threads, max_body_bytes=10_000)
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client
    threads.close()


@pytest.fixture(params=["embedded", "remote"])
def shop(request: pytest.FixtureRequest, http: TestClient) -> Shop:
    return Shop() if request.param == "embedded" else remote(Shop, http)


def test_calls_do_the_same_near_and_far(shop: Shop) -> None:
    tea = Tea("sencha", 3.5, [Colour.RED])
    assert shop.add(tea, note="fresh") == tea
    assert shop.get("sencha") == tea
    assert shop.best() == "oolong"
    assert shop.search([Colour.RED], least=1.5, strong=True) == ["[<Colour.RED: 'red'>]", "1.5", "True"]
    assert shop.search() == ["None", "0.0", "False"]
    assert shop.remove("sencha") is None  # type: ignore[func-returns-value]


def test_errors_are_the_same_near_and_far(shop: Shop) -> None:
    with pytest.raises(NotFound, match="no tea x; add it first") as caught:
        shop.get("x")
    assert caught.value.facts == {"name": "x"}
    with pytest.raises(GateRefused) as refused:
        shop.refuse()
    assert refused.value.facts == {"checks": ["weak"]}


def test_a_name_that_needs_quoting_arrives_whole(shop: Shop) -> None:
    shop.add(Tea("a b:ü?&#@1"))
    assert shop.get("a b:ü?&#@1").name == "a b:ü?&#@1"


def test_arguments_are_checked_as_python_checks_them(http: TestClient) -> None:
    far = remote(Shop, http)
    with pytest.raises(TypeError):
        far.get()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        far.get("x", nmae="y")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"tea": {"name": 5}}', "tea: Expected `str`, got `int`"),
        (b'{"tea": {"name": "x"}, "grms": 1}', "does not take grms; it takes tea, note"),
        (b"{}", "needs tea"),
        (b"[1]", "not a JSON object"),
        (b"{", "not a JSON object"),
    ],
)
def test_a_wrong_body_is_answered_with_what_was_expected(http: TestClient, body: bytes, message: str) -> None:
    reply = http.post("/teas", content=body)
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "invalid_request"
    assert message in reply.json()["error"]["message"]


def test_a_body_over_the_limit_is_refused(http: TestClient) -> None:
    with pytest.raises(TooLarge):
        remote(Shop, http).add(Tea("x" * 20_000))


def test_an_unforeseen_error_hides_its_text_and_names_its_log_entry(http: TestClient) -> None:
    reply = http.delete("/teas/none")
    assert reply.status_code == 500
    assert "KeyError" not in reply.text
    assert "the log of the control plane has it as" in reply.json()["error"]["message"]


def test_an_unknown_path_points_to_the_description(http: TestClient) -> None:
    reply = http.get("/coffee")
    assert reply.status_code == 404
    assert "/openapi.json" in reply.json()["error"]["message"]


def test_a_web_page_of_another_site_is_refused(http: TestClient) -> None:
    assert http.get("/teas", headers={"host": "evil.example"}).status_code == 403
    assert http.get("/teas", headers={"origin": "https://evil.example"}).status_code == 403
    assert http.get("/teas", headers={"origin": "http://localhost:7700"}).status_code == 200


def test_the_actor_of_a_call_is_who_asked(http: TestClient) -> None:
    reply = http.get("/who", headers={"x-mainspring-actor": "ada"})
    assert reply.json() == ["ada", "http testclient"]


def test_a_call_that_may_change_something_is_logged_in_the_trace_of_its_caller(http: TestClient) -> None:
    lines = io.StringIO()
    handler = start_logs("control", stream=lines)
    trace = new_trace()
    try:
        http.post("/refuse", headers={"traceparent": trace.traceparent})
        http.get("/teas/best")
    finally:
        logging.getLogger().removeHandler(handler)
    told = [line for line in map(msgspec.json.decode, lines.getvalue().splitlines()) if "operation" in line]
    assert [(line["event"], line["operation"], line["status"]) for line in told] == [
        ("POST /refuse", "Shop.refuse", GateRefused.status)
    ]
    assert (told[0]["trace_id"], told[0]["plane"]) == (trace.trace_id, "control")


def test_the_document_is_valid_and_names_every_operation(http: TestClient) -> None:
    document = http.get("/openapi.json").json()
    validate(document)
    derived = msgspec.json.decode(msgspec.json.encode(openapi([Shop])))["paths"]
    assert {path: document["paths"][path] for path in derived} == derived
    assert document["paths"].keys() - derived.keys() == {"/health"}
    assert set(derived) == {"/teas", "/teas/{name}", "/teas/best", "/refuse", "/who"}
    assert document["paths"]["/teas"]["post"]["requestBody"]["content"]["application/json"]["schema"]["required"] == [
        "tea"
    ]


def test_nobody_there_is_unavailable_with_the_remedy() -> None:
    with httpx2.Client(base_url="http://127.0.0.1:1") as client, pytest.raises(Unavailable, match="mainspring up"):
        remote(Shop, client).best()


def test_a_wrong_query_value_is_refused(http: TestClient) -> None:
    reply = http.get("/teas", params={"least": "much"})
    assert reply.status_code == 400
    with pytest.raises(InvalidRequest, match="least"):
        remote(Shop, http).search(least="much")  # type: ignore[arg-type]
