"""URLs as they may be shown: whoever tells of one tells it without its secrets."""

from __future__ import annotations

import re

# Greedy on purpose: a password may hold any character, and hiding too much does no harm. The scheme may be missing.
_CREDENTIALS = re.compile(r"((?:^(?!.*://)|://)[^:/@?]*):.*@")
_OPTION = re.compile(r"([?&][^=&]*(?:passw|secret|token)[^=&]*=)[^&#]*", re.IGNORECASE)


def without_secrets(url: str) -> str:
    """Give the text with ``***`` in place of the password and of every option that is named like a secret."""
    return _OPTION.sub(r"\1***", _CREDENTIALS.sub(r"\1:***@", url))
