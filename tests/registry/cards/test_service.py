"""A card tells what is known and names what is not; what people wrote stays, and so does every revision."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mainspring.core.actor import acting_as
from mainspring.core.clock import ManualClock
from mainspring.core.errors import InvalidData, InvalidRequest, NotFound
from mainspring.registry.cards.front_matter import facts_of, split
from mainspring.registry.cards.model import RunFacts
from mainspring.registry.cards.service import Cards
from mainspring.registry.cards.writing import missing_parts
from mainspring.registry.catalogue.service import Catalogue
from mainspring.registry.service import Registry
from mainspring.storage.objects.store import ObjectStore, open_objects
from mainspring.storage.objects.tree import TreeEntry, put_entries, put_tree, tree_entries
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import latest_events
from tests.registry.graphs import columns_folder


class Tracked:
    def facts(self, run: str) -> RunFacts | None:
        if run != "run:r1":
            return None
        return RunFacts(
            ref=run,
            name="first try",
            experiment="churn",
            user="ann",
            started=datetime(2026, 1, 2, tzinfo=UTC),
            commit="0a1b2c",
            dirty=True,
            params={"depth": "3", "odd|name": "a\nb"},
            metrics={"auc": 0.91},
            datasets=["dataset:people@2"],
            python="3.11.7",
            platform="Linux (x86_64)",
            packages=["numpy==2.4.6"],
        )


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return open_objects(f"file://{tmp_path / 'objects'}")


@pytest.fixture
def registry(database: Database, objects: ObjectStore, tmp_path: Path) -> Registry:
    made = Registry(database, objects, clock=ManualClock())
    tree = put_tree(objects, columns_folder(tmp_path / "given"))
    made.register("m", tree, run="run:r1", dataset="dataset:people@2", tags={"license": "mit", "owner": "ann"})
    return made


@pytest.fixture
def cards(registry: Registry, objects: ObjectStore, reached: Callable[[Cards], Cards]) -> Cards:
    return reached(Cards(registry.database, objects, Tracked(), ManualClock()))


def test_a_card_tells_what_is_known_of_a_version(registry: Registry, objects: ObjectStore, cards: Cards) -> None:
    with pytest.raises(NotFound, match="mainspring model make-card m 1"):
        cards.get_card("m", 1)
    text = cards.make_card("m", 1).text
    front, body = split(text)
    version = registry.get_version("m", 1)
    assert (front["license"], front["owner"], front["digest"]) == ("mit", "ann", version.digest)
    assert (front["run"], front["commit"], front["metrics"]) == ("run:r1", "0a1b2c", {"auc": 0.91})
    for told in (
        "run:r1 (first try) of the experiment churn, by ann",
        "commit `0a1b2c` with uncommitted changes",
        "| depth | 3 |",
        "| odd\\|name | a b |",
        "| auc | 0.91 |",
        "- dataset:people@2",
        "| in | town | string | yes |",
        "Python 3.11.7 on Linux (x86_64)",
        "numpy==2.4.6",
        ": clean, 0 pickles",
    ):
        assert told in body
    for entry in tree_entries(objects, version.digest):
        assert f"| {entry.path} | {entry.size} | `{entry.digest}` |" in body
    assert missing_parts(text) == ["introduction", "Intended use", "Limits and risks", "Ethics"]
    assert registry.get_version("m", 1).card == text


def test_what_people_wrote_stays_when_it_is_made_again(registry: Registry, cards: Cards) -> None:
    text = cards.make_card("m", 1).text
    text = text.replace(
        text[text.index("_To be written: who") :].split("\n")[0], "For the retention team.\n\n- not for prices"
    )
    text = text.replace("license: mit", "license: apache-2.0\ncontact: ann@example.org") + "\n## Thanks\n\nTo all.\n"
    cards.set_card("m", 1, text)
    registry.tag_version("m", 1, {"owner": "bob"})
    again = cards.make_card("m", 1).text
    assert "## Intended use\n\nFor the retention team.\n\n- not for prices\n" in again
    assert "## Thanks\n\nTo all.\n" in again
    assert (facts_of(again)["license"], facts_of(again)["contact"]) == ("apache-2.0", "ann@example.org")
    assert "Intended use" not in missing_parts(again)
    assert cards.make_card("m", 1).text == again


def test_every_revision_is_kept_with_who_wrote_it(registry: Registry, cards: Cards, tmp_path: Path) -> None:
    registry.register("m", registry.get_version("m", 1).digest, card="as registered")
    with acting_as("bob", "local"):
        cards.set_card("m", 2, "second")
        assert cards.set_card("m", 2, "second").revision == 2, "the same text is no revision"
    with acting_as("eve", "mlflow 127.0.0.1"):
        Catalogue(registry).describe("m", 2, "third")
    found = [(card.revision, card.text, card.actor) for card in cards.list_cards("m", 2)]
    assert found == [(3, "third", "eve"), (2, "second", "bob"), (1, "as registered", "who registered it")]
    assert cards.get_card("m", 2).text == registry.get_version("m", 2).card == "third"
    assert cards.get_card("m", 2, 1).text == "as registered"
    with pytest.raises(NotFound, match="no card of revision 9"):
        cards.get_card("m", 2, 9)
    with registry.database.read() as connection:
        events = latest_events(connection, kind="CardChanged", ref="model:m@2")
    assert [event.body["revision"] for event in events] == [3, 2]
    Catalogue(registry).rename("m", "n")
    assert len(cards.list_cards("n", 2)) == 3


@pytest.mark.parametrize("front", ["a: [", "- a\n- b", "just words"])
def test_front_matter_that_no_program_can_read_is_refused(cards: Cards, front: str) -> None:
    with pytest.raises(InvalidData, match="front matter"):
        cards.set_card("m", 1, f"---\n{front}\n---\n# It\n")
    with pytest.raises(InvalidRequest, match="characters"):
        cards.set_card("m", 1, "x" * 1_000_001)
    cards.set_card("m", 1, "no front matter\n---\nbut a line\n")


def test_the_files_of_a_version_are_listed_with_their_digests(registry: Registry, cards: Cards) -> None:
    files = {file.path: file.digest for file in cards.list_files("m", 1)}
    assert {"MLmodel", "model.onnx", "mainspring.json"} <= files.keys()
    Catalogue(registry).record("m", "s3://elsewhere")
    assert cards.list_files("m", 2) == []
    assert "they are at s3://elsewhere" in cards.make_card("m", 2).text


def test_a_model_may_ask_for_signatures(registry: Registry, objects: ObjectStore) -> None:
    registry.update_model("m", tags={"require_signature": "true"})
    data = b"flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n"
    tree = put_entries(objects, [TreeEntry("MLmodel", objects.put_bytes(data), len(data))])
    catalogue = Catalogue(registry)
    for call in (
        lambda: catalogue.record("m", "runs:/r/model", tree=tree),
        lambda: catalogue.record("m", "s3://elsewhere"),
    ):
        with pytest.raises(InvalidData, match="versions of m need a signature"):
            call()
    registry.register("m", registry.get_version("m", 1).digest)
    assert registry.get_model("m").latest == 2
