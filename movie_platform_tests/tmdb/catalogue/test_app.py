"""The built-in catalogue answers as TMDB does."""

import asyncio
from collections.abc import Mapping
from datetime import date
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import ASGIApp

from movie_platform.tmdb.catalogue import catalogue_app, catalogue_client, synthetic_films
from movie_platform.tmdb.reference import GENRES

DISCOVER = "/3/discover/movie"
BEARER = {"Authorization": "Bearer anything"}
FIELDS = ("original_title", "popularity", "revenue", "primary_release_date", "title", "vote_average", "vote_count")


def film(identity: int, **fields: Any) -> dict[str, Any]:
    return {
        "id": identity,
        "title": f"T{identity % 3}",
        "original_title": f"O{identity % 2}",
        "release_date": f"2020-01-{1 + identity % 28:02}",
        "genre_ids": [18],
        "original_language": "en",
        "popularity": identity / 2,
        "vote_average": identity % 11,
        "vote_count": identity,
        "adult": False,
        "video": False,
        **fields,
    }


def ask(
    app: ASGIApp,
    path: str = DISCOVER,
    params: Mapping[str, Any] | None = None,
    *,
    headers: Mapping[str, str] = BEARER,
    method: str = "GET",
) -> httpx.Response:
    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://tmdb.test") as client:
            return await client.request(method, path, params=params, headers=headers)

    return asyncio.run(run())


def ids(app: ASGIApp, **params: str) -> list[int]:
    named = {name.replace("__", "."): value for name, value in params.items()}
    return [item["id"] for item in ask(app, params=named).json()["results"]]


@pytest.mark.parametrize("path", [DISCOVER, "/3/nonsense", "/"])
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer "}, {"Authorization": "Basic abc"}])
def test_401_comes_before_everything_else(path, headers):
    response = ask(catalogue_app([]), path, {"page": "nonsense"}, headers=headers)
    assert response.status_code == 401
    assert response.json() == {
        "success": False,
        "status_code": 7,
        "status_message": "Invalid API key: You must be granted a valid key.",
    }


@pytest.mark.parametrize("page", ["0", "-1", "501", "1.5", "one", "²", "9" * 5000])
def test_pages_outside_1_to_500_are_refused(page):
    response = ask(catalogue_app([film(1)]), params={"page": page})
    assert response.status_code == 400
    assert response.json() == {
        "success": False,
        "status_code": 22,
        "status_message": "Invalid page: Pages start at 1 and max at 500. They are expected to be an integer.",
    }


def test_pages_have_twenty_films_and_end_quietly():
    app = catalogue_app([film(number) for number in range(1, 46)])
    pages = [ask(app, params={"page": page}).json() for page in (1, 2, 3, 4, 500)]
    assert [len(page["results"]) for page in pages] == [20, 20, 5, 0, 0]
    assert {(page["total_pages"], page["total_results"]) for page in pages} == {(3, 45)}
    assert [page["page"] for page in pages] == [1, 2, 3, 4, 500]


def test_totals_are_not_capped():
    answer = ask(catalogue_app([film(number) for number in range(1, 10_022)]), params={"page": 500}).json()
    assert (answer["total_pages"], answer["total_results"], len(answer["results"])) == (502, 10_021, 20)


def test_no_films_are_one_empty_page():
    assert ask(catalogue_app([])).json() == {"page": 1, "results": [], "total_pages": 1, "total_results": 0}


def test_items_are_sent_as_they_are():
    odd = film(1, softcore=False, unknown={"a": [None, 1.5]}, vote_average=7, release_date="", overview=None)
    assert ask(catalogue_app([odd])).json()["results"] == [odd]


def test_small_endpoints():
    app = catalogue_app([])
    genres = ask(app, "/3/genre/movie/list").json()["genres"]
    assert {genre["id"]: genre["name"] for genre in genres} == dict(GENRES)
    assert ask(app, "/3/authentication").json() == {
        "success": True,
        "status_code": 1,
        "status_message": "Success.",
    }


@pytest.mark.parametrize(("method", "path"), [("GET", "/3/movie/1"), ("GET", "/"), ("POST", DISCOVER)])
def test_everything_else_is_not_found(method, path):
    response = ask(catalogue_app([]), path, method=method)
    assert (response.status_code, response.json()["status_code"]) == (404, 34)


@pytest.mark.parametrize("value", ["2020-1-1", "20200101", "2020-02-30", "yesterday"])
@pytest.mark.parametrize("end", ["gte", "lte"])
def test_bad_dates_are_refused(end, value):
    response = ask(catalogue_app([]), params={f"primary_release_date.{end}": value})
    assert (response.status_code, response.json()["status_code"]) == (400, 23)


@pytest.mark.parametrize(
    "params",
    [
        {"vote_count.gte": "many"},
        {"vote_average.lte": "nan"},
        {"with_genres": "Drama"},
        {"sort_by": "release_date.asc"},
        {"include_adult": "maybe"},
    ],
)
def test_other_bad_values_are_refused(params):
    response = ask(catalogue_app([]), params=params)
    assert (response.status_code, response.json()["status_code"]) == (422, 5)


def test_unknown_parameters_have_no_effect():
    app = catalogue_app([film(1)])
    assert ids(app, primary_release_dates__gte="2030-01-01", region="US") == [1]


def test_dates_are_inclusive_on_both_sides_and_undated_films_match_none():
    days = ["2020-01-01", "2020-01-02", "2020-01-03", "", "soon", None]
    app = catalogue_app([film(number, release_date=day) for number, day in enumerate(days, start=1)])
    assert ids(app, primary_release_date__gte="2020-01-02", sort_by="vote_count.asc") == [2, 3]
    assert ids(app, primary_release_date__lte="2020-01-02", sort_by="vote_count.asc") == [1, 2]
    both = {"primary_release_date__gte": "2020-01-02", "primary_release_date__lte": "2020-01-02"}
    assert ids(app, **both) == [2]
    assert len(ids(app)) == 6


def test_filters():
    app = catalogue_app(
        [
            film(1, genre_ids=[18], original_language="fr", vote_average=6.5),
            film(2, genre_ids=[35, 18], original_language="ja", vote_average=7.5),
            film(3, genre_ids=[35], adult=True),
            film(4, genre_ids=None, video=True),
        ]
    )
    assert ids(app, sort_by="vote_count.asc") == [1, 2]
    assert ids(app, include_adult="true", include_video="true", sort_by="vote_count.asc") == [1, 2, 3, 4]
    assert ids(app, vote_count__gte="2") == [2]
    assert ids(app, vote_count__lte="1.5") == [1]
    assert ids(app, vote_average__gte="7", vote_average__lte="8") == [2]
    assert ids(app, with_original_language="fr") == [1]
    assert ids(app, with_original_language="fr|ja", sort_by="vote_count.asc") == [1, 2]
    assert ids(app, with_genres="18,35") == [2]
    assert ids(app, with_genres="18|35", sort_by="vote_count.asc") == [1, 2]
    assert ids(app, with_genres="99") == []


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_every_sort_order(field, direction):
    items = [film(number, revenue=number % 5) for number in range(1, 20)]
    found = ask(catalogue_app(items), params={"sort_by": f"{field}.{direction}"}).json()["results"]
    name = "release_date" if field == "primary_release_date" else field
    values = [item[name] for item in found]
    assert len(values) == 19
    assert values == sorted(values, reverse=direction == "desc")


def test_popular_films_come_first_unless_asked_otherwise():
    assert ids(catalogue_app([film(number) for number in (2, 3, 1)])) == [3, 2, 1]


@settings(deadline=None)
@given(st.lists(st.tuples(st.dates(date(2019, 12, 25), date(2020, 1, 10)), st.integers(0, 5)), max_size=30))
def test_pages_together_are_exactly_the_matching_films(films):
    """Index and cache give what going through all films would give."""
    items = [film(number, release_date=day.isoformat(), vote_count=votes) for number, (day, votes) in enumerate(films)]
    expected = [item for item in items if item["release_date"] >= "2020-01-01" and item["vote_count"] >= 2]
    expected.sort(key=lambda item: item["release_date"])
    app = catalogue_app(items)
    params = {
        "primary_release_date.gte": "2020-01-01",
        "vote_count.gte": 2,
        "sort_by": "primary_release_date.asc",
    }
    found = [item for page in (1, 2) for item in ask(app, params={**params, "page": page}).json()["results"]]
    assert found == expected


def test_the_client_of_the_catalogue_needs_no_network():
    async def run() -> Any:
        async with catalogue_client(catalogue_app(synthetic_films(date(2026, 1, 5)))) as client:
            return await client.get("/discover/movie", {"page": 1})

    assert asyncio.run(run())["total_results"] > 5000
