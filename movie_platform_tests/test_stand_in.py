"""The stand-in for TMDB behaves and misbehaves as it says, seen by a plain HTTP client and by sockets."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import pytest

from movie_platform_tests.stand_in import FAULTS, Behaviour, Film, StandIn

DISCOVER = "/discover/movie"
JANUARY = {"primary_release_date.gte": "2024-01-01", "primary_release_date.lte": "2024-01-31"}
HEAD = "GET /3/authentication HTTP/1.1\r\nHost: tmdb\r\nAuthorization: Bearer secret\r\n\r\n"


def film(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "adult": False,
        "genre_ids": [18],
        "id": number,
        "original_language": "en",
        "original_title": f"Film {number % 7}",
        "popularity": number / 2,
        "release_date": f"2024-{number % 12 + 1:02}-{number % 28 + 1:02}",
        "title": f"Film {number % 7}",
        "video": False,
        "vote_average": number % 10,
        "vote_count": number % 5,
    } | changes


FILMS = [film(number) for number in range(1, 106)]


@contextmanager
def serving(films: list[dict[str, Any]] = FILMS, **behaviour: Any) -> Iterator[tuple[StandIn, httpx.Client]]:
    """The stand-in and a client that has the token."""
    with (
        StandIn(films, token="secret", behaviour=Behaviour(**behaviour)) as tmdb,
        httpx.Client(base_url=tmdb.url, headers={"Authorization": "Bearer secret"}, trust_env=False) as client,
    ):
        yield tmdb, client


def ids(answer: httpx.Response) -> list[int]:
    assert answer.status_code == 200
    return [row["id"] for row in answer.json()["results"]]


def all_ids(client: httpx.Client, pages: int, **query: str) -> list[int]:
    found = []
    for page in range(1, pages + 1):
        found += ids(client.get(DISCOVER, params={**query, "page": page}))
    return found


def code(answer: httpx.Response) -> tuple[int, int]:
    body = answer.json()
    assert sorted(body) == ["status_code", "status_message", "success"]
    assert body["success"] is False
    return answer.status_code, body["status_code"]


def connect(tmdb: StandIn) -> socket.socket:
    url = httpx.URL(tmdb.url)
    return socket.create_connection((url.host, url.port), timeout=5)


# --- well behaved ---------------------------------------------------------------------------------


@pytest.mark.parametrize("credential", [None, "Bearer wrong", "bearer secret", "Bearer secret2", "secret"])
@pytest.mark.parametrize("path", [DISCOVER, "/authentication", "/no/such/thing"])
def test_without_the_token_every_path_is_unauthorized(credential: str | None, path: str):
    with serving() as (tmdb, client):
        client.headers.pop("Authorization")
        headers = {"Authorization": credential} if credential else {}
        assert code(client.get(path, headers=headers)) == (401, 7)
        assert [request.status for request in tmdb.requests] == [401]


def test_a_query_is_paged_by_twenty_and_ends_with_an_empty_page():
    with serving() as (_, client):
        answers = [client.get(DISCOVER, params={"page": page}) for page in (*range(1, 7), 500)]
        assert [len(ids(answer)) for answer in answers] == [20, 20, 20, 20, 20, 5, 0]
        assert {(answer.json()["total_pages"], answer.json()["total_results"]) for answer in answers} == {(6, 105)}
        assert sorted(all_ids(client, 6)) == [one["id"] for one in FILMS]


def test_an_empty_result_has_one_page():
    with serving([]) as (_, client):
        assert client.get(DISCOVER).text == '{"page":1,"results":[],"total_pages":1,"total_results":0}'


@pytest.mark.parametrize("page", ["0", "-1", "501", "1.0", "one", "1000000", ""])
def test_pages_are_1_to_500(page: str):
    with serving() as (_, client):
        assert code(client.get(DISCOVER, params={"page": page})) == (400, 22)


@pytest.mark.parametrize("text", ["2024-02-30", "20240101", "2024-1-1", "yesterday", "2024-01-01T00:00:00"])
def test_dates_are_checked(text: str):
    with serving() as (_, client):
        assert code(client.get(DISCOVER, params={"primary_release_date.lte": text})) == (400, 23)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [1, 2, 3, 4, 5]),
        ({"no_such_parameter": "1"}, [1, 2, 3, 4, 5]),
        ({"primary_release_date.gte": "2024-01-02"}, [2, 3]),
        ({"primary_release_date.lte": "2024-01-02"}, [1, 2]),
        ({"primary_release_date.gte": "2024-01-02", "primary_release_date.lte": "2024-01-02"}, [2]),
        ({"primary_release_date.gte": "2024-01-03", "primary_release_date.lte": "2024-01-01"}, []),
        ({"vote_count.gte": "10"}, [2, 3]),
        ({"vote_count.lte": "10"}, [1, 2, 4, 5]),
        ({"vote_average.gte": "6.5", "vote_average.lte": "7"}, [2]),
        ({"vote_average.gte": "6.5"}, [2, 3]),
        ({"with_original_language": "de"}, [2]),
        ({"with_genres": "18"}, [1, 2]),
        ({"with_genres": "18,35"}, [2]),
        ({"with_genres": "27|35"}, [2, 3]),
        ({"include_adult": "true"}, [1, 2, 3, 4, 5, 6]),
        ({"include_video": "true"}, [1, 2, 3, 4, 5, 7]),
        ({"include_adult": "false", "language": "de-DE"}, [1, 2, 3, 4, 5]),
    ],
)
def test_filters(query: dict[str, str], expected: list[int]):
    """Films 4 and 5 have hardly a value: they are served all the same, but never in a window."""
    films = [
        film(1, release_date="2024-01-01", vote_count=1, vote_average=6.4),
        film(2, release_date="2024-01-02", vote_count=10, vote_average=7, genre_ids=[35, 18], original_language="de"),
        film(3, release_date="2024-01-03", vote_count=11, vote_average=99, genre_ids=[27]),
        {"id": 4},
        {"id": 5, "release_date": "", "vote_average": None, "genre_ids": None, "title": 5, "surprise": [1]},
        film(6, adult=True, release_date="1999-01-01", vote_count=1, genre_ids=[], vote_average=5),
        film(7, video=True, release_date="1999-01-01", vote_count=1, genre_ids=[], vote_average=5),
    ]
    with serving(films) as (_, client):
        answer = client.get(DISCOVER, params=query)
        assert sorted(ids(answer)) == expected
        assert answer.json()["total_results"] == len(expected)


def test_items_are_served_as_given_with_the_key_that_no_specification_names():
    odd = {"id": 4, "vote_average": 99, "overview": "Grüße", "extra": None}
    with serving([odd]) as (_, client):
        assert client.get(DISCOVER).json()["results"] == [{**odd, "softcore": False}]


@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize(
    ("name", "key"),
    [("primary_release_date", "release_date"), ("revenue", "revenue")]
    + [(name, name) for name in ("original_title", "popularity", "title", "vote_average", "vote_count")],
)
def test_sorting(name: str, key: str, direction: str):
    films = [{**one, "revenue": one["id"] % 11} for one in FILMS]
    values = {one["id"]: one[key] for one in films}
    with serving(films) as (_, client):
        found = [values[number] for number in all_ids(client, 6, sort_by=f"{name}.{direction}")]
    assert found == sorted(values.values(), reverse=direction == "desc")


@pytest.mark.parametrize("query", [{}, {"sort_by": "release_date.asc"}])
def test_the_default_order_is_by_popularity(query: dict[str, str]):
    with serving() as (_, client):
        assert ids(client.get(DISCOVER, params=query)) == list(range(105, 85, -1))


@pytest.mark.parametrize(("capped", "totals"), [(False, (501, 10_001)), (True, (500, 10_000))])
def test_totals_may_be_capped(capped: bool, totals: tuple[int, int]):
    with serving([{"id": number} for number in range(10_001)], capped=capped) as (_, client):
        answer = client.get(DISCOVER, params={"page": 500})
        assert (answer.json()["total_pages"], answer.json()["total_results"]) == totals
        assert len(ids(answer)) == 20


def test_the_other_paths():
    with serving() as (_, client):
        assert client.get("/authentication").json()["success"] is True
        assert len(client.get("/genre/movie/list").json()["genres"]) == 19
        assert client.get("/configuration").json()["images"]["secure_base_url"] == "https://image.tmdb.org/t/p/"
        assert code(client.get("/movie/5")) == (404, 34)
        assert code(client.post(DISCOVER, json={"page": 1})) == (404, 34)
        assert client.get("/authentication", headers={"Connection": "close"}).headers["Connection"] == "close"


def test_headers_and_compression_are_those_of_a_cached_api():
    with serving() as (_, client):
        packed = client.get(DISCOVER)
        plain = client.get(DISCOVER, headers={"Accept-Encoding": "identity"})
        assert packed.headers["Content-Encoding"] == "gzip"
        assert "Content-Encoding" not in plain.headers
        assert int(packed.headers["Content-Length"]) < int(plain.headers["Content-Length"]) == len(plain.content)
        assert packed.json() == plain.json()
        assert packed.headers["Server"] == "openresty"
        assert packed.headers["Cache-Control"].startswith("public, max-age=")
        assert {"Via", "X-Cache"} <= {name.title() for name in packed.headers}


def test_what_has_not_changed_is_not_sent_again():
    with serving() as (tmdb, client):
        etag = client.get(DISCOVER).headers["ETag"]
        assert etag.startswith('W/"')
        same = client.get(DISCOVER, headers={"If-None-Match": etag})
        assert (same.status_code, same.content) == (304, b"")
        assert client.get(DISCOVER, params={"page": 2}, headers={"If-None-Match": etag}).status_code == 200
        assert [request.status for request in tmdb.requests] == [200, 304, 200]


def test_the_keys_of_errors_come_in_varying_order():
    with serving() as (_, client):
        assert len({tuple(client.get(f"/no/{number}").json()) for number in range(30)}) > 1


def test_requests_and_connections_are_recorded():
    with serving() as (tmdb, client), connect(tmdb) as one, connect(tmdb) as other:
        for _ in range(2):
            for connection in (one, other):
                connection.sendall(HEAD.encode())
                assert connection.recv(10_000).startswith(b"HTTP/1.1 200 OK\r\n")
        client.get(DISCOVER, params={"with_genres": "18|35", "page": 2})
        assert tmdb.most_connections == 3
        assert [request.path for request in tmdb.requests] == ["/3/authentication"] * 4 + ["/3/discover/movie"]
        assert tmdb.requests[-1].query == {"with_genres": "18|35", "page": "2"}
        arrivals = [request.arrived for request in tmdb.requests]
        assert arrivals == sorted(arrivals)
        assert {(request.status, request.fault) for request in tmdb.requests} == {(200, None)}


# --- misbehaving ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [None, 3600])
def test_requests_above_the_limit_are_refused(seconds: int | None):
    with serving(limit=1, limit_retry_after=seconds) as (tmdb, client):
        assert client.get("/authentication").status_code == 200
        refused = client.get("/authentication")
        assert code(refused) == (429, 25)
        assert refused.headers.get("Retry-After") == (None if seconds is None else str(seconds))
        assert [request.fault for request in tmdb.requests] == [None, "limit"]


def test_an_answer_takes_its_latency():
    with serving(latency=0.1) as (_, client):
        with pytest.raises(httpx.ReadTimeout):
            client.get("/authentication", timeout=httpx.Timeout(5, read=0.02))
        assert client.get("/authentication").elapsed.total_seconds() >= 0.1


BROKEN = {
    "reset": httpx.ReadError,
    "truncated": json.JSONDecodeError,
    "short": httpx.RemoteProtocolError,
    "corrupt": httpx.DecodingError,
    "closed": httpx.RemoteProtocolError,
}


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
@pytest.mark.parametrize("path", [DISCOVER, "/authentication"])
@pytest.mark.parametrize("fault", BROKEN)
def test_broken_answers(fault: str, path: str, encoding: str):
    with serving(fault_share=1, faults=[fault]) as (tmdb, client):
        with pytest.raises(BROKEN[fault]):
            client.get(path, headers={"Accept-Encoding": encoding}).raise_for_status().json()
        status = None if fault == "closed" else 200
        assert [(request.fault, request.status) for request in tmdb.requests] == [(fault, status)]


def test_a_reset_comes_after_the_head():
    with serving(fault_share=1, faults=["reset"]) as (_, client), client.stream("GET", DISCOVER) as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx.ReadError):
            answer.read()


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in BROKEN])
def test_errors_that_pass(fault: str):
    codes = {"429": 25, "500": 11, "502": 43, "503": 46, "503-offline": 9, "504": 24}
    status, _, kind = fault.partition("-")
    with serving(fault_share=1, faults=[fault], fault_retry_after=7) as (_, client):
        answer = client.get(DISCOVER)
    assert answer.status_code == int(status)
    assert ("Retry-After" in answer.headers) == (kind in {"seconds", "date"})
    if kind == "seconds":
        assert answer.headers["Retry-After"] == "7"
    if kind == "date":
        assert answer.headers["Retry-After"].endswith(" GMT")
    if kind == "html":
        assert answer.headers["Content-Type"] == "text/html"
        assert answer.text.startswith("<html>")
    else:
        assert code(answer)[1] == codes.get(fault, codes[status])


def test_faults_are_a_share_of_the_requests_and_the_same_for_the_same_seed_in_any_order():
    def faults(seed: int, numbers: list[int]) -> dict[int, str | None]:
        with serving(seed=seed, fault_share=0.25, faults=["429", "500"]) as (tmdb, client):
            for number in numbers:
                client.get("/authentication", params={"number": number})
            return {int(request.query["number"]): request.fault for request in tmdb.requests}

    first = faults(1, list(range(200)))
    assert 25 < sum(fault is not None for fault in first.values()) < 75
    assert set(first.values()) == {None, "429", "500"}
    assert faults(1, list(range(199, -1, -1))) == first
    assert faults(2, list(range(200))) != first


def test_a_fault_may_hit_the_repetition_too():
    with serving(fault_share=0.5, faults=["500"]) as (_, client):
        assert {client.get("/authentication").status_code for _ in range(30)} == {200, 500}


def test_a_fault_that_does_not_exist_is_a_mistake_of_the_test():
    with pytest.raises(ValueError, match="no such faults: \\['501'\\]"):
        Behaviour(faults=["500", "501"])


def test_permanent_answers():
    def permanent(path: str, query: dict[str, str]) -> tuple[int, Any] | None:
        return {"2": (500, {"status_code": 44}), "3": (522, "<html>down</html>")}.get(query.get("page", ""))

    with serving(permanent=permanent) as (tmdb, client):
        answers = [client.get(DISCOVER, params={"page": page}) for page in (1, 2, 3, 2)]
        assert [answer.status_code for answer in answers] == [200, 500, 522, 500]
        assert answers[1].json() == {"status_code": 44}
        assert (answers[2].headers["Content-Type"], answers[2].text) == ("text/html", "<html>down</html>")
        assert [request.fault for request in tmdb.requests] == [None, "permanent", "permanent", "permanent"]


def test_after_its_death_every_connection_is_reset_and_none_accepted():
    with serving(dead_after=2) as (tmdb, client), connect(tmdb) as other:
        other.sendall(HEAD.encode())
        assert other.recv(10_000)
        assert client.get("/authentication").status_code == 200
        with pytest.raises(httpx.ReadError):
            client.get("/authentication")
        with pytest.raises(ConnectionResetError):
            other.recv(1)
        with pytest.raises(httpx.ConnectError):
            client.get("/authentication")
        assert [request.status for request in tmdb.requests] == [200, 200, None]
        with socket.socket() as another, pytest.raises(OSError, match="in use"):
            another.bind(("127.0.0.1", httpx.URL(tmdb.url).port))


def test_a_hanging_request_gets_nothing_while_others_are_answered():
    with serving(hang=lambda path, query: path == "/3/authentication") as (tmdb, client):
        with pytest.raises(httpx.ReadTimeout):
            client.get("/authentication", timeout=httpx.Timeout(5, read=0.05))
        assert client.get("/configuration").status_code == 200
        assert [(request.fault, request.status) for request in tmdb.requests] == [("hang", None), (None, 200)]


def test_with_drift_films_repeat_and_drop_while_every_url_keeps_its_page():
    with serving(drift=True) as (_, client):
        first, again, other = all_ids(client, 6), all_ids(client, 6), all_ids(client, 6, language="de")
        assert len(first) == 105
        assert len(set(first)) < 105
        assert again == first
        assert other != first
        assert client.get(DISCOVER, params={"page": 1}).headers["X-Cache"] == "Hit from cloudfront"


def test_with_drift_and_no_cache_a_page_changes_by_itself():
    with serving(drift=True, cache_seconds=0) as (_, client):
        assert all_ids(client, 6) != all_ids(client, 6)


def test_with_drift_only_films_of_equal_keys_change_places():
    values = {one["id"]: one["vote_average"] for one in FILMS}
    with serving(drift=True) as (_, client):
        found = all_ids(client, 6, sort_by="vote_average.desc")
    assert [values[number] for number in found] == sorted(values.values(), reverse=True)
    assert len(set(found)) < 105


def test_with_drift_an_order_without_ties_stays():
    films = [film(number, vote_count=number) for number in range(60)]
    with serving(films, drift=True) as (_, client):
        assert all_ids(client, 3, sort_by="vote_count.asc") == list(range(60))


def test_films_appear_and_disappear_while_a_client_pages():
    new: Film = film(1000, popularity=1e6)
    with serving(insert_after=(2, new), remove_after=(3, 65)) as (_, client):
        pages = [ids(client.get(DISCOVER, params={"page": page})) for page in (1, 2, 3, 4)]
        assert pages[1][-1] == pages[2][0] == 66
        assert pages[2][-1] == 47
        assert pages[3][0] == 45
        assert 46 not in {number for page in pages for number in page}
        assert ids(client.get(DISCOVER))[0] == 1000
        assert client.get(DISCOVER).json()["total_results"] == 105


def test_strays_are_among_the_rows_of_a_window():
    dates = {one["id"]: one["release_date"] for one in FILMS}
    inside = {number for number, day in dates.items() if day.startswith("2024-01-")}
    with serving([*FILMS, {"id": 0}], strays=3) as (_, client):
        query = {**JANUARY, "sort_by": "primary_release_date.asc"}
        answer = client.get(DISCOVER, params=query)
        assert inside < set(ids(answer))
        assert len(set(ids(answer)) - inside - {0}) == 3
        assert answer.json()["total_results"] == len(inside) + 3
        empty = {"primary_release_date.gte": "1900-01-01", "primary_release_date.lte": "1900-12-31"}
        assert ids(client.get(DISCOVER, params=empty)) == []
        assert client.get(DISCOVER).json()["total_results"] == 106


def test_an_ignored_filter_has_no_effect():
    with serving(ignore_filters=frozenset({"primary_release_date.gte"})) as (_, client):
        answer = client.get(DISCOVER, params={**JANUARY, "primary_release_date.gte": "2024-01-31"})
        assert answer.json()["total_results"] == sum(one["release_date"] <= "2024-01-31" for one in FILMS) > 0


def test_an_error_in_the_stand_in_fails_the_test_that_uses_it():
    def permanent(path: str, query: dict[str, str]) -> None:
        raise LookupError("a mistake of the test")

    def use() -> None:
        with serving(permanent=permanent) as (_, client), pytest.raises(httpx.RemoteProtocolError):
            client.get(DISCOVER)

    with pytest.raises(LookupError, match="a mistake of the test"):
        use()


def test_it_closes_while_clients_connect_and_wait():
    """What is left open would be a ResourceWarning, which fails a test."""
    for _ in range(20):
        with StandIn([], token="secret", behaviour=Behaviour(latency=60)) as tmdb:
            connections = [connect(tmdb) for _ in range(10)]
            connections[0].sendall(HEAD.encode())
        for connection in connections:
            with connection, suppress(ConnectionResetError):
                assert connection.recv(1) == b""
