"""What every protocol of the data plane says no to alike."""

from __future__ import annotations

from mainspring.core.errors import MainspringError, MethodNotAllowed
from mainspring.runtime.http.request import Request


def must_be(request: Request, *methods: bytes) -> None:
    """Raise MethodNotAllowed unless the request has one of these methods."""
    if request.method not in methods:
        allowed = b", ".join(methods).decode()
        raise MethodNotAllowed(
            f"{request.path.decode('latin-1')} takes a {allowed}, not a {request.method.decode('latin-1')}",
            allow=allowed,
        )


def error_headers(error: MainspringError) -> bytes:
    """Give the header lines that go with an error: when to come back, or which methods there are."""
    if error.status == 503:
        return b"retry-after: 1\r\n"
    if isinstance(error, MethodNotAllowed):
        # RFC 9110, 15.5.6: a 405 names the methods that are taken.
        return b"allow: %b\r\n" % str(error.facts.get("allow", "")).encode()
    return b""
