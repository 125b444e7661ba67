"""Where each kind of value lies on disk and on S3, and that it comes back as it was."""

import gzip
import hashlib
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from movie_platform.daily import DayCheck, DayFailed, DayOutput, Verdict, check_specs, materialize_days
from movie_platform.io_managers import (
    BundleIOManager,
    DailyIOManager,
    DayInputs,
    FilmsIOManager,
    JsonIOManager,
    JsonLinesIOManager,
    MissingDay,
    PredictionsIOManager,
    read_predictions,
)
from movie_platform.rating_model.bundle import Bundle
from movie_platform.schemas import PREDICTED_RATINGS_COLUMNS
from movie_platform.storage import Storage, open_storage
from movie_platform.tmdb.catalogue import synthetic_films
from movie_platform.tmdb.films import to_films
from movie_platform_tests.rating_model.golden import GOLDEN

DAY = date(2026, 1, 5)
DAYS = dg.DailyPartitionsDefinition(start_date="2026-01-01", end_date="2026-01-20")


def items() -> list[dict[str, Any]]:
    return [*synthetic_films(DAY)[:20], {"id": 1, "title": "\ud800 half a character", "unknown": {"z": 1, "a": [2.50]}}]


def films() -> pd.DataFrame:
    return to_films(items()).table


def predictions() -> pd.DataFrame:
    """Two films, one of them without all that may be missing."""
    return pd.DataFrame(
        {
            "id": [8, 7],
            "title": ["Eight", "七"],
            "original_title": ["Huit", "七"],
            "overview": ["A film.", ""],
            "release_date": pd.Series(["2026-03-01", "2025-12-24"], dtype="datetime64[ms]"),
            "genres": [["Comedy", "Science Fiction"], []],
            "original_language": ["fr", "ja"],
            "poster_path": pd.Series(["/eight.jpg", None], dtype="str"),
            "situation": ["unreleased", "released"],
            "prediction": [8.25, 1 / 3],
            "low": [7.0, 0.0],
            "high": [10.0, 1.5],
            "bundle_sha256": ["ab" * 32] * 2,
            "bundle_partition": pd.Series(["2026-01-05"] * 2, dtype="datetime64[ms]"),
            "synthetic": [False, True],
        }
    )


def document() -> dict[str, Any]:
    return {"z": "Amélie", "a": [1, 0.1, None, True], "nested": {"rmse": 0.7123456789012345}}


def bundle() -> Bundle:
    return Bundle.from_bytes(GOLDEN[2].read_bytes())


KINDS: Mapping[str, tuple[type[DailyIOManager[Any]], Callable[[], Any], str]] = {
    "items": (JsonLinesIOManager, items, ".jsonl.gz"),
    "films": (FilmsIOManager, films, ".parquet"),
    "predictions": (PredictionsIOManager, predictions, ".parquet"),
    "bundle": (BundleIOManager, bundle, ".zip"),
    "document": (JsonIOManager, document, ".json"),
}
"""IO manager, a value for it, and how its files end."""

each_kind = pytest.mark.parametrize("kind", KINDS)


def is_same(kind: str, one: Any, other: Any) -> bool:
    if isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other)
        return True
    if kind == "bundle":
        return bool(one.to_bytes() == other.to_bytes() and one.metadata == other.metadata)
    return as_written(one) == as_written(other)


def as_written(value: Any) -> str:
    """JSON's own text, which tells 1 from 1.0 and from true, and shows the order of keys."""
    return json.dumps(value)


def store(
    manager: DailyIOManager[Any],
    output: DayOutput,
    *,
    refuse: bool = False,
    instance: dg.DagsterInstance | None = None,
) -> dg.ExecuteInProcessResult:
    """Make the asset `made` for one day, by the real harness."""
    checks = [
        DayCheck(
            name="acceptable",
            description="As the test wants it.",
            examine=lambda *_: Verdict(passed=not refuse, summary="Looked at."),
        )
    ]

    @dg.asset(partitions_def=DAYS, check_specs=check_specs("made", checks, DAYS))
    def made(context: dg.AssetExecutionContext) -> Iterator[dg.Output[Any]]:
        yield from materialize_days(context, lambda _: output, checks)

    return dg.materialize(
        [made],
        partition_key=DAY.isoformat(),
        resources={"io_manager": manager},
        raise_on_error=False,
        instance=instance,
    )


def load(manager: DailyIOManager[Any], *, look_back: int = 0, instance: dg.DagsterInstance | None = None) -> DayInputs:
    """What an asset that depends on `made` is given on one day."""
    given_inputs: list[DayInputs] = []
    mapping = dg.TimeWindowPartitionMapping(start_offset=-look_back)

    @dg.asset(partitions_def=DAYS, ins={"made": dg.AssetIn(partition_mapping=mapping)})
    def reader(made: DayInputs) -> None:
        given_inputs.append(made)

    upstream = dg.AssetSpec("made", partitions_def=DAYS)
    assert dg.materialize(
        [upstream, reader],
        partition_key=DAY.isoformat(),
        resources={"io_manager": manager},
        selection=[reader],
        instance=instance,
    ).success
    (inputs,) = given_inputs
    return inputs


@pytest.fixture
def storage(storage_url: str) -> Storage:
    return open_storage(storage_url)


@pytest.fixture
def disk(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path / "storage"))


# --- files ----------------------------------------------------------------------------------------


@each_kind
def test_a_day_is_one_file_and_comes_back_as_it_was(kind: str, storage: Storage):
    manager_class, make, extension = KINDS[kind]
    manager = manager_class(storage)
    assert store(manager, DayOutput(value=make())).success
    assert storage.list() == [f"made/2026-01-05{extension}"]
    assert is_same(kind, load(manager)[DAY], make())


@each_kind
def test_the_record_says_where_the_file_is_and_what_is_in_it(kind: str, disk: Storage):
    manager_class, make, extension = KINDS[kind]
    result = store(manager_class(disk), DayOutput(value=make(), metadata={"films": 3}))
    (materialization,) = result.asset_materializations_for_node("made")
    data = disk.get(f"made/2026-01-05{extension}")
    assert materialization.partition == "2026-01-05"
    assert {name: value.value for name, value in materialization.metadata.items()} == {
        "films": 3,
        "file": disk.url(f"made/2026-01-05{extension}"),
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": f"{len(data):,} bytes",
    }


@each_kind
def test_equal_values_have_equal_bytes(kind: str, disk: Storage):
    """Whenever they were made, and also when they come from a file."""
    manager_class, make, _ = KINDS[kind]
    manager = manager_class(disk)
    data = manager.encode("made", make())
    assert manager.encode("made", make()) == data
    assert manager.encode("another", manager.decode(data)) == data


@pytest.mark.parametrize("kind", ["films", "predictions"])
def test_the_bytes_of_a_table_do_not_depend_on_its_index(kind: str, disk: Storage):
    manager_class, make, _ = KINDS[kind]
    table = make()
    data = manager_class(disk).encode("made", table)
    assert manager_class(disk).encode("made", table.set_index(table.index + 5)) == data


def test_compressed_items_carry_neither_a_time_nor_a_name(disk: Storage):
    """Otherwise equal items would have other bytes a second later."""
    header = JsonLinesIOManager(disk).encode("made", items())[:10]
    assert (header[3], header[4:8]) == (0, bytes(4))


def test_attachments_lie_in_a_folder_beside_the_file(storage: Storage):
    assert store(JsonIOManager(storage), DayOutput(value={}, attachments={"plot.png": b"png"})).success
    assert storage.list() == ["made/2026-01-05.json", "made/2026-01-05/plot.png"]
    assert storage.get("made/2026-01-05/plot.png") == b"png"


def test_a_refused_day_is_set_aside_with_what_stood_there_before(storage: Storage):
    """Nothing stands under its final name, no attachment either."""
    manager = JsonIOManager(storage)
    assert store(manager, DayOutput(value={"n": 1}, attachments={"note.txt": b"10"})).success
    assert not store(manager, DayOutput(value={"n": 2}, attachments={"note.txt": b"20"}), refuse=True).success
    assert {key: json.loads(storage.get(key)) for key in storage.list()} == {
        "rejected/made/2026-01-05.before.json": {"n": 1},
        "rejected/made/2026-01-05.before/note.txt": 10,
        "rejected/made/2026-01-05.json": {"n": 2},
        "rejected/made/2026-01-05/note.txt": 20,
    }
    assert list(load(manager)) == []


def test_a_refused_value_that_has_no_bytes_is_kept_as_text(disk: Storage):
    assert not store(BundleIOManager(disk), DayOutput(value="no bundle \ud800"), refuse=True).success
    (kept,) = disk.list()
    assert kept == "rejected/made/2026-01-05.txt"
    assert b"no bundle" in disk.get(kept)


@each_kind
def test_a_refused_value_is_kept_as_it_would_have_been_stored(kind: str, disk: Storage):
    """If it has the right shape: then the same code reads it."""
    manager_class, make, _ = KINDS[kind]
    manager = manager_class(disk)
    assert manager.encode_refused("made", make()) == manager.encode("made", make())


# --- items and documents --------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=()), max_size=20)  # halves of characters included
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def received(value: Any) -> Any:
    """As a parser gives it, which joins the halves of a character that stand side by side."""
    return json.loads(json.dumps(value))


@given(st.lists(st.dictionaries(TEXT, JSON, max_size=5).map(received), max_size=5))
def test_items_come_back_exactly_as_they_were_received(found: list[dict[str, Any]]):
    """Fields that nobody knows, the order of keys, half characters, large integers, every digit of a float."""
    manager = JsonLinesIOManager(open_storage("never-written"))
    data = manager.encode("made", found)
    assert as_written(manager.decode(data)) == as_written(found)
    assert manager.encode("made", manager.decode(data)) == data


@pytest.mark.parametrize(
    "item",
    [
        {"id": 2**70, "votes": -(10**400)},
        {"b": 1, "a": 2},
        {"text": "\ud83d", "key \udc80": "\u2028\x85\r\n\x00"},
        {"popularity": 0.1 + 0.2, "zero": -0.0, "whole": 1.0, "tiny": 5e-324},
        {},
    ],
    ids=["large integers", "order", "half characters", "floats", "nothing"],
)
def test_an_odd_item_is_one_line(item: dict[str, Any], disk: Storage):
    manager = JsonLinesIOManager(disk)
    data = manager.encode("made", [item, item])
    assert gzip.decompress(data).count(b"\n") == 2
    assert [as_written(found) for found in manager.decode(data)] == [as_written(item)] * 2


def test_a_day_without_items_is_a_file_too(disk: Storage):
    manager = JsonLinesIOManager(disk)
    assert store(manager, DayOutput(value=[])).success
    assert load(manager)[DAY] == []


@given(st.dictionaries(st.text(max_size=10), JSON, max_size=5))
def test_documents_come_back_as_they_were(found: dict[str, Any]):
    """Text in them is text, not half characters: those are TMDB's, and stay with its items."""
    text = as_written(found).replace("\\ud", "half ")
    document_of_text = json.loads(text)
    manager = JsonIOManager(open_storage("never-written"))
    assert as_written(manager.decode(manager.encode("made", document_of_text))) == as_written(document_of_text)


def test_documents_are_for_people_to_read(disk: Storage):
    """Indented, with letters as letters."""
    text = JsonIOManager(disk).encode("made", document()).decode()
    assert text.startswith('{\n "z": "Amélie",\n')
    assert text.endswith("}\n")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_document_with_a_number_that_is_none_is_not_stored(value: float, disk: Storage):
    """It would not be JSON, and no figure."""
    assert not store(JsonIOManager(disk), DayOutput(value={"figures": [value]})).success
    assert disk.list() == []


@pytest.mark.parametrize("value", [math.nan, date(2026, 1, 5), {1, 2}], ids=["nan", "date", "set"])
def test_a_refused_document_is_kept_whatever_is_in_it(value: Any, disk: Storage):
    assert not store(JsonIOManager(disk), DayOutput(value={"figure": value}), refuse=True).success
    assert str(value).lower() in disk.get("rejected/made/2026-01-05.json").decode().lower()


# --- tables ---------------------------------------------------------------------------------------

ODD_TABLES: Mapping[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "a column too few": lambda table: table.drop(columns="title"),
    "a column too many": lambda table: table.assign(surplus=1),
    "another type": lambda table: table.assign(id=table["id"].astype(float)),
    "text for numbers": lambda table: table.assign(id="seven"),
    "mixed types": lambda table: table.assign(title=pd.Series(["x", 5, None, [3]], dtype=object)),
    "no dates": lambda table: table.assign(release_date=None),
    "no genres": lambda table: table.assign(genres=None),
    "no rows": lambda table: table.head(0),
    "no columns": lambda _: pd.DataFrame(),
    "another table": lambda _: pd.DataFrame({0: [1.5], "x": [{"a": 1}]}),
}


@pytest.mark.parametrize("shape", ODD_TABLES)
@pytest.mark.parametrize("kind", ["films", "predictions"])
def test_a_refused_table_can_be_kept_whatever_its_shape(kind: str, shape: str, disk: Storage):
    """A person can look at it: it is Parquet, with every column and row that it had."""
    manager_class, make, _ = KINDS[kind]
    table = ODD_TABLES[shape](make())
    kept = pd.read_parquet(io.BytesIO(manager_class(disk).encode_refused("made", table)))
    assert len(kept) == len(table)
    assert sorted(kept.columns) == sorted(map(str, table.columns))


@pytest.mark.parametrize("shape", ["a column too few", "a column too many", "text for numbers", "mixed types"])
@pytest.mark.parametrize("kind", ["films", "predictions"])
def test_a_table_of_another_shape_is_not_stored(kind: str, shape: str, disk: Storage):
    """Even if no check has refused it."""
    manager_class, make, _ = KINDS[kind]
    with pytest.raises((ValueError, pa.ArrowException)):
        manager_class(disk).encode("made", ODD_TABLES[shape](make()))


def test_predictions_have_the_columns_of_their_schema_in_its_order(disk: Storage):
    shuffled = predictions()[sorted(PREDICTED_RATINGS_COLUMNS.names)]
    data = PredictionsIOManager(disk).encode("made", shuffled)
    assert list(read_predictions(data).columns) == PREDICTED_RATINGS_COLUMNS.names
    assert data == PredictionsIOManager(disk).encode("made", predictions())


def test_tables_are_plain_parquet(disk: Storage):
    """For whoever has pandas and not the platform: dates are dates, genres are lists."""
    table = pd.read_parquet(io.BytesIO(PredictionsIOManager(disk).encode("made", predictions())))
    assert table["release_date"].tolist() == [date(2026, 3, 1), date(2025, 12, 24)]
    assert table["genres"].map(list).tolist() == [["Comedy", "Science Fiction"], []]


# --- inputs ---------------------------------------------------------------------------------------


def test_a_missing_day_says_which_asset_and_day_and_where_the_file_was_expected(storage: Storage):
    with pytest.raises(MissingDay) as refused:
        load(JsonIOManager(storage))[DAY]
    place = storage.url("made/2026-01-05.json")
    assert str(refused.value) == f"made has no file for {DAY} ({place}): materialize made for that day first"


def test_a_file_that_is_not_the_recorded_one_is_not_read(disk: Storage):
    """Somebody has changed it, or restored another: what would follow from it would be of unknown origin."""
    manager = JsonIOManager(disk)
    with dg.DagsterInstance.ephemeral() as instance:
        assert store(manager, DayOutput(value={"n": 1}), instance=instance).success
        assert load(manager, instance=instance)[DAY] == {"n": 1}
        disk.put("made/2026-01-05.json", b'{"n": 2}')
        with pytest.raises(DayFailed) as refused:
            load(manager, instance=instance)[DAY]
    place = disk.url("made/2026-01-05.json")
    assert str(refused.value) == (
        f"{place} is not the file that was recorded for made {DAY}: materialize made for {DAY} again"
    )


@each_kind
def test_a_damaged_file_is_named_with_the_remedy(kind: str, disk: Storage):
    """Also where no record tells what it should be."""
    manager_class, make, extension = KINDS[kind]
    manager = manager_class(disk)
    inputs = load(manager)
    whole = manager.encode("made", make())
    for damaged in (b"", b"\x00 not this", whole[:-30], whole[:100]):
        disk.put(f"made/2026-01-05{extension}", damaged)
        with pytest.raises(DayFailed) as refused:
            inputs[DAY]
        assert str(refused.value).startswith(f"{disk.url(f'made/2026-01-05{extension}')} is damaged (")
        assert str(refused.value).endswith(f": materialize made for {DAY} again")


def test_an_input_is_a_mapping_from_the_days_that_have_a_file(storage: Storage):
    """On a single day too, and for a mapping that begins before the first partition."""
    manager = JsonIOManager(storage)
    storage.put("made/2026-01-02.json", b'{"n": 2}')
    storage.put("made/2026-01-04.json", b'{"n": 4}')
    storage.put("made/2026-01-06.json", b'{"n": 6}')
    inputs = load(manager, look_back=6)
    assert dict(inputs) == {date(2026, 1, 2): {"n": 2}, date(2026, 1, 4): {"n": 4}}
    assert len(inputs) == 2
    assert inputs[date(2026, 1, 6)] == {"n": 6}, "another day than the run's may be asked for"
    assert inputs.get(date(2026, 1, 3)) is None


def test_days_are_read_when_they_are_asked_for_and_not_kept():
    """A look-back of 26 days never costs more than one at a time."""
    read: list[date] = []

    def remember(day: date) -> int:
        read.append(day)
        return day.day

    inputs = DayInputs([DAY, DAY - timedelta(days=1)], load=remember, exists=lambda day: day == DAY)
    assert (list(inputs), len(inputs), DAY in inputs) == ([DAY], 1, True)
    assert "2026-01-05" not in inputs
    assert read == []
    assert inputs[DAY] + inputs[DAY] == 10
    assert read == [DAY, DAY]
