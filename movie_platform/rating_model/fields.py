"""What may be known about one film, and the two situations in which a model is asked about it.

What belongs here: the film as a plain value, its checks, and the facts that tables (``films``) and single films
share. What does not: tables, and anything that needs pandas, so that a service can do without it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal, get_args

__all__ = ["MIN_VOTES", "SITUATIONS", "TOO_FEW_VOTES", "YEARS", "Film", "Situation"]

MIN_VOTES: Final = 10
"""A film with fewer votes, or an unknown number, is asked about as unreleased."""

TOO_FEW_VOTES: Final = (
    f"situation: a film with fewer than {MIN_VOTES} votes cannot be asked about as released; ask about it as unreleased"
)
"""What is said of such a film when it is."""

Situation = Literal["unreleased", "released"]
SITUATIONS: Final[tuple[Situation, ...]] = get_args(Situation)

YEARS: Final = (1870, 2200)
"""The first and the last year that a film may be of."""


@dataclass(frozen=True, slots=True)
class Film:
    """One film. Only the title must be known; ``None`` is missing everywhere, and so is NaN for a number.

    The fields are those of the table in ``films``. ``release_year`` is for a film of which only the year is known:
    ``release_date`` goes first. Raises ValueError, whose message begins with the field, for a wrong type or an
    impossible value, so a film that exists can be predicted.
    """

    title: str
    overview: str | None = None
    release_date: date | None = None
    release_year: float | None = None
    genres: Sequence[str] | None = ()
    original_language: str | None = None
    popularity: float | None = None
    vote_count: float | None = None

    def __post_init__(self) -> None:
        _check_text("title", self.title)
        if not self.title.strip():
            raise ValueError("title: empty, and it is the one field that every film must have")
        if self.overview is not None:
            _check_text("overview", self.overview)
        if self.original_language is not None:
            _check_text("original_language", self.original_language)
        if self.release_date is not None:
            _check_date(self.release_date)
        genres = () if self.genres is None else self.genres
        if not isinstance(genres, Sequence) or isinstance(genres, str | bytes):
            raise _wrong_type("genres", genres, "a list of genre names, empty when they are unknown,")
        for genre in genres:
            _check_text("genres", genre)
        # A copy, so that nobody can change what was checked.
        object.__setattr__(self, "genres", tuple(genres))
        if self.release_year is not None:
            _check_number("release_year", self.release_year, YEARS[0], YEARS[1])
        if self.popularity is not None:
            _check_number("popularity", self.popularity, 0, math.inf)
        if self.vote_count is not None:
            _check_number("vote_count", self.vote_count, 0, math.inf)


def _check_text(field: str, value: object) -> None:
    if not isinstance(value, str):
        raise _wrong_type(field, value, "a text")


def _check_date(value: object) -> None:
    # A datetime is a date too, but may have a time zone, or be pandas' NaT.
    if type(value) is not date:
        raise _wrong_type("release_date", value, "a date without a time")
    if not YEARS[0] <= value.year <= YEARS[1]:
        raise ValueError(f"release_date: the year must be in {YEARS[0]}..{YEARS[1]}; correct it or leave it out")


def _check_number(field: str, value: object, lowest: float, highest: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong_type(field, value, "a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    # Written so that NaN, a missing value, passes.
    if number < lowest or number > highest or number == math.inf:
        limits = "at least 0" if highest == math.inf else f"in {lowest:g}..{highest:g}"
        raise ValueError(f"{field}: must be finite and {limits}, or missing")


def _wrong_type(field: str, value: object, wanted: str) -> ValueError:
    return ValueError(f"{field}: {type(value).__name__} found where {wanted} belongs")
