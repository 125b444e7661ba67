"""Each fault of the built-in catalogue, seen by a plain HTTP client: inside the process, and on a socket."""

import asyncio
import dataclasses
import json
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import ASGIApp, Receive, Scope, Send

from movie_platform.tmdb.catalogue import (
    FAULTS,
    Faults,
    catalogue_app,
    catalogue_client,
    parse_faults,
    synthetic_films,
    with_faults,
)
from movie_platform.tmdb.catalogue.app import InProcessTransport
from movie_platform.tmdb.client import TmdbError
from movie_platform.tmdb.films import to_films
from movie_platform_tests.loopback import serving

Params = Mapping[str, str | int]

HEADERS = {"Authorization": "Bearer anything"}
DISCOVER = "/discover/movie"
GENRES = "/genre/movie/list"
BY_DATE: Params = {"sort_by": "primary_release_date.asc"}
YEAR: Params = {**BY_DATE, "primary_release_date.gte": "2020-01-01", "primary_release_date.lte": "2020-12-31"}
FILMS = [
    {**film, "release_date": str(date(2019, 10, 1) + timedelta(days=number))}
    for number, film in enumerate(synthetic_films(date(2026, 1, 5))[-600:])
]
GOOD = catalogue_app(FILMS)
PAGES = 19  # 366 films in 2020
RETRYABLE = parse_faults("retryable").shares


def run(job: Callable[[httpx.AsyncClient], Awaitable[Any]], app: ASGIApp, *, timeout: float = 30) -> Any:
    async def main() -> Any:
        transport = InProcessTransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://tmdb.test/3", headers=HEADERS, timeout=timeout
        ) as client:
            return await job(client)

    return asyncio.run(main())


def get(app: ASGIApp, path: str = DISCOVER, params: Params = YEAR, *, timeout: float = 30) -> httpx.Response:
    response: httpx.Response = run(lambda client: client.get(path, params=params), app, timeout=timeout)
    return response


def faulty(text: str) -> ASGIApp:
    return with_faults(GOOD, parse_faults(text))


def pages(app: ASGIApp, numbers: Sequence[int] = range(1, PAGES + 1), params: Params = YEAR) -> list[dict[str, Any]]:
    async def job(client: httpx.AsyncClient) -> list[dict[str, Any]]:
        return [(await client.get(DISCOVER, params={**params, "page": number})).json() for number in numbers]

    found: list[dict[str, Any]] = run(job, app)
    return found


def rows(answers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [row for answer in answers for row in answer["results"]]


def ids(answers: Sequence[Mapping[str, Any]]) -> list[int]:
    return [row["id"] for row in rows(answers)]


def totals(answers: Sequence[Mapping[str, Any]]) -> set[tuple[int, int]]:
    return {(answer["total_pages"], answer["total_results"]) for answer in answers}


def outcomes(app: ASGIApp, urls: int, repetitions: int = 1) -> list[list[int]]:
    """Return the HTTP statuses of requests for so many URLs, 0 for a broken connection."""

    async def status(client: httpx.AsyncClient, url: int) -> int:
        try:
            return (await client.get("/authentication", params={"n": url})).status_code
        except httpx.ReadError:
            return 0

    async def job(client: httpx.AsyncClient) -> list[list[int]]:
        return [[await status(client, url) for _ in range(repetitions)] for url in range(urls)]

    found: list[list[int]] = run(job, app)
    return found


# Errors


@pytest.mark.parametrize(
    ("name", "http_status", "code", "message"),
    [
        ("rate-limit", 429, 25, "over the allowed limit"),
        ("rate-limit-seconds", 429, 25, "over the allowed limit"),
        ("rate-limit-date", 429, 25, "over the allowed limit"),
        ("rate-limit-hour", 429, 25, "over the allowed limit"),
        ("internal-error", 500, 11, "Something went wrong"),
        ("no-backend", 502, 43, "Couldn't connect"),
        ("maintenance", 503, 46, "undergoing maintenance"),
        ("offline", 503, 9, "temporarily offline"),
        ("backend-time-out", 504, 24, "timed out"),
        ("invalid-key", 401, 7, "valid key"),
        ("not-found", 404, 34, "could not be found"),
        ("invalid-id", 500, 44, "The ID is invalid"),
        ("invalid-page", 400, 22, "Pages start at 1"),
    ],
)
@pytest.mark.parametrize("path", [DISCOVER, GENRES])
def test_errors_are_those_of_tmdb(path, name, http_status, code, message):
    response = get(faulty(name), path)
    assert response.status_code == http_status
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert set(body) == {"success", "status_code", "status_message"}
    assert (body["success"], body["status_code"]) == (False, code)
    assert message in body["status_message"]


def test_keys_of_errors_come_in_varying_order():
    app = faulty("maintenance")
    orders = {tuple(get(app, params={"page": page}).json()) for page in range(1, 40)}
    assert len(orders) == 6


def test_the_ways_of_saying_when_to_come_back():
    now = datetime.now(UTC)
    waits = {name: get(faulty(name)).headers.get("retry-after") for name in FAULTS if name.startswith("rate-limit")}
    until = parsedate_to_datetime(waits.pop("rate-limit-date"))
    assert waits == {"rate-limit": None, "rate-limit-seconds": "1", "rate-limit-hour": "3600"}
    assert now < until < datetime.now(UTC) + timedelta(seconds=1.1)


@pytest.mark.parametrize("status", [502, 503, 504])
def test_gateways_answer_html(status):
    response = get(faulty(f"html-{status}"))
    assert response.status_code == status
    assert response.headers["content-type"].startswith("text/html")
    assert response.text.startswith(f"<html><head><title>{status} ")


def test_truncated_json():
    response = get(faulty("truncated-json"))
    whole = get(GOOD).content
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert int(response.headers["content-length"]) == len(response.content)
    assert 0 < len(response.content) < len(whole)
    assert whole.startswith(response.content)
    with pytest.raises(ValueError, match=r"Expecting|Unterminated|decode"):
        response.json()


# Connections


def read_into(arrived: bytearray, client: httpx.Client, url: str) -> None:
    with client.stream("GET", url, params=dict(YEAR)) as response:
        for part in response.iter_bytes():
            arrived += part


@pytest.mark.parametrize("name", ["connection-reset", "dead"])
def test_inside_the_process_a_broken_connection_is_a_read_error(name):
    with pytest.raises(httpx.ReadError):
        get(faulty(name))


@pytest.mark.parametrize("name", ["connection-reset", "dead"])
def test_on_a_socket_the_connection_breaks(name, capfd):
    whole = get(GOOD).content
    with serving(faulty(name)) as url, httpx.Client(headers=HEADERS) as client:
        for _ in range(2):  # the server goes on
            arrived = bytearray()
            with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
                read_into(arrived, client, url + DISCOVER)
            assert len(arrived) < len(whole)
            assert whole.startswith(arrived)
            assert bool(arrived) == (name == "connection-reset")
    assert capfd.readouterr().err == ""


def test_on_a_socket_truncated_json_is_a_whole_answer():
    with serving(faulty("truncated-json")) as url:
        response = httpx.get(url + DISCOVER, params=dict(YEAR), headers=HEADERS)
    assert response.content == get(faulty("truncated-json")).content, "the same as inside the process"


def test_inside_the_process_a_slow_answer_is_a_time_out():
    with pytest.raises(httpx.ReadTimeout):
        get(faulty("slow"), timeout=0.05)


def test_a_slow_answer_can_be_given_up():
    async def main() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(faulty("slow"))) as client:
            asking = asyncio.create_task(client.get("http://tmdb.test/3/discover/movie"))
            await asyncio.sleep(0.05)
            assert not asking.done()
            asking.cancel()
            async with asyncio.timeout(5):
                with pytest.raises(asyncio.CancelledError):
                    await asking

    asyncio.run(main())


def test_on_a_socket_a_slow_answer_ends_when_the_client_leaves():
    ended = threading.Event()
    slow = faulty("slow")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await slow(scope, receive, send)
        finally:
            ended.set()

    with serving(app) as url:
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(url + DISCOVER, headers=HEADERS, timeout=httpx.Timeout(5, read=0.1))
        assert ended.wait(5)


@pytest.mark.parametrize("name", ["connection-reset", "dead", "truncated-json"])
def test_the_client_of_the_catalogue_takes_them_for_failures_of_the_api(name):
    async def main() -> None:
        async with catalogue_client(faulty(name), retry_seconds=0) as client:
            with pytest.raises(TmdbError):
                await client.get(DISCOVER)

    asyncio.run(main())


# Chance


def test_nothing_is_hit_without_faults():
    for text in ("", "  ", "seed=7", "retryable=1e-9, page-drift=1e-9"):
        app = faulty(text)
        assert pages(app) == pages(GOOD)
        assert get(app, GENRES).content == get(GOOD, GENRES).content
        assert get(app, "/nonsense").status_code == 404
        assert get(app, params={"page": 501}).json()["status_code"] == 22


def test_what_is_no_request_passes():
    async def main() -> list[Any]:
        sent: list[Any] = []
        messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

        async def receive() -> Any:
            return next(messages)

        async def send(message: Any) -> None:
            sent.append(message["type"])

        await faulty("dead, page-drift")({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)
        return sent

    assert asyncio.run(main()) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


@pytest.mark.parametrize(
    ("text", "hit"),
    [("offline=0.1", 0.1), ("retryable=0.1", 0.1), ("invalid-id=0.1", 0.1)],
)
def test_as_many_requests_are_hit_as_were_asked_for(text, hit):
    """Over 2,000 URLs, within four standard deviations."""
    statuses = Counter(status for (status,) in outcomes(faulty(f"seed=3, {text}"), 2000))
    good = 0 if "retryable" not in text else 2000 * 0.1 / len(RETRYABLE)  # cut off, but with 200
    assert (2000 - statuses[200]) / 2000 == pytest.approx(hit - good / 2000, abs=4 * (hit * (1 - hit) / 2000) ** 0.5)


def test_permanent_and_passing_faults_share_the_requests_as_they_should():
    statuses = Counter(status for (status,) in outcomes(faulty("seed=3, not-found=0.3, offline=0.4, dead=0.3"), 2000))
    assert set(statuses) == {404, 503, 0}
    assert statuses[503] == pytest.approx(800, abs=90)
    assert statuses[0] == pytest.approx(600, abs=90)


def test_retryable_is_all_of_them_equally_often():
    assert set(RETRYABLE.values()) == {1 / len(RETRYABLE)}
    assert set(RETRYABLE) == {
        *("rate-limit", "rate-limit-seconds", "rate-limit-date"),
        *("internal-error", "no-backend", "maintenance", "offline", "backend-time-out"),
        *("html-502", "html-503", "html-504", "connection-reset", "truncated-json"),
    }
    statuses = Counter(status for (status,) in outcomes(faulty("retryable"), 1300))
    expected = {429: 300, 500: 100, 502: 200, 503: 300, 504: 200, 200: 100, 0: 100}
    assert statuses == {status: pytest.approx(number, abs=65) for status, number in expected.items()}


def test_the_same_seed_gives_the_same_and_another_one_something_else():
    first = outcomes(faulty("seed=7, retryable=0.5"), 50, 4)
    assert outcomes(faulty("seed=7, retryable=0.5"), 50, 4) == first
    assert outcomes(faulty("seed=8, retryable=0.5"), 50, 4) != first


def test_another_process_would_see_the_same():
    """What a seed shows is written down here, since it must depend neither on the process nor on the machine."""
    expected = [[200, 503, 503], [503, 503, 200], [503, 200, 200], [503, 200, 200]]
    assert outcomes(faulty("seed=7, offline=0.5"), 4, 3) == expected


def test_repetitions_of_a_request_are_drawn_anew():
    passing = outcomes(faulty("seed=7, offline=0.5"), 60, 4)
    assert all({200, 503} == {statuses[place] for statuses in passing} for place in range(4))
    assert len({tuple(statuses) for statuses in passing}) > 10


def test_permanent_faults_do_not_go_away():
    permanent = outcomes(faulty("seed=7, invalid-id=0.5"), 60, 4)
    assert {tuple(statuses) for statuses in permanent} == {(200,) * 4, (500,) * 4}


def test_neither_the_order_of_requests_nor_that_of_parameters_matters():
    urls = [{"page": page, "vote_count.gte": votes} for page in range(1, 6) for votes in range(6)]

    async def statuses(client: httpx.AsyncClient, order: Sequence[Params]) -> dict[tuple[Any, ...], list[int]]:
        found: dict[tuple[Any, ...], list[int]] = {}
        for params in order:
            answer = await client.get(DISCOVER, params=params)
            found.setdefault(tuple(sorted(params.items())), []).append(answer.status_code)
        return found

    text = "seed=1, offline=0.3, not-found=0.3"
    straight = run(lambda client: statuses(client, urls * 3), faulty(text))
    turned = [dict(reversed(params.items())) for params in reversed(urls)]
    assert run(lambda client: statuses(client, turned * 3), faulty(text)) == straight
    assert {status for found in straight.values() for status in found} == {200, 404, 503}


# Pages


ABOUT_PAGES = (
    *("page-drift", "rows-inserted", "totals-differ", "totals-capped", "strays", "dates-ignored"),
    *("unknown-fields", "odd-rows", "refused-rows"),
)


@pytest.mark.parametrize("name", ABOUT_PAGES)
def test_a_url_always_gets_the_same_page(name):
    app = faulty(f"seed=5, {name}=0.5")
    numbers = range(1, PAGES + 2)
    first = pages(app, numbers)
    assert pages(app, list(reversed(numbers))) == first[::-1]
    assert pages(app, numbers, dict(reversed(list(YEAR.items())))) == first
    assert pages(faulty(f"seed=5, {name}=0.5"), numbers) == first


@pytest.mark.parametrize("name", sorted(set(ABOUT_PAGES) - {"rows-inserted", "totals-capped"}))
def test_a_share_below_1_leaves_others_as_they_are(name):
    found = zip(rows(pages(faulty(f"seed=5, {name}=0.5"))), rows(pages(GOOD)), strict=False)
    assert {row == good for row, good in found} == {True, False} or name == "totals-differ"


@pytest.mark.parametrize("name", ABOUT_PAGES)
def test_other_endpoints_and_errors_have_none_of_them(name):
    app = faulty(name)
    assert get(app, GENRES).content == get(GOOD, GENRES).content
    for params in ({"page": "0"}, {"vote_count.gte": "many"}):
        assert get(app, params=params).content == get(GOOD, params=params).content
    with_no_token = run(lambda client: client.get(DISCOVER, headers={"Authorization": ""}), app)
    assert with_no_token.status_code == 401


def test_drift_repeats_films_and_loses_others_and_keeps_the_totals():
    good, drifting = pages(GOOD), pages(faulty("page-drift"))
    assert totals(drifting) == totals(good)
    assert [len(page["results"]) for page in drifting] == [len(page["results"]) for page in good]
    assert drifting[0] == good[0], "there is no page before the first one"
    for before, page, true in zip(good, drifting[1:], good[1:], strict=False):
        came = [row for row in page["results"] if row not in true["results"]]
        assert 1 <= len(came) <= 5
        assert all(row in before["results"] for row in came)
    assert set(ids(drifting)) < set(ids(good))


def test_a_row_inserted_shifts_later_pages_and_is_announced_by_them():
    good, found = pages(GOOD), pages(faulty("rows-inserted"))
    shifted = [page["total_results"] - true["total_results"] for page, true in zip(found, good, strict=True)]
    assert set(shifted) == {0, 1}
    assert shifted == sorted(shifted), "from some page on"
    assert found[: shifted.index(1)] == good[: shifted.index(1)]
    assert set(ids(found)) == set(ids(good))
    assert len(ids(found)) == len(set(ids(found))) + 1


def test_a_row_inserted_may_open_a_new_page():
    films = FILMS[:40]
    found = pages(with_faults(catalogue_app(films), parse_faults("rows-inserted")), [1, 2, 3], BY_DATE)
    assert [len(page["results"]) for page in found] == [20, 20, 1]
    assert [(page["total_pages"], page["total_results"]) for page in found] == [(2, 40), (3, 41), (3, 41)]
    assert found[2]["results"] == [films[-1]]


def test_nothing_is_inserted_into_a_query_of_one_page():
    app = catalogue_app(FILMS[:20])
    assert pages(with_faults(app, parse_faults("rows-inserted")), [1, 2]) == pages(app, [1, 2])


def test_totals_differ_between_pages():
    good, found = pages(GOOD), pages(faulty("seed=5, totals-differ=0.5"))
    assert rows(found) == rows(good)
    assert totals(found) == {(19, 366), (19, 367)}


def test_capped_totals():
    app = catalogue_app([{**FILMS[0], "id": number} for number in range(1, 10_022)])
    capped = with_faults(app, parse_faults("totals-capped"))
    found, true = pages(capped, [1, 500], BY_DATE), pages(app, [1, 500], BY_DATE)
    assert totals(true) == {(502, 10_021)}
    assert totals(found) == {(500, 10_000)}
    assert rows(found) == rows(true)
    assert pages(faulty("totals-capped"), [1]) == pages(GOOD, [1]), "nothing to cap"


def test_strays_stand_among_the_others():
    good, found = pages(GOOD), pages(faulty("strays"))
    assert totals(found) == totals(good)
    for page, true in zip(found, good, strict=True):
        strays = [row for row in page["results"] if not "2020" <= row["release_date"] < "2021"]
        assert len(strays) == 1
        assert [row for row in page["results"] if row not in strays] == true["results"]
        assert strays[0] in FILMS, "a real film, only of another date"


@pytest.mark.parametrize(
    "dates",
    [
        {"primary_release_date.lte": "2020-01-01"},
        {"primary_release_date.gte": "2020-01-01"},
        {"primary_release_date.gte": "2020-01-01", "primary_release_date.lte": "9999-12-31"},
    ],
)
def test_strays_come_from_either_side(dates):
    params = {**BY_DATE, **dates}
    (stray,) = [row for row in rows(pages(faulty("strays"), [1], params)) if row not in rows(pages(GOOD, [1], params))]
    assert (stray["release_date"] > "2020-01-01") == ("primary_release_date.gte" not in dates)


@pytest.mark.parametrize("dates", [{}, {"primary_release_date.gte": "0001-01-01"}])
def test_there_are_no_strays_where_no_film_is_outside(dates):
    params = {**BY_DATE, **dates}
    assert pages(faulty("strays"), [1], params) == pages(GOOD, [1], params)


def test_dates_ignored_shows_the_whole_catalogue():
    found = pages(faulty("dates-ignored"), range(1, 31))
    assert found == pages(GOOD, range(1, 31), BY_DATE)
    assert len(set(ids(found))) == len(FILMS)


def test_unknown_fields_come_on_top_and_are_accepted():
    good, found = rows(pages(GOOD)), rows(pages(faulty("unknown-fields")))
    added = [set(row) - set(true) for row, true in zip(found, good, strict=True)]
    assert all({"streams", "rank"} <= names for names in added)
    assert all(true.items() <= row.items() for row, true in zip(found, good, strict=True) if "softcore" not in true)
    assert to_films(found).table.equals(to_films(good).table)


@pytest.mark.parametrize("name", ["odd-rows", "refused-rows"])
def test_a_bad_row_keeps_id_and_date(name):
    good, found = rows(pages(GOOD)), rows(pages(faulty(name)))
    assert [(row["id"], row["release_date"]) for row in found] == [(row["id"], row["release_date"]) for row in good]


def test_odd_rows_are_accepted():
    found = rows(pages(faulty("odd-rows")))
    films = to_films(found)
    assert not films.refused
    assert len(films.table) == len(found)
    assert films.notes["genre_ids is not a list"] > 50
    assert sum(row["poster_path"] is None for row in found) > 50
    assert sum(type(row["vote_average"]) is int for row in found) > 50


def test_refused_rows_are_refused():
    found = rows(pages(faulty("refused-rows")))
    films = to_films(found)
    assert films.table.empty
    reasons = Counter(refusal.reason for refusal in films.refused)
    assert reasons.keys() == {
        "title is missing",
        "vote_average is outside 0..10",
        "original_language is not a TMDB language code",
    }
    assert {row.get("title") == "" for row in found if not row.get("title")} == {True, False}


def test_a_film_is_as_bad_wherever_it_appears():
    app = faulty("seed=2, refused-rows=0.3, odd-rows=0.3, unknown-fields=0.3")
    by_date = {row["id"]: row for row in rows(pages(app))}
    by_votes = {row["id"]: row for row in rows(pages(app, params={**YEAR, "sort_by": "vote_count.desc"}))}
    assert by_votes == by_date


def test_failures_of_requests_come_on_top_of_wrong_pages():
    response = get(faulty("truncated-json, refused-rows"))
    assert get(faulty("refused-rows")).content.startswith(response.content)


# Settings


def test_entries():
    assert parse_faults("seed=7,retryable=0.26, page-drift = .5 ,\tdead=1e-2,strays\n") == Faults(
        seed=7, shares={**dict.fromkeys(RETRYABLE, 0.02), "page-drift": 0.5, "dead": 0.01, "strays": 1}
    )
    assert parse_faults("seed=-3") == Faults(seed=-3)
    assert parse_faults("") == Faults()


def test_a_group_adds_to_what_its_members_have():
    shares = parse_faults("offline=0.1, retryable=0.13").shares
    assert shares["offline"] == pytest.approx(0.11)
    assert shares["maintenance"] == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("strays=0.1,page-drfit=0.1", ["entry 2", "perhaps page-drift is meant", "rows-inserted", "seed"]),
        ("Retryable=0.1", ["entry 1", "perhaps retryable is meant"]),
        ("xyzzy", ["entry 1", "retryable"]),
        ("strays,,slow", ["entry 2"]),
        ("strays,", ["entry 2"]),
        ("=0.5", ["entry 1"]),
        ("seed=1;strays=1", ["entry 1", "seed=7"]),
        ("strays=0.1, strays=0.2", ["entry 2", "names strays again"]),
        ("seed=1, seed=1", ["entry 2", "names seed again"]),
        ("seed", ["entry 1", "seed=7"]),
        ("seed=1.5", ["entry 1", "seed=7"]),
        ("seed=" + "9" * 5000, ["entry 1", "seed=7"]),
        *((f"strays={share}", ["entry 1", "strays=0.1"]) for share in ("0", "1.01", "-0.1", "nan", "inf", "10%", "")),
        ("strays=1e999", ["entry 1", "strays=0.1"]),
        ("strays=0.1=0.2", ["entry 1", "strays=0.1"]),
        ("retryable=0.6, slow=0.5", ["1.1", "lower"]),
        ("dead, invalid-id=0.5", ["1.5", "lower"]),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_remedy(text, said):
    with pytest.raises(ValueError, match=r"^(has|names) ") as caught:
        parse_faults(text)
    for words in said:
        assert words in str(caught.value)
    assert len(str(caught.value)) < 700


def test_a_token_in_the_wrong_place_is_not_repeated():
    for text in ("eyJhbGciOiJIUzI1NiJ9.secret", "seed=eyJsecret", "strays=eyJsecret", "slow,eyJsecret=1"):
        with pytest.raises(ValueError, match="entry") as caught:
            parse_faults(text)
        error: BaseException | None = caught.value
        while error is not None:
            assert "secret" not in str(error)
            error = error.__context__


def test_shares_that_are_1_together_are_not_refused_for_rounding():
    shares = {"rate-limit": 0.2, "rate-limit-seconds": 0.4, "rate-limit-date": 0.3, "internal-error": 0.1}
    assert parse_faults(",".join(f"{name}={share}" for name, share in shares.items())).shares == shares


def test_faults_about_pages_may_add_up_to_more_than_1():
    assert len(parse_faults("page-drift, strays, odd-rows, dead").shares) == 4


@pytest.mark.parametrize("shares", [{"strays": 0.0}, {"strays": float("nan")}, {"drift": 0.5}, {"slow": 1, "dead": 1}])
def test_faults_made_without_a_text_are_checked_too(shares):
    with pytest.raises(ValueError, match="has"):
        Faults(shares=shares)


def test_faults_do_not_change_and_can_be_keys():
    shares = {"strays": 0.5}
    faults = Faults(seed=1, shares=shares)
    shares["strays"] = 1
    assert faults == parse_faults("seed=1, strays=0.5")
    assert len({faults, parse_faults("seed=1, strays=0.5"), parse_faults("seed=1, strays")}) == 2
    assert dataclasses.replace(parse_faults("retryable"), seed=4) == parse_faults("seed=4, retryable")
    with pytest.raises(TypeError):
        faults.shares["strays"] = 1  # type: ignore[index]


FRAGMENTS = st.sampled_from([*FAULTS, "seed", "=", ",", " ", "0.5", "1", "-", "e", "nan", "\n", "½"])


@given(st.one_of(st.text(), st.lists(FRAGMENTS).map("".join)))
def test_any_text_parses_or_is_refused(text):
    try:
        faults, refusal = parse_faults(text), ""
    except ValueError as error:
        faults, refusal = Faults(), str(error)
    assert len(refusal) < 700
    assert "\n" not in refusal
    assert all(0 < share <= 1 for share in faults.shares.values())
    assert "retryable" not in faults.shares


@given(
    seed=st.integers(-(10**18) + 1, 10**18 - 1),
    shares=st.dictionaries(st.sampled_from(sorted(set(FAULTS) - {"retryable"})), st.floats(1e-300, 1 / len(FAULTS))),
    space=st.sampled_from(["", " ", "\t\n"]),
)
def test_what_is_written_is_what_is_meant(seed, shares, space):
    entries = [f"{space}seed{space}={seed}", *(f"{name}={space}{share!r}{space}" for name, share in shares.items())]
    assert parse_faults(",".join(entries)) == Faults(seed, shares)


@given(st.sampled_from(sorted(FAULTS)))
def test_a_name_alone_means_always(name):
    assert parse_faults(name) == parse_faults(f"{name}=1")


def test_every_fault_is_described_in_one_line():
    for name, line in FAULTS.items():
        assert name == name.lower().strip()
        assert line.endswith(".")
        assert "\n" not in line
    assert json.dumps(dict(FAULTS))
