"""Rows as requests of the protocol, and answers as rows again, against a real server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import polars as pl
import pytest

from mainspring.core.errors import InvalidData
from mainspring.loop.traffic import Traffic, first_error

FRAME = pl.DataFrame(
    {
        "whole": [1, 2, 3],
        "real": [0.5, float("nan"), None],
        "text": ["a", None, "c"],
        "yes": [True, False, None],
        "day": [date(2024, 1, 2), None, date(2024, 1, 3)],
        "at": [datetime(2024, 1, 2, 3, tzinfo=UTC)] * 3,
        "who": ["u", "v", "w"],
    }
)


class Protocol(BaseHTTPRequestHandler):
    """Answers every row with its place in the request; refuses a request whose first number is 3."""

    protocol_version = "HTTP/1.1"
    seen: list[Any]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.seen.append((self.path, body))
        rows = body["inputs"][0]["shape"][0] if "inputs" in body else 0
        refused = "inputs" in body and body["inputs"][0]["data"][0] == 3
        answer = {
            "parameters": {"prediction_id": "p", "release": "release:e@1", "arm": "stable"},
            "outputs": [
                {"name": "label", "shape": [rows], "data": list(range(rows))},
                {"name": "probabilities", "shape": [rows, 2], "data": [0.25, 0.75] * rows},
            ],
        }
        sent = json.dumps({"error": "no"} if refused else answer).encode()
        self.send_response(400 if refused else 200)
        self.send_header("content-length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *arguments: object) -> None:
        """Keep quiet."""


@pytest.fixture
def seen() -> list[Any]:
    return []


@pytest.fixture
def url(seen: list[Any]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Protocol,), {"seen": seen}))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_cells_are_sent_as_the_protocol_has_them(url: str, seen: list[Any]) -> None:
    Traffic(url, "e", FRAME.columns[:6], key=None).send(FRAME[:2], 0, [10_000_000, 0], 2)
    path, body = seen[0]
    assert path == "/v2/models/e/infer"
    assert body["parameters"] == {"unit": "row-0", "event_time": 10_000}
    sent = {tensor["name"]: (tensor["datatype"], tensor["data"]) for tensor in body["inputs"]}
    assert sent == {
        "whole": ("INT64", [1, 2]),
        "real": ("FP64", [0.5, None]),
        "text": ("BYTES", ["a", None]),
        "yes": ("BOOL", [True, False]),
        "day": ("BYTES", ["2024-01-02T00:00:00.000000Z", None]),
        "at": ("BYTES", ["2024-01-02T03:00:00.000000Z"] * 2),
    }


def test_a_key_is_the_unit_and_every_row_has_an_answer_or_none(url: str, seen: list[Any]) -> None:
    served, replies = Traffic(url, "e", ["whole"], key="who").send(FRAME, 0, None, 1)
    assert sorted(body["parameters"]["unit"] for _, body in seen) == ["u", "v", "w"]
    assert [one.id for one in served] == ["p", "p", None]
    assert (served[0].label, served[0].probabilities, served[0].release) == (0, [0.25, 0.75], "release:e@1")
    assert [reply.status for reply in replies] == [200, 200, 400]
    assert first_error(replies) == '400: {"error": "no"}'
    assert first_error(replies[:2]) is None


def test_rows_of_one_request_have_ids_of_their_own(url: str) -> None:
    served, replies = Traffic(url, "e", ["whole"], key=None).send(FRAME, 7, None, 2)
    assert len(replies) == 2
    assert [one.id for one in served[:2]] == ["p.0", "p.1"]
    assert [one.label for one in served[:2]] == [0, 1]


def test_labels_are_posted_by_prediction(url: str, seen: list[Any]) -> None:
    Traffic(url, "e", ["whole"], key=None).post_labels([("p.0", "yes"), ("p.1", 3)])
    assert seen == [("/v2/endpoints/e/labels", {"labels": [{"id": "p.0", "value": "yes"}, {"id": "p.1", "value": 3}]})]


def test_a_column_that_cannot_be_sent_is_named(url: str) -> None:
    with pytest.raises(InvalidData, match="column 'many' has the type List"):
        Traffic(url, "e", ["many"], key=None).send(pl.DataFrame({"many": [[1]]}), 0, None, 1)
