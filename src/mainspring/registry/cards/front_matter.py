"""The YAML front matter of a Markdown card: facts that programs read, above what people read."""

from __future__ import annotations

import re
from typing import Any

import yaml

_FENCED = re.compile(r"\A---\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_MAX_CHARS = 1 << 20


def split(card: str) -> tuple[dict[str, Any], str]:
    """Give the front matter of a card and what follows it; nothing for front matter that is none."""
    found = _FENCED.match(card[:_MAX_CHARS].removeprefix("\ufeff"))
    if found is None:
        return {}, card
    try:
        said = yaml.safe_load(found[1])
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}, card
    return (said if isinstance(said, dict) else {}), card.removeprefix("\ufeff")[found.end() :]


def facts_of(card: str) -> dict[str, str]:
    """Give what the front matter says in single words or numbers, by key."""
    return {str(key): str(value) for key, value in split(card)[0].items() if isinstance(value, str | int | float)}


def check_front_matter(card: str) -> str | None:
    """Say what is wrong with the front matter of a card; None when there is none, or it is sound."""
    found = _FENCED.match(card[:_MAX_CHARS].removeprefix("\ufeff"))
    if found is None:
        return None
    try:
        said = yaml.safe_load(found[1])
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return f"is no YAML: {' '.join(str(error).split())[:200]}"
    return None if said is None or isinstance(said, dict) else "is no mapping of names to values"
