"""All films of a stretch of release dates, as TMDB gives them.

Splitting by date, reading pages, de-duplication and the proof that TMDB heeded the filters belong here.
Single requests belong in `client`; what the fields of an item are worth belongs in `films`. Reading a query
again whose films disagree with its announced total would go before `_merge`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, NamedTuple, TypeVar

from movie_platform.tmdb.client import MAX_CONNECTIONS, TmdbClient, TmdbError
from movie_platform.tmdb.reference import parse_date

__all__ = ["Collection", "CollectionError", "DateRange", "Progress", "collect"]

Item = dict[str, Any]
"""One film as TMDB sends it."""

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")

_PATH = "/discover/movie"
_MAX_PAGES = 500  # TMDB's limit: 10,000 films of a query can be reached
_MAX_FILMS = 9_000  # a query with this many is split: rows are added while pages are read
_MAX_STRAY_SHARE = 0.01
_PROGRESS_SECONDS = 5.0


class CollectionError(TmdbError):
    """TMDB answers, but its answers cannot be the films that were asked for."""


@dataclass(frozen=True, order=True)
class DateRange:
    """The days from `first` to `last`, both included."""

    first: date
    last: date

    def __post_init__(self) -> None:
        if self.first > self.last:
            raise ValueError(f"first day {self.first} is after last day {self.last}")

    def __str__(self) -> str:
        return f"{self.first} to {self.last}"

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last

    def halves(self) -> tuple["DateRange", "DateRange"]:
        """Return two adjacent ranges with the same days; a single day cannot be halved (ValueError)."""
        if self.first == self.last:
            raise ValueError(f"{self.first} is a single day")
        middle = self.first + (self.last - self.first) // 2
        return DateRange(self.first, middle), DateRange(middle + timedelta(days=1), self.last)


@dataclass(frozen=True)
class Progress:
    """How far a collection is: films read, films announced so far, requests sent, seconds since its start."""

    films: int
    announced: int
    requests: int
    seconds: float


@dataclass(frozen=True)
class Collection:
    """What `collect` read.

    `items` are exactly what TMDB sent, unknown fields included, each id once and in ascending order; items
    without an integer id follow in the order of reading, since nothing tells whether two of them are one
    film.
    """

    items: list[Item]
    announced: int
    """Films that TMDB says the queries have (sum of `total_results`)."""
    pages: int
    """Pages that `items` come from."""
    requests: int
    """Requests sent, those included that only showed that a range has to be split."""
    duplicates: int
    """Rows left out because their id had been read before."""
    strays: int
    """Rows left out because they were released outside the dates that were asked for."""
    unidentified: int
    """Items kept although they have no integer id."""
    queries: tuple[DateRange, ...]
    """The date ranges that were read, in order; together they are the range that was asked for."""


class _Page(NamedTuple):
    rows: list[Item]
    total_pages: int
    total_results: int

    @property
    def is_too_large(self) -> bool:
        # Totals of exactly 500 pages or 10,000 films may also mean that TMDB counts no further.
        return self.total_results >= _MAX_FILMS or self.total_pages >= _MAX_PAGES


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

    `on_progress` is called every few seconds and once at the end. The result does not depend on the order in
    which answers arrive: rows are merged by date range, page and position, and of several copies the first is
    kept.

    Raises `TmdbError` as the client does and for answers that are not pages of films, and `CollectionError`
    when a single day has more films than can be reached, or when more than 1 % of the rows were released
    outside their range, which means that TMDB ignored the filter.
    """
    if min_vote_count < 0:
        raise ValueError(f"min_vote_count must be at least 0, not {min_vote_count}")
    collector = _Collector(client, min_vote_count=min_vote_count, include_adult=include_adult, on_progress=on_progress)
    return await collector.collect(DateRange(first, last))


class _Collector:
    """The state of one call of `collect`."""

    def __init__(
        self,
        client: TmdbClient,
        *,
        min_vote_count: int,
        include_adult: bool,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self._client = client
        self._min_vote_count = min_vote_count
        self._include_adult = include_adult
        self._on_progress = on_progress
        self._requests_before = client.requests
        self._started = self._reported = time.monotonic()
        self._films = 0
        self._announced = 0

    async def collect(self, dates: DateRange) -> Collection:
        first_pages = await self._find_queries(dates)
        rest = [(query, number) for query, page in first_pages.items() for number in range(2, page.total_pages + 1)]
        pages = {(query, 1): page for query, page in first_pages.items()}
        pages |= await _concurrently(rest, self._fetch)
        collection = self._merge(tuple(first_pages), pages)
        self._films = len(collection.items)
        self._report()
        return collection

    async def _find_queries(self, dates: DateRange) -> dict[DateRange, _Page]:
        """Return the first page of each query, in date order, halving ranges until all are small enough."""
        fitting: dict[DateRange, _Page] = {}
        unknown = [dates]
        while unknown:
            probes = await _concurrently([(query, 1) for query in unknown], self._fetch)
            unknown = []
            for (query, _), page in probes.items():
                if page.is_too_large:
                    unknown.extend(self._split(query, page))
                else:
                    fitting[query] = page
                    self._announced += page.total_results
        return dict(sorted(fitting.items()))

    def _split(self, query: DateRange, page: _Page) -> tuple[DateRange, DateRange]:
        # Without this, an ignored filter would be noticed only after thousands of splits.
        if sum(_is_stray(row, query) for row in page.rows) * 2 > len(page.rows):
            raise _filter_ignored(query, "Most films of the first page")
        if query.first == query.last:
            raise CollectionError(
                f"{query.first} alone has {page.total_results:,} films and cannot be split, but a query may "
                f"have fewer than {_MAX_FILMS:,} only. "
                f"Raise MOVIE_PLATFORM_MIN_VOTE_COUNT (now {self._min_vote_count})"
            )
        return query.halves()

    def _merge(self, queries: tuple[DateRange, ...], pages: dict[tuple[DateRange, int], _Page]) -> Collection:
        identified: dict[int, Item] = {}
        unidentified: list[Item] = []
        read = duplicates = strays = 0
        for (query, _), page in sorted(pages.items(), key=lambda entry: entry[0]):
            read += len(page.rows)
            for row in page.rows:
                identity = row.get("id")
                if _is_stray(row, query):
                    strays += 1
                elif type(identity) is not int:  # isinstance would take True for an id
                    unidentified.append(row)
                elif identity in identified:
                    duplicates += 1
                else:
                    identified[identity] = row
        if strays > read * _MAX_STRAY_SHARE:
            asked = DateRange(queries[0].first, queries[-1].last)
            raise _filter_ignored(asked, f"{strays:,} of {read:,} films")
        return Collection(
            items=[identified[identity] for identity in sorted(identified)] + unidentified,
            announced=self._announced,
            pages=len(pages),
            requests=self._client.requests - self._requests_before,
            duplicates=duplicates,
            strays=strays,
            unidentified=len(unidentified),
            queries=queries,
        )

    async def _fetch(self, job: tuple[DateRange, int]) -> _Page:
        query, number = job
        answer = await self._client.get(
            _PATH,
            {
                "primary_release_date.gte": query.first.isoformat(),
                "primary_release_date.lte": query.last.isoformat(),
                "vote_count.gte": self._min_vote_count,
                "include_adult": "true" if self._include_adult else "false",
                "include_video": "false",
                # Release dates hardly ever change; by popularity, films would move between the pages.
                "sort_by": "primary_release_date.asc",
                "page": number,
            },
        )
        page = _parse_page(answer, f"page {number} of {query}")
        if not page.is_too_large:
            self._films += len(page.rows)
        if time.monotonic() - self._reported >= _PROGRESS_SECONDS:
            self._report()
        return page

    def _report(self) -> None:
        self._reported = time.monotonic()
        if self._on_progress is not None:
            self._on_progress(
                Progress(
                    films=self._films,
                    announced=self._announced,
                    requests=self._client.requests - self._requests_before,
                    seconds=self._reported - self._started,
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


def _not_a_page(what: str, field: str, expected: str) -> TmdbError:
    return TmdbError(
        f"GET {_PATH} answered something else than {what}: its `{field}` is not {expected}. "
        "Check TMDB_BASE_URL (like https://api.themoviedb.org/3)."
    )


def _is_stray(row: Item, query: DateRange) -> bool:
    """Tell whether a film was released outside the range; without a readable date it is kept, for `films`."""
    released = parse_date(row.get("release_date"))
    return released is not None and released not in query


def _filter_ignored(dates: DateRange, what: str) -> CollectionError:
    return CollectionError(
        f"{what} of {dates} were released outside these dates: TMDB ignored a filter. "
        "Check whether its names in `GET /discover/movie` have changed"
    )


async def _concurrently(jobs: Sequence[_Job], work: Callable[[_Job], Awaitable[_Result]]) -> dict[_Job, _Result]:
    """Return the result of each job, in the order of the jobs.

    As many run at once as there are connections. The first failure ends the others and is raised as it is.
    """
    results: dict[_Job, _Result] = {}
    waiting = iter(jobs)

    async def worker() -> None:
        for job in waiting:  # shared by the workers, so that jobs start in order
            results[job] = await work(job)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(MAX_CONNECTIONS):
                group.create_task(worker())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return {job: results[job] for job in jobs}
