"""Preprocessed assets: from items as received to typed tables. What a film's row means belongs to `tmdb.films`."""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import dagster as dg

from movie_platform.assets.policy import daily_asset
from movie_platform.checks import PREPROCESSED_MOVIES, PREPROCESSED_UPCOMING_MOVIES, refusals_by_reason
from movie_platform.daily import DayCheck, DayOutput, materialize_days
from movie_platform.io_managers import DayInputs
from movie_platform.presentation import table
from movie_platform.rating_model.films import MIN_VOTES
from movie_platform.tmdb.films import to_films

_CODE = ("tmdb/films.py", "tmdb/reference.py", "schemas.py", "checks.py")
_PREVIEWED = ["id", "title", "release_date", "original_language", "vote_average", "vote_count"]


@daily_asset(
    group="preprocessed", kinds={"pandas", "parquet"}, io_manager="films", code=_CODE, checks=PREPROCESSED_MOVIES
)
def preprocessed_movies(context: dg.AssetExecutionContext, raw_movies: DayInputs) -> Iterator[dg.Output[Any]]:
    """Films to learn from, one typed row each.

    Dates are dates, genres are TMDB's names, language codes are checked, text is NFC with white space collapsed.
    Items that cannot be used are counted by reason with examples; `raw_movies` keeps them, so nothing is lost.
    """
    yield from _preprocess(context, raw_movies, PREPROCESSED_MOVIES)


@daily_asset(
    group="preprocessed",
    kinds={"pandas", "parquet"},
    io_manager="films",
    code=_CODE,
    checks=PREPROCESSED_UPCOMING_MOVIES,
)
def preprocessed_upcoming_movies(
    context: dg.AssetExecutionContext, raw_upcoming_movies: DayInputs
) -> Iterator[dg.Output[Any]]:
    """Films to predict, one typed row each; the same rules as for `preprocessed_movies`."""
    yield from _preprocess(context, raw_upcoming_movies, PREPROCESSED_UPCOMING_MOVIES)


def _preprocess(
    context: dg.AssetExecutionContext, raw: DayInputs, checks: Sequence[DayCheck]
) -> Iterator[dg.Output[Any]]:
    def make(day: date) -> DayOutput:
        films = to_films(raw[day])
        metadata: dict[str, Any] = {
            "dagster/row_count": len(films.table),
            "synthetic": bool(films.table["synthetic"].any()),
            "refused": len(films.refused),
            "without overview": int((films.table["overview"] == "").sum()),
            "without genres": int((films.table["genres"].str.len() == 0).sum()),
            "with enough votes to learn from": int((films.table["vote_count"] >= MIN_VOTES).sum()),
            "first rows": table(films.table[_PREVIEWED].head()),
        }
        if films.refused:
            metadata["refused, by reason"] = refusals_by_reason(films.refused)
        if films.notes:
            metadata["notes"] = dict(films.notes)
        return DayOutput(value=films.table, facts=films, metadata=metadata)

    yield from materialize_days(context, make, checks)
