"""Webhooks point to the public internet, however their address is written."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from mainspring.core.errors import Forbidden, InvalidRequest, Unavailable
from mainspring.webhooks.targets import Target, addresses_of, is_public, read_target


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1",
        "255.255.255.255", "240.0.0.1", "::", "::1", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:169.254.169.254", "2002:7f00:1::", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2001:0:0:0::1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public_are_known(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "64:ff9b::101:101"])
def test_addresses_that_are_public_are_known(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://localhost:8080/", "http://2130706433/", "http://0x7f.1/", "http://[::1]/",
        "http://[::ffff:10.0.0.1]/", "https://169.254.169.254/latest/meta-data/",
    ],
)  # fmt: skip
def test_a_private_target_is_refused_unless_it_is_allowed(url: str) -> None:
    target = read_target(url)
    with pytest.raises(Forbidden, match="webhook_private_targets"):
        addresses_of(target, private=False)
    assert addresses_of(target, private=True)


def test_one_private_address_among_public_ones_is_enough_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in ("1.1.1.1", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found)
    with pytest.raises(Forbidden, match=r"10\.0\.0\.1"):
        addresses_of(read_target("https://two-faced.example/"), private=False)


def test_a_host_that_is_not_there_may_be_later() -> None:
    with pytest.raises(Unavailable, match="cannot be resolved"):
        addresses_of(read_target("https://nowhere.invalid/"), private=False)


def test_a_url_is_read_as_it_will_be_posted_to() -> None:
    assert read_target("https://example.com") == Target("https", "example.com", 443, "/")
    assert read_target("http://example.com:81/a/b?c=d#e") == Target("http", "example.com", 81, "/a/b?c=d")


@pytest.mark.parametrize(
    "url",
    [
        "", "example.com/x", "file:///etc/passwd", "gopher://example.com", "http://", "http://example.com:0/",
        "http://example.com:99999/", "http://[::1", "http://user:pass@example.com/", "http://user@example.com/",
        "http://example.com/a b", "http://example.com/\r\nX: y", "http://example.com/\t", "http://exämple.com/",
        "http://example.com/" + "x" * 2100,
    ],
)  # fmt: skip
def test_what_cannot_be_posted_to_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest):
        read_target(url)
