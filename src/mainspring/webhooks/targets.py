"""Where a webhook may point: public addresses only, unless private ones are allowed.

A server that posts wherever it is told can be made to post to what only it can reach: the metadata service of its
cloud, a database beside it. So a host is resolved here, all its addresses are looked at, and the connection goes to the
very address that was looked at: a name that means something else a moment later changes nothing.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from urllib.parse import urlsplit

import msgspec

from mainspring.core.errors import Forbidden, InvalidRequest, Unavailable

_MAX_CHARS = 2048
_PORTS = {"https": 443, "http": 80}
_UNSAFE = re.compile(r"[\x00-\x20\x7f]")
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class Target(msgspec.Struct, frozen=True):
    """The parts of a webhook's URL; ``path`` with the query."""

    scheme: str
    host: str
    port: int
    path: str


def read_target(url: str) -> Target:
    """Read the URL of a webhook; raises InvalidRequest for one that cannot be posted to."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidRequest(f"Invalid webhook URL: {error}") from None
    if _UNSAFE.search(url) or len(url) > _MAX_CHARS or not url.isascii():
        raise InvalidRequest(
            f"Invalid webhook URL: expected at most {_MAX_CHARS} ASCII characters without blanks; write others as %XX"
        )
    if parts.scheme not in _PORTS:
        raise InvalidRequest(f"Invalid webhook URL scheme: {parts.scheme!r}. Allowed schemes are: https, http.")
    if not parts.hostname or port == 0:
        raise InvalidRequest("Webhook URL must include a hostname, and may include a port from 1 to 65535")
    if parts.username is not None or parts.password is not None:
        raise InvalidRequest("a webhook URL has no user or password in it: sign the deliveries with a secret")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, parts.hostname, port or _PORTS[parts.scheme], path)


def addresses_of(target: Target, *, private: bool) -> list[str]:
    """Resolve the host of a target to the addresses that may be connected to.

    Raises Unavailable when it cannot be resolved, and Forbidden when any of its addresses is not public, unless
    *private* ones are allowed.
    """
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unavailable(f"the webhook's host {target.host!r} cannot be resolved: {error}") from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        if not private and not is_public(ipaddress.ip_address(address)):
            raise Forbidden(
                f"Webhook URL must not resolve to a private, loopback or otherwise non-public address: {target.host!r} "
                f"resolves to {address}. Whoever runs the platform can allow it: webhook_private_targets = true"
            )
    return addresses


def is_public(address: _Address) -> bool:
    """Tell whether an address is of the public internet, also when it stands for another one."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)
