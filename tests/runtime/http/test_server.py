"""Listening, refusing beyond the limit, draining."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mainspring.core.errors import Unavailable
from mainspring.runtime.http.limits import Limits
from mainspring.runtime.http.request import Request
from tests.runtime.http.wire import Client, Running, echo, eventually, get, post

Start = Callable[..., Running]


def test_one_connection_too_many_gets_503_and_a_hint_when_to_come_back(start: Start) -> None:
    running = start(echo, Limits(max_connections=2, linger_s=0.2))
    with Client(running.port) as first, Client(running.port) as second:
        assert first.send(get()).reply().status == second.send(get()).reply().status == 200
        with Client(running.port) as third:
            reply = third.send(post(b"x" * 100_000)).reply()
            assert (reply.status, "retry-after" in reply.headers) == (503, True)
            assert third.closed()
        assert first.send(get()).reply().status == 200
    eventually(lambda: running.server.connections == 0)
    with Client(running.port) as again:
        assert again.send(get()).reply().status == 200


def test_two_servers_share_a_port_when_both_ask_for_it(start: Start) -> None:
    first = start(lambda request: request.respond(200, b"first"), reuse_port=True)
    second = start(lambda request: request.respond(200, b"second"), reuse_port=True, port=first.port)
    assert first.port == second.port
    seen = set()
    for _ in range(200):
        with Client(first.port) as client:
            seen.add(client.send(get()).reply().body)
        if len(seen) == 2:
            break
    assert seen == {b"first", b"second"}


def test_a_port_that_is_taken_is_said_so(start: Start) -> None:
    running = start(echo)
    with pytest.raises(Unavailable, match=f"{running.port}.*choose another"):
        start(echo, port=running.port)


def test_draining_answers_what_was_received_and_closes_with_it(start: Start) -> None:
    held: list[Request] = []
    running = start(held.append)
    with Client(running.port) as busy, Client(running.port) as idle:
        busy.send(get(b"/1") + get(b"/2"))
        eventually(lambda: len(held) == 2 and running.server.connections == 2)
        left: list[int] = []
        draining = threading.Thread(target=lambda: left.append(running.drain(10, idle_s=0.01)))
        draining.start()
        assert idle.closed()
        with pytest.raises(ConnectionRefusedError):
            Client(running.port)
        running.on_loop(lambda: [request.respond(200, request.path) for request in held] and None)
        replies = [busy.reply(), busy.reply()]
        assert [reply.headers.get("connection") for reply in replies] == [None, "close"]
        assert busy.closed()
        draining.join(10)
    assert left == [0]


def test_draining_waits_for_the_rest_of_a_request_that_has_begun(start: Start) -> None:
    running = start(echo)
    with Client(running.port) as client:
        client.send(post(b"abcdef")[:-3])
        eventually(lambda: running.server.connections == 1)
        draining = threading.Thread(target=lambda: running.drain(10, idle_s=0.01))
        draining.start()
        eventually(lambda: running.server._accepting is None)
        reply = client.send(b"def").reply()
        assert (reply.body, reply.headers["connection"]) == (b"abcdef", "close")
        draining.join(10)
        assert running.server.connections == 0


def test_draining_gives_up_in_time_and_says_how_many_requests_it_left(start: Start) -> None:
    held: list[Request] = []
    running = start(held.append)
    with Client(running.port) as client:
        client.send(get() * 3)
        eventually(lambda: len(held) == 3)
        assert running.drain(0.05, idle_s=0.01) == 3
        assert client.closed()


def test_draining_under_load_loses_no_request(start: Start) -> None:
    running = start(lambda request: running.loop.call_later(0.001, request.respond, 200, request.body) and None)
    lost: list[str] = []
    answered: list[int] = []

    def load() -> None:
        count = 0
        with Client(running.port) as client:
            while True:
                try:
                    reply = client.send(post(b"%d" % count)).reply()
                except (AssertionError, OSError) as error:
                    lost.append(repr(error))
                    break
                count += reply.body == b"%d" % count
                if reply.headers.get("connection") == "close":
                    break
        answered.append(count)

    clients = [threading.Thread(target=load) for _ in range(16)]
    for client in clients:
        client.start()
    eventually(lambda: running.server.counters["requests"] > 200)
    assert running.drain(10) == 0
    for client in clients:
        client.join(10)
    assert lost == []
    assert sum(answered) == running.server.counters["requests"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return path


def test_a_server_with_a_certificate_speaks_tls(start: Start, certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    running = start(echo, Limits(max_body_bytes=1_000_000), tls=context)
    trusting = ssl.create_default_context(cafile=certificate)
    with Client(running.port, tls=trusting) as client:
        assert client.send(get() + post(b"x" * 500_000)).reply().status == 200
        assert client.reply().body == b"x" * 500_000
        assert client.send(post(b"x" * 1_000_001)).reply().status == 413
