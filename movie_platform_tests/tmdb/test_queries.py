"""What queries mean, and that their parts mean the same."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from movie_platform.tmdb.catalogue.query import Catalogue, parse_query
from movie_platform.tmdb.queries import DateRange, Query
from movie_platform.tmdb.reference import LANGUAGES

DAY = date(2020, 1, 1)


def queries() -> st.SearchStrategy[Query]:
    return st.builds(
        lambda first, days, least, more, language: Query(
            DateRange(DAY + timedelta(first), DAY + timedelta(first + days)),
            include_adult=False,
            least_votes=least,
            most_votes=None if more is None else least + more,
            language=language,
        ),
        st.integers(0, 9),
        st.integers(0, 9),
        st.integers(0, 30),
        st.none() | st.integers(0, 30),
        st.none() | st.sampled_from(["en", "fr"]),
    )


def films() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "release_date": st.integers(0, 20).map(lambda offset: str(DAY + timedelta(offset))),
            "vote_count": st.integers(0, 70),
            "original_language": st.sampled_from(["en", "fr", "de"]),
        }
    )


@given(queries(), films())
def test_a_query_means_what_its_parameters_select(query, film):
    selected = Catalogue([film]).find(parse_query({name: str(value) for name, value in query.params.items()}))
    assert query.means(film) == bool(selected)


@given(queries(), films())
def test_halves_and_parts_mean_the_same_films_once(query, film):
    for smaller in (query.halves(), query.parts()):
        if smaller:
            assert sum(part.means(film) for part in smaller) == query.means(film)


@given(queries())
def test_halving_ends(query):
    """At a day and a number of votes, and nothing smaller is left."""
    halvings = 0
    while halves := query.halves():
        query = halves[-1]
        halvings += 1
        assert halvings < 60
    assert query.dates.first == query.dates.last
    assert query.least_votes == query.most_votes or query.least_votes > 1_000_000


def test_a_single_day_is_cut_by_language_first():
    query = Query(DateRange(DAY, DAY), include_adult=False)
    parts = query.parts()
    assert [part.language for part in parts] == sorted(LANGUAGES)
    assert [(part.least_votes, part.most_votes) for part in parts[0].parts()] == [(0, 0), (1, None)]


def test_a_film_without_a_readable_date_is_not_meant_and_unreadable_votes_are_allowed():
    query = Query(DateRange(DAY, DAY), include_adult=False, least_votes=5)
    assert query.means({"release_date": "2020-01-01", "vote_count": "many"})
    assert not query.means({"release_date": "2020-01-01", "vote_count": 4})
    assert not query.means({"release_date": "", "vote_count": 5})
    assert not query.means({})


def test_a_query_says_what_it_asks_for():
    query = Query(DateRange(DAY, date(2020, 2, 1)), include_adult=True)
    assert str(query) == "2020-01-01 to 2020-02-01"
    assert str(replace(query, least_votes=10)) == "2020-01-01 to 2020-02-01, at least 10 votes"
    assert str(replace(query, most_votes=3, language="fr")) == "2020-01-01 to 2020-02-01, language fr, 0 to 3 votes"


@given(st.dates(), st.dates())
def test_halves_are_adjacent_and_cover_the_range(one, other):
    whole = DateRange(min(one, other), max(one, other))
    if whole.first == whole.last:
        with pytest.raises(ValueError, match="single day"):
            whole.halves()
        return
    left, right = whole.halves()
    assert (left.first, right.last) == (whole.first, whole.last)
    assert left.last + timedelta(days=1) == right.first
    days = [(half.last - half.first).days for half in (left, right)]
    assert abs(days[0] - days[1]) <= 1
