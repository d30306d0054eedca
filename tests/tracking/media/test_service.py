"""Media are noted once, all or none, and listed page by page."""

from __future__ import annotations

import msgspec
import pytest

from mainspring.core.errors import InvalidRequest, NotFound, TooLarge
from mainspring.storage.objects.store import open_objects
from mainspring.storage.sql.database import Database
from mainspring.tracking.media.model import MediaItem
from mainspring.tracking.media.service import Media
from mainspring.tracking.service import Tracking


@pytest.fixture
def run(database: Database, tmp_path: object) -> str:
    return Tracking(database, open_objects(f"file://{tmp_path}/objects")).create_run("churn").id


def item(key: str = "a", step: int = 0, number: int = 0, **more: object) -> MediaItem:
    made = MediaItem(
        key=key, step=step, number=number, kind="image", path=f"{key}/{step}-{number}.png", digest="d", size=1
    )
    return msgspec.structs.replace(made, **more)


def test_what_was_noted_is_listed_in_order_page_by_page(database: Database, run: str) -> None:
    media = Media(database)
    items = [
        item(key, step, number, shape=[2, 3], facts={"r": 1})
        for key in "ab"
        for step in (-1, 10, 9)
        for number in (1, 0)
    ]
    media.log_media(run, items)
    media.log_media(run, items[:3])
    wanted = sorted(items, key=lambda one: (one.key, one.step, one.number))
    found: list[MediaItem] = []
    page = None
    while True:
        answer = media.list_media(run, limit=5, page=page)
        found += answer.items
        page = answer.next_page
        if page is None:
            break
    assert found == wanted
    assert media.list_media(run, key="b").items == wanted[6:]
    assert media.list_media(run, kind="audio").items == []
    assert [(key.key, key.items, key.first_step, key.last_step) for key in media.media_keys(run)] == [
        ("a", 6, -1, 10),
        ("b", 6, -1, 10),
    ]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ([item(""), item()], InvalidRequest),
        ([item(), item(path="../x")], InvalidRequest),
        ([item(), item(caption="x" * 8_001)], InvalidRequest),
        ([item(), item(number=-1)], InvalidRequest),
        ([item(), item(step=2**63)], InvalidRequest),
        ([item()] * 1_001, TooLarge),
    ],
)
def test_of_a_call_with_something_wrong_nothing_is_noted(
    database: Database, run: str, wrong: list[MediaItem], error: type[Exception]
) -> None:
    media = Media(database)
    with pytest.raises(error):
        media.log_media(run, wrong)
    assert media.list_media(run).items == []


def test_a_run_that_is_not_there_has_no_media(database: Database) -> None:
    for call in (Media(database).list_media, Media(database).media_keys):
        with pytest.raises(NotFound):
            call("nobody")
    with pytest.raises(NotFound):
        Media(database).log_media("nobody", [item()])
