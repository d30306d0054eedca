"""Feature views: one definition offline and online."""

from __future__ import annotations

import itertools
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mainspring.core.errors import Conflict, InvalidData, InvalidRequest, NotFound
from mainspring.features.model import Feature
from mainspring.features.online import OnlineReader
from mainspring.features.service import Features
from mainspring.storage.sql.journal import edges_up

START = datetime(2026, 1, 1, tzinfo=UTC)
INSTANT = pl.Datetime("us", "UTC")
FEATURES = [
    Feature("amount", "amount"),
    Feature("city", "city"),
    Feature("at_last", "at"),
    Feature("spent", "amount", "sum", "6h"),
    Feature("visits", "amount", "count", "6h"),
    Feature("usual", "amount", "mean", "1d"),
]
names = itertools.count()


def orders(rows: list[tuple]) -> pl.DataFrame:
    schema = {"user": pl.Int64, "at": INSTANT, "amount": pl.Float64, "city": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def at(hour: float) -> datetime:
    return START + timedelta(hours=hour)


def define(service: Features, rows: list[tuple], **changes: object) -> str:
    """Import the rows and define a view over them; gives the name of both."""
    name = f"orders{next(names)}"
    service.datasets.import_frame(name, orders(rows), check=False)
    definition = {"keys": ["user"], "time_column": "at", "features": FEATURES, **changes}
    service.define(name, f"dataset:{name}", **definition)
    return name


ROWS = [(1, at(1), 10.0, "Rome"), (2, at(2), 7.0, "Oslo"), (1, at(3), None, "Bonn"), (1, at(9), 5.0, None)]

history = st.lists(
    st.tuples(
        st.integers(1, 4),
        st.integers(0, 30).map(at),
        st.one_of(st.none(), st.floats(-1e6, 1e6)),
        st.sampled_from(["Rome", "Oslo", None]),
    ),
    min_size=1,
    max_size=30,
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history, st.integers(0, 30).map(at))
def test_online_is_offline_for_the_same_instant(features: Features, rows: list[tuple], instant: datetime) -> None:
    name = define(features, rows)
    features.materialise(name, 1, instant)
    users = sorted({row[0] for row in rows})
    labels = pl.DataFrame({"user": users, "when": [instant] * len(users)}, schema={"user": pl.Int64, "when": INSTANT})
    offline = features.training_set(name, labels, time_column="when").frame
    online = OnlineReader(features.kv).read(f"feature_view:{name}@1", [[user] for user in users])
    wanted = [feature.name for feature in FEATURES]
    assert [row.values for row in online] == offline.select(wanted).to_dicts()


def test_a_training_set_keeps_the_labels_and_their_order_and_names_what_it_read(features: Features) -> None:
    name = define(features, ROWS)
    labels = pl.DataFrame({"y": [0, 1, 0, 1], "user": [1, 9, 1, 2], "when": [at(9), at(9), at(2), at(1)]}).with_columns(
        pl.col("when").cast(INSTANT)
    )
    made = features.training_set(name, labels, time_column="when")
    assert made.frame.select(labels.columns).equals(labels)
    assert made.frame["amount"].to_list() == [5.0, None, 10.0, None]
    assert made.frame["spent"].to_list() == [5.0, None, 10.0, None]
    assert made.frame["visits"].to_list() == [1, 0, 1, 0]
    assert (made.view.ref, made.dataset.ref) == (f"feature_view:{name}@1", f"dataset:{name}@1")


def test_a_value_older_than_the_maximum_age_is_missing(features: Features) -> None:
    name = define(features, ROWS, max_age="4h", features=[Feature("amount", "amount")])
    labels = pl.DataFrame({"user": [2, 2], "when": [at(5), at(6)]}).with_columns(pl.col("when").cast(INSTANT))
    assert features.training_set(name, labels, time_column="when").frame["amount"].to_list() == [7.0, None]


def test_a_last_value_ends_online_when_it_would_end_offline(features: Features) -> None:
    name = define(features, ROWS, max_age="4h", features=[Feature("amount", "amount"), Feature("n", "amount", "count")])
    features.materialise(name, 1, at(3))
    reader, view = OnlineReader(features.kv), f"feature_view:{name}@1"
    for hour in (3, 5.9, 6, 8):
        labels = pl.DataFrame({"user": [2], "when": [at(hour)]}).with_columns(pl.col("when").cast(INSTANT))
        offline = features.training_set(name, labels, time_column="when").frame["amount"].to_list()
        (online,) = reader.read(view, [[2]], now_us=int(at(hour).timestamp() * 1e6))
        assert [online.values["amount"]] == offline
        assert online.values["n"] == 1


def test_labels_that_have_a_feature_s_name_are_refused(features: Features) -> None:
    name = define(features, ROWS)
    labels = pl.DataFrame({"user": [1], "when": [START], "city": ["x"]}).with_columns(pl.col("when").cast(INSTANT))
    with pytest.raises(InvalidData, match="city"):
        features.training_set(name, labels, time_column="when")


def test_a_key_that_left_the_dataset_becomes_unknown_online(features: Features) -> None:
    name = define(features, ROWS)
    features.materialise(name, 1, at(10))
    assert features.read_online(name, 1, [[2]])[0].values is not None
    features.datasets.import_frame(name, orders(ROWS).filter(pl.col("user") == 1), check=False)
    assert features.materialise(name, 1, at(11)).dataset == f"dataset:{name}@2"
    known, gone, never = features.read_online(name, 1, [[1], [2], [3]])
    assert known.values is not None and known.as_of == at(11) and known.event_time == at(9)
    assert (gone.values, never.values) == (None, None)


def test_an_older_instant_does_not_overwrite_a_newer_one(features: Features) -> None:
    name = define(features, ROWS)
    features.materialise(name, 1, at(10))
    with pytest.raises(Conflict, match="later"):
        features.materialise(name, 1, at(9))


def test_very_long_and_composite_keys_are_read_back(features: Features) -> None:
    long = "k" * 5000
    frame = pl.DataFrame({"a": [long, "x"], "b": [True, False], "at": [START, START], "v": [1, 2]})
    features.datasets.import_frame("long", frame)
    features.define("long", "dataset:long", ["a", "b"], "at", [Feature("v2", "v")])
    features.materialise("long", 1, START)
    found = features.read_online("long", 1, [[long, True], [long, False], ["x", False]])
    assert [row.values and row.values["v2"] for row in found] == [1, None, 2]


def test_a_view_has_immutable_versions_and_the_same_definition_is_the_same_version(features: Features) -> None:
    name = define(features, ROWS)
    first = features.get(name)
    assert features.define(name, f"dataset:{name}", ["user"], "at", FEATURES) == first
    second = features.define(name, f"dataset:{name}@1", ["user"], "at", FEATURES, token="t")
    assert second.version == 2
    features.define(name, f"dataset:{name}", ["user"], "at", FEATURES[:1])
    assert features.define(name, f"dataset:{name}@1", ["user"], "at", FEATURES, token="t") == second
    assert features.version(name, 1) == first
    assert [view.version for view in features.list() if view.name == name] == [3, 2, 1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"keys": ["amount"]}, "cannot be a key"),
        ({"keys": ["nobody"]}, "nobody"),
        ({"time_column": "city"}, "expected instants"),
        ({"features": [Feature("x", "city", "sum", "1h")]}, "expected numbers"),
        ({"features": [Feature("x", "city"), Feature("x", "amount")]}, "names of their own"),
        ({"max_age": "soon"}, "not a duration"),
    ],
)
def test_a_definition_that_cannot_work_is_refused(features: Features, changes: dict, said: str) -> None:
    with pytest.raises((InvalidData, InvalidRequest), match=said):
        define(features, ROWS, **changes)


def test_lineage_leads_from_the_view_to_the_dataset_version(features: Features) -> None:
    name = define(features, ROWS)
    features.materialise(name, 1, at(10))
    with features.database.read() as connection:
        edges = edges_up(connection, [f"feature_view:{name}@1"])
    assert {(edge.source, edge.kind) for edge in edges} == {
        (f"dataset:{name}@1", "FeatureViewDefined"),
        (f"dataset:{name}@1", "FeaturesMaterialised"),
    }


def test_a_view_is_readable_once_it_is_materialised(features: Features) -> None:
    name = define(features, ROWS)
    with pytest.raises(Conflict, match=f"`mainspring feature materialise {name} 1`"):
        features.readable(name)
    features.materialise(name, 1, at(12))
    assert features.readable(name) == features.get(name)
    with pytest.raises(InvalidRequest, match="versions only"):
        features.readable(f"feature_view:{name}@champion")


def test_a_key_of_another_length_is_refused(features: Features) -> None:
    name = define(features, ROWS)
    for wrong in ([1, 2], []):
        with pytest.raises(InvalidRequest, match="expected values of user"):
            features.read_online(name, 1, [[1], wrong])


def test_unknown_views_are_not_found(features: Features) -> None:
    with pytest.raises(NotFound):
        features.get("nobody")
    with pytest.raises(NotFound):
        features.read_online("nobody", 1, [[1]])


def test_the_online_reader_brings_no_heavy_import() -> None:
    code = "import sys, mainspring.features.online; print(sorted(set(sys.modules) & {'polars','sqlalchemy','numpy'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("values", [[[1], [2]], [b"a", b"b"], [{"a": 1}, {"a": 2}], ["u", "v"]], ids=str)
def test_only_numbers_and_booleans_are_summed(features: Features, values: list) -> None:
    name = f"odd{next(names)}"
    features.datasets.import_frame(name, pl.DataFrame({"user": [1, 2], "at": [at(1), at(2)], "odd": values}))
    with pytest.raises(InvalidData, match="expected numbers"):
        features.define(name, f"dataset:{name}", ["user"], "at", [Feature("x", "odd", "mean")])
    assert features.define(name, f"dataset:{name}", ["user"], "at", [Feature("x", "odd", "count")]).version == 1


def test_a_decimal_is_the_same_number_online_and_in_a_training_set(features: Features) -> None:
    name = f"prices{next(names)}"
    prices = pl.Series("price", ["1.10", "2.30"]).cast(pl.Decimal(10, 2))
    rows = pl.DataFrame({"user": [1, 1], "at": [at(1), at(2)], "price": prices})
    features.datasets.import_frame(name, rows)
    wanted = [Feature("last", "price"), Feature("sum", "price", "sum")]
    view = features.define(name, f"dataset:{name}", ["user"], "at", wanted)
    labels = pl.DataFrame({"user": [1], "when": [at(3)]})
    offline = features.training_set(view.ref, labels, time_column="when").frame.row(0, named=True)
    features.materialise(name, 1, at(3))
    (online,) = features.read_online(name, 1, [[1]])
    assert online.values == {"last": 2.3, "sum": pytest.approx(3.4)} == {n: offline[n] for n in ("last", "sum")}
