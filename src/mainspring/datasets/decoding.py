"""From the bytes of a text file to clean UTF-8: byte-order marks, UTF-16, and single-byte files that say nothing."""

from __future__ import annotations

import codecs
import re

import msgspec

from mainspring.core.errors import InvalidData, InvalidRequest

_MARKS = [  # UTF-32 first: its little-endian mark begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
]
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")
_TYPOGRAPHIC = frozenset("‘’“”–—…€°£©®™§·«»¿¡´ºª\u00a0½¼¾²³µ±")
_ACCENTED_PAIR = re.compile("[\u00c0-\u00ff]{2}")
_SAMPLE = 1 << 20


class Decoded(msgspec.Struct, frozen=True):
    """UTF-8 bytes without a mark and with newlines as ``\\n`` or ``\\r\\n``, the encoding they had, and a warning."""

    data: bytes
    encoding: str
    warning: str | None = None


def decode(data: bytes, encoding: str | None = None) -> Decoded:
    """Bring a text file to UTF-8; *encoding* overrules what would be detected.

    Without a mark, UTF-8 is tried, then UTF-16 (by its pattern of zero bytes), then Windows-1252, which is accepted
    with a warning only when every byte exists in it and nothing speaks for broken UTF-8. Raises InvalidData that names
    the offset of the first byte that does not fit, and InvalidRequest for an encoding that Python does not know.
    """
    if encoding is not None:
        return _lines(Decoded(_transcode(data, _known(encoding)), encoding))
    for mark, name in _MARKS:
        if data.startswith(mark):
            return _lines(Decoded(_transcode(data[len(mark) :], name, len(mark)), name))
    if guess := _utf16_without_mark(data[:4096]):
        return _lines(Decoded(_transcode(data, guess), guess))
    try:
        str(data, "utf-8")
    except UnicodeDecodeError as error:
        return _lines(_single_byte(data, error.start))
    return _lines(Decoded(data, "utf-8"))


def _lines(decoded: Decoded) -> Decoded:
    data = decoded.data
    zero = data.find(b"\0")
    if zero >= 0:
        raise InvalidData(
            f"byte {zero} is zero: this is not a text file, or its encoding was not recognised; "
            "save it as CSV, Parquet or Arrow, or give its encoding with the option encoding",
            offset=zero,
        )
    if b"\r" in data and b"\n" not in data:
        return msgspec.structs.replace(decoded, data=data.replace(b"\r", b"\n"))
    return decoded


def _known(encoding: str) -> str:
    try:
        info = codecs.lookup(encoding)
    except LookupError:
        raise InvalidRequest(
            f"unknown encoding {encoding!r}: expected a name such as utf-8, cp1252, latin-1 or shift_jis"
        ) from None
    return "utf-8-sig" if info.name == "utf-8" else info.name


def _transcode(data: bytes, encoding: str, skipped: int = 0) -> bytes:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        offset = error.start + skipped
        raise InvalidData(
            f"byte {offset} (0x{data[error.start]:02x}) is not {encoding}: {error.reason}; "
            "give the encoding of the file with the option encoding",
            offset=offset,
            encoding=encoding,
        ) from None
    return text.removeprefix("\ufeff").encode()


def _utf16_without_mark(head: bytes) -> str | None:
    pairs = len(head) // 2
    if pairs < 2 or b"\0" not in head:
        return None
    low, high = head[0 : 2 * pairs : 2].count(0) / pairs, head[1 : 2 * pairs : 2].count(0) / pairs
    if high > 0.6 and low < 0.05:
        return "utf-16-le"
    return "utf-16-be" if low > 0.6 and high < 0.05 else None


def _single_byte(data: bytes, offset: int) -> Decoded:
    remedy = "; give its encoding with the option encoding, such as cp1252, latin-1 or shift_jis"
    line = data.count(b"\n", 0, offset) + 1
    where = f"byte {offset} (0x{data[offset]:02x}, line {line}) is not UTF-8"
    facts = {"offset": offset, "line": line}
    window = data[max(0, offset - _SAMPLE // 2) : offset + _SAMPLE // 2]
    lenient = window.decode("utf-8", "replace")
    multibyte = sum(character > "\x7f" and character != "\ufffd" for character in lenient)
    if multibyte > lenient.count("\ufffd") / 10:
        raise InvalidData(
            f"{where}, though the text around it is: the file is damaged or mixes encodings{remedy}", **facts
        )
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        raise InvalidData(f"{where}, nor is the file Windows-1252{remedy}", **facts) from None
    if _CONTROL.search(text[:_SAMPLE]) or not _reads_like_western(text[:_SAMPLE]):
        raise InvalidData(f"{where}, and it does not read like text in Windows-1252{remedy}", **facts)
    warning = f"{where}: read as Windows-1252; if that is wrong, say the encoding with the option encoding"
    return Decoded(text.encode(), "cp1252", warning)


def _reads_like_western(text: str) -> bool:
    """Tell whether the characters beyond ASCII are those of Western languages, standing as these use them."""
    beyond = [character for character in text if character > "\x7f"]
    known = [character for character in beyond if "\u00c0" <= character <= "\u00ff" or character in _TYPOGRAPHIC]
    # Cyrillic or Greek bytes are accented letters in Windows-1252, but whole words of them.
    adjacent = len(_ACCENTED_PAIR.findall(text))
    return len(known) >= 0.8 * len(beyond) and adjacent <= 0.2 * len(beyond)
