"""Faults on demand: a middleware that makes the built-in catalogue misbehave as TMDB can.

What may go wrong, how often, and how it is written in a setting belong here. TMDB on a good day belongs in
`app`. Chance is SHA-256 of the seed and of what is asked, so neither time nor the order in which requests for different
things arrive decides anything.
"""

import asyncio
import difflib
import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from email.utils import formatdate
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final, NoReturn, TypeVar
from urllib.parse import urlencode

from starlette.datastructures import QueryParams
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from movie_platform.tmdb.catalogue.app import ERRORS, MAX_PAGES, PAGE_SIZE
from movie_platform.tmdb.reference import parse_date

__all__ = ["FAULTS", "Faults", "parse_faults", "with_faults"]

_Value = TypeVar("_Value")
_Row = Mapping[str, Any]
_Params = Mapping[str, str]

_RETRYABLE: Final = {
    "rate-limit": "HTTP 429 without Retry-After.",
    "rate-limit-seconds": "HTTP 429 with Retry-After: 1.",
    "rate-limit-date": "HTTP 429 with Retry-After as a date, about a second ahead.",
    "internal-error": "HTTP 500 with TMDB's status 11.",
    "no-backend": "HTTP 502 with TMDB's status 43.",
    "maintenance": "HTTP 503 with TMDB's status 46.",
    "offline": "HTTP 503 with TMDB's status 9.",
    "backend-time-out": "HTTP 504 with TMDB's status 24.",
    "html-502": "HTTP 502 with a page of HTML.",
    "html-503": "HTTP 503 with a page of HTML.",
    "html-504": "HTTP 504 with a page of HTML.",
    "connection-reset": "The connection breaks in the middle of the body.",
    "truncated-json": "HTTP 200 with a body that is cut off, and a Content-Length that fits.",
}
_OTHER_PASSING: Final = {
    "rate-limit-hour": "HTTP 429 with Retry-After: 3600.",
    "slow": "No byte for an hour.",
    "dead": "The connection breaks before the body.",
}
_PERMANENT: Final = {
    "invalid-key": "HTTP 401 with TMDB's status 7, for a share of the URLs, always.",
    "not-found": "HTTP 404 with TMDB's status 34, for a share of the URLs, always.",
    "invalid-id": "HTTP 500 with TMDB's status 44, for a share of the URLs, always.",
    "invalid-page": "HTTP 400 with TMDB's status 22, for a share of the URLs, always.",
}

FAULTS: Mapping[str, str] = MappingProxyType(
    {
        "retryable": f"One of those that pass quickly, equally often: {', '.join(_RETRYABLE)}.",
        **_RETRYABLE,
        **_OTHER_PASSING,
        **_PERMANENT,
        "page-drift": "On a share of the pages, the last films of the page before stand in place of the first ones.",
        "rows-inserted": "In a share of the queries, pages from some later one on are a row further, and announce one "
        "film more.",
        "totals-differ": "A share of the pages announce one film more than there is.",
        "totals-capped": "A share of the pages announce 500 pages and 10,000 films where there are more.",
        "strays": "On a share of the pages, a film from outside the dates that were asked for stands among the others.",
        "dates-ignored": "A share of the pages are those of a query without dates.",
        "unknown-fields": "A share of the films have fields that are not documented, nested ones too. Preprocessing "
        "accepts them.",
        "odd-rows": "A share of the films have no poster, no genres, or an integer as average. Preprocessing accepts "
        "them.",
        "refused-rows": "A share of the films have no title, an empty one, an average of 99 or an unknown language. "
        "Preprocessing refuses them.",
    }
)
"""Every fault by name, and what it does. Where nothing else is said, the share is one of requests."""

_PASSING: Final = (*_RETRYABLE, *_OTHER_PASSING)
_PER_REQUEST: Final = (*_PASSING, *_PERMANENT)
_ABOUT_PAGES: Final = frozenset(FAULTS) - {"retryable", *_PER_REQUEST}

_STATUS_CODES: Final = {
    "rate-limit": 25,
    "rate-limit-seconds": 25,
    "rate-limit-date": 25,
    "rate-limit-hour": 25,
    "internal-error": 11,
    "no-backend": 43,
    "maintenance": 46,
    "offline": 9,
    "backend-time-out": 24,
    "invalid-key": 7,
    "not-found": 34,
    "invalid-id": 44,
    "invalid-page": 22,
}
_RETRY_AFTER: Final[Mapping[str, Callable[[], str]]] = {
    "rate-limit-seconds": lambda: "1",
    "rate-limit-date": lambda: formatdate(time.time() + 1, usegmt=True),
    "rate-limit-hour": lambda: "3600",
}
_HTML_STATUSES: Final = {"html-502": 502, "html-503": 503, "html-504": 504}
_SLOW_SECONDS: Final = 3600

_PATH: Final = "/3/discover/movie"
_DATES: Final = ("primary_release_date.gte", "primary_release_date.lte")
_MOST_DRIFTING: Final = 5  # rows
_UNKNOWN_FIELDS: Final[_Row] = {
    "softcore": False,
    "streams": {"DE": [{"provider": 8, "since": None}], "US": []},
    "rank": 1.5,
}
_ROW_CHANGES: Final[Mapping[str, tuple[Callable[[_Row], _Row], ...]]] = {
    "odd-rows": (
        lambda row: {**row, "poster_path": None},
        lambda row: _without(row, "genre_ids"),
        lambda row: {**row, "vote_average": _rounded(row.get("vote_average"))},
    ),
    "refused-rows": (
        lambda row: _without(row, "title"),
        lambda row: {**row, "title": ""},
        lambda row: {**row, "vote_average": 99},
        lambda row: {**row, "original_language": "qq"},
    ),
}

_SEED: Final = re.compile(r"-?[0-9]{1,18}")
_NUMBER: Final = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(e[-+]?[0-9]+)?", re.IGNORECASE)
_ROUNDING: Final = 1e-9  # by which a sum of shares may miss 1
_LONGEST_NAME: Final = 40  # characters that are compared with known names


@dataclass(frozen=True)
class Faults:
    """Which faults there are, and how often: shares above 0 and up to 1 by name of `FAULTS`.

    `retryable` is replaced by its members, with equal parts of its share on top of their own. Raises `ValueError` for
    unknown names, other shares, and shares of the faults that hit single requests that add up to more than 1.
    """

    seed: int = 0
    shares: Mapping[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        shares: dict[str, float] = {}
        for name, share in self.shares.items():
            if name not in FAULTS:
                raise ValueError(f"has an unknown name; known are {', '.join(FAULTS)}")
            if not 0 < share <= 1:
                raise ValueError(f"has a share of {name} that is not above 0 and up to 1; write one like {name}=0.1")
            members = tuple(_RETRYABLE) if name == "retryable" else (name,)
            for member in members:
                shares[member] = shares.get(member, 0) + share / len(members)
        total = sum(shares.get(name, 0) for name in _PER_REQUEST)
        if total > 1 + _ROUNDING:
            raise ValueError(
                f"has shares of faults that hit single requests that add up to {total:.4g}; lower them to 1 in all"
            )
        object.__setattr__(self, "shares", MappingProxyType(shares))


def parse_faults(text: str) -> Faults:
    """Return the faults that a text like "seed=7, retryable=0.1, totals-capped" names.

    Entries are separated by commas: `name=share`, or `name` alone for a share of 1, and `seed=` an integer (0 if there
    is none). A blank text names no faults. Raises `ValueError`, which counts entries from 1 and does not repeat
    what it does not know.
    """
    seed = 0
    shares: dict[str, float] = {}
    seen: set[str] = set()
    for number, entry in enumerate(text.split(",") if text.strip() else (), start=1):
        name, equals, value = (part.strip() for part in entry.partition("="))
        if name in seen:
            raise ValueError(f"names {name} again in entry {number}; name it once")
        if name == "seed":
            seed = _parse_seed(value, number)
        elif name in FAULTS:
            shares[name] = _parse_share(value, name, number) if equals else 1.0
        else:
            raise ValueError(_unknown(name, number))
        seen.add(name)
    return Faults(seed, shares)


def with_faults(app: ASGIApp, faults: Faults) -> ASGIApp:
    """Return a `catalogue_app` that has these faults.

    What hits single requests and passes is drawn for each of them: the n-th request of a URL always fares the same with
    the same seed, and the one after it fares anew. All else is drawn for the URL, the query or the film, and stays. A
    URL is its path and its parameters, in whatever order.

    A broken connection is a `ConnectionError` out of the application in the middle of its answer, at which a server
    closes the socket.
    """
    return _FailingRequests(_WrongPages(app, faults), faults)


class _Chance:
    """Numbers that follow from the seed and from what they are for, and from nothing else."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def draw(self, *what: object) -> float:
        """Return a number from 0 up to, not including, 1."""
        digest = hashlib.sha256(repr((self._seed, *what)).encode()).digest()
        return int.from_bytes(digest[:6]) / 2**48

    def below(self, end: int, *what: object) -> int:
        return int(self.draw(*what) * end)


class _FailingRequests:
    """The faults that hit single requests, whatever the answer would have been."""

    def __init__(self, app: ASGIApp, faults: Faults) -> None:
        self._app = app
        self._shares = faults.shares
        self._chance = _Chance(faults.seed)
        self._requests: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        url = _url(scope["path"], QueryParams(scope["query_string"]))
        self._requests[url] += 1
        request = (url, self._requests[url])
        name = self._fault(*request)
        if name in _STATUS_CODES:
            await self._error(name, request)(scope, receive, send)
        elif name in _HTML_STATUSES:
            await _html(_HTML_STATUSES[name])(scope, receive, send)
        elif name == "connection-reset":
            answer = await _ask(self._app, scope)
            await _break(send, answer, after=self._cut(answer, request))
        elif name == "truncated-json":
            answer = await _ask(self._app, scope)
            answer.body = answer.body[: self._cut(answer, request)]
            answer.headers["content-length"] = str(len(answer.body))
            await answer(scope, receive, send)
        elif name == "dead":
            await _break(send, JSONResponse({}), after=0)
        elif name != "slow" or not await _leaves(receive):
            await self._app(scope, receive, send)

    def _fault(self, url: str, number: int) -> str | None:
        """Return the fault that the request runs into, if any."""
        permanent = self._pick(_PERMANENT, self._chance.draw("permanent", url))
        if permanent is not None:
            return permanent
        # Out of what permanent faults leave over, so that each fault has its share of all requests.
        left = 1 - sum(self._shares.get(name, 0) for name in _PERMANENT)
        return self._pick(_PASSING, left * self._chance.draw("passing", url, number))

    def _pick(self, names: Iterable[str], draw: float) -> str | None:
        end = 0.0
        for name in names:
            end += self._shares.get(name, 0)
            if draw < end:
                return name
        return None

    def _error(self, name: str, request: tuple[str, int]) -> Response:
        code = _STATUS_CODES[name]
        http_status, message = ERRORS[code]
        body = {"success": False, "status_code": code, "status_message": message}
        order = sorted(body, key=lambda key: self._chance.draw("order", *request, key))
        headers = {"Retry-After": _RETRY_AFTER[name]()} if name in _RETRY_AFTER else None
        return JSONResponse({key: body[key] for key in order}, status_code=http_status, headers=headers)

    def _cut(self, answer: Response, request: tuple[str, int]) -> int:
        """Return after how many bytes a body ends: at least one, and never all."""
        return 1 + self._chance.below(len(answer.body) - 1, "cut", *request)


class _WrongPages:
    """The faults in what `/discover/movie` says: its rows and its totals."""

    def __init__(self, app: ASGIApp, faults: Faults) -> None:
        self._app = app
        self._shares = faults.shares
        self._chance = _Chance(faults.seed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != _PATH or _ABOUT_PAGES.isdisjoint(self._shares):
            await self._app(scope, receive, send)
            return
        params = dict(QueryParams(scope["query_string"]))
        await (await self._answer(scope, params))(scope, receive, send)

    async def _answer(self, scope: Scope, params: _Params) -> Response:
        url, query = _url(_PATH, params), _url(_PATH, _without(params, "page"))
        if self._hits("dates-ignored", url):
            params = _without(params, *_DATES)
        answer = await _ask(self._app, scope, params)
        if answer.status_code != HTTPStatus.OK:
            return answer
        page = _parsed(answer)
        rows, number, announced = page["results"], page["page"], page["total_results"]
        if number > 1 and not {"page-drift", "rows-inserted"}.isdisjoint(self._shares):
            before = _parsed(await _ask(self._app, scope, {**params, "page": str(number - 1)}))["results"]
            if self._is_inserted_before(number, query, total_pages=page["total_pages"]):
                rows = [*before[-1:], *rows][:PAGE_SIZE]
                announced += 1
            if self._hits("page-drift", url):
                drifting = min(1 + self._chance.below(_MOST_DRIFTING, "drifting", url), len(rows))
                rows = [*before[len(before) - drifting :], *rows[drifting:]]
        if rows and self._hits("strays", url):
            place = self._chance.below(len(rows) + 1, "place of the stray", url)
            rows = [*rows[:place], *await self._stray(scope, params, url), *rows[place:]]
        announced += self._hits("totals-differ", url)
        page["results"] = [self._row(row) for row in rows]
        page["total_results"] = announced
        page["total_pages"] = max(1, -(-announced // PAGE_SIZE))
        if announced > MAX_PAGES * PAGE_SIZE and self._hits("totals-capped", url):
            page["total_results"], page["total_pages"] = MAX_PAGES * PAGE_SIZE, MAX_PAGES
        return JSONResponse(page)

    def _hits(self, name: str, what: object) -> bool:
        return self._chance.draw(name, what) < self._shares.get(name, 0)

    def _is_inserted_before(self, number: int, query: str, *, total_pages: int) -> bool:
        """Tell whether a film comes into the query, on an earlier page, before this page is read."""
        if total_pages == 1 or not self._hits("rows-inserted", query):
            return False
        return number >= 2 + self._chance.below(total_pages - 1, "first page with the film inserted", query)

    async def _stray(self, scope: Scope, params: _Params, url: str) -> list[_Row]:
        """Return one film from after or else before the dates that are asked for, none where there are no others."""
        for outside in _outside(params):
            found = _parsed(await _ask(self._app, scope, outside))["results"]
            if found:
                return [found[self._chance.below(len(found), "stray", url)]]
        return []

    def _row(self, row: _Row) -> _Row:
        identity = row.get("id")
        if self._hits("unknown-fields", identity):
            row = {**row, **_UNKNOWN_FIELDS}
        for name, changes in _ROW_CHANGES.items():
            if self._hits(name, identity):
                row = changes[self._chance.below(len(changes), f"kind of {name}", identity)](row)
        return row


def _url(path: str, params: _Params) -> str:
    return f"{path}?{urlencode(sorted(params.items()))}"


def _outside(params: _Params) -> Iterator[dict[str, str]]:
    """Yield queries for the films after and before the asked dates; the dates make sense, they have been answered."""
    others = {**_without(params, *_DATES), "page": "1"}
    first, last = (parse_date(params.get(name)) for name in _DATES)
    if last is not None and last < date.max:
        yield {**others, _DATES[0]: str(last + timedelta(days=1))}
    if first is not None and first > date.min:
        yield {**others, _DATES[1]: str(first - timedelta(days=1))}


def _without(fields: Mapping[str, _Value], *names: str) -> dict[str, _Value]:
    return {name: value for name, value in fields.items() if name not in names}


def _rounded(value: object) -> object:
    return round(value) if isinstance(value, float) else value


def _parsed(answer: Response) -> Any:
    return json.loads(bytes(answer.body))


def _html(status: int) -> Response:
    title = f"{status} {HTTPStatus(status).phrase}"
    return HTMLResponse(
        f"<html><head><title>{title}</title></head><body><center><h1>{title}</h1></center></body></html>",
        status_code=status,
    )


async def _ask(app: ASGIApp, scope: Scope, params: _Params | None = None) -> Response:
    """Return the whole answer to the request of `scope`, or to the same one with other parameters."""
    if params is not None:
        scope = {**scope, "query_string": urlencode(params).encode()}
    answer = Response()
    body = bytearray()

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status_code = message["status"]
            answer.raw_headers = list(message["headers"])
        else:
            body.extend(message.get("body", b""))

    await app(scope, receive, send)
    answer.body = bytes(body)
    return answer


async def _break(send: Send, answer: Response, *, after: int) -> NoReturn:
    """Send so many bytes of the body and break the connection.

    The answer is begun in any case: a server would make up one of its own if it were not.
    """
    await send({"type": "http.response.start", "status": answer.status_code, "headers": answer.raw_headers})
    await send({"type": "http.response.body", "body": answer.body[:after], "more_body": True})
    raise ConnectionResetError("connection broken on purpose, as a fault")


async def _leaves(receive: Receive) -> bool:
    """Wait for an hour, and tell whether the client has left meanwhile; return at once when it does."""
    try:
        async with asyncio.timeout(_SLOW_SECONDS):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return False
    return True


def _unknown(name: str, number: int) -> str:
    known = ["seed", *FAULTS]
    nearest = difflib.get_close_matches(name[:_LONGEST_NAME].lower(), known, n=1)
    hint = f", perhaps {nearest[0]} is meant" if nearest else ""
    return f"has an unknown name in entry {number}{hint}; write name=share with one of {', '.join(known)}"


def _parse_seed(text: str, number: int) -> int:
    if not _SEED.fullmatch(text):
        raise ValueError(f"has a seed in entry {number} that is not an integer; write one like seed=7")
    return int(text)


def _parse_share(text: str, name: str, number: int) -> float:
    # Not left to float(), whose error would repeat the text.
    share = float(text) if _NUMBER.fullmatch(text) else 0.0
    if not 0 < share <= 1:
        raise ValueError(
            f"has a share of {name} in entry {number} that is no number above 0 and up to 1; write one like {name}=0.1"
        )
    return share
