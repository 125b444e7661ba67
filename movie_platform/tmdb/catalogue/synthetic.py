"""A catalogue of films that do not exist, for trying the platform without TMDB.

How a film comes about and how it ages belongs here; its words belong in `words`. Chance is `random.Random`
seeded with a string for each month, of which only `random()` is used, and no function of the C mathematics
library takes part: the films are the same on every machine and Python version.
"""

import calendar
import math
import random
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from itertools import accumulate
from typing import Any, TypeVar

from movie_platform.tmdb.catalogue import words
from movie_platform.tmdb.reference import GENRES

__all__ = ["synthetic_films"]

_T = TypeVar("_T")

_GENRE_IDS = {name: identity for identity, name in GENRES.items()}

_FIRST_YEAR = 1895
_FULL_YEAR = 2015  # from here on a constant number of films a month
_FILMS_A_MONTH = 20
_FIRST_ID = 900_000_000  # far from TMDB's ids
_IDS_A_MONTH = 100
_MONTHS_AHEAD = 6  # how long before its release a film is in the catalogue

_MEAN_QUALITY = 6.4
_UNEXPLAINED = 0.45  # standard deviation of what neither genre, language, era nor words tell
_VOTE_SPREAD = 2.0  # standard deviation of one vote
_MOST_VOTES = (
    (0.0, 1),
    (0.08, 11),
    (0.25, 28),
    (0.5, 90),
    (0.75, 260),
    (0.9, 900),
    (0.98, 4000),
    (1.0, 12000),
)
_HALF_LIFE = 60  # days after release until half of all votes are cast


@dataclass(frozen=True)
class _Film:
    """What does not change while time goes on."""

    fields: Mapping[str, Any]
    genre_ids: tuple[int, ...]
    released: date
    quality: float
    luck: float  # standard normal: in which direction the sampling of votes errs
    most_votes: int
    early_votes: int
    has_whole_average: bool


def synthetic_films(as_of: date) -> list[dict[str, Any]]:
    """Return the catalogue of one day: TMDB items, ascending ids, each with `"synthetic": true`.

    It has the films released from 1895 to six months after `as_of`, about 6,000 around 2026. The same film
    has the same id, texts, date and hidden quality on every day. Votes grow with time: none, or a handful,
    before release, half of them within 60 days of it. The average of n votes is the quality and an error that
    shrinks like 2/sqrt(n); popularity follows votes and recency.
    """
    until = _months_later(as_of, _MONTHS_AHEAD)
    return [
        _item(film, as_of)
        for year in range(_FIRST_YEAR, until.year + 1)
        for month in range(1, 13)
        for film in _films_of_month(year, month)
        if film.released <= until
    ]


def _months_later(day: date, months: int) -> date:
    years, month = divmod(day.month - 1 + months, 12)
    year = day.year + years
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def _item(film: _Film, as_of: date) -> dict[str, Any]:
    age = (as_of - film.released).days
    votes = film.early_votes if -age <= _HALF_LIFE else 0
    if age > 0:
        votes += film.most_votes * age // (age + _HALF_LIFE)
    average: float = 0
    if votes:
        average = min(max(film.quality + film.luck * _VOTE_SPREAD / math.sqrt(votes), 0.5), 10.0)
        average = round(average) if film.has_whole_average else round(average, 3)
    popularity = 0.4 + votes * 0.004 + math.sqrt(film.most_votes) * 30 / (100 + abs(age))
    return {
        **film.fields,
        "genre_ids": list(film.genre_ids),
        "popularity": round(popularity, 4),
        "vote_average": average,
        "vote_count": votes,
        "synthetic": True,
    }


@cache  # a few thousand films at most, asked for again for every day of a backfill
def _films_of_month(year: int, month: int) -> tuple[_Film, ...]:
    chance = _Chance(f"movie_platform synthetic films of {year}-{month:02}")
    share = min(year - _FIRST_YEAR, _FULL_YEAR - _FIRST_YEAR) / (_FULL_YEAR - _FIRST_YEAR)
    expected = 0.5 + (_FILMS_A_MONTH - 0.5) * math.prod([share] * 10)
    first_id = _FIRST_ID + ((year - _FIRST_YEAR) * 12 + month - 1) * _IDS_A_MONTH
    return tuple(_film(chance, first_id + place, year, month) for place in range(int(expected + chance.uniform())))


def _film(chance: "_Chance", identity: int, year: int, month: int) -> _Film:
    released = date(year, month, 1) + timedelta(chance.below(calendar.monthrange(year, month)[1]))
    language, language_worth = chance.weighted(words.LANGUAGES)
    genres = dict(chance.weighted(words.GENRES) for _ in range(1 + chance.below(3)))
    if chance.happens(0.015):
        genres = {}
    place = chance.pick(words.PLACES)
    title, title_worth = _title(chance, place)
    original_title = title
    if language in words.NATIVE_TITLES:
        original_title = chance.pick(words.NATIVE_TITLES[language]).format(place=place)
    overview, overview_worth = _overview(chance, place)
    quality = (
        _MEAN_QUALITY
        + sum(genres.values()) / max(len(genres), 1)
        + language_worth
        + 0.2 * (1 - abs(year - 1960) / 35)  # the fifties to the seventies are remembered most fondly
        + title_worth
        + overview_worth
        + _UNEXPLAINED * chance.normal()
    )
    fields: dict[str, Any] = {
        "adult": False,
        "backdrop_path": None,
        "id": identity,
        "original_language": language,
        "original_title": original_title,
        "overview": "" if chance.happens(0.02) else overview,
        "poster_path": None if chance.happens(0.04) else f"/synthetic{identity}.jpg",
        "release_date": released.isoformat(),
        "title": title,
        "video": False,
    }
    if chance.happens(0.1):
        fields["softcore"] = False
    return _Film(
        fields=fields,
        genre_ids=tuple(_GENRE_IDS[name] for name in genres),
        released=released,
        quality=quality,
        luck=chance.normal(),
        # Better films are seen by more people, so that votes tell something about the rating.
        most_votes=int(chance.interpolate(_MOST_VOTES) * min(max(1 + 0.35 * (quality - _MEAN_QUALITY), 0.5), 2)),
        early_votes=1 + chance.below(6) if chance.happens(0.1) else 0,
        has_whole_average=chance.happens(0.03),
    )


def _title(chance: "_Chance", place: str) -> tuple[str, float]:
    pattern = chance.pick(words.TITLES)
    adjective = chance.pick(list(words.TITLE_ADJECTIVES.items()))
    noun = chance.pick(list(words.TITLE_NOUNS.items()))
    other = chance.pick([entry for entry in words.TITLE_NOUNS.items() if entry != noun])
    return _fill(pattern, {"adjective": adjective, "noun": noun, "other": other, "place": (place, 0.0)})


def _overview(chance: "_Chance", place: str) -> tuple[str, float]:
    pattern = chance.pick(words.OVERVIEWS)
    goal, setting, complication, *people = (
        chance.pick(list(worths.items()))
        for worths in (
            words.GOALS,
            words.SETTINGS,
            words.COMPLICATIONS,
            words.TRAITS,
            words.HEROES,
            words.TRAITS,
            words.HEROES,
        )
    )
    (trait, hero), (other_trait, other_hero) = people[:2], people[2:]
    parts = {
        "goal": goal,
        "setting": (setting[0].format(place=place), setting[1]),
        "complication": complication,
        "hero": (_with_article(f"{trait[0]} {hero[0]}"), trait[1] + hero[1]),
        "other": (_with_article(f"{other_trait[0]} {other_hero[0]}"), other_trait[1] + other_hero[1]),
    }
    parts |= {name.capitalize(): (text[0].upper() + text[1:], worth) for name, (text, worth) in parts.items()}
    return _fill(pattern, parts)


def _fill(pattern: str, parts: Mapping[str, tuple[str, float]]) -> tuple[str, float]:
    """Return the pattern with its parts put in, and what the parts that it names are worth together."""
    worth = sum(worth for name, (_, worth) in parts.items() if f"{{{name}}}" in pattern)
    return pattern.format_map({name: text for name, (text, _) in parts.items()}), worth


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


class _Chance:
    """Random numbers of one month.

    All follow from `random()`, the one method of `random.Random` whose values Python promises to keep.
    """

    def __init__(self, seed: str) -> None:
        self.uniform = random.Random(seed).random  # noqa: S311  # films, not secrets

    def happens(self, probability: float) -> bool:
        return self.uniform() < probability

    def below(self, end: int) -> int:
        return int(self.uniform() * end)

    def pick(self, choices: Sequence[_T]) -> _T:
        return choices[self.below(len(choices))]

    def weighted(self, choices: Mapping[str, tuple[int, float]]) -> tuple[str, float]:
        """Return a name and its worth from {name: (how often, worth)}."""
        ends = list(accumulate(often for often, _ in choices.values()))
        name = list(choices)[bisect_right(ends, self.below(ends[-1]))]
        return name, choices[name][1]

    def normal(self) -> float:
        """Return a nearly normal number: the sum of twelve uniform ones has variance 1."""
        return sum(self.uniform() for _ in range(12)) - 6

    def interpolate(self, quantiles: Sequence[tuple[float, float]]) -> float:
        """Draw from a distribution given by points (share of values below, value)."""
        share = self.uniform()
        after = next(place for place, (end, _) in enumerate(quantiles) if share < end)
        (low, low_value), (high, high_value) = quantiles[after - 1 : after + 1]
        return low_value + (high_value - low_value) * (share - low) / (high - low)
