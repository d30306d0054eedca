"""Names that stand for things which are imported only when they are asked for."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from mainspring.core.errors import MissingExtra, NotFound

T = TypeVar("T")


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

        Raises NotFound for an unknown name and MissingExtra when it needs a package that is not installed.
        """
        try:
            if name in self._builtin:
                module, attribute = self._builtin[name].split(":")
                return getattr(import_module(module), attribute)  # type: ignore[no-any-return]
            for point in entry_points(group=f"mainspring.{self.kind}", name=name):
                return point.load()  # type: ignore[no-any-return]
        except ModuleNotFoundError as missing:
            raise MissingExtra(
                f"{self.kind} {name!r} needs {missing.name}: pip install 'mainspring[{name}]'", missing=missing.name
            ) from missing
        raise NotFound(f"no {self.kind} {name!r}; known: {', '.join(self.names())}", name=name)
