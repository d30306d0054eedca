"""One POST request to a webhook, over a connection to an address that was looked at before."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from mainspring.core.errors import Forbidden, InvalidRequest, Unavailable
from mainspring.version import __version__
from mainspring.webhooks.model import Attempt
from mainspring.webhooks.targets import Target, addresses_of, read_target

MAX_ANSWER_BYTES = 16_384
"""What is read of an answer; a receiver that says more is not listened to."""
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_MAX_WAIT_S = 3600.0


class Sender:
    """Posts to webhooks; a request takes *timeout_s* at most, however slowly the receiver answers."""

    def __init__(self, *, private_targets: bool, timeout_s: float, tls: ssl.SSLContext | None = None) -> None:
        self.private_targets, self.timeout_s, self._tls = private_targets, timeout_s, tls

    def check(self, url: str) -> None:
        """Raise InvalidRequest or Forbidden for a URL that is not posted to.

        A host that cannot be resolved just now may be later; each delivery asks again.
        """
        with suppress(Unavailable):
            addresses_of(read_target(url), private=self.private_targets)

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Attempt:
        """Post *body* and tell what came of it; redirects are not followed, and no proxy of the environment is used."""
        deadline = time.monotonic() + self.timeout_s
        try:
            target = read_target(url)
            addresses = addresses_of(target, private=self.private_targets)
        except (Forbidden, InvalidRequest) as error:
            return Attempt(delivered=False, error=str(error))
        except Unavailable as error:
            return Attempt(delivered=False, error=str(error), again=True)
        failure: Exception | None = None
        for address in addresses:
            try:
                connection = self._connected(target, address, deadline)
            except (OSError, ssl.SSLError) as error:
                failure = error
                continue
            return self._exchanged(connection, target, body, headers, deadline)
        return Attempt(delivered=False, error=f"cannot connect to {target.host}: {_said(failure)}", again=True)

    def _connected(self, target: Target, address: str, deadline: float) -> http.client.HTTPConnection:
        opened = socket.create_connection((address, target.port), timeout=_left(deadline))
        try:
            if target.scheme == "https":
                self._tls = self._tls or ssl.create_default_context()
                opened.settimeout(_left(deadline))
                # The certificate is checked for the name in the URL, not for the address.
                opened = self._tls.wrap_socket(opened, server_hostname=target.host)
        except BaseException:
            opened.close()
            raise
        connection = http.client.HTTPConnection(target.host, target.port)
        connection.sock = opened
        return connection

    def _exchanged(
        self,
        connection: http.client.HTTPConnection,
        target: Target,
        body: bytes,
        headers: Mapping[str, str],
        deadline: float,
    ) -> Attempt:
        opened = connection.sock
        # Timeouts of a socket begin anew with each byte: this one ends all.
        end = threading.Timer(_left(deadline), _cut, (opened,))
        end.daemon = True
        end.start()
        try:
            # Later than the end of all, so that one of them alone decides.
            opened.settimeout(_left(deadline) + 1.0)
            host = f"[{target.host}]" if ":" in target.host else target.host
            default = target.port == (443 if target.scheme == "https" else 80)
            connection.putrequest("POST", target.path, skip_host=True, skip_accept_encoding=True)
            given = {
                "Host": host if default else f"{host}:{target.port}",
                "User-Agent": f"mainspring/{__version__}",
                "Accept": "*/*",
                "Connection": "close",
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
                **headers,
            }
            for name, value in given.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            with connection.getresponse() as response:
                answer = response.read(MAX_ANSWER_BYTES).decode("utf-8", "replace")
                return _judged(response.status, answer, response.headers.get("Retry-After"))
        except (OSError, ValueError, http.client.HTTPException) as error:
            late = time.monotonic() >= deadline
            said = f"it took longer than {self.timeout_s:g} s" if late else _said(error)
            return Attempt(delivered=False, error=f"{target.host} did not answer: {said}", again=True)
        finally:
            end.cancel()
            connection.close()
            opened.close()


def _judged(status: int, answer: str, retry_after: str | None) -> Attempt:
    if 200 <= status < 300:
        return Attempt(delivered=True, response=status, body=answer)
    return Attempt(
        delivered=False,
        response=status,
        body=answer,
        again=status in _AGAIN,
        again_after_s=_seconds(retry_after) if status in _AGAIN else None,
    )


def _seconds(retry_after: str | None) -> float | None:
    if retry_after is None:
        return None
    try:
        wait_s = float(retry_after)
    except ValueError:
        try:
            at = parsedate_to_datetime(retry_after)
        except ValueError:
            return None
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        wait_s = (at - datetime.now(UTC)).total_seconds()
    return min(max(wait_s, 0.0), _MAX_WAIT_S) if wait_s == wait_s else None


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


def _cut(opened: socket.socket) -> None:
    with suppress(OSError):
        # Not that of TLS, which would go on in clear text.
        socket.socket.shutdown(opened, socket.SHUT_RDWR)


def _said(error: Exception | None) -> str:
    return str(error) or type(error).__name__
