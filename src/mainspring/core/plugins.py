"""Names that stand for things which are imported only when they are asked for."""

from __future__ import annotations

import re
from collections import Counter
from importlib import import_module
from importlib.metadata import PackageNotFoundError, entry_points, requires
from typing import Generic, TypeVar

from mainspring.core.errors import MissingExtra, NotFound, Unsupported

T = TypeVar("T")
_EXTRA = re.compile(r"extra == ['\"]([\w-]+)['\"]")


class Registry(Generic[T]):
    """One kind of plug-in: built-in ones by ``module:attribute``, others by entry points ``mainspring.<kind>``.

    A built-in name cannot be taken over by an entry point: what the house ships does what the docs say.
    """

    def __init__(self, kind: str, **builtin: str) -> None:
        self.kind = kind
        self._builtin = builtin

    def names(self) -> list[str]:
        """List what can be loaded, sorted."""
        found = entry_points(group=f"mainspring.{self.kind}")
        return sorted({*self._builtin, *(point.name for point in found)})

    def load(self, name: str) -> T:
        """Import what *name* stands for.

        Raises NotFound for an unknown name, MissingExtra when it needs a package that is not installed, and Unsupported
        when a plug-in of somebody else cannot be imported.
        """
        if name in self._builtin:
            module, attribute = self._builtin[name].split(":")
            try:
                return getattr(import_module(module), attribute)  # type: ignore[no-any-return]
            except ModuleNotFoundError as missing:
                raise self._missing(name, missing) from missing
        for point in entry_points(group=f"mainspring.{self.kind}", name=name):
            try:
                return point.load()  # type: ignore[no-any-return]
            except ModuleNotFoundError as missing:
                raise self._missing(name, missing) from missing
            except (ImportError, AttributeError) as error:
                whose = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
                raise Unsupported(
                    f"{self.kind} {name!r} of the package {whose} cannot be loaded: {error}: upgrade or remove it"
                ) from error
        raise NotFound(f"no {self.kind} {name!r}; known: {', '.join(self.names())}", name=name)

    def _missing(self, name: str, missing: ModuleNotFoundError) -> MissingExtra:
        package = (missing.name or str(missing)).partition(".")[0]
        extra = _extra_with(package)
        install = f"'mainspring[{extra}]'" if extra else package
        return MissingExtra(f"{self.kind} {name!r} needs {package}: pip install {install}", missing=package)


def _extra_with(package: str) -> str | None:
    """Give the smallest extra of Mainspring that brings *package* along."""
    try:
        wanted = requires("mainspring") or []
    except PackageNotFoundError:
        return None
    extras = [(line, found[1]) for line in wanted if (found := _EXTRA.search(line))]
    sizes = Counter(extra for _, extra in extras)
    named = re.compile(rf"{re.escape(package)}\b", re.IGNORECASE)
    return min((extra for line, extra in extras if named.match(line)), key=sizes.__getitem__, default=None)
