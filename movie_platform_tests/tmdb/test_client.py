"""The client's requests, what it sends again and for how long, and what its errors say."""

import asyncio
import math
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from movie_platform.tmdb.client import AuthenticationError, OutageError, TmdbClient, TmdbError, TransientError
from movie_platform.tmdb.pacing import Pacer
from movie_platform_tests.tmdb.conftest import VirtualTime

TOKEN = "eyJhbGciOiJIUzI1NiJ9.a-secret.signature"

Handler = Callable[[httpx.Request], httpx.Response]


def client_of(handler: Handler, *, retry_seconds: float = 0.0, pacer: Pacer | None = None) -> TmdbClient:
    return TmdbClient(
        base_url="https://tmdb.test/3",
        token=SecretStr(TOKEN),
        pacer=pacer or Pacer(math.inf),
        retry_seconds=retry_seconds,
        transport=httpx.MockTransport(handler),
    )


def ask(handler: Handler, path: str = "/discover/movie", params: Mapping[str, str | int] | None = None) -> Any:
    """Return what a client that sends nothing again gets for one request that `handler` answers."""

    async def run() -> Any:
        async with client_of(handler) as client:
            return await client.get(path, params)

    return asyncio.run(run())


def failure(handler: Handler) -> TmdbError:
    with pytest.raises(TmdbError) as caught:
        ask(handler)
    assert TOKEN not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


def test_token_travels_as_a_bearer_header_only():
    seen = []

    def handler(request):
        seen.append(request)
        return httpx.Response(200, json={"ok": [1, 2.5, None]})

    assert ask(handler, params={"page": 3, "vote_count.gte": 10}) == {"ok": [1, 2.5, None]}
    (request,) = seen
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert str(request.url) == "https://tmdb.test/3/discover/movie?page=3&vote_count.gte=10"


def test_requests_are_counted_failed_ones_too():
    async def run() -> int:
        answers = iter([httpx.Response(200, json={}), httpx.Response(404, json={})])
        async with client_of(lambda _: next(answers)) as client:
            await client.get("/a")
            with pytest.raises(TmdbError):
                await client.get("/b")
            return client.requests

    assert asyncio.run(run()) == 2


def test_repr_does_not_show_the_token():
    client = client_of(lambda _: httpx.Response(200, json={}))
    assert TOKEN not in repr(client)
    assert TOKEN not in repr(vars(client))


@pytest.mark.parametrize("token", ["", "two words", "line\n", "naïve", "tab\t"])
def test_a_token_that_cannot_be_sent_is_refused_without_showing_it(token):
    with pytest.raises(ValueError, match="TMDB_ACCESS_TOKEN") as caught:
        TmdbClient(base_url="https://tmdb.test/3", token=SecretStr(token), pacer=Pacer(1))
    assert not token or token not in str(caught.value)


def test_401_names_the_setting():
    body = {
        "status_code": 7,
        "status_message": "Invalid API key: You must be granted a valid key.",
        "success": False,
    }
    error = failure(lambda _: httpx.Response(401, json=body))
    assert isinstance(error, AuthenticationError)
    assert (error.http_status, error.status_code) == (401, 7)
    assert "TMDB_ACCESS_TOKEN" in str(error)
    assert "Invalid API key" in str(error)


@pytest.mark.parametrize(
    ("status", "body", "code", "texts"),
    [
        (404, {"status_code": 34, "status_message": "Not there."}, 34, ("Not there.", "TMDB_BASE_URL")),
        (429, {"status_code": 25, "status_message": "Over."}, 25, ("TMDB_REQUESTS_PER_SECOND",)),
        (422, {"errors": ["page must be less"]}, None, ("page must be less", "report it")),
        (503, {"status_code": 46, "status_message": "Maintenance."}, 46, ("Maintenance.", "try again later")),
        (200, {"success": False, "status_code": 21, "status_message": "Gone."}, 21, ("HTTP 200", "Gone.")),
        (500, ["odd"], None, ("HTTP 500", "no message")),
        (302, {}, None, ("HTTP 302", "TMDB_BASE_URL")),
        (400, {"status_code": True, "status_message": {"a": 1}}, None, ("HTTP 400",)),
    ],
)
def test_errors_name_path_statuses_and_remedy(status, body, code, texts):
    error = failure(lambda _: httpx.Response(status, json=body))
    assert (error.http_status, error.status_code) == (status, code)
    for text in ("/discover/movie", *texts):
        assert text in str(error)


@pytest.mark.parametrize("status", [200, 502])
@pytest.mark.parametrize("content", [b"<html>", b"", b'{"page": 1, "resul', b"\xff\xfe\x00", b"[" * 100_000])
def test_bodies_that_are_not_json_are_errors(status, content):
    error = failure(lambda _: httpx.Response(status, content=content, headers={"content-type": "text/html"}))
    assert error.http_status == status
    assert "not JSON but text/html" in str(error)


def test_a_server_that_sends_the_token_back_does_not_get_it_into_the_error():
    def handler(request):
        said = "x" * 280 + request.headers["authorization"]
        return httpx.Response(400, json={"status_code": 5, "status_message": said})

    message = str(failure(handler))
    assert TOKEN[:10] not in message


def test_no_answer_names_the_address():
    def handler(request):
        raise httpx.ConnectError("refused", request=request)

    error = failure(handler)
    assert error.http_status is None
    assert "ConnectError: refused" in str(error)
    assert "https://tmdb.test/3" in str(error)


# --- sending again --------------------------------------------------------------------------------


def said(status: int, code: int | None = None, **headers: str) -> httpx.Response:
    """An error of TMDB's, or with `code` None a gateway's page."""
    if code is None:
        return httpx.Response(status, html="<html>at capacity</html>", headers=headers)
    return httpx.Response(status, json={"success": False, "status_code": code, "status_message": "M."}, headers=headers)


class Answers:
    """Answers in turn, the last one for ever; an exception is raised as the network would."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.moments: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.moments.append(time.monotonic())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    @property
    def pauses(self) -> list[float]:
        return [later - earlier for earlier, later in pairwise(self.moments)]


OK = httpx.Response(200, json={"fine": True})


def get(
    virtual_time: VirtualTime, answers: Handler, *, retry_seconds: float = 120, times: int = 1
) -> tuple[Any, TmdbClient]:
    """Return what a client gets (an exception, if it raises one), and the client; asked `times` times in turn."""

    async def run() -> tuple[Any, TmdbClient]:
        async with client_of(answers, retry_seconds=retry_seconds) as client:
            for _ in range(times):
                try:
                    got = await client.get("/discover/movie")
                except TmdbError as error:
                    got = error
            return got, client

    return virtual_time.run(run())


TRANSIENT = [
    (said(429, 25), "HTTP 429"),
    (said(500, 11), "HTTP 500"),
    (said(500, 15), "HTTP 500"),
    (said(502, 43), "HTTP 502"),
    (said(503, 9), "HTTP 503"),
    (said(503, 46), "HTTP 503"),
    (said(504, 24), "HTTP 504"),
    (said(502), "HTTP 502"),
    (said(503), "HTTP 503"),
    (said(504), "HTTP 504"),
    (said(200, 11), "HTTP 200"),
    (httpx.Response(500, json={}), "HTTP 500"),
    (httpx.Response(200, content=b'{"page": 1, "resul'), "unreadable body"),
    (httpx.Response(200, html="<html>"), "unreadable body"),
    (httpx.DecodingError("bad gzip"), "unreadable body"),
    (httpx.ConnectError("refused"), "no connection"),
    (httpx.ReadError("reset"), "connection broken"),
    (httpx.RemoteProtocolError("cut off"), "connection broken"),
    (httpx.ReadTimeout("slow"), "time-out"),
    (httpx.ConnectTimeout("slow"), "time-out"),
    (httpx.PoolTimeout("slow"), "time-out"),
]


@pytest.mark.parametrize(("answer", "reason"), TRANSIENT, ids=str)
def test_what_usually_passes_is_sent_again_and_counted_by_reason(virtual_time, answer, reason):
    got, client = get(virtual_time, Answers(answer, answer, OK))
    assert got == {"fine": True}
    assert client.retries == Counter({reason: 2})
    assert client.requests == 3


@pytest.mark.parametrize(
    "answer",
    [
        said(401, 7),
        said(401, 10),
        said(401),
        said(404, 34),
        said(404, 6),
        said(404),
        said(404, 11),
        said(400, 22),
        said(400, 23),
        said(422, 5),
        said(403),
        said(500, 44),
        said(501, 2),
        said(501),
        said(200, 21),
        httpx.Response(302, headers={"location": "https://elsewhere.test"}),
        httpx.Response(204),
        httpx.UnsupportedProtocol("gopher"),
    ],
    ids=str,
)
def test_what_is_final_is_never_sent_again(virtual_time, answer):
    got, client = get(virtual_time, Answers(answer, OK))
    assert isinstance(got, TmdbError)
    assert not isinstance(got, TransientError)
    assert client.requests == 1
    assert client.retries == {}


def test_a_refused_token_is_remembered(virtual_time):
    got, client = get(virtual_time, Answers(said(401, 7), OK), times=3)
    assert isinstance(got, AuthenticationError)
    assert "Set TMDB_ACCESS_TOKEN" in str(got)
    assert "not asked again" in str(got)
    assert client.requests == 1


@pytest.mark.parametrize(("answer", "reason"), TRANSIENT, ids=str)
def test_a_dead_api_fails_within_the_budget_and_names_the_last_cause(virtual_time, answer, reason):
    begun = virtual_time.now
    got, client = get(virtual_time, Answers(answer), retry_seconds=90)
    assert isinstance(got, OutageError)
    assert got.reason == reason
    assert "TMDB_RETRY_SECONDS is 90" in str(got)
    sent = client.requests - 1  # and one to see whether anything else is answered
    assert f"Sent {sent} times" in str(got)
    assert client.retries.total() == sent - 1
    assert 50 <= virtual_time.now - begun <= 90 + 35, "the budget, and a pause before asking something else"
    assert 5 <= client.requests < 60
    assert (got.__cause__, got.__context__) == (None, None)
    assert TOKEN not in "".join(traceback.format_exception(got))


def test_after_an_outage_the_next_request_is_sent_once(virtual_time):
    answers = Answers(said(503, 46))

    async def run() -> None:
        async with client_of(answers, retry_seconds=90) as client:
            with pytest.raises(OutageError):
                await client.get("/a")
            before = client.requests
            with pytest.raises(OutageError, match="Sent once in 0 s"):
                await client.get("/a")
            assert client.requests == before + 2, "this one, and one to see whether anything else is answered"

            answers.answers = [OK, said(503, 46), OK]
            assert await client.get("/a") == {"fine": True}
            assert await client.get("/a") == {"fine": True}, "it is patient again"

    virtual_time.run(run())


def test_a_request_that_fails_alone_is_no_outage(virtual_time):
    """Whether others are asked meanwhile or not; and the one after it has all its time."""

    def answer(request: httpx.Request) -> httpx.Response:
        return said(500, 11) if request.url.path.endswith("/bad") else OK

    async def run() -> TransientError:
        async with client_of(answer, retry_seconds=60) as client:
            asking = asyncio.create_task(client.get("/bad"))
            while not asking.done():
                await client.get("/good")
                await asyncio.sleep(1)
            with pytest.raises(TransientError) as first:
                await asking
            await asyncio.sleep(1000)
            begun = virtual_time.now
            with pytest.raises(TransientError) as alone:  # now there is nobody else who is answered
                await client.get("/bad")
            assert type(alone.value) is TransientError
            assert virtual_time.now - begun > 20
            assert (await client.get("/good")) == {"fine": True}
            return first.value

    error = virtual_time.run(run())
    assert type(error) is TransientError
    assert "usable answer" not in str(error)


def test_pauses_grow_and_differ(virtual_time):
    answers = Answers(said(500, 11))
    get(virtual_time, answers, retry_seconds=600)
    limits = [0.5 * 2**attempt for attempt in range(20)]
    assert all(0 <= pause <= min(limit, 30) for pause, limit in zip(answers.pauses, limits, strict=False))
    assert max(answers.pauses) > 10
    assert len(set(answers.pauses)) == len(answers.pauses)


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ({}, 1, 2),
        ({"Retry-After": "7"}, 7, 7),
        ({"Retry-After": "3600"}, 30, 30),
        ({"Retry-After": "0"}, 0, 0.5),
        ({"Retry-After": "9" * 500}, 30, 30),
        ({"Retry-After": "soon"}, 1, 2),
        ({"Retry-After": "-5"}, 1, 2),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:09 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 9, 9),
        ({"Retry-After": "Wed, 21 Oct 2026 07:27:00 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0, 0.5),
        ({"Retry-After": "Wed, 21 Oct 2099 07:28:00 GMT"}, 30, 30),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:09 -0000", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 1, 2),
        ({"Retry-After": "Wed, 99 Oct 2026 07:28:09 GMT"}, 1, 2),
    ],
    ids=str,
)
def test_retry_after_is_heeded_in_both_forms_and_up_to_half_a_minute(virtual_time, headers, least, most):
    answers = Answers(said(429, 25, **headers), OK)
    assert get(virtual_time, answers)[0] == {"fine": True}
    assert least - 0.001 <= answers.pauses[0] <= most + 0.001


def test_a_date_is_compared_with_our_clock_where_the_server_shows_none(virtual_time):
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    answers = Answers(said(503, 46, **{"Retry-After": until}), OK)
    get(virtual_time, answers)
    assert 15 <= answers.pauses[0] <= 20


@pytest.mark.parametrize(
    ("answer", "pause"), [(said(429, 25), 1), (said(429, 25, **{"Retry-After": "8"}), 8), (said(500, 11), 0)], ids=str
)
def test_a_429_holds_back_everyone(virtual_time, answer, pause):
    """As does whatever says how long to wait; other failures delay only themselves."""
    moments: list[float] = []

    def handler(request: httpx.Request) -> httpx.Response:
        moments.append(virtual_time.now)
        return answer if len(moments) == 3 else OK

    async def run() -> None:
        async with client_of(handler, retry_seconds=60, pacer=Pacer(10)) as client:
            await asyncio.gather(*(client.get("/a") for _ in range(12)))

    virtual_time.run(run())
    assert len(moments) == 13
    after_the_third = moments[3] - moments[2]
    assert (pause or 0.1) - 0.001 <= after_the_third <= max(2 * pause, 0.1) + 0.001
    slowed = 2 if answer.status_code == 429 else 1
    assert 0.8 - 0.001 <= moments[11] - moments[3] <= 0.8 * slowed + 0.001, "evenly spaced again, slower after a 429"
    assert moments[4] - moments[3] >= 0.09 * slowed


def test_an_api_that_dies_is_an_outage_for_those_who_were_under_way(virtual_time):
    def answer(request: httpx.Request) -> httpx.Response:
        return OK if virtual_time.now < 1004 else said(503, 46)

    async def run() -> None:
        async with client_of(answer, retry_seconds=60, pacer=Pacer(10)) as client:

            async def ask() -> None:
                while True:
                    await client.get("/a")

            asking = [asyncio.create_task(ask()) for _ in range(16)]
            await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
            assert {type(task.exception()) for task in asking if task.done()} == {OutageError}
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)

    virtual_time.run(run())
    assert virtual_time.now <= 1004 + 60 + 5


@pytest.mark.parametrize(("limit", "latency", "requests"), [(10, 0.05, 300), (10, 0.5, 300), (2, 0.5, 120)])
def test_a_limit_below_the_rate_slows_down_and_fails_nothing(virtual_time, limit, latency, requests):
    """TMDB may lower its limit at any time."""
    moments: list[float] = []

    async def handler(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(latency)
        if sum(virtual_time.now - moment < 1 for moment in moments[-limit:]) >= limit:
            return said(429, 25)
        moments.append(virtual_time.now)
        return httpx.Response(200, json={"fine": True})

    async def run() -> None:
        async with client_of(handler, retry_seconds=120, pacer=Pacer(20)) as client:  # type: ignore[arg-type]
            await asyncio.gather(*(client.get("/a") for _ in range(requests)))

    virtual_time.run(run())
    assert len(moments) == requests
    assert requests / (virtual_time.now - 1000) > limit / 3


def test_the_others_pauses_are_not_taken_from_a_request_s_time(virtual_time):
    """However often others are told to wait for half a minute, each request is sent again when it fails itself."""
    asked: Counter[str] = Counter()

    def answer(request: httpx.Request) -> httpx.Response:
        asked[request.url.path] += 1
        return said(429, 25, **{"Retry-After": "30"}) if asked[request.url.path] <= 2 else OK

    async def run() -> None:
        async with client_of(answer, retry_seconds=91, pacer=Pacer(10)) as client:
            others = [asyncio.create_task(client.get(f"/{number}")) for number in range(4)]
            while not all(task.done() for task in others):
                asked["/3/good"] = 10
                assert await client.get("/good") == {"fine": True}
                await asyncio.sleep(1)
            assert [await task for task in others] == [{"fine": True}] * 4

    virtual_time.run(run())


def test_an_answer_that_never_ends_is_given_up_and_sent_again(virtual_time):
    """Each byte arrives before the time-out for a read."""

    class Drip(httpx.AsyncByteStream):
        async def __aiter__(self):
            while True:
                await asyncio.sleep(20)
                yield b" "

    answers = iter([httpx.Response(200, stream=Drip()), httpx.Response(200, json={"fine": True})])

    async def handler(request: httpx.Request) -> httpx.Response:
        return next(answers)

    got, client = get(virtual_time, handler)  # type: ignore[arg-type]  # MockTransport takes coroutines too
    assert got == {"fine": True}
    assert client.retries == {"time-out": 1}


def test_a_cancelled_request_frees_its_place(virtual_time):
    pacer = Pacer(1000)

    async def hang(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(20)
        return OK

    async def run() -> None:
        async with client_of(hang, pacer=pacer) as client:  # type: ignore[arg-type]
            asking = [asyncio.create_task(client.get("/a")) for _ in range(40)]
            await asyncio.sleep(1)
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
            assert await asyncio.gather(*(client.get("/a") for _ in range(16))) == [{"fine": True}] * 16

    virtual_time.run(run())
    assert virtual_time.now < 1030
