"""The client's requests, its pace, and what its errors say."""

import asyncio
import threading
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from movie_platform.tmdb.client import AuthenticationError, Pacer, TmdbClient, TmdbError

TOKEN = "eyJhbGciOiJIUzI1NiJ9.a-secret.signature"

Handler = Callable[[httpx.Request], httpx.Response]


def ask(handler: Handler, path: str = "/discover/movie", params: Mapping[str, str | int] | None = None) -> Any:
    """Return what a client gets for one request that `handler` answers."""

    async def run() -> Any:
        transport = httpx.MockTransport(handler)
        async with TmdbClient(base_url="https://tmdb.test/3", token=SecretStr(TOKEN), transport=transport) as client:
            return await client.get(path, params)

    return asyncio.run(run())


def failure(handler: Handler) -> TmdbError:
    with pytest.raises(TmdbError) as caught:
        ask(handler)
    assert TOKEN not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


class FakeTime:
    """A clock that moves only when somebody sleeps; each sleeper wakes up late by `latency`."""

    def __init__(self, latency: float = 0.0) -> None:
        self.now = 1000.0
        self.latency = latency

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        wake = self.now + seconds + self.latency
        await asyncio.sleep(0)
        self.now = max(self.now, wake)


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
        answers = iter([httpx.Response(200, json={}), httpx.Response(500, json={})])
        transport = httpx.MockTransport(lambda _: next(answers))
        async with TmdbClient(base_url="https://tmdb.test/3", token=SecretStr(TOKEN), transport=transport) as client:
            await client.get("/a")
            with pytest.raises(TmdbError):
                await client.get("/b")
            return client.requests

    assert asyncio.run(run()) == 2


def test_repr_does_not_show_the_token():
    client = TmdbClient(base_url="https://tmdb.test/3", token=SecretStr(TOKEN))
    assert TOKEN not in repr(client)
    assert TOKEN not in repr(vars(client))


@pytest.mark.parametrize("token", ["", "two words", "line\n", "naïve", "tab\t"])
def test_a_token_that_cannot_be_sent_is_refused_without_showing_it(token):
    with pytest.raises(ValueError, match="TMDB_ACCESS_TOKEN") as caught:
        TmdbClient(base_url="https://tmdb.test/3", token=SecretStr(token))
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


def slots(pacer: Pacer, time: FakeTime, callers: int) -> list[tuple[int, float]]:
    """Return who passed when, for callers that all ask at once."""
    passed = []

    async def caller(number: int) -> None:
        await pacer.wait()
        passed.append((number, time.now))

    async def run() -> None:
        await asyncio.gather(*(caller(number) for number in range(callers)))

    asyncio.run(run())
    return passed


def test_callers_pass_in_order_and_evenly_spaced():
    time = FakeTime()
    passed = slots(Pacer(4, clock=time.clock, sleep=time.sleep), time, 9)
    assert [number for number, _ in passed] == list(range(9))
    assert [moment for _, moment in passed] == [1000 + 0.25 * number for number in range(9)]


def test_late_wake_ups_do_not_lower_the_rate():
    time = FakeTime(latency=0.1)
    passed = slots(Pacer(4, clock=time.clock, sleep=time.sleep), time, 41)
    assert passed[-1][1] == pytest.approx(1010.1)


def test_no_burst_after_a_pause():
    time = FakeTime()
    pacer = Pacer(4, clock=time.clock, sleep=time.sleep)
    slots(pacer, time, 3)
    time.now += 60
    resumed = time.now
    assert [moment - resumed for _, moment in slots(pacer, time, 3)] == [0, 0.25, 0.5]


def test_one_pacer_serves_several_event_loops():
    """Threads with a loop of their own share one schedule."""
    asked = []

    async def record(seconds: float) -> None:
        asked.append(seconds)

    pacer = Pacer(10, clock=lambda: 0.0, sleep=record)
    threads = [threading.Thread(target=lambda: asyncio.run(pacer.wait())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(asked) == pytest.approx([0.1 * number for number in range(1, 8)])


@pytest.mark.parametrize("rate", [0, -1, float("inf"), float("nan")])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(ValueError, match="positive number"):
        Pacer(rate)


def test_the_client_waits_for_its_turn():
    time = FakeTime()

    async def run() -> None:
        async with TmdbClient(
            base_url="https://tmdb.test/3",
            token=SecretStr(TOKEN),
            pacer=Pacer(2, clock=time.clock, sleep=time.sleep),
            transport=httpx.MockTransport(lambda _: httpx.Response(200, json={})),
        ) as client:
            for _ in range(5):
                await client.get("/a")

    asyncio.run(run())
    assert time.now == 1002
