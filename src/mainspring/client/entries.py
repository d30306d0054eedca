"""What a run logger keeps on disk, entry by entry, until it has arrived."""

from __future__ import annotations

from datetime import datetime

import msgspec

from mainspring.tracking.alerts.model import AlertLevel
from mainspring.tracking.media.model import MediaItem
from mainspring.tracking.model import Environment, RunEnd, SourceCode

WRITER = "log"
"""The folder of the entries of one logger, inside its own folder."""
OBJECTS = "objects"
"""The folder of the files that one logger keeps, by their digests."""
OUTPUT = "output"
"""The folder of what the run printed."""
OUTPUT_LOG = "logs/output.log"
"""The artifact that it becomes."""
DESCRIPTION = "run.json"


class Description(msgspec.Struct, frozen=True):
    """Whose entries a folder has; ``begun`` is whether the run started there, so that its end is expected there too.

    ``sent_by`` is the folder of the logger that sends them, where that is another one: the parent process of a fork.
    """

    run: str
    experiment: str | None = None
    name: str | None = None
    started: datetime | None = None
    begun: bool = False
    sent_by: str | None = None


class Start(msgspec.Struct, frozen=True, tag="start"):
    """The run began; its id was made here, so that nobody has to be asked. With ``resume`` an ended one goes on."""

    run: str
    experiment: str
    name: str | None
    parent: str | None
    params: dict[str, str]
    tags: dict[str, str]
    started: datetime
    resume: bool = False


class Batch(msgspec.Struct, frozen=True, tag="batch"):
    """What was logged; a metric is (key, value, step, microseconds since 1970)."""

    run: str
    metrics: list[tuple[str, float, int, int]]
    params: dict[str, str]
    tags: dict[str, str]


class Origin(msgspec.Struct, frozen=True, tag="origin"):
    """Where the run happens, and of which code."""

    run: str
    environment: Environment | None
    code: SourceCode | None


class Content(msgspec.Struct, frozen=True, tag="content"):
    """A small artifact, with its bytes."""

    run: str
    path: str
    data: bytes


class File(msgspec.Struct, frozen=True, tag="file"):
    """A larger artifact; its bytes are kept under their digest beside the entries."""

    run: str
    path: str
    digest: str


class Shown(msgspec.Struct, frozen=True, tag="shown"):
    """Some artifacts are media."""

    run: str
    items: list[MediaItem]


class Alerted(msgspec.Struct, frozen=True, tag="alerted"):
    """The program said that somebody should look at the run."""

    run: str
    title: str
    text: str
    level: AlertLevel
    raised: datetime


class End(msgspec.Struct, frozen=True, tag="end"):
    """The run ended."""

    run: str
    status: RunEnd
    ended: datetime


class Left(msgspec.Struct, frozen=True, tag="left"):
    """The logger stopped and left the run as it is."""

    run: str


Entry = Start | Origin | Batch | Content | File | Shown | Alerted | End | Left
encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Entry).decode
