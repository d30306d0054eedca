"""How a client logs in where a login is asked for: by a token, its own or that of the home it may read."""

from __future__ import annotations

from pathlib import Path

OWNER_FILE = "owner.token"
"""In a home: what opens the control plane that runs on it, for whoever may read the home."""


def owner_token(home: str | Path) -> str:
    """Give the token of the owner of a home; empty where there is none to be read."""
    try:
        return (Path(home) / OWNER_FILE).read_text("ascii").strip()
    except OSError:
        return ""


def login(token: str) -> dict[str, str]:
    """Give the headers that log in by a token; none without one."""
    return {"authorization": f"Bearer {token}"} if token else {}
