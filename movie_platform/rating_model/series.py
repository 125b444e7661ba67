"""Earlier films of the same series: what a title says about a film's predecessors.

What belongs here: which films count as one series, and how those released before a film were rated. What does not:
how that becomes a column (``encoder``), and choosing the films that are kept (``training``).

Films belong together when their titles agree up to the first colon, hyphen or dash, without numbers and words like
"part": "Toy Story 3" follows "Toy Story", and "Alien: Covenant" follows "Alien". Remakes are taken for sequels, and
unrelated films that share a title, too; the trees learn how much to believe it. Of a series only what was released
before the film counts, so that no film is told its own rating; one without date or year has no earlier films.

Titles are not kept, only a number for each (CRC-32): of 25,000 films one title in 170,000 finds a foreign one.
"""

import math
import re
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Final, NamedTuple, Self

from movie_platform.rating_model.text import tokenize

__all__ = ["MOST_VOTES", "Predecessors", "SeriesTable", "series_key"]

MOST_VOTES: Final = 2**53 - 1
"""More votes of a film cannot be told apart by floating point, and are taken for so many."""

_SUBTITLE: Final = re.compile("[:\\-\N{EN DASH}\N{EM DASH}]")
_PART: Final = frozenset(
    "i ii iii iv v vi vii viii ix x part vol volume chapter episode the a an movie film".split()  # noqa: SIM905
)
_NOTHING: Final = float("nan")


class Predecessors(NamedTuple):
    """The films of a series that were released before a day. Without any, all but the first are NaN."""

    films: int
    mean_rating: float
    """Weighted by how far the votes of each can be believed, 0..10."""

    last_rating: float
    root_votes: float
    """The mean of the square roots of their numbers of votes."""


_EMPTY: Final[dict[str, tuple[Any, ...]]] = {"keys": (), "days": (), "ratings": (), "votes": ()}
_NONE: Final = Predecessors(0, _NOTHING, _NOTHING, _NOTHING)


def series_key(title: str) -> int | None:
    """Return the number of the series that a normalized title belongs to; None for a title without any name in it.

    >>> series_key("toy story 3") == series_key("toy story") != series_key("toy soldiers")
    True
    """
    head, *_ = _SUBTITLE.split(title, maxsplit=1)
    words = [word for word in tokenize(head) if word not in _PART and not word.isdecimal()]
    return zlib.crc32(" ".join(words).encode()) if words else None


@dataclass(frozen=True, eq=False)
class SeriesTable:
    """Films with their series, one entry each, sorted by key and then by day of release (proleptic ordinal).

    ``noise_ratio`` is the variance of one vote over that of a perfectly voted film's rating: a film with n votes
    weighs ``1 / (1 + noise_ratio / n)``. Raises ValueError naming the field for entries that are not like that.
    """

    keys: Sequence[int]
    days: Sequence[int]
    ratings: Sequence[float]
    votes: Sequence[int]
    noise_ratio: float

    def __post_init__(self) -> None:
        if not len(self.keys) == len(self.days) == len(self.ratings) == len(self.votes):
            raise ValueError("series: keys, days, ratings and votes have different lengths")
        entries = list(zip(self.keys, self.days, strict=True))
        if any(later < earlier for earlier, later in pairwise(entries)):
            raise ValueError("series: not sorted by key and day")

    @classmethod
    def of(
        cls,
        titles: Sequence[str],
        days: Sequence[int],
        ratings: Sequence[float],
        votes: Sequence[int],
        *,
        noise_ratio: float,
        most: int,
    ) -> Self:
        """Return the table of films whose normalized titles have a key; of more than ``most``, those of most votes."""
        keyed = [
            (key, *film)
            for title, *film in zip(titles, days, ratings, votes, strict=True)
            if (key := series_key(title)) is not None
        ]
        keyed.sort(key=lambda entry: (-entry[3], entry))
        kept = sorted(keyed[:most])
        columns = dict(zip(("keys", "days", "ratings", "votes"), zip(*kept, strict=True), strict=False))
        return cls(**{**_EMPTY, **columns}, noise_ratio=noise_ratio)

    def before(self, title: str, day: int | None) -> Predecessors:
        """Return the films of a normalized title's series that were released before a day (an ordinal), if it is known.

        Without the day nothing is earlier: the film itself might be among them.
        """
        key = None if day is None else series_key(title)
        if key is None or day is None:
            return _NONE
        keys = self._keys
        first = bisect_left(keys, key)
        last = bisect_right(keys, key, lo=first)
        films = bisect_left(self._days, day, lo=first, hi=last) - first
        if not films:
            return _NONE
        newest = first + films - 1
        weights, weighted, roots = self._sums
        return Predecessors(films, weighted[newest] / weights[newest], self._ratings[newest], roots[newest] / films)

    # Python's own arrays: smaller than tuples of objects, and reading one number is faster than from numpy's.
    @cached_property
    def _keys(self) -> "array[int]":
        return array("Q", self.keys)

    @cached_property
    def _days(self) -> "array[int]":
        return array("q", self.days)

    @cached_property
    def _ratings(self) -> "array[float]":
        return array("d", self.ratings)

    @cached_property
    def _sums(self) -> "tuple[array[float], array[float], array[float]]":
        """Of each film and those of its series before it: weights, weighted ratings, roots of votes."""
        sums = array("d"), array("d"), array("d")
        weight = rating = root = 0.0
        previous = None
        for key, score, votes in zip(self.keys, self.ratings, self.votes, strict=True):
            if key != previous:
                weight = rating = root = 0.0
                previous = key
            share = 1 / (1 + self.noise_ratio / votes)
            weight, rating, root = weight + share, rating + share * score, root + math.sqrt(votes)
            for column, value in zip(sums, (weight, rating, root), strict=True):
                column.append(value)
        return sums
