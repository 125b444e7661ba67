"""Collected assets: TMDB's items as they were received. Nothing is judged, changed or left out here."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import dagster as dg

from movie_platform.assets.policy import TMDB, daily_asset
from movie_platform.checks import RAW_MOVIES, RAW_UPCOMING_MOVIES
from movie_platform.daily import DayCheck, DayFailed, DayOutput, Retries, materialize_days
from movie_platform.day_records import FETCHED_AT
from movie_platform.partitions import Window, end_of, inference_window, training_window
from movie_platform.resources import TmdbCollector
from movie_platform.settings import Source
from movie_platform.tmdb.client import AuthenticationError, OutageError, TmdbError
from movie_platform.tmdb.collection import Collection, Progress

AS_OF = "as of"
"""Under this name, the metadata of a collected day says of which moment its votes are."""

_CODE = ("tmdb", "partitions.py")


@daily_asset(
    group="collected", kinds={"tmdb", "json"}, io_manager="json_lines", code=_CODE, checks=RAW_MOVIES, pool=TMDB
)
def raw_movies(
    context: dg.AssetExecutionContext,
    tmdb: dg.ResourceParam[TmdbCollector],
    min_vote_count: dg.ResourceParam[int],
) -> Iterator[dg.Output[Any]]:
    """Films to learn from: TMDB's items, unchanged, of the day's *training window*.

    A cycle of 13 days walks back through windows of ten years, from twelve months before the day, so that 13 days
    together hold every film with enough votes (`MOVIE_PLATFORM_MIN_VOTE_COUNT`), those included that TMDB marks as
    adult. TMDB answers with today's votes, whatever day is asked for; "as of" in the metadata says when that was.
    """
    collect = partial(tmdb.collect, min_vote_count=min_vote_count, include_adult=True)
    yield from _collect(context, tmdb, training_window, collect, RAW_MOVIES)


@daily_asset(
    group="collected",
    kinds={"tmdb", "json"},
    io_manager="json_lines",
    code=_CODE,
    checks=RAW_UPCOMING_MOVIES,
    pool=TMDB,
)
def raw_upcoming_movies(
    context: dg.AssetExecutionContext, tmdb: dg.ResourceParam[TmdbCollector]
) -> Iterator[dg.Output[Any]]:
    """Films to predict: TMDB's items, unchanged, of the day's *inference window*.

    Released from twelve months before the day to six months after it, with however few votes, without those that TMDB
    marks as adult. Never overlaps the training window of the same day.
    """
    collect = partial(tmdb.collect, min_vote_count=0, include_adult=False)
    yield from _collect(context, tmdb, inference_window, collect, RAW_UPCOMING_MOVIES)


def _collect(
    context: dg.AssetExecutionContext,
    tmdb: TmdbCollector,
    window_of: Callable[[date], Window],
    collect: Callable[..., Collection],
    checks: Sequence[DayCheck],
) -> Iterator[dg.Output[Any]]:
    source = tmdb.source

    def make(day: date) -> DayOutput:
        window = window_of(day)

        def show(progress: Progress) -> None:
            rate = progress.requests / progress.seconds if progress.seconds else 0.0
            again = f", of these sent again: {_by_reason(progress.retries)}" if progress.retries else ""
            context.log.info(
                f"{context.asset_key.path[-1]} {day}: {progress.films:,} of {progress.announced:,} films, "
                f"{progress.requests:,} requests, {rate:.1f} a second{again}"
            )

        fetched_at = datetime.now(UTC)
        try:
            collection = collect(day, window, on_progress=show)
        except (AuthenticationError, OutageError):
            raise  # the next day would meet the same
        except TmdbError as error:
            raise DayFailed(f"{type(error).__name__}: {error}") from error
        return DayOutput(
            value=collection.items,
            facts=collection,
            metadata={
                "dagster/row_count": len(collection.items),
                "window": f"{window.first} to {window.last}",
                FETCHED_AT: dg.MetadataValue.timestamp(fetched_at),
                # Only the synthetic catalogue knows the past; a file is taken to be of the moment it is read.
                AS_OF: dg.MetadataValue.timestamp(end_of(day) if source is Source.SYNTHETIC else fetched_at),
                "source": source.value,
                "synthetic": source is Source.SYNTHETIC
                or any(item.get("synthetic") is True for item in collection.items),
                "films announced": collection.announced,
                "films missing": collection.missing,
                "requests": collection.requests,
                "retries": collection.retries.total(),
                "retries by reason": _by_reason(collection.retries) or "none",
                "pages": collection.pages,
                "queries": len(collection.queries),
                "queries read again": collection.read_again,
                "repeated by the API": collection.duplicates,
                "outside the window, set aside": collection.strays,
                "without an id": collection.unidentified,
            },
        )

    yield from materialize_days(context, make, checks, retries=Retries((OutageError,), pause=tmdb.retry_pause))


def _by_reason(retries: Mapping[str, int]) -> str:
    return ", ".join(f"{reason}: {count:,}" for reason, count in sorted(retries.items()))
