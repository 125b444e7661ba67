"""Whole collections, over the built-in catalogue and over applications that behave oddly."""

import asyncio
import copy
import json
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from movie_platform.tmdb.catalogue import catalogue_app, catalogue_client, synthetic_films
from movie_platform.tmdb.client import TmdbClient, TmdbError
from movie_platform.tmdb.collection import Collection, CollectionError, DateRange, Progress, collect

FIRST, LAST = date(2020, 1, 1), date(2020, 12, 31)


def film(identity: Any, released: Any = "2020-06-15", **fields: Any) -> dict[str, Any]:
    return {
        "id": identity,
        "title": f"Film {identity}",
        "release_date": released,
        "vote_count": 10,
        "vote_average": 6,
        **fields,
    }


def read(
    client: TmdbClient,
    *,
    first: date = FIRST,
    last: date = LAST,
    min_vote_count: int = 0,
    include_adult: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> Collection:
    async def run() -> Collection:
        async with client:
            return await collect(
                client,
                first=first,
                last=last,
                min_vote_count=min_vote_count,
                include_adult=include_adult,
                on_progress=on_progress,
            )

    return asyncio.run(run())


def catalogue(films: list[dict[str, Any]]) -> TmdbClient:
    return catalogue_client(catalogue_app(films))


def answering(discover: Callable[[Mapping[str, str]], Any]) -> TmdbClient:
    """Return a client of an application whose discover answers `discover(query parameters)`."""

    async def endpoint(request: Request) -> JSONResponse:
        params = request.query_params
        # Later pages answer first, so that nothing may depend on the order of arrival.
        await asyncio.sleep(0.0005 * (20 - min(int(params["page"]), 20)))
        return JSONResponse(discover(params))

    app = Starlette(routes=[Route("/3/discover/movie", endpoint)])
    return TmdbClient(base_url="http://tmdb.test/3", token=SecretStr("token"), transport=httpx.ASGITransport(app))


def paged(
    rows: list[dict[str, Any]], page: int, *, total_pages: int | None = None, total_results: int | None = None
) -> dict[str, Any]:
    return {
        "page": page,
        "results": rows[(page - 1) * 20 : page * 20],
        "total_pages": -(-len(rows) // 20) if total_pages is None else total_pages,
        "total_results": len(rows) if total_results is None else total_results,
    }


def test_every_film_of_the_window_is_read_as_it_was_sent():
    films = synthetic_films(date(2026, 1, 5))
    expected = [item for item in films if "2015-02-03" <= item["release_date"] <= "2017-08-09"]
    collection = read(catalogue(copy.deepcopy(films)), first=date(2015, 2, 3), last=date(2017, 8, 9))
    assert json.dumps(collection.items) == json.dumps(expected)
    assert collection.announced == len(expected) > 500
    assert collection.pages == collection.requests == -(-len(expected) // 20)
    assert collection.queries == (DateRange(date(2015, 2, 3), date(2017, 8, 9)),)
    assert (collection.duplicates, collection.strays, collection.unidentified) == (0, 0, 0)


def test_few_votes_are_left_out():
    films = [film(number, vote_count=number) for number in range(1, 60)]
    collection = read(catalogue(films), min_vote_count=10)
    assert [item["id"] for item in collection.items] == list(range(10, 60))


def test_adult_films_are_asked_for_on_demand_and_videos_never():
    films = [film(1), film(2, adult=True), film(3, video=True)]
    assert [item["id"] for item in read(catalogue(films)).items] == [1]
    assert [item["id"] for item in read(catalogue(films), include_adult=True).items] == [1, 2]


def test_an_empty_window_is_an_empty_collection():
    collection = read(catalogue([film(1, "1999-01-01")]))
    assert collection.items == []
    assert (collection.announced, collection.pages) == (0, 1)


def test_windows_of_too_many_films_are_split_by_date():
    films = [
        film(number, (FIRST + timedelta(days=number % 366)).isoformat(), vote_count=0) for number in range(1, 20_001)
    ]
    collection = read(catalogue(films))
    assert [item["id"] for item in collection.items] == list(range(1, 20_001))
    assert collection.announced == 20_000
    assert len(collection.queries) == 4
    assert (collection.queries[0].first, collection.queries[-1].last) == (FIRST, LAST)
    for one, following in zip(collection.queries, collection.queries[1:], strict=False):
        assert one.last + timedelta(days=1) == following.first
    assert collection.requests == collection.pages + 3


@pytest.mark.parametrize(("total_pages", "total_results"), [(500, 10_000), (38_020, 760_385), (450, 9_000)])
def test_capped_and_large_totals_are_split(total_pages, total_results):
    """A query that says it has as much as TMDB ever counts may have more."""

    def discover(params):
        rows = [film(int(params["primary_release_date.gte"].replace("-", "")), params["primary_release_date.gte"])]
        if params["primary_release_date.gte"] != params["primary_release_date.lte"]:
            return paged(rows, 1, total_pages=total_pages, total_results=total_results)
        return paged(rows, 1)

    collection = read(answering(discover), first=date(2020, 1, 1), last=date(2020, 1, 4))
    assert [item["id"] for item in collection.items] == [20200101, 20200102, 20200103, 20200104]
    assert collection.requests == 7


def test_a_single_day_that_is_too_large_is_an_error():
    films = [film(number, "2020-01-01") for number in range(9_000)]
    with pytest.raises(CollectionError, match=r"2020-01-01 alone has 9,000 films.*MIN_VOTE_COUNT"):
        read(catalogue(films))


def test_of_repeated_films_the_first_page_s_copy_is_kept():
    rows = [film(number, seen=place) for place, number in enumerate([*range(100, 0, -1), *range(1, 51)])]
    collection = read(answering(lambda params: paged(rows, int(params["page"]))))
    assert [item["id"] for item in collection.items] == list(range(1, 101))
    assert [item["seen"] for item in collection.items] == list(range(99, -1, -1))
    assert collection.duplicates == 50
    assert collection.announced == 150


def test_few_strays_are_set_aside_and_counted():
    rows = [film(number) for number in range(1, 301)]
    rows[7]["release_date"] = "2021-01-01"
    rows[200]["release_date"] = "2019-12-31"
    collection = read(answering(lambda params: paged(rows, int(params["page"]))))
    assert len(collection.items) == 298
    assert collection.strays == 2
    assert {8, 201}.isdisjoint(item["id"] for item in collection.items)


def test_many_strays_mean_that_the_filter_was_ignored():
    rows = [film(number, "2020-06-15" if number % 50 else "1990-06-15") for number in range(1, 301)]
    with pytest.raises(CollectionError, match=r"6 of 300 films of 2020-01-01 to 2020-12-31.*ignored a filter"):
        read(answering(lambda params: paged(rows, int(params["page"]))))


def test_an_ignored_filter_over_a_large_catalogue_is_noticed_at_once():
    """It is not split down to single days, which would take thousands of requests."""
    rows = [film(number, "1990-06-15") for number in range(1, 21)]
    client = answering(lambda params: paged(rows, 1, total_pages=38_020, total_results=760_385))
    with pytest.raises(CollectionError, match="ignored a filter"):
        read(client)
    assert client.requests == 1


def test_odd_items_are_kept():
    """Whether a film can be used is decided later; nothing is lost here."""
    odd = [
        film(1, ""),
        film(2, None),
        film(3, "soon"),
        {"id": 4},
        film(-5, unknown={"nested": [1, None]}),
        film("6"),
        film(None),
        film(True),
        film(8.0),
        {},
    ]
    collection = read(answering(lambda params: paged(odd, int(params["page"]))))
    assert collection.items == [odd[4], *odd[:4], *odd[5:]]
    assert collection.unidentified == 5


@pytest.mark.parametrize(
    ("answer", "field"),
    [
        ([], "results"),
        ({"success": True}, "results"),
        ({"results": [1], "total_pages": 1, "total_results": 1}, "results"),
        ({"results": [], "total_pages": None, "total_results": 0}, "total_pages"),
        ({"results": [], "total_pages": 1, "total_results": -1}, "total_results"),
        ({"results": [], "total_pages": 1, "total_results": True}, "total_results"),
    ],
)
def test_answers_that_are_no_pages_name_the_field(answer, field):
    with pytest.raises(TmdbError, match=rf"page 1 of 2020-01-01 to 2020-12-31: its `{field}`"):
        read(answering(lambda params: answer))


def test_a_failing_page_is_raised_as_it_is():
    """Neither an exception group nor a partial collection comes out."""
    rows = [film(number) for number in range(1, 301)]

    def discover(params):
        if params["page"] == "7":
            return {"success": False, "status_code": 11, "status_message": "Internal error"}
        return paged(rows, int(params["page"]))

    with pytest.raises(TmdbError, match="Internal error") as caught:
        read(answering(discover))
    assert caught.value.status_code == 11


def test_progress_ends_with_the_whole():
    reports: list[Progress] = []
    collection = read(catalogue([film(number) for number in range(1, 101)]), on_progress=reports.append)
    last = reports[-1]
    assert (last.films, last.announced, last.requests) == (100, 100, collection.requests)
    assert last.seconds >= 0


def test_impossible_questions_are_refused():
    with pytest.raises(ValueError, match="min_vote_count"):
        read(catalogue([]), min_vote_count=-1)
    with pytest.raises(ValueError, match="first day 2020-12-31 is after last day 2020-01-01"):
        read(catalogue([]), first=LAST, last=FIRST)


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


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=60),
    st.integers(0, 30),
    st.integers(0, 30),
    st.integers(1, 9),
)
def test_any_catalogue_is_collected_whatever_the_split(offsets, start, length, most):
    """Queries that announce `most` films or more claim to be capped, so that every shape of split occurs."""
    films = [film(number, (FIRST + timedelta(offset)).isoformat()) for number, offset in enumerate(offsets)]
    first, last = FIRST + timedelta(start), FIRST + timedelta(start + length)

    def discover(params):
        low, high = params["primary_release_date.gte"], params["primary_release_date.lte"]
        rows = [item for item in films if low <= item["release_date"] <= high]
        if len(rows) >= most and low < high:
            return paged(rows, int(params["page"]), total_pages=500, total_results=10_000)
        return paged(rows, int(params["page"]))

    collection = read(answering(discover), first=first, last=last)
    expected = [item for item in films if first.isoformat() <= item["release_date"] <= last.isoformat()]
    assert collection.items == expected
    assert collection.announced == len(expected)
