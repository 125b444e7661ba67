"""Which films a `/discover/movie` query selects, and in which order.

Parameters, filters and sort orders belong here; pages, addresses and error bodies belong in `app`.
"""

import math
import operator
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any

from movie_platform.tmdb.reference import parse_date

__all__ = ["Catalogue", "ParameterError", "Query", "parse_query"]

Item = Mapping[str, Any]

_CACHED_QUERIES = 32  # all pages of a query come soon after one another
_TEXT_SORTS = ("original_title", "primary_release_date", "title")
_NUMBER_SORTS = ("popularity", "revenue", "vote_average", "vote_count")
_SORT_BY = re.compile(rf"({'|'.join(_TEXT_SORTS + _NUMBER_SORTS)})\.(asc|desc)")


class ParameterError(ValueError):
    """A parameter's value makes no sense; `status_code` is TMDB's."""

    def __init__(self, status_code: int) -> None:
        super().__init__(f"TMDB status {status_code}")
        self.status_code = status_code


@dataclass(frozen=True)
class Query:
    """The parameters of `/discover/movie` that have an effect, the page left out."""

    released_from: date | None
    released_to: date | None
    votes: tuple[float, float]
    average: tuple[float, float]
    languages: frozenset[str]
    genres: tuple[frozenset[int], ...]
    """A film needs a genre of each set."""
    include_adult: bool
    include_video: bool
    sort_by: str


def parse_query(params: Mapping[str, str]) -> Query:
    """Return the query of these URL parameters; unknown ones are ignored and empty ones count as not given.

    Raises `ParameterError`: status 23 for what should be a date and is none, 5 for other values.
    """
    sort_by = params.get("sort_by") or "popularity.desc"
    if not _SORT_BY.fullmatch(sort_by):
        raise ParameterError(5)
    return Query(
        released_from=_date(params.get("primary_release_date.gte")),
        released_to=_date(params.get("primary_release_date.lte")),
        votes=_bounds(params, "vote_count"),
        average=_bounds(params, "vote_average"),
        languages=frozenset(re.findall(r"[^|]+", params.get("with_original_language", ""))),
        genres=_genres(params.get("with_genres", "")),
        include_adult=_flag(params.get("include_adult")),
        include_video=_flag(params.get("include_video")),
        sort_by=sort_by,
    )


class Catalogue:
    """Items that can be searched; those of equal rank are in order of release date, then of the list."""

    def __init__(self, items: Iterable[Item]) -> None:
        by_date = sorted(((_text(item, "release_date"), item) for item in items), key=operator.itemgetter(0))
        self._items = [item for _, item in by_date]
        dated = [(day, item) for day, item in by_date if parse_date(day)]
        self._dated_items = [item for _, item in dated]
        self._dates = [day for day, _ in dated]
        # On the instance, so that the cache goes when the catalogue goes.
        self.find: Callable[[Query], list[Item]] = lru_cache(maxsize=_CACHED_QUERIES)(self._find)

    def _find(self, query: Query) -> list[Item]:
        """Return the matching items in order. A film without a date matches no query for dates."""
        found = [item for item in self._released(query) if _matches(item, query)]
        field, _, direction = query.sort_by.partition(".")
        if field == "primary_release_date":
            field = "release_date"
        read: Callable[[Item, str], Any] = _number if field in _NUMBER_SORTS else _text
        found.sort(key=lambda item: read(item, field), reverse=direction == "desc")
        return found

    def _released(self, query: Query) -> list[Item]:
        if query.released_from is None and query.released_to is None:
            return self._items
        first = bisect_left(self._dates, query.released_from.isoformat()) if query.released_from else 0
        last = bisect_right(self._dates, query.released_to.isoformat()) if query.released_to else None
        return self._dated_items[first:last]


def _matches(item: Item, query: Query) -> bool:
    return (
        query.votes[0] <= _number(item, "vote_count") <= query.votes[1]
        and query.average[0] <= _number(item, "vote_average") <= query.average[1]
        and (query.include_adult or item.get("adult") is not True)
        and (query.include_video or item.get("video") is not True)
        and (not query.languages or _text(item, "original_language") in query.languages)
        and (not query.genres or _has_genres(item, query.genres))
    )


def _has_genres(item: Item, wanted: tuple[frozenset[int], ...]) -> bool:
    genres = item.get("genre_ids")
    return isinstance(genres, list) and all(any(genre in any_of for genre in genres) for any_of in wanted)


def _text(item: Item, field: str) -> str:
    value = item.get(field)
    return value if isinstance(value, str) else ""


def _number(item: Item, field: str) -> float:
    value = item.get(field)
    return value if isinstance(value, int | float) else 0


def _date(text: str | None) -> date | None:
    if not text:
        return None
    if (day := parse_date(text)) is None:
        raise ParameterError(23)
    return day


def _bounds(params: Mapping[str, str], field: str) -> tuple[float, float]:
    lowest, highest = (params.get(f"{field}.{end}") for end in ("gte", "lte"))
    try:
        bounds = float(lowest or -math.inf), float(highest or math.inf)
    except ValueError:
        raise ParameterError(5) from None
    if any(map(math.isnan, bounds)):  # matches nothing, and equals no cached query
        raise ParameterError(5)
    return bounds


def _genres(text: str) -> tuple[frozenset[int], ...]:
    """Read "18,35|80": Drama, and Comedy or Crime."""
    if not text:
        return ()
    try:
        return tuple(frozenset(map(int, any_of.split("|"))) for any_of in text.split(","))
    except ValueError:
        raise ParameterError(5) from None


def _flag(text: str | None) -> bool:
    if text not in (None, "", "true", "false"):
        raise ParameterError(5)
    return text == "true"
