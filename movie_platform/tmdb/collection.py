"""All films of a stretch of release dates, as TMDB gives them, and the proof that they are all.

Which queries are asked, reading their pages, de-duplication, and what is done when pages and totals disagree belong
here. What a query is belongs in `queries`, single requests in `client`; what the fields of an item are worth, in
`films`.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple, TypeVar

from movie_platform.tmdb.client import TmdbClient, TmdbError
from movie_platform.tmdb.pacing import MAX_CONNECTIONS
from movie_platform.tmdb.queries import DateRange, Item, Query
from movie_platform.tmdb.reference import parse_date

__all__ = ["Collection", "CollectionError", "Gap", "Progress", "collect"]

_Result = TypeVar("_Result")

_PATH = "/discover/movie"
_FILMS_A_PAGE = 20
_MAX_PAGES = 500  # TMDB's limit
_MAX_REACHABLE = 10_000  # films in so many pages
_MAX_FILMS = 9_000  # a query with this many is cut: rows are added while pages are read
_TOLERATED_STRAYS = 0.01  # share of films; a single one is always tolerated
_FEW_PAGES = 3  # to read so many again costs no more than to halve further
_FEW_FILMS = 2  # by so many, two totals of the same films may always differ
_TOLERATED_DIFFERENCE = 0.01  # beyond it, halves are not what they should be
_REQUESTS_TO_FIND = 40  # for looking for missing films, beside as many as the query has pages
_PROGRESS_SECONDS = 5.0


class CollectionError(TmdbError):
    """TMDB answers, but its answers cannot be the films that were asked for."""


@dataclass(frozen=True)
class Gap:
    """A query with more films than can be reached and that cannot be cut any further."""

    query: str
    announced: int
    """Films that TMDB says the query has; 10,000 may also mean that it counts no further."""
    reachable: int


@dataclass(frozen=True)
class Progress:
    """How far a collection is: films read, films announced so far, requests and retries, seconds since its start."""

    films: int
    announced: int
    requests: int
    retries: Counter[str]
    seconds: float


@dataclass(frozen=True)
class Collection:
    """What `collect` read.

    `items` are exactly what TMDB sent, unknown fields included, each id once and in ascending order; items
    without an integer id follow in the order of reading, since nothing tells whether two of them are one
    film.
    """

    # Not in its text, which asyncio makes of whatever a finished task returns (140 MB for 100,000 films).
    items: list[Item] = field(repr=False)
    announced: int
    """Films that TMDB says there are, over all queries, without the strays that it was seen to have counted."""
    missing: int
    """Films announced and found on no page, after everything that disagreed was read again."""
    pages: int
    """Pages that items come from."""
    requests: int
    """Requests sent, those included that only showed that a query has to be cut."""
    retries: Counter[str]
    """Requests among them that were sent again, by reason."""
    read_again: int
    """Queries whose pages did not have what they announced, and of which parts were therefore read again."""
    duplicates: int
    """Rows left out because their id had been read before."""
    strays: int
    """Films left out because they were released outside the dates that were asked for."""
    unidentified: int
    """Items kept although they have no integer id."""
    queries: tuple[str, ...]
    """The queries that were read, in order; together they mean the films that were asked for."""
    gaps: tuple[Gap, ...]


class _Page(NamedTuple):
    rows: list[Item]
    total_pages: int
    total_results: int

    @property
    def readable_pages(self) -> int:
        return min(self.total_pages, _MAX_PAGES)

    @property
    def is_too_large(self) -> bool:
        return self.total_results >= _MAX_FILMS or self.may_be_capped

    @property
    def may_be_capped(self) -> bool:
        """Totals of exactly 500 pages or 10,000 films may also mean that TMDB counts no further."""
        return self.total_pages == _MAX_PAGES or self.total_results == _MAX_REACHABLE


@dataclass
class _Findings:
    """What reading a query has brought; the findings of its parts add up to those of the whole."""

    rows: list[Item] = field(default_factory=list)
    announced: int = 0
    missing: int = 0
    pages: int = 0
    read_again: int = 0
    queries: list[str] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)

    def add(self, part: "_Findings") -> None:
        self.rows += part.rows
        self.announced += part.announced
        self.missing += part.missing
        self.pages += part.pages
        self.read_again += part.read_again
        self.queries += part.queries
        self.gaps += part.gaps


@dataclass
class _Search:
    """Pages that were read while looking for missing films, and how many more requests that may take."""

    requests_left: int
    pages: list[_Page] = field(default_factory=list)
    is_complete: bool = True

    def may_send(self, requests: int) -> bool:
        self.is_complete &= requests <= self.requests_left
        if self.is_complete:
            self.requests_left -= requests
        return self.is_complete


async def collect(
    client: TmdbClient,
    *,
    first: date,
    last: date,
    min_vote_count: int,
    include_adult: bool,
    on_progress: Callable[[Progress], None] | None = None,
) -> Collection:
    """Return every film first released from `first` to `last` (both included) with at least that many votes.

    Films that TMDB marks as adult are left out unless `include_adult`; videos (compilations, concerts) always.

    A query of 9,000 films or more is cut by date, a single day by language and then by votes; what is still too
    large is read as far as possible and becomes a `Gap`. When pages hold fewer films than TMDB announced, the query is
    halved until the halves that lack something are a few pages long, and those are read again: they have other
    URLs, which TMDB has cached at another time. What is missing after that is counted, for the caller to judge.

    `on_progress` is called every few seconds and once at the end. The result does not depend on the order in
    which answers arrive: rows are merged in the order of queries, pages and positions, and of several copies the
    first is kept. Only among copies of a film that a search has found does the one that arrived first count.

    Raises `TmdbError` as the client does, and `CollectionError` for answers that are not pages of films, when more than
    1 % of the films are not what was asked for, which means that TMDB ignored a filter, and when totals of 9,000 films
    and more stand over pages that are not even half full.
    """
    if min_vote_count < 0:
        raise ValueError(f"min_vote_count must be at least 0, not {min_vote_count}")
    query = Query(DateRange(first, last), include_adult=include_adult, least_votes=min_vote_count)
    return await _Collector(client, query, on_progress).collect()


class _Collector:
    """The state of one call of `collect`."""

    def __init__(self, client: TmdbClient, query: Query, on_progress: Callable[[Progress], None] | None) -> None:
        self._client = client
        self._asked = query
        self._on_progress = on_progress
        self._requests_before = client.requests
        self._retries_before = Counter(client.retries)
        self._started = time.monotonic()
        self._films = 0
        self._announced = 0
        # All pages are asked for at once and wait here, in order, not for the pacer's places.
        self._connections = asyncio.Semaphore(MAX_CONNECTIONS)

    async def collect(self) -> Collection:
        reporting = asyncio.create_task(self._report_regularly())
        try:
            findings = await self._read(self._asked)
        finally:
            reporting.cancel()
            with suppress(asyncio.CancelledError):
                await reporting
        collection = self._merge(findings)
        self._films, self._announced = len(collection.items), collection.announced
        self._report()
        return collection

    async def _read(self, query: Query) -> _Findings:
        """Read a query of which nothing is known yet."""
        first = await self._fetch(query, 1)
        self._announced = max(self._announced, first.total_results)
        parts = query.parts() if first.is_too_large else ()
        if parts:
            return await self._read_parts(query, first, parts)
        pages = await self._read_pages(query, first)
        findings = _Findings(
            rows=[row for page in pages for row in page.rows],
            # Any page may tell of films that came while the others were read.
            announced=max(page.total_results for page in pages),
            pages=len(pages),
            queries=[str(query)],
        )
        if first.may_be_capped or first.total_results > _MAX_REACHABLE:
            findings.gaps.append(Gap(str(query), announced=first.total_results, reachable=_MAX_REACHABLE))
        elif _count(query, findings.rows) < findings.announced:
            await self._look_for_missing(query, findings, is_settled=len({page.total_results for page in pages}) == 1)
        findings.missing = max(findings.announced - _count(query, findings.rows), 0)
        return findings

    async def _read_parts(self, query: Query, first: _Page, parts: Sequence[Query]) -> _Findings:
        # Without these, totals or filters that mean nothing would be noticed only after thousands of cuts.
        if len(first.rows) < _FILMS_A_PAGE / 2:
            raise CollectionError(
                f"{query}: TMDB announces {first.total_results:,} films and shows {len(first.rows)} on the first page: "
                "its totals mean nothing. Try again later; if it stays so, `GET /discover/movie` has changed"
            )
        if sum(_is_elsewhere(row, query) for row in first.rows) * 2 > len(first.rows):
            raise _filter_ignored(query, "most films of the first page are others")
        whole = _Findings()
        for findings in await _concurrently(self._read(part) for part in parts):
            whole.add(findings)
        announced = first.total_results  # of a capped one, the least that there are
        if first.may_be_capped and query.language != parts[0].language:  # some languages may be in no part
            total = await self._count_by_votes(query, first)
            if total is None and not whole.gaps:
                whole.gaps.append(Gap(str(query), announced=announced, reachable=whole.announced))
            announced = total or announced
        if announced > whole.announced:
            whole.missing += announced - whole.announced
            whole.announced = announced
        return whole

    async def _count_by_votes(self, query: Query, first: _Page) -> int | None:
        """Return how many films a single day has although TMDB does not count so far; None if that cannot be found."""
        if not first.may_be_capped:
            return first.total_results
        halves = query.halves()
        totals = [await self._count_by_votes(half, await self._fetch(half, 1)) for half in halves]
        return sum(total or 0 for total in totals) if halves and None not in totals else None

    async def _read_pages(self, query: Query, first: _Page) -> list[_Page]:
        numbers = range(2, first.readable_pages + 1)
        return [first, *await _concurrently(self._fetch(query, number) for number in numbers)]

    async def _look_for_missing(self, query: Query, findings: _Findings, *, is_settled: bool) -> None:
        """Add to the findings of a query the films that its pages lack, as far as its halves have them.

        `is_settled` says that all pages announced the same. Otherwise, and if the halves announce something else, films
        may have come and gone meanwhile, and the halves are read as if nothing were known of them.
        """
        halves = query.halves()
        if not halves or _count(query, findings.rows) < findings.announced / 2:  # nothing would make that good
            return
        findings.read_again = 1
        search = _Search(requests_left=findings.pages + _REQUESTS_TO_FIND)
        firsts = await _concurrently(self._fetch(half, 1) for half in halves)
        announced = sum(first.total_results for first in firsts)
        if abs(announced - findings.announced) > max(_FEW_FILMS, findings.announced * _TOLERATED_DIFFERENCE):
            return  # whatever these are, they do not add up to the query
        is_settled &= announced == findings.announced
        known = findings.rows if is_settled else []
        await _concurrently(
            self._search(half, first, known, search) for half, first in zip(halves, firsts, strict=True)
        )
        strays = {repr(row.get("id")) for row in findings.rows if self._is_stray(row)}
        # Rows without an id would be kept twice, and what strays say about the filters, the first reading has said.
        again = (row for page in search.pages for row in page.rows)
        findings.rows += (row for row in again if _has_id(row) and not self._is_stray(row))
        findings.pages += len(search.pages)
        if findings.announced - announced <= _FEW_FILMS:
            findings.announced = min(findings.announced, announced)
        if search.is_complete:
            # Still not there under other URLs: then what stood in their place had been announced.
            missing = max(findings.announced - _count(query, findings.rows), 0)
            findings.announced -= min(missing, len(strays))

    async def _search(self, query: Query, first: _Page, known: Iterable[Item], search: "_Search") -> None:
        """Read a query as far as it announces films that are not among the known ones."""
        own = list(first.rows)
        rows = [*(row for row in known if query.means(row)), *own]
        search.pages.append(first)
        if 1 < first.readable_pages <= _FEW_PAGES and _count(query, rows) < first.total_results:
            if not search.may_send(first.readable_pages - 1):
                return
            pages = await self._read_pages(query, first)
            search.pages += pages[1:]
            own = [row for page in pages for row in page.rows]
            rows += own
        # Strays on all of its pages have been announced; on some of many, nobody knows.
        strays = len({repr(row.get("id")) for row in own if self._is_stray(row)})
        is_whole = first.readable_pages <= _FEW_PAGES
        if _count(query, rows) + strays * is_whole >= first.total_results:
            return
        halves = query.halves()
        # A single page has shown all it has.
        if first.readable_pages > 1 and halves and search.may_send(len(halves)):
            firsts = await _concurrently(self._fetch(half, 1) for half in halves)
            await _concurrently(
                self._search(half, page, rows, search) for half, page in zip(halves, firsts, strict=True)
            )

    async def _fetch(self, query: Query, number: int) -> _Page:
        async with self._connections:
            answer = await self._client.get(_PATH, {**query.params, "page": number})
        page = _parse_page(answer, f"page {number} of {query}")
        if not page.is_too_large:
            self._films += len(page.rows)
        return page

    def _is_stray(self, row: Item) -> bool:
        released = parse_date(row.get("release_date"))
        return released is not None and released not in self._asked.dates

    def _merge(self, findings: _Findings) -> Collection:
        identified: dict[int, Item] = {}
        unidentified: list[Item] = []
        strays: dict[str, Item] = {}
        duplicates = 0
        for row in findings.rows:
            if self._is_stray(row):
                strays.setdefault(repr(row.get("id")), row)
            elif not _has_id(row):
                unidentified.append(row)
            elif row["id"] in identified:
                duplicates += 1
            else:
                identified[row["id"]] = row
        items = [identified[identity] for identity in sorted(identified)] + unidentified
        self._refuse_many(len(strays), len(items) + len(strays), "were released outside these dates")
        few_votes = sum(not self._asked.allows_votes(item) for item in items)
        self._refuse_many(few_votes, len(items), f"have fewer than {self._asked.least_votes} votes")
        return Collection(
            items=items,
            announced=findings.announced,
            missing=findings.missing,
            pages=findings.pages,
            requests=self._client.requests - self._requests_before,
            retries=self._client.retries - self._retries_before,
            read_again=findings.read_again,
            duplicates=duplicates,
            strays=len(strays),
            unidentified=len(unidentified),
            queries=tuple(findings.queries),
            gaps=tuple(findings.gaps),
        )

    def _refuse_many(self, wrong: int, films: int, what: str) -> None:
        if wrong > max(1, films * _TOLERATED_STRAYS):
            raise _filter_ignored(self._asked, f"{wrong:,} of {films:,} films {what}")

    async def _report_regularly(self) -> None:
        while True:
            await asyncio.sleep(_PROGRESS_SECONDS)
            self._report()

    def _report(self) -> None:
        if self._on_progress is not None:
            self._on_progress(
                Progress(
                    films=self._films,
                    announced=self._announced,
                    requests=self._client.requests - self._requests_before,
                    retries=self._client.retries - self._retries_before,
                    seconds=time.monotonic() - self._started,
                )
            )


def _parse_page(answer: Any, what: str) -> _Page:
    fields = answer if isinstance(answer, dict) else {}
    rows = fields.get("results")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise _not_a_page(what, "results", "a list of objects")
    totals = []
    for name in ("total_pages", "total_results"):
        total = fields.get(name)
        if type(total) is not int or total < 0:
            raise _not_a_page(what, name, "a whole number of at least 0")
        totals.append(total)
    return _Page(rows, total_pages=totals[0], total_results=totals[1])


def _not_a_page(what: str, field_name: str, expected: str) -> CollectionError:
    return CollectionError(
        f"GET {_PATH} answered something else than {what}: its `{field_name}` is not {expected}. "
        "Check TMDB_BASE_URL (like https://api.themoviedb.org/3)."
    )


def _has_id(row: Item) -> bool:
    return type(row.get("id")) is int  # isinstance would take True for an id


def _count(query: Query, rows: Iterable[Item]) -> int:
    """Return how many films of a query these rows are: those with an id once, each of the others."""
    identities = [row["id"] if _has_id(row) else None for row in rows if not _is_elsewhere(row, query)]
    return len(set(identities) - {None}) + identities.count(None)


def _is_elsewhere(row: Item, query: Query) -> bool:
    """Tell whether a film is not what was asked for; without a readable date it is kept, for `films`."""
    return parse_date(row.get("release_date")) is not None and not query.means(row)


def _filter_ignored(query: Query, what: str) -> CollectionError:
    return CollectionError(
        f"{query}: {what}, so TMDB ignored a filter. Check whether its names in `GET /discover/movie` have changed"
    )


async def _concurrently(jobs: Iterable[Coroutine[Any, Any, _Result]]) -> list[_Result]:
    """Return the results in the order of the jobs. The first failure ends the others and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(job) for job in jobs]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]
