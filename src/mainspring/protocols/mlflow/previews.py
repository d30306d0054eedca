"""The beginning of what was asked and answered, as lists of traces show it: of a chat, the text of its last message."""

from __future__ import annotations

import json
from typing import Any, TypeGuard


def preview_of(value: Any, role: str) -> str | None:
    """Give the text that stands for a request (*role* user) or a response (assistant); None when there is none."""
    if value is None:
        return None
    try:
        said = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        said = None
    spoken = _spoken(said, role)
    if spoken:
        return spoken
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _spoken(said: Any, role: str, depth: int = 0) -> str | None:
    messages = _messages(said)
    if messages:
        last = next((one for one in reversed(messages) if one.get("role") == role), messages[-1])
        return _content(last["content"])
    if isinstance(said, dict) and "request" in said and depth < 5:
        return _spoken(said["request"], role, depth + 1)
    return None


def _messages(said: Any) -> list[dict[str, Any]]:
    if not isinstance(said, dict):
        return []
    for name in ("messages", "input", "output"):
        if isinstance(said.get(name), list) and said[name]:
            return [one for one in said[name] if _is_message(one)]
    choices = said.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        message = choices[0].get("message")
        return [message] if _is_message(message) else []
    return []


def _is_message(one: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(one, dict) and "role" in one and "content" in one


def _content(content: Any) -> str | None:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    texts = [part.get("text") for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)]
    return str(texts[0]) if texts else None
