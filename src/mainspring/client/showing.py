"""How media become artifacts of a run, and where they lie."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Sequence
from uuid import UUID

from mainspring.client.entries import Shown
from mainspring.client.media.values import Encoded
from mainspring.client.queueing import RunQueue
from mainspring.storage.objects.digests import digest_of, hexadecimal
from mainspring.tracking.media.model import MAX_ITEMS, MediaItem

LOGGED_IMAGES = "mlflow.loggedImages"
_UNSAFE = re.compile(r"[^A-Za-z0-9_.\-]+")
_SMALL_PIXELS = 256


def keep(queue: RunQueue, media: Sequence[tuple[str, int, Encoded]], step: int, at_us: int) -> None:
    """Keep media, each with its key and its number, as artifacts and note what they are."""
    items: list[MediaItem] = []
    for key, number, encoded in media:
        digest = digest_of(encoded.data)
        path = path_of(key, step, number, at_us, digest, encoded)
        queue.keep_bytes(path, encoded.data)
        if path.startswith("images/"):
            _help_others(queue, path, encoded.data)
        items.append(
            MediaItem(
                key=key,
                step=step,
                kind=encoded.kind,
                path=path,
                digest=digest,
                size=len(encoded.data),
                number=number,
                at_us=at_us,
                caption=encoded.caption,
                shape=encoded.shape,
                facts=encoded.facts,
            )
        )
    for begin in range(0, len(items), MAX_ITEMS):
        queue.append(Shown(queue.run, items[begin : begin + MAX_ITEMS]))


def path_of(key: str, step: int, number: int, at_us: int, digest: str, encoded: Encoded) -> str:
    """Give the path of the artifact. PNGs are named as MLflow names them, so that its page of a run shows them."""
    parts = [_UNSAFE.sub("_", part).strip(".") or "_" for part in key.split("/")]
    mark = hexadecimal(digest)
    if encoded.suffix == ".png":
        name = f"{'~'.join(parts)}+step+{step}+timestamp+{at_us // 1000 + number}+{UUID(mark[:32])}"
        return f"images/{name}.png"
    return f"media/{encoded.kind}/{'/'.join(parts)}/{step:09d}-{number:03d}-{mark[:12]}{encoded.suffix}"


def _help_others(queue: RunQueue, path: str, data: bytes) -> None:
    queue.texts.append((False, LOGGED_IMAGES, "true"))
    pillow = sys.modules.get("PIL.Image")
    if pillow is None:  # Not worth an import: its page then has no small image to show first.
        return
    small = pillow.open(io.BytesIO(data))
    small.thumbnail((_SMALL_PIXELS, _SMALL_PIXELS))
    buffer = io.BytesIO()
    small.convert("RGBA" if "A" in small.getbands() else "RGB").save(buffer, format="WEBP")
    queue.keep_bytes(f"{path.removesuffix('.png')}+compressed.webp", buffer.getvalue())
