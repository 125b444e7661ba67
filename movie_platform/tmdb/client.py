"""One TMDB request: address, token, time-outs, what went wrong in words, and whether it is asked again.

What a request is for belongs in `collection`; when it may be sent, in `pacing`.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, NoReturn, Self

import httpx
from pydantic import SecretStr
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from movie_platform.tmdb.pacing import MAX_CONNECTIONS, Pacer

__all__ = [
    "DEFAULT_RETRY_SECONDS",
    "AuthenticationError",
    "OutageError",
    "TmdbClient",
    "TmdbError",
    "TransientError",
]

DEFAULT_RETRY_SECONDS = 120.0

_TIMEOUT = httpx.Timeout(30, connect=10)  # seconds; answers usually take 0.04 to 0.14
_ANSWER_SECONDS = 60.0  # for a whole answer: each single byte may arrive just in time for ever
_LONGEST_MESSAGE = 300  # characters quoted from an answer
_LONGEST_PAUSE = 30.0  # seconds, whatever Retry-After says: TMDB counts requests by the second
_LEAST_PAUSE = 1.0  # after a 429 that does not say how long
_BACKOFF = wait_random_exponential(multiplier=0.5, max=_LONGEST_PAUSE)  # up to 0.5, 1, 2, 4 ... 30 seconds

# https://developer.themoviedb.org/docs/errors. TMDB's own status decides where there is one: 44 comes as HTTP 500.
_TRANSIENT_CODES = frozenset({9, 11, 15, 24, 25, 43, 46})
_PERMANENT_CODES = frozenset(range(1, 48)) - _TRANSIENT_CODES
_TRANSIENT_STATUSES = frozenset({429, 500, 502, 503, 504})

_TRY_LATER = "TMDB is in trouble; try again later (https://status.themoviedb.org)."
_CHECK_URL = "Check TMDB_BASE_URL (like https://api.themoviedb.org/3)."
_REMEDIES = {
    404: _CHECK_URL,
    403: "TMDB or something on the way has blocked the request; see whether it answers elsewhere from this address.",
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


class TransientError(TmdbError):
    """A failure that usually passes; out of `TmdbClient.get` it has not, although the request was sent again.

    `reason` is short and fit for counting; `retry_after` the seconds that the answer asks to wait.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        retry_after: float | None = None,
        http_status: int | None = None,
        status_code: int | None = None,
    ) -> None:
        super().__init__(message, http_status=http_status, status_code=status_code)
        self.reason = reason
        self.retry_after = retry_after


class OutageError(TransientError):
    """No request has had a usable answer for as long as they may be sent again: other ones would fail too."""


class TmdbClient:
    """The TMDB API v3 at `base_url`, as an async context manager.

        async with TmdbClient(base_url="https://api.themoviedb.org/3", token=token, pacer=Pacer(20)) as
        client:
            page = await client.get("/discover/movie", {"page": 1})

    The token travels as a Bearer header, never in a URL. `transport` replaces the network, e.g. by an application in
    the same process.

    What fails in a way that usually passes is sent again until it has cost `retry_seconds`, its own pauses included:
    HTTP 429, 500, 502, 503 and 504 (but for those statuses of TMDB's own that are final), broken connections,
    time-outs, bodies that are cut off or not JSON. The pauses grow from half a second to half a minute, each cut by
    chance ("full jitter", https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). A 429 holds back
    all who share the pacer and slows them down for a while; an answer with Retry-After, which is heeded up to half a
    minute, holds them back as well.

    `requests` counts what has been sent, `retries` what was sent again, by reason.
    """

    def __init__(
        self,
        *,
        base_url: str,
        token: SecretStr,
        pacer: Pacer,
        retry_seconds: float = DEFAULT_RETRY_SECONDS,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        # httpx quotes a header that it cannot send, so a token with a line end would reach the log.
        if not _can_be_sent(token):
            raise ValueError(
                "TMDB_ACCESS_TOKEN must be visible ASCII characters without white space; copy the API Read "
                "Access Token from https://www.themoviedb.org/settings/api again"
            )
        self.requests = 0
        self.retries: Counter[str] = Counter()
        self._token = token
        self._pacer = pacer
        self._retry_seconds = retry_seconds
        self._refusal: str | None = None
        self._answered_at = -math.inf  # when the last usable answer came
        self._is_out = False
        self._http = httpx.AsyncClient(
            base_url=base_url,
            headers={"Authorization": f"Bearer {token.get_secret_value()}", "Accept": "application/json"},
            timeout=_TIMEOUT,
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS),
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def get(self, path: str, params: Mapping[str, str | int] | None = None) -> Any:
        """Return the parsed JSON that TMDB answers to one GET of `path` (which begins with "/").

        Raises `AuthenticationError` when the token is refused, at once and without a request when it was refused
        before; `OutageError` when nothing has been answered usably while it was sent again for `retry_seconds`;
        `TransientError` when only this request has failed for so long; `TmdbError` for whatever no repetition would
        change.
        """
        trial = _Trial()

        async def give_up(state: RetryCallState) -> None:
            await self._give_up(trial, state)

        retrying = AsyncRetrying(
            retry=retry_if_exception_type(TransientError),
            wait=self._seconds_to_wait,
            stop=lambda state: self._is_out_of_patience(trial, state),
            before_sleep=self._count,
            retry_error_callback=give_up,
        )
        return await retrying(self._send, path, params, trial)

    async def _send(self, path: str, params: Mapping[str, str | int] | None, trial: "_Trial") -> Any:
        if self._refusal is not None:
            raise AuthenticationError(f"{self._refusal} (Answered before; not asked again.)", http_status=401)
        response: httpx.Response | None = None
        failure: Exception | None = None
        async with self._pacer.turn():
            self.requests += 1
            begun = time.monotonic()
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    response = await self._http.get(path, params=params)
            except (httpx.HTTPError, TimeoutError) as error:
                failure = error
            trial.spent += time.monotonic() - begun
        # Raised outside the handler: httpx's exception holds the request, and that the token's header.
        try:
            if failure is not None:
                raise self._no_answer(path, failure)
            assert response is not None
            body = self._body(path, response)
        except AuthenticationError as error:
            self._refusal = str(error)
            raise
        except TransientError:
            trial.first_failed = min(trial.first_failed, time.monotonic())
            raise
        self._answered_at, self._is_out = time.monotonic(), False
        return body

    def _no_answer(self, path: str, failure: Exception) -> TmdbError:
        said = self._without_token(f"{type(failure).__name__}: {failure}".rstrip(": "))
        remedy = f"Check the network and TMDB_BASE_URL, now {self._http.base_url}."
        message = f"GET {path} got no whole answer ({said}). {remedy}"
        match failure:
            case httpx.UnsupportedProtocol() | httpx.LocalProtocolError():  # what we send is wrong
                return TmdbError(message)
            case TimeoutError() | httpx.TimeoutException():
                reason = "time-out"
            case httpx.ConnectError():
                reason = "no connection"
            case httpx.DecodingError():
                reason = "unreadable body"
            case _:
                reason = "connection broken"
        return TransientError(message, reason=reason)

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
        message = f"{message} {_remedy(status)}"
        if _is_transient(status, code, is_json=is_json):
            raise TransientError(
                message,
                reason=f"HTTP {status}" if is_json or status != httpx.codes.OK else "unreadable body",
                retry_after=_retry_after(response.headers),
                http_status=status,
                status_code=code,
            )
        raise TmdbError(message, http_status=status, status_code=code)

    def _seconds_to_wait(self, state: RetryCallState) -> float:
        """How long to wait before the next attempt; tells the others when they have to wait as well."""
        error = _error_of(state)
        seconds = float(_BACKOFF(state))
        if error.retry_after is not None:
            seconds = max(seconds, min(error.retry_after, _LONGEST_PAUSE))
        elif error.http_status == httpx.codes.TOO_MANY_REQUESTS:
            seconds = max(seconds, _LEAST_PAUSE)
        else:
            return seconds
        self._pacer.pause(seconds, slow_down=error.http_status == httpx.codes.TOO_MANY_REQUESTS)
        return seconds

    def _is_out_of_patience(self, trial: "_Trial", state: RetryCallState) -> bool:
        """Whether the request's own time is over, or, when nobody is answered, that time by the clock.

        Waiting for a turn is not the request's own: others may be told to wait again and again.
        """
        if self._is_out:
            return True
        spent = trial.spent + state.idle_for
        if self._answered_at < trial.first_failed:
            spent = max(spent, time.monotonic() - trial.first_failed)
        return spent + state.upcoming_sleep > self._retry_seconds

    def _count(self, state: RetryCallState) -> None:
        self.retries[_error_of(state).reason] += 1

    async def _give_up(self, trial: "_Trial", state: RetryCallState) -> NoReturn:
        last = _error_of(state)
        times = "once" if state.attempt_number == 1 else f"{state.attempt_number} times"
        tried = f"Sent {times} in {time.monotonic() - trial.first_failed:.0f} s"
        self._is_out = self._answered_at < trial.first_failed and not await self._answers_anything()
        if self._is_out:
            tried += ", in which no request had a usable answer"
        kind = OutageError if self._is_out else TransientError
        raise kind(
            f"{last} {tried} (TMDB_RETRY_SECONDS is {self._retry_seconds:g}).",
            reason=last.reason,
            retry_after=last.retry_after,
            http_status=last.http_status,
            status_code=last.status_code,
        )

    async def _answers_anything(self) -> bool:
        """Ask something else, once: a single address that always fails is no outage."""
        try:
            await self._send("/authentication", None, _Trial())
        except TransientError:
            return False
        except TmdbError:  # not there, say: somebody answers
            return True
        return True

    def _without_token(self, text: str) -> str:
        """Return `text` without the token, should whoever answered have sent it back."""
        return text.replace(self._token.get_secret_value(), "***")


@dataclass
class _Trial:
    """What one request has cost so far, over all times that it was sent."""

    spent: float = 0.0
    """Seconds from sending to answer or failure, summed."""
    first_failed: float = math.inf


def _error_of(state: RetryCallState) -> TransientError:
    error = state.outcome.exception() if state.outcome is not None else None
    assert isinstance(error, TransientError)
    return error


def _can_be_sent(token: SecretStr) -> bool:
    # Apart from the constructor, so that no traceback of its error has the token among its locals.
    secret = token.get_secret_value()
    return secret != "" and all("!" <= character <= "~" for character in secret)


def _is_transient(status: int, code: int | None, *, is_json: bool) -> bool:
    if status in {httpx.codes.UNAUTHORIZED, httpx.codes.NOT_FOUND} or code in _PERMANENT_CODES:
        return False
    # A body that should have been JSON and is not has been cut off, or comes from something on the way.
    return code in _TRANSIENT_CODES or status in _TRANSIENT_STATUSES or (status == httpx.codes.OK and not is_json)


def _retry_after(headers: httpx.Headers) -> float | None:
    """Return the seconds that a Retry-After header names, in either of its forms; None without a readable one."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
        # By the server's own clock where it shows it, since ours may be wrong.
        now = parsedate_to_datetime(headers["date"]) if "date" in headers else datetime.now(UTC)
        return max((until - now).total_seconds(), 0.0)
    except (ValueError, TypeError, OverflowError):  # no date, or one with and one without a zone
        return None


def _remedy(status: int) -> str:
    if status in _REMEDIES:
        return _REMEDIES[status]
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return _TRY_LATER
    # A 200 that is no answer, or a redirect, comes from something else than the API.
    return _CHECK_URL if status < httpx.codes.BAD_REQUEST else "TMDB does not understand the request: report it."
