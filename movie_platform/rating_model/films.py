"""The table of films that the model learns from and is asked about.

What belongs here: the columns and how a missing value is written, and which films may be trained on. What does not:
how a field becomes a number (``encoder``), how a table is stored, and a film without a table (``fields``).

One row is one film:

| column | type | missing |
|---|---|---|
| ``id`` | int64, TMDB's number | only needed for training |
| ``title`` | str | never |
| ``overview`` | str | ``""`` |
| ``release_date`` | datetime64, no time zone | ``NaT`` |
| ``release_year`` | number, for a film of which only the year is known: ``release_date`` goes first | ``NaN`` |
| ``genres`` | list of str, TMDB's English names | ``[]`` |
| ``original_language`` | str, ISO 639-1 | ``""`` |
| ``popularity`` | float64 >= 0 | ``NaN`` |
| ``vote_count`` | number >= 0 | ``NaN`` |
| ``vote_average`` | float64, 0..10 | only needed for training |
| ``synthetic`` | bool, whether the built-in catalogue invented the film | only needed for training |

``None`` counts as missing everywhere, a column that is not there is missing in every row, and further columns
are ignored. The original title is not used: a request to the service does not have it.
"""

import math
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from movie_platform.rating_model.fields import MIN_VOTES, SITUATIONS, YEARS, Situation

__all__ = [
    "MIN_FILMS",
    "MIN_VOTES",
    "SITUATIONS",
    "Situation",
    "TooFewFilmsError",
    "complete",
    "latest_films",
    "situation_of",
    "training_films",
]

MIN_FILMS: Final = 100
"""Nothing useful is learned from fewer films."""

_TRAINING_COLUMNS: Final = (
    "id",
    "title",
    "overview",
    "release_date",
    "genres",
    "original_language",
    "popularity",
    "vote_average",
    "vote_count",
    "synthetic",
)


class TooFewFilmsError(ValueError):
    """There are not enough films to learn or to measure anything."""


def complete(films: pd.DataFrame) -> pd.DataFrame:
    """Return the fields that a prediction may use, every column there and missing values written in one way.

    The index is kept. ``release_year`` is filled from ``release_date``. Raises ValueError naming the column for
    a missing title, a wrong type or an impossible value.
    """
    if "title" not in films:
        raise ValueError("title: the column is missing, and it is the one field that every film must have")
    title = _texts(films, "title")
    if any(not text.strip() for text in title):
        raise ValueError("title: empty in at least one film; leave such films out, nothing can be said about them")
    release_date = _dates(films)
    known_year = _numbers(films, "release_year", lowest=YEARS[0], highest=YEARS[1])
    date_year = release_date.dt.year.to_numpy(dtype=np.float64, na_value=np.nan)
    if ((date_year < YEARS[0]) | (date_year > YEARS[1])).any():
        raise ValueError(f"release_date: every year must be in {YEARS[0]}..{YEARS[1]}; correct it or leave it out")
    return pd.DataFrame(
        {
            "title": pd.Series(title, index=films.index, dtype=object),
            "overview": pd.Series(_texts(films, "overview"), index=films.index, dtype=object),
            "release_date": release_date,
            "release_year": np.where(np.isnan(date_year), known_year, date_year),
            "genres": pd.Series(_genres(films), index=films.index, dtype=object),
            "original_language": pd.Series(_texts(films, "original_language"), index=films.index, dtype=object),
            "popularity": _numbers(films, "popularity"),
            "vote_count": _numbers(films, "vote_count"),
        },
        index=films.index,
    )


def situation_of(films: pd.DataFrame, *, reference_day: date | None = None) -> pd.Series:
    """Return ``"released"`` for the films with enough votes, else ``"unreleased"``; the index is kept.

    With a ``reference_day``, a film released after it is unreleased whatever its votes say.
    """
    released = _numbers(films, "vote_count") >= MIN_VOTES
    if reference_day is not None:
        released &= ~(_dates(films) > pd.Timestamp(reference_day)).to_numpy()
    return pd.Series(np.where(released, "released", "unreleased"), index=films.index, dtype=object)


def latest_films(tables: Iterable[pd.DataFrame], *, min_votes: int = MIN_VOTES) -> pd.DataFrame:
    """Return the latest row of each film of the daily tables, oldest day first, sorted by id.

    The tables are taken one at a time, and only the columns that training reads are kept. A film whose latest row
    has fewer than ``min_votes`` votes is out, also when an earlier row had more. Raises TooFewFilmsError when no
    table has a film, and ValueError naming a column that one lacks.
    """
    kept: pd.DataFrame | None = None
    for table in tables:
        _check_columns(table)
        if table.empty:
            continue
        newest = table[list(_TRAINING_COLUMNS)]
        both = newest if kept is None else pd.concat([kept, newest])
        kept = both.drop_duplicates("id", keep="last")
    if kept is None:
        raise TooFewFilmsError("no day's table has a film to train on: collect at least one day first")
    return kept[kept["vote_count"] >= min_votes].sort_values("id", ignore_index=True)


def training_films(films: pd.DataFrame) -> pd.DataFrame:
    """Return the films sorted by id, after checking that each can be trained on.

    The result has ``complete``'s columns and id, vote_average and synthetic. Raises TooFewFilmsError below
    MIN_FILMS, and ValueError naming the column and the remedy for anything else.
    """
    _check_columns(films)
    if len(films) < MIN_FILMS:
        raise TooFewFilmsError(
            f"{len(films)} films are too few to train on, at least {MIN_FILMS} are needed: collect more days"
        )
    table = complete(films)
    table.insert(0, "id", films["id"].to_numpy(dtype=np.int64))
    table["vote_average"] = _numbers(films, "vote_average", highest=10)
    table["synthetic"] = films["synthetic"].to_numpy(dtype=bool)
    if table["id"].duplicated().any():
        raise ValueError("id: a film appears more than once; reduce the daily tables with latest_films")
    if not (table["vote_count"] >= MIN_VOTES).all():
        raise ValueError(f"vote_count: below {MIN_VOTES} or missing; reduce the daily tables with latest_films")
    for column in ("release_date", "vote_average"):
        if table[column].isna().any():
            raise ValueError(f"{column}: missing in at least one film; leave out the films that have none")
    if table["synthetic"].nunique() > 1:
        raise ValueError(
            "synthetic: films of the built-in catalogue and real ones are mixed; "
            "use another MOVIE_PLATFORM_STORAGE for one of them"
        )
    return table.sort_values("id", ignore_index=True)


def _check_columns(films: pd.DataFrame) -> None:
    missing = [column for column in _TRAINING_COLUMNS if column not in films]
    if missing:
        raise ValueError(f"{', '.join(missing)}: missing in a table of films to train on; make the table again")


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value))


def _texts(films: pd.DataFrame, column: str) -> list[str]:
    if column not in films:
        return [""] * len(films)
    values: list[Any] = ["" if _is_missing(value) else value for value in films[column].tolist()]
    for value in values:
        if not isinstance(value, str):
            raise ValueError(f"{column}: {type(value).__name__} found where a text belongs")  # noqa: TRY004  one error type for all bad tables
    return values


def _genres(films: pd.DataFrame) -> list[list[str]]:
    if "genres" not in films:
        return [[] for _ in range(len(films))]
    result = []
    for value in films["genres"].tolist():
        # Parquet gives a list column back as arrays.
        names = [] if _is_missing(value) else value.tolist() if isinstance(value, np.ndarray) else value
        if not isinstance(names, Sequence) or isinstance(names, str) or not all(isinstance(n, str) for n in names):
            raise ValueError("genres: every film needs a list of genre names, [] when they are unknown")
        result.append(list(names))
    return result


def _numbers(
    films: pd.DataFrame, column: str, *, lowest: float = 0, highest: float = np.finfo(np.float64).max
) -> npt.NDArray[np.float64]:
    if column not in films:
        return np.full(len(films), np.nan)
    values = [np.nan if _is_missing(value) else value for value in films[column].tolist()]
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        raise ValueError(f"{column}: every value must be a number, or missing")
    numbers = np.array(values, dtype=np.float64)
    # Written so that NaN, the missing value, passes.
    if ((numbers < lowest) | (numbers > highest)).any():
        raise ValueError(f"{column}: every value must be finite and in {lowest:g}..{highest:g}, or missing")
    return numbers


def _dates(films: pd.DataFrame) -> pd.Series:
    if "release_date" not in films:
        return pd.Series(pd.NaT, index=films.index, dtype="datetime64[us]")
    dates = films["release_date"]
    if not pd.api.types.is_datetime64_dtype(dates.dtype):
        if not all(_is_missing(value) for value in dates.tolist()):
            raise ValueError("release_date: the column must be datetime64 without a time zone; convert it first")
        return pd.Series(pd.NaT, index=films.index, dtype="datetime64[us]")
    return dates
