"""Whole collections, over the built-in catalogue and over applications that behave oddly."""

import asyncio
import copy
import json
import math
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from itertools import pairwise
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

from movie_platform.tmdb.catalogue import catalogue_app, catalogue_client, parse_faults, synthetic_films, with_faults
from movie_platform.tmdb.client import OutageError, TmdbClient, TmdbError
from movie_platform.tmdb.collection import Collection, CollectionError, Gap, Progress, collect
from movie_platform.tmdb.pacing import Pacer
from movie_platform.tmdb.queries import DateRange

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
    return TmdbClient(
        base_url="http://tmdb.test/3",
        token=SecretStr("token"),
        pacer=Pacer(math.inf),
        transport=httpx.ASGITransport(app),
    )


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
    assert collection.queries == ("2015-02-03 to 2017-08-09",)
    assert (collection.duplicates, collection.strays, collection.unidentified) == (0, 0, 0)
    assert (collection.missing, collection.read_again, collection.gaps) == (0, 0, ())


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
    ranges = [DateRange(*map(date.fromisoformat, query.split(" to "))) for query in collection.queries]
    assert (ranges[0].first, ranges[-1].last) == (FIRST, LAST)
    for one, following in pairwise(ranges):
        assert one.last + timedelta(days=1) == following.first
    assert collection.requests == collection.pages + 3


@pytest.mark.parametrize(("total_pages", "total_results"), [(500, 10_000), (38_020, 760_385), (450, 9_000)])
def test_capped_and_large_totals_are_split(total_pages, total_results):
    """A query that says it has as much as TMDB ever counts may have more."""

    def discover(params):
        day = params["primary_release_date.gte"]
        rows = [film(100 * int(day.replace("-", "")) + number, day) for number in range(20)]
        if day != params["primary_release_date.lte"]:
            return paged(rows, 1, total_pages=total_pages, total_results=total_results)
        return paged(rows, 1)

    collection = read(answering(discover), first=date(2020, 1, 1), last=date(2020, 1, 4))
    assert sorted({item["release_date"] for item in collection.items}) == [f"2020-01-0{day}" for day in (1, 2, 3, 4)]
    assert len(collection.items) == 80
    assert collection.requests == 7


def test_totals_that_are_always_large_are_noticed_before_they_are_cut_into_thousands():
    films = [film(number, str(FIRST + timedelta(days=number % 366))) for number in range(1, 1_001)]

    def discover(params):
        low, high = params["primary_release_date.gte"], params["primary_release_date.lte"]
        rows = [item for item in films if low <= item["release_date"] <= high]
        return paged(rows, int(params["page"]), total_pages=500, total_results=10_000)

    client = answering(discover)
    with pytest.raises(CollectionError, match=r"announces 10,000 films and shows \d on the first page"):
        read(client)
    assert client.requests < 300


def test_a_single_day_that_is_too_large_is_split_by_language_and_then_by_votes():
    """No film gets lost, and each is read once."""
    films = [
        film(number, "2020-01-01", original_language="en" if number % 20 else "fr", vote_count=number % 3 and number)
        for number in range(1, 24_001)
    ]
    collection = read(catalogue(films), last=date(2020, 1, 2))
    assert [item["id"] for item in collection.items] == list(range(1, 24_001))
    assert (collection.announced, collection.missing, collection.gaps) == (24_000, 0, ())
    assert collection.duplicates == 0
    assert "2020-01-01 to 2020-01-01, language fr" in collection.queries
    assert "2020-01-01 to 2020-01-01, language en, 0 to 0 votes" in collection.queries
    assert collection.requests < 24_000 / 20 + 250


def test_what_cannot_be_split_is_read_as_far_as_possible_and_becomes_a_gap():
    """12,000 films of one day and language, none with a vote."""
    films = [film(number, "2020-01-01", original_language="en", vote_count=0) for number in range(1, 12_001)]
    films.append(film(12_001, "2020-01-01", original_language="fr"))
    collection = read(catalogue(films), last=date(2020, 1, 1))
    assert collection.gaps == (Gap("2020-01-01 to 2020-01-01, language en, 0 to 0 votes", 12_000, 10_000),)
    assert (len(collection.items), collection.announced, collection.missing) == (10_001, 12_001, 2_000)


def test_a_gap_is_one_even_where_the_api_counts_no_further_than_it_shows():
    films = [film(number, "2020-01-01", original_language="en", vote_count=0) for number in range(1, 12_001)]
    app = with_faults(catalogue_app(films), parse_faults("totals-capped"))
    collection = read(catalogue_client(app), last=date(2020, 1, 1))
    assert [(gap.announced, gap.reachable) for gap in collection.gaps] == [(10_000, 10_000)]


def test_films_of_a_full_day_in_a_language_that_tmdb_does_not_list_are_missed_and_counted():
    films = [film(number, "2020-01-01", original_language="en", vote_count=number) for number in range(1, 9_001)]
    films += [film(number, "2020-01-01", original_language="klingon") for number in range(9_001, 9_004)]
    collection = read(catalogue(films), last=date(2020, 1, 1))
    assert (len(collection.items), collection.announced, collection.missing) == (9_000, 9_003, 3)


def test_a_full_day_whose_language_filter_is_ignored_is_noticed_at_once():
    films = [film(number, "2020-01-01", original_language="en", vote_count=number) for number in range(1, 9_001)]
    client = answering(lambda params: paged(films, int(params["page"])))
    with pytest.raises(
        CollectionError, match=r"language aa: most films of the first page are others.*ignored a filter"
    ):
        read(client, last=date(2020, 1, 1))
    assert client.requests < 200


def test_of_repeated_films_the_first_page_s_copy_is_kept():
    rows = [film(number, seen=place) for place, number in enumerate([*range(100, 0, -1), *range(1, 51)])]
    collection = read(answering(lambda params: paged(rows, int(params["page"]), total_results=100)))
    assert [item["id"] for item in collection.items] == list(range(1, 101))
    assert [item["seen"] for item in collection.items] == list(range(99, -1, -1))
    assert collection.duplicates == 50
    assert (collection.announced, collection.missing, collection.read_again) == (100, 0, 0)


def test_a_page_that_repeats_and_drops_films_is_healed_by_other_queries():
    """As when pages were cached at different times: the halves are other URLs. Few requests are made for it."""
    films = [film(number, str(FIRST + timedelta(days=number % 366))) for number in range(1, 3_001)]
    by_date = sorted(films, key=lambda item: (item["release_date"], item["id"]))

    def discover(params):
        low, high = params["primary_release_date.gte"], params["primary_release_date.lte"]
        rows = [item for item in by_date if low <= item["release_date"] <= high]
        if (low, high, params["page"]) == (str(FIRST), str(LAST), "77"):
            return paged(rows[:1520] + rows[1510:1520] + rows[1530:], 77, total_results=3000)
        return paged(rows, int(params["page"]))

    client = answering(discover)
    collection = read(client)
    assert [item["id"] for item in collection.items] == list(range(1, 3_001))
    assert (collection.announced, collection.missing, collection.read_again) == (3_000, 0, 1)
    assert collection.duplicates > 10
    assert client.requests < 150 + 20
    assert collection.pages == collection.requests


def test_a_film_that_comes_while_pages_are_read_is_found():
    """It shifts the pages after it, and only the later ones tell of it."""
    films = [film(number, str(FIRST + timedelta(days=number))) for number in range(1, 201)]
    asked = []

    def discover(params):
        asked.append(params["page"])
        low, high = params["primary_release_date.gte"], params["primary_release_date.lte"]
        rows = [item for item in films if low <= item["release_date"] <= high]
        if len(asked) > 3 and low == str(FIRST):
            rows.insert(0, film(1000, str(FIRST)))
        return paged(rows, int(params["page"]))

    collection = read(answering(discover))
    assert {item["id"] for item in collection.items} == {*range(1, 201), 1000}
    assert (collection.announced, collection.missing) == (201, 0)


def test_a_film_that_is_announced_and_never_shown_is_missing():
    """Looking for it ends, after few requests."""
    films = [film(number, str(FIRST + timedelta(days=number % 366))) for number in range(1, 1_001)]

    def discover(params):
        low, high = params["primary_release_date.gte"], params["primary_release_date.lte"]
        rows = [item for item in films if low <= item["release_date"] <= high]
        ghost = low <= "2020-05-05" <= high
        return paged(rows, int(params["page"]), total_results=len(rows) + ghost)

    client = answering(discover)
    collection = read(client)
    assert [item["id"] for item in collection.items] == list(range(1, 1_001))
    assert (collection.announced, collection.missing) == (1_001, 1)
    assert client.requests < 50 + 40


def test_totals_that_differ_between_pages_are_settled():
    films = [film(number, str(FIRST + timedelta(days=number % 366))) for number in range(1, 1_001)]
    app = with_faults(catalogue_app(films), parse_faults("totals-differ=0.2,seed=3"))
    collection = read(catalogue_client(app))
    assert [item["id"] for item in collection.items] == list(range(1, 1_001))
    assert collection.missing <= 3
    assert collection.announced == 1_000 + collection.missing


@pytest.mark.parametrize("seed", range(5))
def test_drifting_pages_lose_nothing(seed):
    films = synthetic_films(date(2026, 1, 5))
    expected = read(catalogue(films), first=date(2015, 1, 1), last=date(2024, 12, 31))
    app = with_faults(catalogue_app(films), parse_faults(f"page-drift=0.2,seed={seed}"))
    collection = read(catalogue_client(app), first=date(2015, 1, 1), last=date(2024, 12, 31))
    assert collection.items == expected.items
    assert collection.missing == 0
    assert collection.duplicates > 0
    assert collection.read_again == 1


def listing(films: list[dict[str, Any]], listed: dict[int, str]) -> TmdbClient:
    """A client of an API that finds films by their date, or by the one that `listed` has for their id."""

    def discover(params: Mapping[str, str]) -> Any:
        low, high = params["primary_release_date.gte"], params["primary_release_date.lte"]
        rows = [item for item in films if low <= listed.get(item["id"], item["release_date"]) <= high]
        return paged(rows, int(params["page"]))

    return answering(discover)


def test_few_strays_are_set_aside_and_counted():
    """What the API finds by a date that is not the film's: announced, and no film of the window."""
    rows = [film(number, str(FIRST + timedelta(days=number))) for number in range(1, 301)]
    rows[7]["release_date"] = "2021-01-01"
    rows[200]["release_date"] = "2019-12-31"
    collection = read(listing(rows, {8: "2020-06-15", 201: "2020-08-15"}))
    assert len(collection.items) == 298
    assert {8, 201}.isdisjoint(item["id"] for item in collection.items)
    assert (collection.strays, collection.announced, collection.missing) == (2, 298, 0)


def test_many_strays_mean_that_the_filter_was_ignored():
    rows = [film(number, "2020-06-15" if number % 50 else "1990-06-15") for number in range(1, 301)]
    with pytest.raises(CollectionError, match=r"2020-01-01 to 2020-12-31: 6 of 300 films.*ignored a filter"):
        read(answering(lambda params: paged(rows, int(params["page"]))))


def test_a_single_stray_is_set_aside_in_a_small_window_too():
    collection = read(listing([film(1), film(2, "1990-06-15"), film(3)], {2: "2020-06-15"}))
    assert [item["id"] for item in collection.items] == [1, 3]
    assert (collection.strays, collection.missing) == (1, 0)


def test_strays_do_not_hide_films_that_they_replace():
    """18 of 2,000 films, and halves that do not add up, so that nothing shows what was announced."""
    films = [film(number, str(FIRST + timedelta(days=number % 366))) for number in range(1, 2_001)]
    strays = [film(number, "1990-01-01") for number in range(3_001, 3_019)]

    def discover(params):
        low, high = params["primary_release_date.gte"], params["primary_release_date.lte"]
        rows = [item for item in films if low <= item["release_date"] <= high]
        if (low, high) == (str(FIRST), str(LAST)):
            return paged([*rows[:1_000], *strays, *rows[1_018:]], int(params["page"]))
        return paged(rows, int(params["page"]), total_results=int(len(rows) * 1.02))

    collection = read(answering(discover))
    assert (len(collection.items), collection.announced, collection.missing) == (1_982, 2_000, 18)


def test_a_film_of_the_other_half_does_not_hide_a_missing_one():
    """A page of a half that shows films of the window which are not the half's."""
    films = [film(number, str(FIRST + timedelta(days=number % 366))) for number in range(1, 201)]
    middle = date(2020, 7, 1)

    def discover(params):
        low, high = params["primary_release_date.gte"], params["primary_release_date.lte"]
        rows = [item for item in films if low <= item["release_date"] <= high]
        answer = paged(rows, int(params["page"]))
        if low <= "2020-02-10" <= high and params["page"] != "1":
            answer["results"] = [row for row in answer["results"] if row["release_date"] != "2020-02-10"]
        if low == str(FIRST) and high <= str(middle):
            answer["results"] = [*answer["results"], film(199, "2020-07-18")]
        return answer

    collection = read(answering(discover))
    assert collection.missing == 200 - len(collection.items)


def test_a_film_that_has_gone_does_not_hide_one_that_was_not_read():
    """Film 45 is deleted while pages are read, and film 61 slips between two of them."""
    films = [film(number, str(FIRST + timedelta(days=number))) for number in range(1, 201)]
    asked = 0

    def discover(params):
        nonlocal asked
        asked += 1
        low, high, page = params["primary_release_date.gte"], params["primary_release_date.lte"], int(params["page"])
        is_later = page > 3 or (low, high) != (str(FIRST), str(LAST))
        rows = [item for item in films if low <= item["release_date"] <= high and not (is_later and item["id"] == 45)]
        return paged(rows, page)

    collection = read(answering(discover))
    assert 61 in {item["id"] for item in collection.items}
    assert collection.missing == 0


def test_a_capped_total_is_the_least_that_there_is():
    """One day of 10,050 films, a third of them in a language that TMDB does not list."""
    films = [
        film(number, "2020-01-01", original_language="en" if number % 3 else "klingon", vote_count=number % 50)
        for number in range(1, 10_051)
    ]
    app = with_faults(catalogue_app(films), parse_faults("totals-capped"))
    collection = read(catalogue_client(app), last=date(2020, 1, 1))
    assert (collection.announced, collection.missing) == (10_050, 3_350)


def test_looking_for_missing_films_ends():
    """Two pages and one film too many, whatever is asked; and empty pages under right totals."""
    client = answering(lambda params: paged([film(1, "2020-01-01")], 1, total_pages=2, total_results=2))
    assert read(client, last=date(2020, 1, 1)).missing >= 1
    assert client.requests < 100

    many = [film(number, str(FIRST + timedelta(days=number % 366))) for number in range(1, 8_001)]

    def discover(params):
        low, high = params["primary_release_date.gte"], params["primary_release_date.lte"]
        return {**paged([item for item in many if low <= item["release_date"] <= high], 1), "results": []}

    client = answering(discover)
    assert read(client).missing == 8_000
    assert client.requests < 2 * 400 + 50


def test_an_ignored_filter_for_votes_is_noticed():
    rows = [film(number, vote_count=number % 50) for number in range(1, 301)]
    with pytest.raises(CollectionError, match=r"at least 10 votes: 60 of 300 films have fewer than 10 votes.*ignored"):
        read(answering(lambda params: paged(rows, int(params["page"]))), min_vote_count=10)


def test_a_film_that_has_just_lost_votes_is_kept():
    rows = [film(number, vote_count=9 if number == 7 else 10) for number in range(1, 31)]
    collection = read(answering(lambda params: paged(rows, int(params["page"]))), min_vote_count=10)
    assert len(collection.items) == 30


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
    rows = json.loads(json.dumps(odd))
    collection = read(answering(lambda params: paged(rows, int(params["page"]))))
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
            return {"success": False, "status_code": 44, "status_message": "The ID is invalid."}
        return paged(rows, int(params["page"]))

    with pytest.raises(TmdbError, match="The ID is invalid") as caught:
        read(answering(discover))
    assert caught.value.status_code == 44


def test_progress_ends_with_the_whole():
    reports: list[Progress] = []
    collection = read(catalogue([film(number) for number in range(1, 101)]), on_progress=reports.append)
    (last,) = reports
    assert (last.films, last.announced, last.requests) == (100, 100, collection.requests)
    assert last.seconds >= 0


def test_impossible_questions_are_refused():
    with pytest.raises(ValueError, match="min_vote_count"):
        read(catalogue([]), min_vote_count=-1)
    with pytest.raises(ValueError, match="first day 2020-12-31 is after last day 2020-01-01"):
        read(catalogue([]), first=LAST, last=FIRST)


def test_progress_is_reported_while_the_api_is_silent(virtual_time):
    """Whoever watches sees that requests are sent again, and why."""
    reports: list[Progress] = []
    client = TmdbClient(
        base_url="http://tmdb.test/3",
        token=SecretStr("token"),
        pacer=Pacer(20),
        retry_seconds=60,
        transport=httpx.MockTransport(lambda _: httpx.Response(503)),
    )

    async def run() -> None:
        async with client:
            await collect(
                client, first=FIRST, last=LAST, min_vote_count=0, include_adult=False, on_progress=reports.append
            )

    with pytest.raises(OutageError):
        virtual_time.run(run())
    assert [report.seconds for report in reports] == pytest.approx([5.0 * n for n in range(1, len(reports) + 1)])
    assert len(reports) >= 6
    assert reports[-1].retries["HTTP 503"] >= 3
    assert (reports[-1].films, reports[-1].announced) == (0, 0)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=90),
    st.sets(st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(2, 5)), max_size=12),
    st.booleans(),
)
def test_whatever_pages_lack_is_found_or_counted(offsets, faulty, persistent):
    """Pages named by range and number lose their first film; with `persistent`, some films never show."""
    films = [film(number, str(FIRST + timedelta(offset))) for number, offset in enumerate(sorted(offsets))]

    def discover(params):
        low, high, page = params["primary_release_date.gte"], params["primary_release_date.lte"], int(params["page"])
        rows = [item for item in films if low <= item["release_date"] <= high]
        answer = paged(rows, page)
        first, last = (int(str(day)[-2:]) - 1 for day in (low, high))
        if (first, last, page) in faulty or (persistent and first <= 7 <= last):
            answer["results"] = [row for row in answer["results"] if row["id"] % 20 != 7]
        return answer

    collection = read(answering(discover), last=FIRST + timedelta(30))
    assert {item["id"] for item in collection.items} <= {item["id"] for item in films}
    assert collection.announced == len(films)
    assert collection.missing == len(films) - len(collection.items)
    lost = {item["id"] for item in films} - {item["id"] for item in collection.items}
    assert all(identity % 20 == 7 for identity in lost)


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=300),
    st.integers(0, 30),
    st.integers(0, 30),
    st.integers(1, 5),
)
def test_any_catalogue_is_collected_whatever_the_split(offsets, start, length, most):
    """Queries with `most` full pages or more claim to be capped, so that every shape of split occurs."""
    films = [film(number, (FIRST + timedelta(offset)).isoformat()) for number, offset in enumerate(offsets)]
    first, last = FIRST + timedelta(start), FIRST + timedelta(start + length)

    def discover(params):
        low, high = params["primary_release_date.gte"], params["primary_release_date.lte"]
        rows = [item for item in films if low <= item["release_date"] <= high]
        if len(rows) >= 20 * most and low < high:
            return paged(rows, int(params["page"]), total_pages=500, total_results=10_000)
        return paged(rows, int(params["page"]))

    collection = read(answering(discover), first=first, last=last)
    expected = [item for item in films if first.isoformat() <= item["release_date"] <= last.isoformat()]
    assert collection.items == expected
    assert collection.announced == len(expected)
