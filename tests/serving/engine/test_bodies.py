"""Compressed bodies are read with a bound, and answers are compressed only when that is worth it."""

from __future__ import annotations

import gzip
import zlib

import pytest

from mainspring.core.errors import InvalidRequest, TooLarge, Unsupported
from mainspring.serving.engine.bodies import deflate, inflate

TEXT = b'{"inputs": []}' * 1000


def test_gzip_and_both_kinds_of_deflate_are_read() -> None:
    raw = zlib.compressobj(wbits=-15)
    assert inflate(gzip.compress(TEXT), b"gzip", 10**6) == TEXT
    assert inflate(zlib.compress(TEXT), b"Deflate", 10**6) == TEXT
    assert inflate(raw.compress(TEXT) + raw.flush(), b"deflate", 10**6) == TEXT
    assert inflate(TEXT, b"identity", 10**6) == TEXT


def test_a_bomb_is_refused_at_the_bound() -> None:
    with pytest.raises(TooLarge, match="more than 1000 bytes"):
        inflate(gzip.compress(bytes(10**7)), b"gzip", 1000)


def test_broken_cut_and_unknown_bodies_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="not gzip"):
        inflate(b"plain", b"gzip", 1000)
    with pytest.raises(InvalidRequest, match="ends too early"):
        inflate(gzip.compress(TEXT)[:-20], b"gzip", 10**6)
    with pytest.raises(InvalidRequest, match="not deflate"):
        inflate(b"\xff\xff\xff", b"deflate", 1000)
    with pytest.raises(Unsupported, match="'br'"):
        inflate(TEXT, b"br", 10**6)


def test_only_large_answers_to_willing_clients_are_compressed() -> None:
    assert deflate(b"small", b"gzip") == (b"small", b"")
    assert deflate(TEXT, None) == (TEXT, b"")
    assert deflate(TEXT, b"br") == (TEXT, b"")
    body, header = deflate(TEXT, b"gzip, deflate")
    assert (gzip.decompress(body), header) == (TEXT, b"content-encoding: gzip\r\n")
    body, header = deflate(TEXT, b"deflate")
    assert (zlib.decompress(body), header) == (TEXT, b"content-encoding: deflate\r\n")
