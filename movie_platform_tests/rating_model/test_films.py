"""The table of films: what is refused, what is missing, what is trained on."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from movie_platform.rating_model.films import (
    MIN_VOTES,
    TooFewFilmsError,
    complete,
    latest_films,
    situation_of,
    training_films,
)
from movie_platform_tests.rating_model.examples import example_films


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_missing_values_are_written_in_one_way(missing):
    """None, NaN, NA and an absent column all mean the same."""
    columns = ["overview", "release_date", "release_year", "genres", "original_language", "popularity", "vote_count"]
    present = complete(pd.DataFrame({"title": ["A"], **{column: [missing] for column in columns}}, dtype=object))
    pd.testing.assert_frame_equal(present, complete(pd.DataFrame({"title": ["A"]})))
    row = present.iloc[0]
    assert (row["overview"], row["genres"], row["original_language"]) == ("", [], "")
    assert row[["release_date", "release_year", "popularity", "vote_count"]].isna().all()


def test_the_year_follows_from_the_date_where_there_is_one():
    dates = pd.to_datetime(["1999-05-01", "NaT", "NaT"])
    table = complete(pd.DataFrame({"title": list("abc"), "release_date": dates, "release_year": [2001, 1950, None]}))
    assert table["release_year"].tolist()[:2] == [1999, 1950]
    assert np.isnan(table["release_year"].iloc[2])


def test_genres_from_parquet_are_arrays():
    table = complete(pd.DataFrame({"title": ["a"], "genres": [np.array(["Drama", "War"], dtype=object)]}))
    assert table["genres"].tolist() == [["Drama", "War"]]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("title", " "),
        ("title", None),
        ("title", 7),
        ("overview", 7),
        ("genres", "Drama"),
        ("genres", [1]),
        ("genres", {"Drama": 1}),
        ("original_language", 1.5),
        ("popularity", -1.0),
        ("popularity", float("inf")),
        ("popularity", "12"),
        ("vote_count", -1),
        ("vote_count", True),
        ("release_year", 20240),
        ("release_date", "2024-01-01"),
        ("release_date", pd.Timestamp("1066-01-01")),
        ("release_date", pd.Timestamp("2024-01-01", tz="UTC")),
    ],
)
def test_impossible_values_are_refused_by_name(column, value):
    """The error begins with the column, so that whoever reads it knows where to look."""
    with pytest.raises(ValueError, match=f"^{column}: "):
        complete(pd.DataFrame([{"title": "A", column: value}]))


def test_a_table_without_titles_is_refused():
    with pytest.raises(ValueError, match=r"^title: the column is missing"):
        complete(pd.DataFrame({"name": ["A"]}))


@given(st.lists(st.one_of(st.none(), st.integers(0, 30)), max_size=20))
def test_fewer_than_ten_or_unknown_votes_are_unreleased(votes):
    situations = situation_of(pd.DataFrame({"vote_count": pd.Series(votes, dtype=object)}))
    assert situations.tolist() == [
        "released" if count is not None and count >= MIN_VOTES else "unreleased" for count in votes
    ]


def test_a_film_released_after_the_reference_day_is_unreleased():
    """The reference day itself counts as released, and an unknown date does as its votes say."""
    dates = pd.to_datetime(["2026-01-05", "2026-01-06", "NaT"])
    films = pd.DataFrame({"release_date": dates, "vote_count": [50, 50, 50]}, index=[7, 8, 9])
    situations = situation_of(films, reference_day=date(2026, 1, 5))
    assert situations.to_dict() == {7: "released", 8: "unreleased", 9: "released"}


def day_table(ids: list[int], votes: list[int], title: str) -> pd.DataFrame:
    return example_films(len(ids)).assign(id=ids, vote_count=votes, title=title, another_column=1)


def test_the_latest_row_of_each_film_counts():
    """A film whose latest row has too few votes is out, also when an earlier one had enough; order is by id."""
    first = day_table([3, 1, 2], [10, 50, 60], "first day")
    second = day_table([1, 2, 4], [55, 9, 9], "second day")
    empty = second.iloc[:0]
    latest = latest_films(iter([empty, first, empty, second]))
    assert latest[["id", "vote_count", "title"]].to_numpy().tolist() == [[1, 55, "second day"], [3, 10, "first day"]]
    assert "another_column" not in latest


def test_without_any_film_there_is_nothing_to_reduce():
    for tables in ([], [day_table([1], [50], "day").iloc[:0]]):
        with pytest.raises(TooFewFilmsError, match="collect at least one day"):
            latest_films(tables)


def test_the_latest_rows_are_those_of_a_plain_loop():
    """Whatever films the days have, in whatever order."""
    rng = np.random.default_rng(2)
    days = [
        day_table(rng.permutation(40)[:25].tolist(), rng.integers(5, 20, 25).tolist(), f"day {number}")
        for number in range(6)
    ]
    columns = ["id", "vote_count", "title"]
    expected = {}
    for table in days:
        expected.update({film: [film, votes, title] for film, votes, title in table[columns].to_numpy().tolist()})
    latest = latest_films(days)
    assert latest[columns].to_numpy().tolist() == [row for _, row in sorted(expected.items()) if row[1] >= MIN_VOTES]
    assert latest["id"].is_monotonic_increasing


def test_too_few_films_are_an_error_of_their_own():
    with pytest.raises(TooFewFilmsError, match=r"99 films are too few"):
        training_films(example_films(99))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vote_count": 9}, "vote_count: below 10"),
        ({"vote_average": None}, "vote_average: missing"),
        ({"vote_average": 21.0}, "vote_average: every value"),
        ({"release_date": pd.NaT}, "release_date: missing"),
        ({"id": 1001}, "id: a film appears more than once"),
        ({"synthetic": False}, "another MOVIE_PLATFORM_STORAGE"),
    ],
)
def test_films_that_cannot_be_trained_on_are_refused(change, message):
    films = example_films(120)
    for column, value in change.items():
        films.loc[0, column] = value
    with pytest.raises(ValueError, match=message):
        training_films(films)


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match=r"^vote_average, synthetic: missing"):
        training_films(example_films(120).drop(columns=["vote_average", "synthetic"]))
