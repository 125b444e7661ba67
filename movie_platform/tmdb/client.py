"""One TMDB request at a time: address, token, pace, time-outs, and what went wrong in words.

What a request is for belongs in `collection`. Everything that decides whether a request is sent again belongs
around `TmdbClient.get`, which sends once; pausing everyone belongs into `Pacer`, through which all pass.
"""

import asyncio
import math
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self

import httpx
from pydantic import SecretStr

__all__ = ["MAX_CONNECTIONS", "AuthenticationError", "Pacer", "TmdbClient", "TmdbError"]

MAX_CONNECTIONS = 16
"""TMDB's content network allows 20 connections for one address; some are left to other programs."""

_TIMEOUT = httpx.Timeout(30, connect=10)  # seconds; answers usually take 0.04 to 0.14
_LONGEST_MESSAGE = 300  # characters quoted from an answer

_TRY_LATER = "TMDB is in trouble; try again later (https://status.themoviedb.org)."
_CHECK_URL = "Check TMDB_BASE_URL (like https://api.themoviedb.org/3)."
_REMEDIES = {
    404: _CHECK_URL,
    429: "Lower TMDB_REQUESTS_PER_SECOND, or stop other programs that use the same address.",
}


class TmdbError(Exception):
    """TMDB, or what lies on the way to it, did not give a usable answer.

    The text names the path, the HTTP status, TMDB's own status and what to do. `http_status` is None when
    there was no answer at all, `status_code` (TMDB's own) when the body did not have one.
    """

    def __init__(self, message: str, *, http_status: int | None = None, status_code: int | None = None) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.status_code = status_code


class AuthenticationError(TmdbError):
    """TMDB refuses the access token (HTTP 401); no other request will fare better."""


class Pacer:
    """Lets callers pass one by one, evenly spaced, at a stated rate.

    Each caller takes the next slot of a schedule: the slot before plus the interval, or now when nobody has
    passed for longer. Slots follow from slots, not from the moment a sleeper really wakes, so late wake-ups
    do not add up to a lower rate; a slot that nobody took is not saved up, so there is no burst after a
    pause.

    One pacer may be shared by clients in several threads and event loops.
    """

    def __init__(
        self,
        requests_per_second: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        if not (math.isfinite(requests_per_second) and requests_per_second > 0):
            raise ValueError(f"requests_per_second must be a positive number, not {requests_per_second!r}")
        self._interval = 1 / requests_per_second
        self._clock = clock
        self._sleep = sleep
        self._next_slot = -math.inf
        # Held for arithmetic only; an asyncio.Lock, held while waiting, would tie it to one event loop.
        self._lock = threading.Lock()

    async def wait(self) -> None:
        """Return when it is the caller's turn; callers are served in the order in which they asked."""
        with self._lock:
            now = self._clock()
            slot = max(self._next_slot, now)
            self._next_slot = slot + self._interval
        if slot > now:
            await self._sleep(slot - now)


class TmdbClient:
    """The TMDB API v3 at `base_url`, as an async context manager.

        async with TmdbClient(base_url="https://api.themoviedb.org/3", token=token, pacer=Pacer(20)) as
        client:
            page = await client.get("/discover/movie", {"page": 1})

    The token travels as a Bearer header, never in a URL. Without a pacer nothing waits. `transport` replaces
    the network, e.g. by an application in the same process. `requests` counts what has been sent.
    """

    def __init__(
        self,
        *,
        base_url: str,
        token: SecretStr,
        pacer: Pacer | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        secret = token.get_secret_value()
        # httpx quotes a header that it cannot send, so a token with a line end would reach the log.
        if not secret or not all("!" <= character <= "~" for character in secret):
            raise ValueError(
                "TMDB_ACCESS_TOKEN must be visible ASCII characters without white space; copy the API Read "
                "Access Token from https://www.themoviedb.org/settings/api again"
            )
        self.requests = 0
        self._token = token
        self._pacer = pacer
        self._http = httpx.AsyncClient(
            base_url=base_url,
            headers={"Authorization": f"Bearer {secret}", "Accept": "application/json"},
            timeout=_TIMEOUT,
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS),
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._http.__aexit__(exc_type, exc_value, traceback)

    async def get(self, path: str, params: Mapping[str, str | int] | None = None) -> Any:
        """Return the parsed JSON that TMDB answers to one GET of `path` (which begins with "/").

        Raises `AuthenticationError` when the token is refused, and `TmdbError` for every other status than
        200, for a body that is not JSON, and when no answer arrives.
        """
        if self._pacer is not None:
            await self._pacer.wait()
        self.requests += 1
        response: httpx.Response | None = None
        failure = ""
        try:
            response = await self._http.get(path, params=params)
        except httpx.HTTPError as error:
            failure = f"{type(error).__name__}: {error}".rstrip(": ")
        # Raised outside the handler: httpx's exception holds the request, and that the token's header.
        if response is None:
            raise TmdbError(
                self._without_token(f"GET {path} got no answer ({failure}). ")
                + f"Check the network and TMDB_BASE_URL, now {self._http.base_url}."
            )
        return self._body(path, response)

    def _body(self, path: str, response: httpx.Response) -> Any:
        status = response.status_code
        body: Any = None
        is_json = True
        try:
            body = response.json()
        except (ValueError, RecursionError):  # not text, not JSON, or nested beyond the parser's depth
            is_json = False
        refused = isinstance(body, dict) and body.get("success") is False  # comes with 200 as well
        if status == httpx.codes.OK and is_json and not refused:
            return body

        code: int | None = None
        said = "no message"
        if not is_json:
            said = f"not JSON but {response.headers.get('content-type', 'no stated type')}"
        elif isinstance(body, dict):
            code = body["status_code"] if type(body.get("status_code")) is int else None
            said = str(body.get("status_message") or body.get("errors") or said)
        message = (
            f"GET {path} answered HTTP {status}"
            + (f", TMDB status {code}" if code is not None else "")
            + f": {self._without_token(said)[:_LONGEST_MESSAGE]}"
        )
        if status == httpx.codes.UNAUTHORIZED:
            raise AuthenticationError(
                f"{message} Set TMDB_ACCESS_TOKEN to the API Read Access Token of "
                "https://www.themoviedb.org/settings/api.",
                http_status=status,
                status_code=code,
            )
        raise TmdbError(f"{message} {_remedy(status)}", http_status=status, status_code=code)

    def _without_token(self, text: str) -> str:
        """Return `text` without the token, should whoever answered have sent it back."""
        return text.replace(self._token.get_secret_value(), "***")


def _remedy(status: int) -> str:
    if status in _REMEDIES:
        return _REMEDIES[status]
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return _TRY_LATER
    # A 200 that is no answer, or a redirect, comes from something else than the API.
    return _CHECK_URL if status < httpx.codes.BAD_REQUEST else "TMDB does not understand the request: report it."
