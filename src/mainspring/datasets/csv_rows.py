"""The rows of a delimited text: which character delimits, where each row begins and ends, and which rows are broken."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import msgspec
import numpy as np
import numpy.typing as npt

_CANDIDATES = b",;\t|"
_PIECE = 32 << 20
_NEWLINE, _QUOTE, _RETURN = 10, 34, 13
Positions = npt.NDArray[np.int64]


class BrokenRow(msgspec.Struct, frozen=True):
    """A row that does not fit: the line where it begins (from 1), and what is wrong with it."""

    line: int
    reason: str


class Layout(msgspec.Struct, frozen=True):
    """What a scan found: the text without blank and broken rows, and the rows that were left out.

    ``regular`` is False when quotes stand where RFC 4180 has none (or a file with quotes has broken rows): the text is
    then to be read with `rows`, which is slower and forgives each row on its own.
    """

    text: bytes
    broken: list[BrokenRow]
    regular: bool


def sniff_delimiter(text: bytes) -> str:
    """Give the delimiter of the text: the one of ``, ; tab |`` that cuts the first rows most evenly; else a comma."""
    best, winner = (0.0, 0), b","
    for code in _CANDIDATES:
        delimiter = bytes([code])
        counts = _fields_per_row(text, delimiter)
        if not counts or counts[0] < 2:
            continue
        even = Counter(counts)[counts[0]] / len(counts)
        if even > 0.5 and (round(even, 2), counts[0]) > best:
            best, winner = (round(even, 2), counts[0]), delimiter
    return winner.decode()


def _fields_per_row(text: bytes, delimiter: bytes) -> list[int]:
    sample = text[: 1 << 16]
    whole = len(sample) == len(text)
    found = []
    for _, fields, _ in _split(sample.decode(errors="replace"), delimiter.decode()):
        found.append(len(fields))
        if len(found) == 101:
            break
    # The last row of a sample is cut somewhere.
    return found if whole or len(found) in (1, 101) else found[:-1]


def first_row(text: bytes, delimiter: str) -> list[str]:
    """Give the fields of the first row that is not blank; an empty list when there is none."""
    stop = 1 << 16
    while True:
        for _, fields, _ in _split(text[:stop].decode(errors="ignore"), delimiter):
            end_seen = stop >= len(text) or _first_row_is_whole(text[:stop])
            if end_seen:
                return fields
            break
        if stop >= len(text):
            return []
        stop *= 4


def _first_row_is_whole(text: bytes) -> bool:
    stripped = text.lstrip(b"\r\n")
    end = stripped.find(b"\n")
    while end >= 0 and stripped.count(b'"', 0, end) % 2:
        end = stripped.find(b"\n", end + 1)
    return end >= 0


def scan(text: bytes, delimiter: str, fields: int) -> Layout:
    """Look at every row of the text in a few vectorised passes, *fields* being how many each row must have."""
    broken: list[BrokenRow] = []
    dropped: list[tuple[int, int]] = []
    position, line, quoted = 0, 1, False
    while position < len(text):
        piece = _cut(text, position)
        if piece is None:
            return Layout(text, [], False)
        codes, quotes = piece
        quoted = quoted or quotes.size > 0
        if not _quotes_are_regular(codes, quotes, ord(delimiter)):
            return Layout(text, [], False)
        line = _judge(codes, quotes, ord(delimiter), fields, position, line, broken, dropped)
        position += codes.size
    if broken and quoted:
        return Layout(text, [], False)
    return Layout(_without(text, dropped), broken, True)


def _cut(text: bytes, start: int) -> tuple[npt.NDArray[np.uint8], Positions] | None:
    """Give about 32 MiB from *start* to the end of a row, and where the quotes are; None if one never closes."""
    size = _PIECE
    while True:
        codes = np.frombuffer(text, np.uint8, min(size, len(text) - start), start)
        quotes = np.flatnonzero(codes == _QUOTE)
        if start + codes.size == len(text):
            return None if quotes.size % 2 else (codes, quotes)
        newlines = np.flatnonzero(codes == _NEWLINE)
        ends = newlines[np.searchsorted(quotes, newlines) % 2 == 0]
        if ends.size:
            stop = int(ends[-1]) + 1
            return codes[:stop], quotes[quotes < stop]
        size *= 2


def _quotes_are_regular(codes: npt.NDArray[np.uint8], quotes: Positions, delimiter: int) -> bool:
    if not quotes.size:
        return True
    opening, closing = quotes[::2], quotes[1::2]
    before = codes[np.maximum(opening - 1, 0)]
    opens_well = (opening == 0) | np.isin(before, [delimiter, _NEWLINE, _QUOTE])
    after = codes[np.minimum(closing + 1, codes.size - 1)]
    closes_well = (closing == codes.size - 1) | np.isin(after, [delimiter, _NEWLINE, _RETURN, _QUOTE])
    return bool(opens_well.all() and closes_well.all())


def _judge(
    codes: npt.NDArray[np.uint8],
    quotes: Positions,
    delimiter: int,
    fields: int,
    offset: int,
    line: int,
    broken: list[BrokenRow],
    dropped: list[tuple[int, int]],
) -> int:
    """Note the blank and the broken rows of a piece; gives the number of the line after it."""
    newlines = np.flatnonzero(codes == _NEWLINE)
    cuts = np.flatnonzero(codes == delimiter)
    ends = newlines
    if quotes.size:
        ends = newlines[np.searchsorted(quotes, newlines) % 2 == 0]
        cuts = cuts[np.searchsorted(quotes, cuts) % 2 == 0]
    if not ends.size or ends[-1] != codes.size - 1:
        ends = np.append(ends, codes.size)
    starts = np.concatenate(([0], ends[:-1] + 1))
    counts = np.diff(np.searchsorted(cuts, ends), prepend=0) + 1
    length = ends - starts
    blank = (length == 0) | ((length == 1) & (codes[np.minimum(starts, codes.size - 1)] == _RETURN))
    for row in np.flatnonzero(blank | (counts != fields)):
        start, end = int(starts[row]), int(ends[row])
        dropped.append((offset + start, offset + end + 1))
        if not blank[row]:
            at = line + int(np.searchsorted(newlines, start))
            broken.append(BrokenRow(at, f"{counts[row]} fields instead of {fields}"))
    return line + newlines.size


def _without(text: bytes, dropped: list[tuple[int, int]]) -> bytes:
    if not dropped:
        return text
    kept, position = [], 0
    for start, end in dropped:
        kept.append(text[position:start])
        position = end
    kept.append(text[position:])
    return b"".join(kept)


def rows(text: bytes, delimiter: str, fields: int) -> tuple[list[list[str]], list[BrokenRow]]:
    """Read every row one by one, the header among them, giving those that are whole and those that are broken.

    A quote counts only at the start of a field. A broken row costs only itself: reading goes on with the next line.
    """
    whole: list[list[str]] = []
    broken: list[BrokenRow] = []
    for line, found, complaint in _split(text.decode(), delimiter):
        if complaint is None and len(found) != fields:
            complaint = f"{len(found)} fields instead of {fields}"
        if complaint is None:
            whole.append(found)
        else:
            broken.append(BrokenRow(line, complaint))
    return whole, broken


def _split(text: str, delimiter: str) -> Iterator[tuple[int, list[str], str | None]]:
    """Yield (line, fields, what is wrong or None) of each row that is not blank."""
    mark = re.escape(delimiter)
    pattern = re.compile(rf'(?:"((?:[^"]|"")*+)"|([^{mark}\r\n]*+))(\r?\n|{mark}|\Z)')
    position, line = 0, 1
    while position < len(text):
        start, fields, complaint = position, [], None
        while True:
            match = pattern.match(text, position)
            if match is None:
                complaint = "a quoted field that does not end at a delimiter"
                end = text.find("\n", start)
                position = len(text) if end < 0 else end + 1
                break
            quoted, plain, stop = match.groups()
            if quoted is None and plain.startswith('"'):
                complaint = "a quote that is never closed"
            fields.append(plain if quoted is None else quoted.replace('""', '"'))
            position = match.end()
            if stop != delimiter:
                break
        if complaint is not None or fields != [""]:
            yield line, fields, complaint
        line += text.count("\n", start, position)
