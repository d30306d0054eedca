"""The verb of models from a hub: files that were brought here become a version, with their licence and origin."""

from __future__ import annotations

from mainspring.core.errors import AlreadyExists, InvalidRequest
from mainspring.core.operations import operation
from mainspring.registry.catalogue.service import Catalogue
from mainspring.registry.model import ModelVersion


class HubModels:
    """Models that come from a hub."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue

    @operation("POST /models/{name}/hub-versions")
    def register_hub_model(
        self, name: str, digest: str, origin: str, card: str = "", tags: dict[str, str] | None = None
    ) -> ModelVersion:
        """Make a version of the files in the tree *digest*, which come from *origin* (``hf:ORG/NAME@COMMIT``).

        The model is created when it does not exist. *card* is the model's own. Files that are no model which can be
        served from here are a record that says so. Raises NotFound when there is no such tree, UnsafeModel when a
        pickle in it would run commands or code.
        """
        if not origin.startswith("hf:"):
            raise InvalidRequest(f"origin={origin!r}: expected hf:ORG/NAME@COMMIT")
        try:
            self.catalogue.registry.create_model(name)
        except AlreadyExists:
            pass
        told = {"origin": origin, **(tags or {})}
        return self.catalogue.record(name, origin, tree=digest, location=origin, card=card, tags=told)
