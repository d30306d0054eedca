"""The examples of a page: its fenced blocks, its indented commands, the commands it names in a sentence."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]

_FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"^    (mainspring\b.*)$", re.MULTILINE)
_INLINE = re.compile(r"`(mainspring\b[^`]*)`")


class Block(NamedTuple):
    language: str
    text: str


def fenced(page: Path) -> list[Block]:
    """The fenced blocks, in order."""
    return [Block(*found) for found in _FENCED.findall(page.read_text())]


def commands(text: str) -> list[list[str]]:
    """The arguments of each ``mainspring`` line of a shell block, comments left out."""
    lines = [shlex.split(line, comments=True) for line in text.splitlines()]
    return [words[1:] for words in lines if words[:1] == ["mainspring"]]


def forms(page: Path) -> list[list[str]]:
    """The commands that are shown to be adapted: indented, or named in a sentence."""
    text = page.read_text()
    prose = _FENCED.sub("", text)
    # What may be left out is written in brackets: the form without the brackets must parse.
    shown = [re.sub(r"[\[\]]", "", line) for line in (*_INDENTED.findall(prose), *_INLINE.findall(prose))]
    return [words[1:] for words in (shlex.split(line.partition(" > ")[0], comments=True) for line in shown)]
