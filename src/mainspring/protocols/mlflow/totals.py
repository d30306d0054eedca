"""The tokens and the cost of a trace, summed over its spans.

A span that sums up what happens below it is counted, and what is below it is not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mainspring.traces.model import Span

_USAGE, _COST = "mlflow.chat.tokenUsage", "mlflow.llm.cost"
_GEN_AI = {"input_tokens": "gen_ai.usage.input_tokens", "output_tokens": "gen_ai.usage.output_tokens"}
_TOKENS = ("input_tokens", "output_tokens", "total_tokens")
_COSTS = ("input_cost", "output_cost", "total_cost")

Counted = dict[str, float]


def counts(span: Span) -> bool:
    """Tell whether a span counts tokens or cost."""
    return bool(_tokens(span) or _cost(span))


def totals(spans: Sequence[Span]) -> dict[str, str]:
    """Give the sums as metadata of the trace; without what no span counts."""
    found: dict[str, str] = {}
    for key, names, count in (("mlflow.trace.tokenUsage", _TOKENS, _tokens), ("mlflow.trace.cost", _COSTS, _cost)):
        top = _topmost(spans, count)
        if top:
            every = dict.fromkeys([*names, *(name for one in top for name in one)])
            found[key] = json.dumps({name: sum(one.get(name, 0) for one in top) for name in every})
    return found


def _topmost(spans: Sequence[Span], count: Callable[[Span], Counted]) -> list[Counted]:
    counted = {span.id: found for span in spans if (found := count(span))}
    parents = {span.id: span.parent for span in spans}
    return [found for id, found in counted.items() if not _is_below(id, parents, counted)]


def _is_below(id: str, parents: Mapping[str, str | None], counted: Mapping[str, Counted]) -> bool:
    seen = {id}
    above = parents.get(id)
    # Spans of a broken client may go round in a circle.
    while above is not None and above not in seen:
        if above in counted:
            return True
        seen.add(above)
        above = parents.get(above)
    return False


def _tokens(span: Span) -> Counted:
    said = _numbers(span.attributes.get(_USAGE))
    if said:
        return said
    found = _numbers({name: span.attributes.get(key) for name, key in _GEN_AI.items()})
    return found | {"total_tokens": sum(found.values())} if found else {}


def _cost(span: Span) -> Counted:
    return _numbers(span.attributes.get(_COST))


def _numbers(value: Any) -> Counted:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    if not isinstance(value, dict):
        return {}
    return {name: one for name, one in value.items() if isinstance(one, int | float) and not isinstance(one, bool)}
