"""A film as a row of numbers.

What belongs here: the features, each known before release but for votes and popularity, and the encoder's state as
JSON. What does not: fitting that state (``training``).

A field that is missing makes its features NaN; the trees have learned from such rows. The trees compare features
with thresholds, so a feature needs no scaling, and votes and popularity no logarithm.
"""

import math
import re
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Final, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from movie_platform.rating_model.config import MOST_SERIES_FILMS, MOST_TERMS
from movie_platform.rating_model.documents import what_is_wrong
from movie_platform.rating_model.fields import Film
from movie_platform.rating_model.series import MOST_VOTES, SeriesTable
from movie_platform.rating_model.text import TextScorer, normalize

if TYPE_CHECKING:  # the methods of tables are enough, so that one film needs no pandas
    import pandas as pd

__all__ = ["Encoder"]

_NUMBERS: Final = (
    "release year",
    "release time",  # year and day in one number: a trend without steps
    "release month",
    "day of the year",
    "day of the week",
    "title length",
    "words in the title",
    "overview length",
    "words of title and overview",  # the text regression's score
    "number of genres",
    "votes",
    "popularity",
)
_TITLE_AND_SERIES: Final = (
    "number in the title",
    "subtitle",
    "earlier films of the series",
    "mean rating of the series",
    "last rating of the series",
    "votes of the series",
)
_DAY_ONE: Final = 719_163
"""The proleptic ordinal of 1970-01-01, from which numpy counts days."""
_DIGIT: Final = re.compile(r"\d")


class _TextState(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    terms: list[str] = Field(max_length=MOST_TERMS)
    idf: list[FiniteFloat] = Field(max_length=MOST_TERMS)
    coefficients: list[FiniteFloat] = Field(max_length=MOST_TERMS)
    intercept: FiniteFloat


class _SeriesState(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    keys: list[Annotated[int, Field(ge=0, lt=2**32)]] = Field(max_length=MOST_SERIES_FILMS)
    days: list[Annotated[int, Field(ge=1, le=date.max.toordinal())]] = Field(max_length=MOST_SERIES_FILMS)
    ratings: list[Annotated[FiniteFloat, Field(ge=0, le=10)]] = Field(max_length=MOST_SERIES_FILMS)
    votes: list[Annotated[int, Field(ge=1, le=MOST_VOTES)]] = Field(max_length=MOST_SERIES_FILMS)
    noise_ratio: FiniteFloat = Field(ge=0)


class _State(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    genres: list[str] = Field(max_length=MOST_TERMS)
    languages: list[str] = Field(max_length=MOST_TERMS)
    text: _TextState
    series: _SeriesState | None = None


@dataclass(frozen=True)
class Encoder:
    """Encodes films for the trees. Genres and languages that it does not know count as "another one".

    Encoders of bundles of format 1 have no ``series``, and none of the features that came with it.
    """

    genres: tuple[str, ...]
    languages: tuple[str, ...]
    text: TextScorer
    series: SeriesTable | None = None

    @property
    def feature_names(self) -> tuple[str, ...]:
        """What each column of the encoded matrix is, in words for people."""
        genres = (f"genre {genre}" for genre in self.genres)
        languages = (f"language {language}" for language in self.languages)
        return (*self._numbers, *genres, *languages)

    @property
    def _numbers(self) -> tuple[str, ...]:
        return _NUMBERS if self.series is None else _NUMBERS + _TITLE_AND_SERIES

    def encode(self, films: "pd.DataFrame", *, released: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        """Return the features of films as ``films.complete`` gives them; shape (films, len(feature_names)).

        Votes and popularity are read only where ``released`` is true.
        """
        titles = [normalize(title) for title in films["title"]]
        overviews = [normalize(overview) for overview in films["overview"]]
        scores = self.text.score(titles, overviews)
        return self.assemble(
            films,
            titles=titles,
            overviews=overviews,
            text_scores=scores,
            released=released,
        )

    def assemble(
        self,
        films: "pd.DataFrame",
        *,
        titles: list[str],
        overviews: list[str],
        text_scores: npt.NDArray[np.float64],
        released: npt.NDArray[np.bool_],
    ) -> npt.NDArray[np.float64]:
        """Like ``encode``, with the texts normalized and scored already: training scores them out of fold."""
        dates = films["release_date"].dt
        year = films["release_year"].to_numpy(dtype=np.float64)
        day_of_year = dates.day_of_year.to_numpy(dtype=np.float64, na_value=np.nan)
        overview_length = np.array([len(text) for text in overviews], dtype=np.float64)
        genres = [set(names) for names in films["genres"]]
        genre_count = np.array([len(names) for names in genres], dtype=np.float64)
        genre_count[genre_count == 0] = np.nan
        popularity = films["popularity"].to_numpy(dtype=np.float64)
        columns = [
            year,
            year + (day_of_year - 1) / 366,
            dates.month.to_numpy(dtype=np.float64, na_value=np.nan),
            day_of_year,
            dates.day_of_week.to_numpy(dtype=np.float64, na_value=np.nan),
            np.array([len(text) for text in titles], dtype=np.float64),
            np.array([len(text.split()) for text in titles], dtype=np.float64),
            np.where(overview_length > 0, overview_length, np.nan),
            text_scores,
            genre_count,
            np.where(released, films["vote_count"].to_numpy(dtype=np.float64), np.nan),
            np.where(released, popularity, np.nan),
        ]
        if self.series is not None:
            columns.append(np.array([_DIGIT.search(text) is not None for text in titles], dtype=np.float64))
            columns.append(np.array([":" in text for text in titles], dtype=np.float64))
            columns.extend(_predecessors(self.series, films, titles).T)
        no_genres = np.isnan(genre_count)
        for genre in self.genres:
            has = np.array([genre in names for names in genres], dtype=np.float64)
            columns.append(np.where(no_genres, np.nan, has))
        language = films["original_language"].to_numpy(dtype=object)
        no_language = language == ""
        columns.extend(np.where(no_language, np.nan, language == known) for known in self.languages)
        return np.column_stack(columns)

    def encode_one(self, film: Film, *, released: bool, out: npt.NDArray[np.float64]) -> None:
        """Write the features of one film over ``out``, to the same bit as ``encode``; shape (len(feature_names),)."""
        title = normalize(film.title)
        overview = normalize(film.overview or "")
        year = math.nan if film.release_year is None else film.release_year
        month = day_of_year = day_of_week = math.nan
        day = film.release_date
        if day is not None:
            _, _, _, _, _, _, day_of_week, day_of_year, _ = day.timetuple()
            year, month = day.year, day.month
        genres = set(film.genres or ())
        votes = popularity = math.nan
        if released:
            votes = math.nan if film.vote_count is None else float(film.vote_count)
            popularity = math.nan if film.popularity is None else float(film.popularity)
        out[: len(_NUMBERS)] = (
            year,
            year + (day_of_year - 1) / 366,
            month,
            day_of_year,
            day_of_week,
            len(title),
            len(title.split()),
            len(overview) or math.nan,
            self.text.score_one(title, overview),
            len(genres) or math.nan,
            votes,
            popularity,
        )
        first = len(_NUMBERS)
        if self.series is not None:
            before = day
            if day is None and not math.isnan(year):
                before = date(int(year), 1, 1)
            out[first : first + len(_TITLE_AND_SERIES)] = (
                _DIGIT.search(title) is not None,
                ":" in title,
                *self.series.before(title, None if before is None else before.toordinal()),
            )
            first += len(_TITLE_AND_SERIES)
        genre_columns, language_columns = self._columns
        languages = first + len(self.genres)
        out[first:languages] = 0.0 if genres else math.nan
        for genre in genres:
            if genre in genre_columns:
                out[genre_columns[genre]] = 1.0
        language = film.original_language
        out[languages:] = 0.0 if language else math.nan
        if language and language in language_columns:
            out[language_columns[language]] = 1.0

    @cached_property
    def _columns(self) -> tuple[dict[str, int], dict[str, int]]:
        """The column of each genre, and of each language."""
        first = len(self._numbers)
        genres = {genre: column for column, genre in enumerate(self.genres, first)}
        first += len(self.genres)
        return genres, {language: column for column, language in enumerate(self.languages, first)}

    def to_json(self) -> str:
        """Return the whole state; ``from_json`` gives an encoder whose every bit is the same."""
        text = _TextState(
            terms=list(self.text.terms),
            idf=self.text.idf.tolist(),
            coefficients=self.text.coefficients.tolist(),
            intercept=self.text.intercept,
        )
        series = None
        if self.series is not None:
            series = _SeriesState(
                keys=list(self.series.keys),
                days=list(self.series.days),
                ratings=list(self.series.ratings),
                votes=list(self.series.votes),
                noise_ratio=self.series.noise_ratio,
            )
        state = _State(genres=list(self.genres), languages=list(self.languages), text=text, series=series)
        # Format 1 did not have the field, and is written as it was.
        return state.model_dump_json(exclude_none=True) + "\n"

    @classmethod
    def from_json(cls, data: str | bytes) -> Self:
        """Read a state. Raises ValueError naming the field when it is not one that ``to_json`` wrote."""
        try:
            state = _State.model_validate_json(data)
        except ValidationError as error:
            raise ValueError(what_is_wrong(error)) from None
        for name, values in (
            ("genres", state.genres),
            ("languages", state.languages),
            ("text.terms", state.text.terms),
        ):
            if any(later <= earlier for earlier, later in pairwise(values)):
                raise ValueError(f"{name}: not in code-point order without repetition")
        if not len(state.text.terms) == len(state.text.idf) == len(state.text.coefficients):
            raise ValueError("text: terms, idf and coefficients have different lengths")
        return cls(
            genres=tuple(state.genres),
            languages=tuple(state.languages),
            text=TextScorer(
                terms=tuple(state.text.terms),
                idf=np.array(state.text.idf, dtype=np.float64),
                coefficients=np.array(state.text.coefficients, dtype=np.float64),
                intercept=state.text.intercept,
            ),
            series=None if state.series is None else SeriesTable(**state.series.model_dump()),
        )


def _predecessors(series: SeriesTable, films: "pd.DataFrame", titles: list[str]) -> npt.NDArray[np.float64]:
    """The films of each film's series before its date, or before its year where that is all; shape (films, 4)."""
    dates = films["release_date"].to_numpy(dtype="datetime64[D]")
    years = films["release_year"].to_numpy(dtype=np.float64)
    no_date, no_year = np.isnat(dates), np.isnan(years)
    new_year = np.where(no_year, 1970, np.floor(years)).astype(np.int64) - 1970
    new_year = new_year.astype("datetime64[Y]").astype("datetime64[D]")
    days = (np.where(no_date, new_year, dates).astype(np.int64) + _DAY_ONE).tolist()
    unknown = (no_date & no_year).tolist()
    found = [
        series.before(title, None if hidden else day) for title, day, hidden in zip(titles, days, unknown, strict=True)
    ]
    return np.array(found, dtype=np.float64).reshape(len(films), 4)
