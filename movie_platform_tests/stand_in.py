"""TMDB for tests: a server on loopback that answers as the real one is documented and recorded to, or misbehaves.

It imports nothing of this project, lest it share the mistakes of the client that it tests. Here belongs what TMDB and
the network before it do. What a client should make of that belongs in the tests that use it.

As TMDB does with a misspelt parameter, it ignores every parameter that is not named in this module, real ones such as
`with_runtime.gte` among them.
"""

import asyncio
import gzip
import hashlib
import json
import operator
import random
import re
import socket
import struct
import threading
import time
from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from http.client import responses
from math import inf
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl

Film = Mapping[str, Any]
"""An item of /discover/movie. Any key may be missing or hold a wrong value."""

_ERRORS = {
    7: (401, "Invalid API key: You must be granted a valid key."),
    9: (503, "Service offline: This service is temporarily offline, try again later."),
    11: (500, "Internal error: Something went wrong, contact TMDB."),
    22: (400, "Invalid page: Pages start at 1 and max at 500. They are expected to be an integer."),
    23: (400, "Invalid date: Format needs to be YYYY-MM-DD."),
    24: (504, "Your request to the backend server timed out. Try again."),
    25: (429, "Your request count (#) is over the allowed limit of (40)."),
    34: (404, "The resource you requested could not be found."),
    43: (502, "Couldn't connect to the backend server."),
    46: (503, "The API is undergoing maintenance. Try again later."),
    47: (400, "The input is not valid."),
}
_FAULT_CODES = {"429": 25, "500": 11, "502": 43, "503": 46, "504": 24}
_ERROR_FAULTS = (
    *_FAULT_CODES,
    *("429-seconds", "429-date", "503-offline"),
    *("500-html", "502-html", "503-html", "504-html"),
)
FAULTS = (*_ERROR_FAULTS, "reset", "truncated", "short", "corrupt", "closed")
"""What `fault_share` draws from: errors as JSON or HTML, a reset in mid-body, half a document of the right length, a
body shorter than its Content-Length, gzip that cannot be unpacked, a connection closed without an answer."""

_GENRES = {
    28: "Action", 12: "Adventure", 16: "Animation", 35: "Comedy", 80: "Crime", 99: "Documentary", 18: "Drama",
    10751: "Family", 14: "Fantasy", 36: "History", 27: "Horror", 10402: "Music", 9648: "Mystery", 10749: "Romance",
    878: "Science Fiction", 10770: "TV Movie", 53: "Thriller", 10752: "War", 37: "Western",
}  # fmt: skip
_CONFIGURATION = {
    "images": {
        "base_url": "http://image.tmdb.org/t/p/",
        "secure_base_url": "https://image.tmdb.org/t/p/",
        "backdrop_sizes": ["w300", "w780", "w1280", "original"],
        "poster_sizes": ["w92", "w154", "w185", "w342", "w500", "w780", "original"],
    },
    "change_keys": ["overview", "release_date", "title"],
}
_FIXED = {
    "/3/authentication": {"success": True, "status_code": 1, "status_message": "Success."},
    "/3/configuration": _CONFIGURATION,
    "/3/genre/movie/list": {"genres": [{"id": number, "name": name} for number, name in _GENRES.items()]},
}
_SORTS = {
    **{name: (name, "") for name in ("original_title", "title")},
    **{name: (name, 0) for name in ("popularity", "revenue", "vote_average", "vote_count")},
    "primary_release_date": ("release_date", ""),
}
_DATES = ("primary_release_date.gte", "primary_release_date.lte")
_BOUNDS = ("vote_count.gte", "vote_count.lte", "vote_average.gte", "vote_average.lte")
_FILTERS = (*_DATES, *_BOUNDS, "include_adult", "include_video", "with_original_language", "with_genres")
_PAGE_SIZE = 20


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """How the stand-in behaves; by default, well. Times are in seconds.

    What is drawn depends on `seed`, the request's target, and how often that was asked: not on the order of arrival, so
    concurrent clients meet the same faults in every run. Counts (`dead_after` and so on) are of requests received.
    """

    seed: int = 0
    latency: float = 0
    limit: int | None = None
    """Requests answered in any second; those above get 429, and do not count."""
    limit_retry_after: int | None = None
    """The Retry-After of those 429s; without it they have none, as recorded."""
    fault_share: float = 0
    """The share of requests that get one of `faults`, each drawn for itself: a repetition may fail again."""
    faults: Sequence[str] = FAULTS
    fault_retry_after: int = 1
    """What the faults `429-seconds` and `429-date` ask for."""
    permanent: Callable[[str, dict[str, str]], tuple[int, Any] | None] | None = None
    """Path and query to status and body, for requests with an answer of their own; text is sent as it is."""
    dead_after: int | None = None
    """After so many requests, the next one resets every connection, and new ones are refused."""
    hang: Callable[[str, dict[str, str]], bool] | None = None
    """Path and query to whether not one byte is answered until the client or the stand-in goes."""
    drift: bool = False
    """Films of equal sort key change places (by popularity: all films) each time a page is computed."""
    cache_seconds: float = inf
    """How long, with `drift`, a URL keeps the page that was computed for it; without, no page is kept."""
    insert_after: tuple[int, Film] | None = None
    """After so many requests, this film appears."""
    remove_after: tuple[int, int] | None = None
    """After so many requests, the film of this id disappears."""
    strays: int = 0
    """Up to so many films outside the asked dates are among the rows of every window that has rows, and counted."""
    ignore_filters: frozenset[str] = frozenset()
    """Names of parameters without effect, as if misspelt."""
    capped: bool = False
    """Whether totals stop at 500 pages and 10,000 films."""

    def __post_init__(self) -> None:
        if unknown := set(self.faults) - set(FAULTS):
            raise ValueError(f"no such faults: {sorted(unknown)}")


@dataclass
class Request:
    """A request as received. `status` is None until it is answered, and stays so if it never is."""

    path: str
    query: dict[str, str]
    arrived: float
    """On the clock of `time.monotonic`."""
    status: int | None = None
    fault: str | None = None
    """One of FAULTS, `limit`, `permanent`, `hang` or `dead`."""


@dataclass
class _Answer:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


class _Selection(NamedTuple):
    """The films of a query in order; films between two neighbouring `bounds` may change places."""

    films: list[Film]
    bounds: list[int]


class StandIn:
    """A context manager that serves `films` on loopback while its block lasts.

    `films` are copied. Leaving the block raises what went wrong in here, such as an error of a given callable.
    """

    url: str
    """The base of the API, such as http://127.0.0.1:12345/3."""

    def __init__(self, films: Iterable[Film], *, token: str, behaviour: Behaviour | None = None) -> None:
        self.requests: list[Request] = []
        """All that was received, in order of arrival; it grows while the block lasts."""
        self.most_connections = 0
        """The most connections that were open at once."""
        self._token = token
        self._behaviour = behaviour or Behaviour()
        self._films: list[Film] = [{"softcore": False, **film} for film in films]
        # Nothing is documented about the order of films with equal keys, so no order given may shine through.
        random.Random(self._behaviour.seed).shuffle(self._films)
        self._insert, self._remove = self._behaviour.insert_after, self._behaviour.remove_after
        self._index()
        self._pages: dict[str, tuple[float, bytes]] = {}
        self._asked: Counter[str] = Counter()
        self._answered: deque[float] = deque()
        self._errors: list[Exception] = []
        self._dead = False
        self._open: dict[asyncio.StreamWriter, asyncio.Task[Any] | None] = {}

    def __enter__(self) -> Self:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}/3"
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()
        self._socket.close()
        if self._errors and error is None:
            raise self._errors[0]

    async def _serve(self) -> None:
        self._server = await asyncio.start_server(self._connect, sock=self._socket)
        await self._stop.wait()
        await self._stop_accepting()
        tasks = [task for task in self._open.values() if task]
        for writer in self._open:
            writer.transport.abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # an aborted transport closes its socket in the loop's next round

    async def _stop_accepting(self) -> None:
        # A server that is closed while it accepts leaks the connection, so let that become one first.
        self._loop.remove_reader(self._socket)
        for _ in range(5):
            await asyncio.sleep(0)
        self._server.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open[writer] = asyncio.current_task()
        self.most_connections = max(self.most_connections, len(self._open))
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client or the stand-in goes, which is how every connection ends
        except Exception as error:
            self._errors.append(error)
            raise
        finally:
            del self._open[writer]
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether the connection stays open."""
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        path, _, query = target.partition("?")
        await reader.readexactly(int(headers.get("content-length", 0)))
        request = Request(path, dict(parse_qsl(query, keep_blank_values=True)), time.monotonic())
        self.requests.append(request)
        self._asked[target] += 1
        behaviour, count = self._behaviour, len(self.requests)
        if behaviour.dead_after is not None and count > behaviour.dead_after:
            request.fault = "dead"
            await self._die()
            return False
        self._change_films(count - 1)
        if behaviour.hang and behaviour.hang(path, request.query):
            request.fault = "hang"
            await reader.read()
            return False
        answer = self._answer(method, target, request, headers)
        if behaviour.latency:
            await asyncio.sleep(behaviour.latency)
        if request.fault == "closed":
            return False
        if headers.get("connection", "").lower() == "close":
            answer.headers["Connection"] = "close"
        return await self._send(writer, request, answer, zipped="gzip" in headers.get("accept-encoding", ""))

    async def _send(self, writer: asyncio.StreamWriter, request: Request, answer: _Answer, *, zipped: bool) -> bool:
        """Send the answer, or as much as its fault leaves of it; whether the connection can stay open."""
        body, headers = answer.body, answer.headers
        if request.fault == "truncated":
            body = body[: len(body) // 2]
        if body and (zipped or request.fault == "corrupt"):
            body = gzip.compress(body, compresslevel=1, mtime=0)
            headers["Content-Encoding"] = "gzip"
        if request.fault == "corrupt":
            body = body[:10] + b"\xff" + body[11:]  # behind the header of ten bytes: a block of the reserved type
        if answer.status != 304:
            headers["Content-Length"] = str(len(body))
        head = [f"HTTP/1.1 {answer.status} {responses.get(answer.status, '')}"]
        head += [f"{name}: {value}" for name, value in headers.items()]
        cut = request.fault in {"reset", "short"}
        request.status = answer.status
        writer.write("\r\n".join([*head, "", ""]).encode() + (body[: len(body) // 2] if cut else body))
        await writer.drain()
        if request.fault == "reset":
            await asyncio.sleep(0.01)  # a reset may drop what the client has not read yet, such as the head
            _reset(writer)
        return not cut and headers["Connection"] != "close"

    async def _die(self) -> None:
        if not self._dead:
            self._dead = True
            await self._stop_accepting()
            # Bound but not listening: refuses every connection, and nobody else can get the port.
            self._socket = socket.socket()
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(("127.0.0.1", self._port))
        for writer in self._open:
            if not writer.transport.is_closing():
                _reset(writer)

    def _answer(self, method: str, target: str, request: Request, headers: dict[str, str]) -> _Answer:
        """Choose the answer, and note in the request which fault it is."""
        behaviour = self._behaviour
        draw = random.Random(f"{behaviour.seed} {target} {self._asked[target]}")
        if headers.get("authorization") != f"Bearer {self._token}":
            return _error(7, draw)
        if self._over_limit(request.arrived):
            request.fault = "limit"
            wait = behaviour.limit_retry_after
            return _error(25, draw, {} if wait is None else {"Retry-After": str(wait)})
        if behaviour.permanent and (own := behaviour.permanent(request.path, request.query)):
            request.fault = "permanent"
            return _own(*own)
        if draw.random() < behaviour.fault_share:
            request.fault = draw.choice(behaviour.faults)
            if request.fault in _ERROR_FAULTS:
                return _faulty(request.fault, behaviour.fault_retry_after, draw)
        cached = target in self._pages and self._pages[target][0] > request.arrived
        if method == "GET" and request.path == "/3/discover/movie":
            answer = _json(200, self._pages[target][1]) if cached else self._discover(target, request, draw)
        elif method == "GET" and request.path in _FIXED:
            answer = _json(200, _dump(_FIXED[request.path]))
        else:
            answer = _error(34, draw)
        if answer.status == 200:
            etag = f'W/"{hashlib.md5(answer.body).hexdigest()}"'
            answer.headers |= {"Cache-Control": "public, max-age=21600", "ETag": etag}
            answer.headers["X-Cache"] = f"{'Hit' if cached else 'Miss'} from cloudfront"
            if request.fault is None and etag in headers.get("if-none-match", ""):
                answer.status, answer.body = 304, b""
        return answer

    def _over_limit(self, now: float) -> bool:
        if self._behaviour.limit is None:
            return False
        while self._answered and self._answered[0] <= now - 1:
            self._answered.popleft()
        if len(self._answered) >= self._behaviour.limit:
            return True
        self._answered.append(now)
        return False

    def _discover(self, target: str, request: Request, draw: random.Random) -> _Answer:
        ignored = self._behaviour.ignore_filters
        query = {name: value for name, value in request.query.items() if name not in ignored}
        page = query.get("page", "1")
        if not re.fullmatch("[0-9]{1,3}", page) or not 1 <= int(page) <= 500:
            return _error(22, draw)
        if not all(_is_date(query[name]) for name in _DATES if query.get(name)):
            return _error(23, draw)
        if not all(re.fullmatch(r"[0-9]+(\.[0-9]+)?", query[name]) for name in _BOUNDS if query.get(name)):
            return _error(47, draw)
        selection = self._select(query)
        total = len(selection.films)
        start = (int(page) - 1) * _PAGE_SIZE
        rows = selection.films[start : start + _PAGE_SIZE]
        if self._behaviour.drift:
            rows = _drifted(selection, start, min(start + _PAGE_SIZE, total), draw)
        if self._behaviour.capped:
            total = min(total, 500 * _PAGE_SIZE)
        pages = max(1, -(-total // _PAGE_SIZE))
        body = _dump({"page": int(page), "results": rows, "total_pages": pages, "total_results": total})
        if self._behaviour.drift:
            self._pages[target] = (request.arrived + self._behaviour.cache_seconds, body)
        return _json(200, body)

    def _change_films(self, before: int) -> None:
        if self._insert and before >= self._insert[0]:
            self._films.append({"softcore": False, **self._insert[1]})
            self._insert = None
            self._index()
        if self._remove and before >= self._remove[0]:
            gone = self._remove[1]
            self._films = [film for film in self._films if film.get("id") != gone]
            self._remove = None
            self._index()

    def _index(self) -> None:
        """Keep the films by date, so that the narrow windows of a split need not look at all of them."""
        self._films.sort(key=_release_date)
        self._release_dates = [_release_date(film) for film in self._films]
        self._selections: dict[tuple[str | None, ...], _Selection] = {}

    def _select(self, query: dict[str, str]) -> _Selection:
        key = (query.get("sort_by"), *(query.get(name) for name in _FILTERS))
        if key not in self._selections:
            self._selections[key] = self._filter_and_sort(query, random.Random(f"{self._behaviour.seed} {key}"))
        return self._selections[key]

    def _filter_and_sort(self, query: dict[str, str], draw: random.Random) -> _Selection:
        name, _, direction = query.get("sort_by", "").partition(".")
        if name not in _SORTS or direction not in {"asc", "desc"}:
            name, direction = "popularity", "desc"
        first, last = (query.get(name) for name in _DATES)
        low, high = 0, len(self._films)
        if first or last:
            # A missing date is "", which sorts before "0": it is in no window, not even in one open to the past.
            low = bisect_left(self._release_dates, first or "0")
            high = max(low, bisect_right(self._release_dates, last or "9999-12-31"))
        found = [(_value(film, *_SORTS[name]), film) for film in _filtered(self._films[low:high], query)]
        if self._behaviour.strays and found and (first or last):
            dated = bisect_left(self._release_dates, "0")
            places = [*range(dated, low), *range(high, len(self._films))]
            some = draw.sample(places, min(50 * self._behaviour.strays, len(places)))
            strays = _filtered([self._films[place] for place in some], query)[: self._behaviour.strays]
            # With the key of a film that is asked for, since by their own they would all be first or last.
            found += [(draw.choice(found)[0], stray) for stray in strays]
        found.sort(key=operator.itemgetter(0), reverse=direction == "desc")
        bounds = [0, len(found)]
        if self._behaviour.drift and name != "popularity":
            bounds[1:1] = [place for place in range(1, len(found)) if found[place][0] != found[place - 1][0]]
        return _Selection([film for _, film in found], bounds)


def _drifted(selection: _Selection, start: int, end: int, draw: random.Random) -> list[Film]:
    """The films from start to end after a shuffle between the bounds, of which only these are drawn."""
    rows: list[Film] = []
    while start < end:
        group = bisect_right(selection.bounds, start)
        low, high = selection.bounds[group - 1], selection.bounds[group]
        places = draw.sample(range(low, high), min(end, high) - start)
        rows += [selection.films[place] for place in places]
        start += len(places)
    return rows


def _filtered(films: list[Film], query: dict[str, str]) -> list[Film]:
    """The films that are in the query, dates apart."""
    for name in ("adult", "video"):
        if query.get(f"include_{name}") != "true":
            films = [film for film in films if not film.get(name)]
    if language := query.get("with_original_language"):
        films = [film for film in films if film.get("original_language") == language]
    for either in query.get("with_genres", "").split(","):
        if wanted := set(either.split("|")) - {""}:
            films = [film for film in films if wanted & {str(genre) for genre in film.get("genre_ids") or ()}]
    for bound in _BOUNDS:
        if text := query.get(bound):
            (name, _, end), limit = bound.partition("."), float(text)
            compare = operator.ge if end == "gte" else operator.le
            films = [film for film in films if compare(_value(film, name, 0), limit)]
    return films


def _value(film: Film, name: str, default: Any) -> Any:
    """The film's value, or the default in place of one that does not compare with it."""
    value = film.get(name)
    return value if isinstance(value, str if default == "" else (int, float)) else default


def _release_date(film: Film) -> str:
    return str(_value(film, "release_date", ""))


def _is_date(text: str) -> bool:
    try:
        return bool(re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", text) and date.fromisoformat(text))
    except ValueError:
        return False


def _dump(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _json(status: int, body: bytes) -> _Answer:
    headers = {
        "Content-Type": "application/json;charset=utf-8",
        "Connection": "keep-alive",
        "Date": format_datetime(datetime.now(UTC), usegmt=True),
        "Server": "openresty",
        "Vary": "Accept-Encoding, Origin",
        "Via": "1.1 0123456789abcdef.cloudfront.net (CloudFront)",
        "X-Cache": "Error from cloudfront",
    }
    return _Answer(status, body, headers)


def _error(code: int, draw: random.Random, headers: Mapping[str, str] | None = None) -> _Answer:
    status, message = _ERRORS[code]
    parts = [("success", False), ("status_code", code), ("status_message", message)]
    draw.shuffle(parts)
    answer = _json(status, _dump(dict(parts)))
    answer.headers |= headers or {}
    return answer


def _faulty(fault: str, wait: int, draw: random.Random) -> _Answer:
    status, _, kind = fault.partition("-")
    headers = {}
    if kind == "html":
        title = f"{status} {responses[int(status)]}"
        page = f"<html><head><title>{title}</title></head><body><center><h1>{title}</h1></center></body></html>"
        return _own(int(status), page)
    if kind == "seconds":
        headers["Retry-After"] = str(wait)
    if kind == "date":
        headers["Retry-After"] = format_datetime(datetime.now(UTC) + timedelta(seconds=wait), usegmt=True)
    return _error(9 if kind == "offline" else _FAULT_CODES[status], draw, headers)


def _own(status: int, body: Any) -> _Answer:
    """Text as it is, anything else as JSON."""
    answer = _json(status, body.encode() if isinstance(body, str) else _dump(body))
    if isinstance(body, str) and body.startswith("<"):
        answer.headers["Content-Type"] = "text/html"
    return answer


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close the connection so that the client gets a reset, not an end."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
