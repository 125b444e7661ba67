"""Upcoming films with their predicted ratings: what a caller may ask for, and keeping the newest day at hand.

Here belong the rules of a request and which file of `predicted_ratings` counts. Reading the file and finding films in
it belong to `upcoming_table`; how an answer looks, to `routes`; how ratings are predicted, to the platform.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from movie_platform.rating_model.fields import YEARS, Situation
from movie_platform.storage import ObjectTooLargeError, Storage, StorageError, Versioned
from movie_platform.tmdb.reference import GENRES, LANGUAGES, LONGEST_KEPT, parse_date
from serving.films import genre_name

if TYPE_CHECKING:
    from serving.upcoming_table import UpcomingFilms

__all__ = [
    "ReducedError",
    "Selection",
    "Sort",
    "UpcomingFilm",
    "UpcomingFilters",
    "UpcomingKeeper",
    "UpcomingParameters",
    "UpcomingQuery",
]

Sort = Literal["-prediction", "prediction", "release_date", "-release_date", "title"]


@dataclass(frozen=True, slots=True)
class UpcomingFilm:
    """A film with its predicted rating, as a row of the file says it; low..high is the 80 % interval."""

    id: int
    title: str
    original_title: str
    overview: str | None
    release_date: date | None
    genres: tuple[str, ...]
    original_language: str | None
    poster_path: str | None
    situation: Situation
    prediction: float
    low: float
    high: float
    bundle_sha256: str
    bundle_partition: date
    synthetic: bool


@dataclass(frozen=True, slots=True)
class UpcomingQuery:
    """Which films, in which order, and which page of them. A filter that is None or empty lets everything through."""

    released_from: date | None = None
    """This day and later ones."""

    released_to: date | None = None
    """This day and earlier ones."""

    genres: tuple[str, ...] = ()
    """All of them must be the film's."""

    language: str | None = None
    title: str | None = None
    """A part of the title or of the original one; case and accents do not matter."""

    sort: Sort = "-prediction"
    page: int = 1
    per_page: int = 50


@dataclass(frozen=True, slots=True)
class Selection:
    """One page of the films that a query selects."""

    total: int
    """On all pages."""

    films: list[UpcomingFilm]


# --- what a caller may ask -------------------------------------------------------------------------

_ID: Final = re.compile(r"[0-9]{1,9}")


def _day(value: object) -> object:
    # Pydantic would take seconds since 1970 and times of day as well.
    if not isinstance(value, str):
        return value
    day = parse_date(value)
    if day is None:
        raise ValueError("is not a day; write YYYY-MM-DD, for example 2026-01-31")
    return day


def _genre(text: str) -> str:
    return genre_name(int(text) if _ID.fullmatch(text) else text)


def _language(text: str) -> str:
    code = text.strip().lower()
    if code not in LANGUAGES:
        raise ValueError("is not one of TMDB's language codes; write two letters of ISO 639-1, for example fr")
    return code


_Day = Annotated[date, BeforeValidator(_day)]
_Genre = Annotated[str, AfterValidator(_genre), Field(json_schema_extra={"enum": sorted(GENRES.values())})]
_Language = Annotated[str, AfterValidator(_language), Field(json_schema_extra={"enum": sorted(LANGUAGES)})]


class UpcomingFilters(BaseModel):
    """What may be asked of the list: the one place of these rules, for the API and for the page."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    released_from: _Day | None = Field(
        default=None,
        alias="from",
        description="Films released on this day or later. By default the day after the predictions' own, so films that "
        "are still to come (no limit if `to` lies before that). The predictions reach back 12 months.",
        examples=["2026-02-01"],
    )
    released_to: _Day | None = Field(
        default=None,
        alias="to",
        description="Films released on this day or earlier.",
        examples=["2026-06-30"],
    )
    genres: list[_Genre] = Field(
        default=[],
        max_length=len(GENRES),
        alias="genre",
        description="TMDB's English name in any case, or its id. May be repeated: a film must have all of them.",
        examples=[["Drama"]],
    )
    language: _Language | None = Field(
        default=None, description="The original language, as TMDB's code.", examples=["fr"]
    )
    title: str | None = Field(
        default=None,
        max_length=200,
        description="A part of the title or of the original title; case and accents do not matter.",
        examples=["river"],
    )
    sort: Sort = Field(
        default="-prediction",
        description="What the films are ordered by; `-` puts the highest or the latest first. Equal ones follow TMDB's "
        "id, and films without a date come last.",
    )

    @field_validator("released_to")
    @classmethod
    def _is_not_before_from(cls, day: date | None, info: ValidationInfo) -> date | None:
        first = info.data.get("released_from")
        if day is not None and first is not None and day < first:
            raise ValueError("lies before from; swap the two")
        return day

    @classmethod
    def names(cls) -> list[str]:
        """Return the parameters as a caller writes them."""
        return [field.alias or name for name, field in cls.model_fields.items()]

    @classmethod
    def from_form(cls, pairs: Iterable[tuple[str, str]]) -> Self:
        """Read a query string as a form sends it: what was left blank is not given.

        Raises pydantic's ValidationError.
        """
        given: dict[str, Any] = {}
        for name, value in pairs:
            if name == "genre" and value.strip():
                given.setdefault(name, []).append(value)
            elif value.strip():
                given[name] = value
        return cls.model_validate(given)

    def query(self, films: "UpcomingFilms") -> UpcomingQuery:
        """Return the query of these films, with the default of `from` filled in."""
        first = self.released_from
        next_day = films.day + timedelta(days=1)
        if first is None and (self.released_to is None or self.released_to >= next_day):
            first = next_day
        return UpcomingQuery(
            released_from=first,
            released_to=self.released_to,
            genres=tuple(dict.fromkeys(self.genres)),
            language=self.language,
            title=self.title,
            sort=self.sort,
        )


class UpcomingParameters(UpcomingFilters):
    """The filters, and which page."""

    page: int = Field(default=1, ge=1, le=1_000_000, description="Which page; there are no films beyond the last one.")
    per_page: int = Field(default=50, ge=1, le=200, description="How many films a page has.")

    def query(self, films: "UpcomingFilms") -> UpcomingQuery:
        """Return the query of these films, with the default of `from` filled in."""
        return replace(super().query(films), page=self.page, per_page=self.per_page)


# --- the newest day --------------------------------------------------------------------------------

_FOLDER: Final = "predicted_ratings"
_FILE: Final = re.compile(rf"{_FOLDER}/([^/]+)\.parquet")
_LARGEST_FILE: Final = 64 * 2**20
"""Ten times what the largest day of TMDB would have."""

_DAYS_TRIED: Final = 7
"""How many days back a file that can be read is looked for."""


class ReducedError(ValueError):
    """The films are without titles: TMDB's data may not be kept any longer."""


class UpcomingKeeper:
    """Keeps the newest day's films. `poll` is for one thread; the attributes may be read from any.

    No longer than TMDB allows, whether the storage answers or not: films of a file that was written earlier are let go.
    """

    def __init__(self, storage: Storage, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._storage = storage
        self._now = now
        self._written = datetime.max.replace(tzinfo=UTC)
        """When the file of what is held was written; what it says was collected shortly before."""
        self._seen: dict[date, tuple[Versioned, str | None]] = {}
        """Of the day that is held, and of those refused since: the version, without its content, and the problem."""

        self.current: UpcomingFilms | None = None
        """The films to show."""

        self.problem: str | None = "The predicted ratings have not been looked for yet: ask again in some seconds."
        """Why there are none, or why these are not the newest, for a person; None when all is well."""

    def poll(self) -> None:
        """Look for a newer day or another file of the same one; blocks, and reads no file twice.

        A newest file that is damaged is passed over: the day that is held stays, or else an older one is taken.
        """
        try:
            problem = self._look()
        except StorageError as error:
            problem = f"The predicted ratings cannot be looked for: {error}."
        if self.current and self._is_too_old(self._written):
            problem = " ".join(filter(None, [problem, _too_old(f"The predicted ratings of {self.current.day}")]))
            self._let_go()
        if problem and self.current:
            problem += f" Those of {self.current.day} are shown."
        self.problem = problem

    def _is_too_old(self, written: datetime) -> bool:
        return self._now() - written > LONGEST_KEPT

    def _let_go(self) -> None:
        self.current, self._seen = None, {}

    def _look(self) -> str | None:
        written = {day: at for key, at in self._storage.modified(_FOLDER).items() if (day := _day_of(key))}
        days = sorted(written, reverse=True)
        if not days:
            return (
                f"There are no predicted ratings in {self._storage.url(_FOLDER)}: run `make demo`, or `make backfill` "
                "up to yesterday, where the platform is installed."
            )
        problems = []
        for day in days[:_DAYS_TRIED]:
            problem = self._try(day, written[day])
            if problem is None:
                break
            problems.append(problem)
            if self.current and day <= self.current.day:
                break  # what is held is of this day as it was, or newer than all that are left
        return " ".join(problems) or None

    def _try(self, day: date, written: datetime) -> str | None:
        """Let `current` be this day, unless it is already; return what is wrong with the file."""
        # Imported with the first file: pyarrow would double the time until the service is ready.
        from serving.upcoming_table import UpcomingFilms  # noqa: PLC0415

        key = f"{_FOLDER}/{day}.parquet"
        if self._is_too_old(written):
            return _too_old(self._storage.url(key))
        known, problem = self._seen.get(day, (None, None))
        try:
            found = self._storage.get_versioned(key, known=known, at_most=_LARGEST_FILE)
        except ObjectTooLargeError as error:
            return f"{error}."
        if found is None:
            return f"{self._storage.url(key)} was removed a moment ago."
        if known is None or found.version != known.version:
            seen = replace(found, data=b"")
            try:
                self.current = UpcomingFilms.from_parquet(day, found.data)
                self._written, problem = written, None
                self._seen = {day: (seen, problem)}
            except ReducedError:
                if self.current and self.current.day == day:
                    self._let_go()
                problem = _too_old(self._storage.url(key))
                self._seen[day] = (seen, problem)
            except ValueError as error:
                problem = (
                    f"{self._storage.url(key)} is damaged ({error}): materialize predicted_ratings for {day} again."
                )
                self._seen[day] = (seen, problem)
        return problem


def _too_old(what: str) -> str:
    return (
        f"{what} is older than TMDB allows to keep what it says: run `make backfill` up to yesterday, where the "
        "platform is installed."
    )


def _day_of(key: str) -> date | None:
    match = _FILE.fullmatch(key)
    day = parse_date(match[1]) if match else None
    # A file of a day that has not come would be the newest until then.
    return day if day is not None and YEARS[0] <= day.year and day <= datetime.now(UTC).date() else None
