"""Films as callers send them, and predictions as they get them.

What belongs here: the rules for a film in a request, and the documents of answers. What does not: HTTP, and what the
model makes of a film (`rating_model`).
"""

import difflib
import unicodedata
from datetime import date
from types import MappingProxyType
from typing import Annotated, Any, Final, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from movie_platform.rating_model.fields import MIN_VOTES, YEARS, Film, Situation
from movie_platform.rating_model.rows import Explanation, RowPrediction
from movie_platform.tmdb.reference import GENRES, parse_date
from serving.bundles import LoadedBundle

__all__ = [
    "MOST_FILMS",
    "BatchPrediction",
    "BatchRequest",
    "ExplanationDocument",
    "FilmPrediction",
    "FilmRequest",
    "Interval",
    "ModelReference",
    "Prediction",
    "explanation_fields",
    "genre_name",
    "known_fields",
    "model_reference",
    "predict",
    "prediction_fields",
]

MOST_FILMS: Final = 1000
_EXAMPLES: Final[tuple[JsonValue, ...]] = (
    {"title": "Example Movie", "release_year": 2024, "popularity": 123.4, "vote_count": 560},
    {
        "title": "The Lighthouse of Lisbon",
        "overview": "A retired keeper returns to the coast where her brother vanished, and finds his logbook.",
        "release_date": "2026-11-20",
        "genres": ["Drama", "Mystery"],
        "original_language": "pt",
    },
)
_LONGEST: Final = {"title": 500, "overview": 10_000}
_ANSWER: Final[dict[str, JsonValue]] = {
    "prediction": 6.557853643389445,
    "interval": {"low": 5.971207209586801, "high": 7.328383531015375, "level": 0.8},
    "situation": "released",
    "warnings": ["Its popularity, 123.4, is above 69.1658, up to where the model tells films apart."],
}
_MODEL: Final[dict[str, JsonValue]] = {
    "partition": "2026-01-03",
    "sha256": "ab4dbebc0b0b93cc9aee6cb38c6bc75a599464ce72adb9d425caa4f427e476a6",
    "synthetic": True,
}
_MARKS: Final = 30
"""In a row: what Unicode's stream-safe text has at most (UAX #15, section 13)."""

_TOO_MANY_MARKS: Final = b"\1" * (_MARKS + 1)
_GENRE_BY_NAME: Final = MappingProxyType({name.casefold(): name for name in GENRES.values()})


def genre_name(genre: str | int) -> str:
    """Return TMDB's name of a genre given by its name, in upper or lower case, or by its id; else ValueError."""
    name = GENRES.get(genre) if isinstance(genre, int) else _GENRE_BY_NAME.get(genre.strip().casefold())
    if name is None:
        near = difflib.get_close_matches(str(genre)[:60].casefold(), _GENRE_BY_NAME, n=1)
        hint = f"correct it to {_GENRE_BY_NAME[near[0]]}" if near else f"give one of {', '.join(GENRES.values())}"
        raise ValueError(f"is not a genre of TMDB; {hint}, or its id")
    return name


def _genre(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("is neither a name nor an id; write a name in quotes, or an id of TMDB")  # noqa: TRY004 pydantic
    return genre_name(value)


_Genre = Annotated[str, BeforeValidator(_genre, json_schema_input_type=str | int)]


def _only_dates(value: object) -> object:
    # Pydantic would take seconds since 1970 and times as well.
    if not isinstance(value, str):
        return value
    day = parse_date(value)
    if day is None:
        raise ValueError("is not a date; write it as YYYY-MM-DD, or leave it out")
    return day


def _of_field(field: str, sentence: str) -> PydanticCustomError:
    """Return the error for a rule on several fields, to be shown at one of them."""
    return PydanticCustomError("value_error", "{error}", {"error": sentence, "field": field})


class FilmRequest(BaseModel):
    """A film. Only the title and a release date or year are required; what is not known is left out, or null."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        hide_input_in_errors=True,
        json_schema_extra={"examples": list(_EXAMPLES)},
    )

    title: str = Field(min_length=1, max_length=_LONGEST["title"], description="As it is released.")
    overview: str | None = Field(
        default=None,
        max_length=_LONGEST["overview"],
        description="What the film is about, in the words of its announcement.",
    )
    release_date: Annotated[date | None, BeforeValidator(_only_dates)] = Field(
        default=None,
        ge=date(YEARS[0], 1, 1),
        le=date(YEARS[1], 12, 31),
        description="YYYY-MM-DD.",
    )
    release_year: int | None = Field(
        default=None, ge=YEARS[0], le=YEARS[1], description="For a film of which only the year is known."
    )
    genres: list[_Genre] | None = Field(
        default=None,
        max_length=len(GENRES),
        description="TMDB's genres, by name or id.",
    )
    original_language: str | None = Field(
        default=None, pattern="^[a-z]{2}$", description="TMDB's code of two letters, like en; cn is Cantonese."
    )
    popularity: float | None = Field(
        default=None,
        ge=0,
        le=1e6,
        allow_inf_nan=False,
        description=f"TMDB's popularity. Counts only from {MIN_VOTES} votes on.",
    )
    vote_count: int | None = Field(
        default=None,
        ge=0,
        le=10**8,
        description=f"Votes on TMDB. A film with fewer than {MIN_VOTES}, or none given, is asked about as unreleased.",
    )

    @field_validator("title", "overview")
    @classmethod
    def _is_soon_read(cls, text: str | None, info: ValidationInfo) -> str | None:
        # The model reads Unicode's form NFKC, which takes the square of the marks in a row, and of some characters
        # makes eighteen.
        if text is not None and not text.isascii():
            if _TOO_MANY_MARKS in bytes(map(bool, map(unicodedata.combining, text))):
                raise ValueError(f"has more than {_MARKS} marks on one letter; leave them out")
            longest = 2 * _LONGEST[info.field_name or ""]
            if len(unicodedata.normalize("NFKC", text)) > longest:
                raise ValueError(f"has more than {longest:,} characters in Unicode's form NFKC; shorten it")
        return text

    @field_validator("title")
    @classmethod
    def _says_something(cls, title: str) -> str:
        if not title.strip():
            raise ValueError("is blank; write the film's title")
        return title

    @model_validator(mode="after")
    def _has_a_time(self) -> Self:
        if self.release_date is None and self.release_year is None:
            raise _of_field("release_date", "is missing, and so is release_year; give one of the two")
        if self.release_date is not None and self.release_year not in (None, self.release_date.year):
            raise _of_field("release_year", "is not the year of release_date; leave one of the two out")
        return self

    def as_film(self) -> Film:
        """Return the film as the model takes it."""
        return Film(
            title=self.title,
            overview=self.overview,
            release_date=self.release_date,
            release_year=self.release_year,
            genres=tuple(self.genres or ()),
            original_language=self.original_language,
            popularity=self.popularity,
            vote_count=self.vote_count,
        )


class BatchRequest(BaseModel):
    """Films to predict at once."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        hide_input_in_errors=True,
        json_schema_extra={"examples": [{"films": list(_EXAMPLES)}]},
    )

    films: list[FilmRequest] = Field(min_length=1, max_length=MOST_FILMS)


class Interval(BaseModel):
    """Where the film's rating lies with the given probability."""

    low: float = Field(examples=[7.05])
    high: float = Field(examples=[8.61])
    level: float = Field(examples=[0.8])


class ModelReference(BaseModel):
    """Which bundle answered."""

    partition: date = Field(description="The day that the bundle is of.")
    sha256: str = Field(description="Of the bundle's file.")
    synthetic: bool = Field(description="Trained on invented films: then it says nothing about real ones.")


class PartDocument(BaseModel):
    """Something that a film has, and by how many rating points it moves the prediction."""

    name: str = Field(examples=["genres"])
    points: float = Field(examples=[-0.13])


class ExplanationDocument(BaseModel):
    """What moved the prediction."""

    parts: list[PartDocument] = Field(
        description="They sum to the prediction. The first is the average of the films that were trained on."
    )
    words: list[PartDocument] = Field(
        description="The strongest words of title and overview, at most 20, and by how much each moves the score of "
        "all words, of which the model makes the part `words of title and overview`."
    )


class FilmPrediction(BaseModel):
    """What is predicted for a film."""

    prediction: float = Field(ge=0, le=10, description="The rating, 0 to 10.", examples=[7.82])
    interval: Interval
    situation: Situation = Field(description=f"Asked as released: the film has at least {MIN_VOTES} votes.")
    warnings: list[str] = Field(description="Where the film is unlike those that the model was trained on.")


class Prediction(FilmPrediction):
    """The answer for one film."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_ANSWER, "model": _MODEL}]})

    model: ModelReference
    explanation: ExplanationDocument | None = Field(default=None, description="Only where it was asked for.")


class BatchPrediction(BaseModel):
    """The answer for several films, in their order."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"model": _MODEL, "predictions": [_ANSWER]}]})

    model: ModelReference
    predictions: list[FilmPrediction]


def predict(bundle: LoadedBundle, film: Film) -> dict[str, Any]:
    """Return the fields of a `FilmPrediction`, as plain values."""
    return prediction_fields(bundle, film, bundle.predictor.predict(film))


def prediction_fields(bundle: LoadedBundle, film: Film, found: RowPrediction) -> dict[str, Any]:
    """Return the fields of a `FilmPrediction` whose numbers are there already."""
    level = bundle.metadata.intervals.level
    return {
        "prediction": found.prediction,
        "interval": {"low": found.low, "high": found.high, "level": level},
        "situation": found.situation,
        "warnings": list(bundle.predictor.unseen(film)),
    }


def model_reference(bundle: LoadedBundle) -> dict[str, Any]:
    """Return the fields of a `ModelReference`, as plain values."""
    champion = bundle.champion
    return {"partition": str(champion.partition), "sha256": champion.sha256, "synthetic": champion.synthetic}


def explanation_fields(explanation: Explanation, *, words: int = 20) -> dict[str, Any]:
    """Return the fields of an `ExplanationDocument`, as plain values."""
    return {
        "parts": [part._asdict() for part in explanation.parts],
        "words": [word._asdict() for word in explanation.words[:words]],
    }


def known_fields() -> tuple[str, ...]:
    """Return the names of the fields that a request may have."""
    return (*FilmRequest.model_fields, *BatchRequest.model_fields)
