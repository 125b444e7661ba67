"""What the synthetic catalogue promises."""

import copy
import hashlib
import json
import statistics
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from movie_platform.tmdb.catalogue import synthetic_films
from movie_platform.tmdb.reference import GENRES, LANGUAGES

DAY = date(2026, 1, 5)
CHANGING = {"popularity", "vote_average", "vote_count"}


def unchanging(item: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name not in CHANGING}


def test_one_day_is_the_same_everywhere():
    """A new digest means another synthetic catalogue: say so in the changelog."""
    text = json.dumps(synthetic_films(DAY), sort_keys=True)
    assert (
        hashlib.sha256(text.encode()).hexdigest() == "f74903b234be749730b52e60863127583aa928608c3321d9f42e17039b32ee51"
    )


@pytest.mark.parametrize("day", [date(2026, 1, 1), date(2027, 2, 28), date(2028, 12, 31)])
def test_there_are_about_six_thousand_films_for_any_day(day):
    films = synthetic_films(day)
    assert 5_700 <= len(films) <= 6_700
    dates = [date.fromisoformat(film["release_date"]) for film in films]
    assert min(dates).year == 1895
    assert timedelta(days=170) < max(dates) - day <= timedelta(days=184)


def test_every_ten_years_since_1895_have_films_with_votes():
    films = synthetic_films(DAY)
    for first in range(1895, 2025, 10):
        years = range(first, first + 10)
        assert sum(film["vote_count"] >= 10 for film in films if int(film["release_date"][:4]) in years) >= 20


def test_films_look_like_tmdb_s_and_say_that_they_are_synthetic():
    films = synthetic_films(DAY)
    names = {
        "adult", "backdrop_path", "genre_ids", "id", "original_language", "original_title", "overview",
        "popularity", "poster_path", "release_date", "title", "video", "vote_average", "vote_count",
    }  # fmt: skip
    for film in films:
        assert film["synthetic"] is True
        assert names <= set(film) <= names | {"softcore", "synthetic"}
        assert film["title"]
        assert "{" not in film["title"] + film["original_title"] + film["overview"]
        assert film["original_language"] in LANGUAGES
        assert set(film["genre_ids"]) <= set(GENRES)
        assert 0 <= film["vote_average"] <= 10
    identities = [film["id"] for film in films]
    assert identities == sorted(set(identities))


def test_small_shares_have_the_gaps_that_real_films_have():
    films = synthetic_films(DAY)
    for has_gap in (
        lambda film: film["overview"] == "",
        lambda film: film["genre_ids"] == [],
        lambda film: film["poster_path"] is None,
        lambda film: film["vote_count"] > 0 and isinstance(film["vote_average"], int),
        lambda film: "softcore" in film,
        lambda film: film["title"] != film["original_title"] and film["original_language"] == "en",
    ):
        share = sum(map(has_gap, films)) / len(films)
        assert share < 0.15
    assert any(film["overview"] == "" for film in films)
    assert any(film["genre_ids"] == [] for film in films)
    assert any(film["poster_path"] is None for film in films)


@settings(max_examples=15, deadline=None)
@given(st.dates(date(2024, 1, 1), date(2030, 1, 1)), st.integers(0, 500))
def test_films_stay_the_same_and_gain_votes(day, days_later):
    before = synthetic_films(day)
    after = {film["id"]: film for film in synthetic_films(day + timedelta(days_later))}
    assert len(after) >= len(before)
    for film in before:
        later = after[film["id"]]
        assert unchanging(later) == unchanging(film)
        assert later["vote_count"] >= film["vote_count"]


def test_votes_come_with_release():
    films = synthetic_films(DAY)
    unreleased = [film for film in films if film["release_date"] > DAY.isoformat()]
    assert len(unreleased) > 100
    assert all(film["vote_count"] < 10 for film in unreleased)
    assert any(film["vote_count"] > 0 for film in unreleased)
    assert all(film["vote_average"] == 0 for film in unreleased if film["vote_count"] == 0)

    a_year_old = [film for film in films if film["release_date"] < "2025-01-05"]
    voted = sum(film["vote_count"] >= 10 for film in a_year_old) / len(a_year_old)
    assert 0.85 < voted < 0.97
    assert statistics.median(film["vote_count"] for film in a_year_old) > 50


def test_ratings_spread_like_real_ones_and_settle_as_votes_come_in():
    early, late = ({film["id"]: film for film in synthetic_films(day)} for day in (date(2026, 1, 5), date(2036, 1, 5)))
    rated = [film for film in early.values() if film["vote_count"] >= 10]
    assert 0.75 < statistics.stdev(film["vote_average"] for film in rated) < 0.9
    assert 6.2 < statistics.fmean(film["vote_average"] for film in rated) < 6.7
    moved = [
        abs(film["vote_average"] - late[film["id"]]["vote_average"])
        for film in early.values()
        if "2025-06-01" <= film["release_date"] <= "2025-12-01"
        and film["vote_count"] >= 10
        and isinstance(film["vote_average"], float)
    ]
    assert 0 < statistics.fmean(moved) < 0.3


def test_words_and_genres_explain_more_than_genres_alone():
    """There is something true to find: films with a gladdening word rate higher than those with a grim one."""

    def mean(word: str) -> float:
        return statistics.fmean(
            film["vote_average"]
            for film in synthetic_films(DAY)
            if word in film["overview"] and film["vote_count"] >= 10
        )

    assert mean("ageing") - mean("clumsy") > 0.4
    assert mean("forgive each other") - mean("Chaos ensues") > 0.4


def test_changing_what_was_returned_changes_nothing_else():
    films = synthetic_films(DAY)
    pristine = copy.deepcopy(films)
    for film in films:
        film["genre_ids"].append(0)
        film["title"] = ""
    assert synthetic_films(DAY) == pristine


def test_before_cinema_there_are_no_films():
    assert synthetic_films(date(1890, 1, 1)) == []
