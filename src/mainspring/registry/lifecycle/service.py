"""The verbs of the life of models: rename, delete, restore and forget models and versions."""

from __future__ import annotations

from mainspring.core.errors import AlreadyExists, InvalidRequest, NotFound
from mainspring.core.operations import operation
from mainspring.core.refs import ref
from mainspring.registry import store as registry_store
from mainspring.registry.catalogue.service import Catalogue
from mainspring.registry.deleted import store
from mainspring.registry.deleted.model import DeletedModel
from mainspring.registry.events import DeletedForgotten, ModelRestored, ModelVersionRestored
from mainspring.registry.model import Model, ModelVersion
from mainspring.storage.sql.journal import emit

MAX_PAGE = 1000


class ModelLifecycle:
    """How models and versions end, and come back."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue, self.database, self.clock = catalogue, catalogue.database, catalogue.clock

    @operation("POST /models/{name}/rename")
    def rename_model(self, name: str, new_name: str) -> Model:
        """Give a model another name; lineage and history lead from the new name to the former.

        Raises NotFound, AlreadyExists.
        """
        return self.catalogue.rename(name, new_name)

    @operation("DELETE /models/{name}")
    def delete_model(self, name: str) -> None:
        """Delete a model with its versions, tags and aliases, until somebody restores it; what is deployed serves on.

        Raises NotFound, GateRefused while an alias of it is protected and set.
        """
        self.catalogue.delete_model(name)

    @operation("DELETE /models/{name}/versions/{version}")
    def delete_version(self, name: str, version: int) -> None:
        """Delete a version and the aliases that point to it, until somebody restores it; else as delete_model."""
        self.catalogue.delete_version(name, version)

    @operation("GET /deleted-models")
    def list_deleted_models(self, limit: int = 100) -> list[DeletedModel]:
        """List the models and versions that can be restored, the last that were deleted first."""
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidRequest(f"limit={limit}: expected 1 to {MAX_PAGE}")
        with self.database.read() as connection:
            return store.list_deleted(connection, limit)

    @operation("POST /deleted-models/{name}/restore")
    def restore_model(self, name: str) -> Model:
        """Bring back the model that was deleted last under this name, with its versions, tags and stages.

        Its aliases are not set again: what is in use now may be another version. Raises NotFound when none was deleted,
        AlreadyExists when the name was given again.
        """
        with self.database.begin() as connection:
            if registry_store.lock_model(connection, name):
                raise AlreadyExists(
                    f"there is a model {name}; rename it first, then restore the deleted one", name=name
                )
            number, rows = _found(store.find(connection, name, None), f"no model {name} was deleted")
            stages = store.bring_back(connection, name, rows)
            store.forget(connection, number)
            emit(connection, ModelRestored(model=ref("model", name), stages={str(n): s for n, s in stages.items()}))
            return registry_store.require_model(connection, name)

    @operation("POST /deleted-models/{name}/versions/{version}/restore")
    def restore_version(self, name: str, version: int) -> ModelVersion:
        """Bring back a version that was deleted, without the aliases that pointed to it.

        Raises NotFound when it was not deleted, or its model is not there.
        """
        with self.database.begin() as connection:
            registry_store.lock_model(connection, name)
            registry_store.require_model(connection, name)
            missing = f"no version {version} of model {name} was deleted by itself"
            number, rows = _found(store.find(connection, name, version), missing)
            stages = store.bring_back(connection, name, rows)
            store.forget(connection, number)
            registry_store.set_model(connection, name, {"updated": self.clock.now()})
            emit(connection, ModelVersionRestored(model=ref("model", name, version), stage=stages[version]))
            return registry_store.require_version(connection, name, version)

    @operation("DELETE /deleted-models/{name}")
    def forget_deleted_model(self, name: str, version: int | None = None) -> None:
        """Keep a deleted model, or a deleted version, no more: it cannot be restored, and its files may be collected.

        Raises NotFound when it was not deleted.
        """
        with self.database.begin() as connection:
            number, _ = _found(store.find(connection, name, version), f"nothing deleted is called {name}")
            store.forget(connection, number)
            emit(connection, DeletedForgotten(model=ref("model", name, version)))


def _found(found: tuple[int, store.Rows] | None, missing: str) -> tuple[int, store.Rows]:
    if found is None:
        raise NotFound(f"{missing}; `mainspring model list-deleted` shows what can be restored")
    return found
