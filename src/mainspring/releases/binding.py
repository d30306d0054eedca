"""Which features a release pins: a version of a view, the column with its key, and the columns that it fills."""

from __future__ import annotations

from mainspring.core.errors import InvalidRequest
from mainspring.features.model import FeatureView
from mainspring.registry.signature import Signature
from mainspring.serving.model import FeatureBinding


def bind(wanted: FeatureBinding, view: FeatureView, signature: Signature, model: str) -> FeatureBinding:
    """Give what is pinned of a wish: *view* by its version, with its key and all columns unless the wish says which.

    Raises InvalidRequest for a view with several key columns, and for columns that the view does not have or that
    *model*, with this signature, does not take.
    """
    if len(view.keys) != 1:
        raise InvalidRequest(
            f"{view.ref} has the keys {', '.join(view.keys)}, and an endpoint reads features by one: define the view "
            "over a column that joins them",
            view=view.ref,
        )
    offered = [feature.name for feature in view.features]
    taken = [field.name for field in signature.inputs]
    if absent := [name for name in wanted.columns if name not in offered]:
        raise InvalidRequest(f"{view.ref} has no feature {', '.join(absent)}; it has {', '.join(offered)}")
    if useless := [name for name in wanted.columns if name not in taken]:
        raise InvalidRequest(f"{model} takes no column {', '.join(useless)}; it takes {', '.join(taken)}")
    columns = wanted.columns or [name for name in offered if name in taken]
    if not columns:
        raise InvalidRequest(
            f"{model} takes none of the features of {view.ref} ({', '.join(offered)}); it takes {', '.join(taken)}",
            view=view.ref,
            model=model,
        )
    key = wanted.key or view.keys[0]
    if key in columns:
        raise InvalidRequest(f"the column {key!r} cannot be the key and filled by it: expected another key column")
    return FeatureBinding(view=view.ref, key=key, columns=columns)


def same_rows(one: FeatureBinding | None, other: FeatureBinding | None) -> bool:
    """Tell whether both read the same rows, whichever columns they take of these; no features are the same too."""
    if one is None or other is None:
        return one is other
    return (one.view, one.key) == (other.view, other.key)


def joined(stable: FeatureBinding | None, canary: FeatureBinding | None) -> FeatureBinding | None:
    """Give what an endpoint reads for both of its arms, which read the same rows."""
    if stable is None or canary is None:
        return stable
    columns = list(dict.fromkeys([*stable.columns, *canary.columns]))
    return FeatureBinding(view=stable.view, key=stable.key, columns=columns)
