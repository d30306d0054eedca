"""What the data plane is told to serve: the payload of the snapshot that the control plane publishes."""

from __future__ import annotations

import msgspec

from mainspring.core.errors import Corrupt
from mainspring.registry.signature import Engine, Signature, Task


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """One release behind an endpoint, ready to be loaded.

    ``path`` is the local folder that holds the files of the tree ``digest``. An arm of the engine ``process`` runs code
    that came with the model, so it is loaded only when ``trusted`` says that its origin is known.
    """

    release: str
    model: str
    digest: str
    path: str
    engine: Engine
    signature: Signature
    task: Task | None = None
    classes: list[str | int] | None = None
    trusted: bool = False

    @property
    def version(self) -> str:
        """The number of the model version, as clients name it."""
        return self.model.rpartition("@")[2]


class FeatureBinding(msgspec.Struct, frozen=True, kw_only=True):
    """The pinned feature view that fills the columns which a request leaves out, read by the key column *key*.

    In a wish, what is left empty is found when it is pinned: the key of the view, all columns that the model takes.
    """

    view: str
    key: str = ""
    columns: list[str] = []


class EndpointState(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint: its stable arm, and the canary that gets ``canary_share`` (0 to 1) of the units.

    ``salt`` belongs to one rollout: while it stays, a growing share only adds units to the canary.
    """

    name: str
    stable: Arm
    canary: Arm | None = None
    canary_share: float = 0.0
    salt: str = ""
    features: FeatureBinding | None = None


class ServingState(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a data worker serves; a new state replaces the old one whole."""

    version: int = 0
    endpoints: list[EndpointState] = msgspec.field(default_factory=list)


_decoder = msgspec.json.Decoder(ServingState)


def encode_state(state: ServingState) -> bytes:
    """Give the snapshot payload of *state*."""
    return msgspec.json.encode(state)


def decode_state(payload: bytes) -> ServingState:
    """Read a snapshot payload; raises Corrupt when it is not one."""
    try:
        return _decoder.decode(payload)
    except msgspec.MsgspecError as broken:
        raise Corrupt(f"the serving snapshot cannot be read: {broken}; publish the state again") from broken
