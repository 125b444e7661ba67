"""What can be asked of `/discover/movie`: which films a query means, and how it is cut into smaller ones.

Sending a query and what to make of the answer belong in `collection`.
"""

from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, Final

from movie_platform.tmdb.reference import LANGUAGES, parse_date

__all__ = ["DateRange", "Item", "Query"]

Item = dict[str, Any]
"""One film as TMDB sends it."""

_MOST_VOTES: Final = 1_000_000  # no film has so many


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
class Query:
    """Films first released within `dates`, with at least `least_votes` and at most `most_votes`, of one language.

    `most_votes` and `language` (a code of `reference.LANGUAGES`) mean no limit when they are None. Films that TMDB
    marks as adult are meant only with `include_adult`; videos (compilations, concerts) never.
    """

    dates: DateRange
    include_adult: bool
    least_votes: int = 0
    most_votes: int | None = None
    language: str | None = None

    def __str__(self) -> str:
        limits = [str(self.dates)]
        if self.language is not None:
            limits.append(f"language {self.language}")
        if self.most_votes is not None:
            limits.append(f"{self.least_votes} to {self.most_votes} votes")
        elif self.least_votes > 0:
            limits.append(f"at least {self.least_votes} votes")
        return ", ".join(limits)

    @property
    def params(self) -> dict[str, str | int]:
        """The URL parameters, but for the page."""
        return {
            "primary_release_date.gte": self.dates.first.isoformat(),
            "primary_release_date.lte": self.dates.last.isoformat(),
            "vote_count.gte": self.least_votes,
            **({} if self.most_votes is None else {"vote_count.lte": self.most_votes}),
            **({} if self.language is None else {"with_original_language": self.language}),
            "include_adult": "true" if self.include_adult else "false",
            "include_video": "false",
            # Release dates hardly ever change; by popularity, films would move between the pages.
            "sort_by": "primary_release_date.asc",
        }

    def means(self, item: Item) -> bool:
        """Tell whether a film is meant for certain: one without a readable date is not."""
        released = parse_date(item.get("release_date"))
        return (
            released is not None
            and released in self.dates
            and (self.language is None or item.get("original_language") == self.language)
            and self.allows_votes(item)
        )

    def allows_votes(self, item: Item) -> bool:
        """Tell whether a film has as many votes as are asked for; unreadable votes are allowed."""
        votes = item.get("vote_count")
        if not isinstance(votes, int):
            return True
        return self.least_votes <= votes and (self.most_votes is None or votes <= self.most_votes)

    def parts(self) -> tuple["Query", ...]:
        """Return smaller queries that mean the same films: by date, a single day by language, then by votes.

        Films in a language that TMDB does not list are in no part. Nothing comes back for a query that cannot be cut.
        """
        if self.dates.first == self.dates.last and self.language is None:
            return tuple(replace(self, language=code) for code in sorted(LANGUAGES))
        return self.halves()

    def halves(self) -> tuple["Query", ...]:
        """Return two smaller queries that mean the same films, by date or else by votes; none if that cannot be."""
        if self.dates.first < self.dates.last:
            return tuple(replace(self, dates=dates) for dates in self.dates.halves())
        least, most = self.least_votes, self.most_votes
        if least == most or least > _MOST_VOTES:
            return ()
        # Most films have few votes, and nobody knows the most: without an upper end, parts double in width.
        middle = 2 * least if most is None else (least + most) // 2
        return replace(self, most_votes=middle), replace(self, least_votes=middle + 1)
