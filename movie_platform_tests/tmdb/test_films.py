"""From items to the table of films, and the table's Parquet form."""

import json
from collections import Counter
from datetime import date
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from movie_platform.tmdb.catalogue import synthetic_films
from movie_platform.tmdb.films import (
    FILMS_SCHEMA,
    films_from_parquet,
    films_to_parquet,
    normalize_text,
    to_films,
)
from movie_platform.tmdb.reference import GENRES, LANGUAGES

DTYPES = {
    "id": "int64",
    "title": "str",
    "original_title": "str",
    "overview": "str",
    "release_date": "datetime64[s]",
    "genres": "object",
    "original_language": "str",
    "popularity": "float64",
    "vote_average": "float64",
    "vote_count": "int64",
    "poster_path": "str",
    "adult": "bool",
    "video": "bool",
    "synthetic": "bool",
}


def item(**changes: Any) -> dict[str, Any]:
    return {
        "adult": False,
        "backdrop_path": None,
        "genre_ids": [18, 28],
        "id": 7,
        "original_language": "fi",
        "original_title": "Tulitikkutehtaan tyttö",
        "overview": "A woman works\nin a  factory.",
        "popularity": 9.5,
        "poster_path": "/abc.jpg",
        "release_date": "1990-01-12",
        "title": "The Match Factory Girl",
        "video": False,
        "vote_average": 7.4,
        "vote_count": 250,
        **changes,
    }


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
# Items that are right in most fields, so that every check is reached.
odd_items = st.builds(
    lambda changes, missing: {name: value for name, value in item(**changes).items() if name not in missing},
    st.dictionaries(
        st.sampled_from(sorted(item())),
        json_values | st.lists(st.sampled_from(sorted(GENRES)) | json_values, max_size=4),
        max_size=3,
    ),
    st.sets(st.sampled_from(sorted(item())), max_size=1),
)


def test_a_film_becomes_a_typed_row():
    films = to_films([item()])
    assert films.refused == []
    assert films.notes == {}
    assert {name: str(dtype) for name, dtype in films.table.dtypes.items()} == DTYPES
    assert list(films.table.columns) == list(DTYPES) == FILMS_SCHEMA.names
    row = films.table.iloc[0]
    assert row["overview"] == "A woman works in a factory."
    assert row["release_date"] == pd.Timestamp("1990-01-12")
    assert row["genres"] == ["Action", "Drama"]
    assert (row["popularity"], row["vote_average"], row["vote_count"]) == (9.5, 7.4, 250)
    assert (row["poster_path"], row["synthetic"]) == ("/abc.jpg", False)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"id": 0}, "id is not a positive integer"),
        ({"id": True}, "id is not a positive integer"),
        ({"id": "7"}, "id is not a positive integer"),
        ({"id": 2**63}, "id is not a positive integer"),
        ({"title": ""}, "title is missing"),
        ({"title": None}, "title is missing"),
        ({"title": " \u200a\x00"}, "title is missing"),
        ({"release_date": ""}, "release_date is empty"),
        ({"release_date": None}, "release_date is empty"),
        ({"release_date": "2020-02-30"}, "release_date is not a date"),
        ({"release_date": 20200101}, "release_date is not a date"),
        ({"original_language": "english"}, "original_language is not a TMDB language code"),
        ({"original_language": None}, "original_language is not a TMDB language code"),
        ({"popularity": -1}, "popularity is not a number of at least 0"),
        ({"popularity": True}, "popularity is not a number of at least 0"),
        ({"popularity": float("inf")}, "popularity is not a number of at least 0"),
        ({"popularity": 10**400}, "popularity is not a number of at least 0"),
        ({"vote_average": 99}, "vote_average is outside 0..10"),
        ({"vote_average": -0.1}, "vote_average is outside 0..10"),
        ({"vote_average": "7.4"}, "vote_average is not a number"),
        ({"vote_average": None}, "vote_average is not a number"),
        ({"vote_average": float("nan")}, "vote_average is not a number"),
        ({"vote_count": -1}, "vote_count is not a non-negative integer"),
        ({"vote_count": 12.5}, "vote_count is not a non-negative integer"),
        ({"vote_count": None}, "vote_count is not a non-negative integer"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_reason(changes, reason):
    films = to_films([item(**changes)])
    assert films.table.empty
    (refusal,) = films.refused
    assert refusal.reason == reason
    assert refusal.item_id == (None if "id" in changes else 7)
    assert refusal.detail


def test_a_refusal_shows_the_value_in_short():
    nested: Any = None
    for _ in range(900):
        nested = [nested]
    values = ["english", "x" * 1000, 10**400, nested, None]
    details = [refusal.detail for refusal in to_films(item(original_language=value) for value in values).refused]
    assert (details[0], details[-1]) == ("'english'", "None")
    assert all(len(detail) <= 80 for detail in details)


@pytest.mark.parametrize(
    ("changes", "column", "value"),
    [
        ({"vote_average": 7}, "vote_average", 7.0),
        ({"vote_average": 0, "vote_count": 0}, "vote_average", 0.0),
        ({"popularity": 3}, "popularity", 3.0),
        ({"overview": None}, "overview", ""),
        ({"original_title": None}, "original_title", "The Match Factory Girl"),
        ({"genre_ids": []}, "genres", []),
        ({"genre_ids": [18, 18]}, "genres", ["Drama"]),
        ({"adult": "no"}, "adult", False),
        ({"synthetic": True}, "synthetic", True),
        ({"original_language": "xx"}, "original_language", "xx"),
        ({"unknown": {"field": 1}}, "id", 7),
    ],
)
def test_small_oddities_are_accepted(changes, column, value):
    films = to_films([item(**changes)])
    assert films.refused == []
    assert films.notes == {}
    assert films.table[column].tolist() == [value]


def test_missing_popularity_and_poster_stay_missing():
    table = to_films([item(popularity=None, poster_path=None)]).table
    assert table["popularity"].isna().all()
    assert table["poster_path"].isna().all()


def test_what_is_left_out_of_a_used_film_is_noted():
    odd = [
        item(id=1, genre_ids=[18, 99999, "28", True, [18], 18.0]),
        item(id=2, genre_ids="18"),
        item(id=3, poster_path="https://elsewhere.test/x.jpg"),
        item(id=4, poster_path="", title=""),
    ]
    films = to_films(odd)
    assert films.table["genres"].tolist() == [["Drama"], [], ["Action", "Drama"]]
    assert films.table["poster_path"].isna().tolist() == [False, False, True]
    assert films.notes == {
        "genre id is not in TMDB's table": 5,
        "genre_ids is not a list": 1,
        "poster_path is malformed": 1,
    }


def test_rows_are_sorted_and_unique_by_id():
    films = to_films([item(id=9), item(id=3, title=""), item(id=3, title="b"), item(id=3, title="c")])
    assert films.table["id"].tolist() == [3, 9]
    assert films.table["title"].tolist() == ["b", "The Match Factory Girl"]
    assert [refusal.reason for refusal in films.refused] == ["title is missing", "id occurs more than once"]


def test_no_items_make_an_empty_table_of_the_same_types():
    table = to_films([]).table
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == DTYPES
    pd.testing.assert_frame_equal(films_from_parquet(films_to_parquet(table)), table)


def test_the_synthetic_catalogue_is_usable_as_a_whole():
    items = synthetic_films(date(2026, 1, 5))
    films = to_films(items)
    assert (len(films.table), films.refused, films.notes) == (len(items), [], {})
    assert films.table["synthetic"].all()


@settings(deadline=None)
@given(st.lists(json_values | odd_items, max_size=6))
def test_any_json_is_either_a_valid_row_or_a_refusal(items):
    # JSON text may hold halves of surrogate pairs, which Python passes on.
    films = to_films([*items, item(id=10**6, title="a\ud800b")])
    assert len(films.table) + len(films.refused) == len(items) + 1
    table = films.table
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == DTYPES
    assert table["id"].is_monotonic_increasing
    assert table["id"].is_unique
    assert (table["id"] > 0).all()
    assert table["title"].str.len().gt(0).all()
    assert table["vote_average"].between(0, 10).all()
    assert (table["vote_count"] >= 0).all()
    assert table["original_language"].isin(LANGUAGES).all()
    assert not (table["popularity"] < 0).any()
    order = list(GENRES.values())
    for genres in table["genres"]:
        assert genres == sorted(set(genres), key=order.index)
    assert sum(Counter(refusal.reason for refusal in films.refused).values()) == len(films.refused)
    pd.testing.assert_frame_equal(films_from_parquet(films_to_parquet(table)), table)


@settings(deadline=None)
@given(st.lists(odd_items, max_size=6))
def test_every_item_as_it_comes_from_a_file_of_json_lines(items):
    """Writing the items down and reading them again does not change the table."""
    again = [json.loads(json.dumps(value)) for value in items]
    pd.testing.assert_frame_equal(to_films(again).table, to_films(items).table)


@given(st.text(st.characters()))
def test_normalizing_twice_changes_nothing(text):
    once = normalize_text(text)
    assert normalize_text(once) == once
    assert once == once.strip()
    once.encode()


def test_text_is_normalized_as_documented():
    assert normalize_text(" a\tb\r\n\u2003c\u00a0 ") == "a b c"
    assert normalize_text("a\x00b\x7f\ud800c") == "abc"
    assert normalize_text("Ame\u0301lie") == "Am\u00e9lie"
    assert normalize_text("e\x00\u0301") == "\u00e9"
    assert normalize_text("ÉTÉ no Kyōto — 東京") == "ÉTÉ no Kyōto — 東京"


def test_equal_tables_give_equal_bytes_whatever_the_order_of_items():
    items = synthetic_films(date(2026, 1, 5))[:300]
    data = films_to_parquet(to_films(items).table)
    assert films_to_parquet(to_films(reversed(items)).table) == data
    assert films_to_parquet(films_from_parquet(data)) == data


def test_the_file_has_the_schema_and_no_metadata_of_pandas():
    data = films_to_parquet(to_films([item()]).table)
    schema = pq.read_schema(pa.BufferReader(data))
    assert schema.equals(FILMS_SCHEMA)
    assert schema.metadata is None


def test_other_tables_are_refused_by_name():
    table = to_films([item()]).table
    with pytest.raises(ValueError, match="vote_count"):
        films_to_parquet(table.astype({"vote_count": "float64"}))
    with pytest.raises(ValueError, match="overview"):
        films_to_parquet(table.drop(columns="overview"))


def test_other_files_are_refused():
    with pytest.raises(ValueError, match="not a Parquet file"):
        films_from_parquet(b"PAR1 no, it is not")
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table({"a": [1]}), buffer)
    with pytest.raises(ValueError, match="its columns are a"):
        films_from_parquet(buffer.getvalue().to_pybytes())
