"""A request goes to the address that was looked at, follows nobody elsewhere, and ends in time."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mainspring.webhooks.sending import MAX_ANSWER_BYTES, Sender
from tests.webhooks.receiver import Receiver, receiving

resolve = socket.getaddrinfo


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture
def sender() -> Sender:
    return Sender(private_targets=True, timeout_s=5)


@contextmanager
def talking(*said: bytes, pause_s: float = 0.0) -> Iterator[str]:
    """A server that says things, slowly, whatever it is sent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk() -> None:
            with listener.accept()[0] as connection:
                # What is closed with something unread is reset, and what was said may be lost.
                while not connection.recv(65536).endswith(b"{}"):
                    pass
                for part in said:
                    try:
                        connection.sendall(part)
                    except OSError:
                        return
                    time.sleep(pause_s)

        thread = threading.Thread(target=talk)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        thread.join()


def test_what_is_posted_arrives_with_its_headers(sender: Sender, receiver: Receiver) -> None:
    attempt = sender.post(receiver.url + "/a?b=c", b'{"x":1}', {"X-Mine": "yes"})
    assert (attempt.delivered, attempt.response, attempt.body, attempt.error) == (True, 200, "thanks", None)
    [request] = receiver.requests
    assert (request.path, request.json, request.headers["X-Mine"]) == ("/a?b=c", {"x": 1}, "yes")
    assert request.headers["Host"] == receiver.url.removeprefix("http://")
    assert request.headers["User-Agent"].startswith("mainspring/")


def test_a_name_that_means_another_address_a_moment_later_is_not_asked_again(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(receiver.url.rpartition(":")[2])
    meant = iter(["93.184.216.34", "127.0.0.1", "127.0.0.1"])
    connected: list[tuple[str, int]] = []

    def rebinding(host: str, *args: object, **kwargs: object) -> object:
        return resolve(next(meant) if host == "rebinding.example" else host, *args, **kwargs)  # type: ignore[arg-type]

    def connect(address: tuple[str, int], **kwargs: object) -> socket.socket:
        connected.append(address)
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    monkeypatch.setattr(socket, "create_connection", connect)
    sender = Sender(private_targets=False, timeout_s=5)
    attempt = sender.post(f"http://rebinding.example:{port}/", b"{}", {})
    assert connected == [("93.184.216.34", port)]
    assert (attempt.delivered, attempt.again) == (False, True)
    # What it means by now is looked at as the first time.
    attempt = sender.post(f"http://rebinding.example:{port}/", b"{}", {})
    assert connected == [("93.184.216.34", port)]
    assert (attempt.again, attempt.response) == (False, None)
    assert "127.0.0.1" in str(attempt.error)
    assert receiver.requests == []


def test_a_private_target_is_not_connected_to(receiver: Receiver) -> None:
    attempt = Sender(private_targets=False, timeout_s=5).post(receiver.url, b"{}", {})
    assert (attempt.delivered, attempt.response, attempt.again) == (False, None, False)
    assert receiver.requests == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(sender: Sender, receiver: Receiver, status: int) -> None:
    receiver.answers = [(status, {"Location": f"{receiver.url}/internal"}, b"")]
    attempt = sender.post(receiver.url, b"{}", {})
    assert (attempt.delivered, attempt.response, attempt.again) == (False, status, False)
    assert [request.path for request in receiver.requests] == ["/"]


@pytest.mark.parametrize(
    ("status", "after", "again", "wait_s"),
    [
        (500, None, True, None), (502, None, True, None), (503, "3", True, 3.0), (429, "1.5", True, 1.5),
        (429, "-4", True, 0.0), (429, "nan", True, None), (429, "soon", True, None), (429, "999999", True, 3600.0),
        (503, "Wed, 21 Oct 2015 07:28:00 GMT", True, 0.0), (400, "3", False, None), (404, None, False, None),
        (501, None, False, None),
    ],
)  # fmt: skip
def test_who_is_in_trouble_is_asked_again_when_they_say(
    sender: Sender, receiver: Receiver, status: int, after: str | None, again: bool, wait_s: float | None
) -> None:
    receiver.answers = [(status, {} if after is None else {"Retry-After": after}, b"trouble")]
    attempt = sender.post(receiver.url, b"{}", {})
    assert (attempt.delivered, attempt.response, attempt.again, attempt.again_after_s) == (False, status, again, wait_s)


def test_no_proxy_of_the_environment_comes_between(
    sender: Sender, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert sender.post(receiver.url, b"{}", {}).delivered


def test_an_answer_without_end_is_read_to_a_limit(sender: Sender) -> None:
    with talking(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 1_000_000) as url:
        assert len(sender.post(url, b"{}", {}).body) == MAX_ANSWER_BYTES


@pytest.mark.parametrize(("begin", "delivered"), [(b"HTTP/1.1 2", False), (b"HTTP/1.1 200 OK\r\nX: ", True)])
def test_an_answer_that_comes_letter_by_letter_ends_in_time_and_counts_by_its_status(
    begin: bytes, delivered: bool
) -> None:
    sender = Sender(private_targets=True, timeout_s=0.5)
    with talking(begin, *[b"0"] * 20, pause_s=0.1) as url:
        started = time.monotonic()
        attempt = sender.post(url, b"{}", {})
        assert time.monotonic() - started < 1.5
    assert (attempt.delivered, attempt.again) == (delivered, not delivered)
    assert delivered or "longer than 0.5 s" in str(attempt.error)


@pytest.mark.parametrize("said", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 999999 x\r\n\r\n", b"HTTP/1.1 200 OK\r\nbroken"])
def test_what_is_no_http_is_an_attempt_that_failed(sender: Sender, said: bytes) -> None:
    with talking(said) as url:
        attempt = sender.post(url, b"{}", {})
    assert (attempt.delivered, attempt.again) == (attempt.response == 200, attempt.response != 200)


def test_nobody_there_is_told_with_the_host(sender: Sender) -> None:
    attempt = sender.post("http://127.0.0.1:9/secret-path", b"{}", {})
    assert (attempt.delivered, attempt.response, attempt.again) == (False, None, True)
    assert "127.0.0.1" in str(attempt.error) and "secret-path" not in str(attempt.error)


# TLS ------------------------------------------------------------------------------------------------------------------


def certificate(folder: Path, host: str) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert, secret = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    unencrypted = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, unencrypted))
    return cert, secret


@contextmanager
def over_tls(folder: Path, host: str) -> Iterator[tuple[int, ssl.SSLContext, list[str | None]]]:
    """A receiver over TLS: its port, whom to trust, and the names that it was called by."""
    cert, key = certificate(folder, host)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    called: list[str | None] = []
    context.sni_callback = lambda connection, name, context: called.append(name)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            raw = listener.accept()[0]
            try:
                with context.wrap_socket(raw, server_side=True) as connection:
                    while not connection.recv(65536).endswith(b"{}"):
                        pass
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            except OSError:
                raw.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], ssl.create_default_context(cafile=str(cert)), called
        thread.join(5)


def test_a_certificate_is_checked_for_the_name_though_an_address_is_connected_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def local(host: str, *args: object, **kwargs: object) -> object:
        return resolve("127.0.0.1" if host.endswith(".example") else host, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", local)
    for host, delivered in (("hooks.example", True), ("other.example", False)):
        with over_tls(tmp_path, "hooks.example") as (port, trusting, called):
            attempt = Sender(private_targets=True, timeout_s=5, tls=trusting).post(f"https://{host}:{port}/", b"{}", {})
        assert attempt.delivered is delivered, attempt
        assert called == [host]
    assert "certificate" in str(attempt.error).lower()


def test_a_certificate_of_nobody_that_is_trusted_is_refused(tmp_path: Path) -> None:
    with over_tls(tmp_path, "localhost") as (port, _, _):
        attempt = Sender(private_targets=True, timeout_s=5).post(f"https://localhost:{port}/", b"{}", {})
    assert (attempt.delivered, attempt.again) == (False, True)
    assert "certificate" in str(attempt.error).lower()
