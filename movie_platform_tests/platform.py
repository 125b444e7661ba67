"""The whole platform as a job over a folder or bucket, with an API that can be told to misbehave on a day.

A run rebuilds its definitions, so what is to go wrong travels as an argument of `platform_job`.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import dagster as dg
from dagster import JobExecutionResult

from movie_platform.automation import DAILY
from movie_platform.dagster_internals import range_tags
from movie_platform.definitions import build_definitions
from movie_platform.launchpad import overridable
from movie_platform.rating_model.config import TrainingConfig
from movie_platform.resources import TmdbCollector
from movie_platform.settings import Settings
from movie_platform.tmdb.collection import Collection

QUICK = TrainingConfig(trees=60, averaged_models=1, max_terms=2_000, folds=2)
"""Good enough to beat the baselines on the synthetic catalogue, in about half a second."""


class Misbehaving(TmdbCollector):
    """The built-in catalogue, wrong on given days: `loses` films, `scrambles` ratings, or has `bad_rows`."""

    def __init__(self, settings: Settings, wrong: dict[str, list[str]]) -> None:
        super().__init__(settings)
        self._wrong = wrong

    def collect(self, day: date, *args: Any, **options: Any) -> Collection:
        collection = super().collect(day, *args, **options)
        items = collection.items
        if day.isoformat() in self._wrong.get("loses", []):
            items = items[: len(items) * 9 // 10]
        if day.isoformat() in self._wrong.get("scrambles", []):
            ratings = [item["vote_average"] for item in items]
            random.Random(1).shuffle(ratings)
            items = [{**item, "vote_average": rating} for item, rating in zip(items, ratings, strict=True)]
        if day.isoformat() in self._wrong.get("bad_rows", []):
            items = [{**item, "vote_average": 99} if number % 10 == 0 else item for number, item in enumerate(items)]
        return replace(collection, items=items)


def platform_job(arguments: str) -> dg.JobDefinition:
    """The job `daily` with quick training; the arguments are a JSON list: storage, catalogue, what goes wrong."""
    storage, catalogue, wrong = json.loads(arguments)
    settings = Settings(MOVIE_PLATFORM_STORAGE=storage, TMDB_CATALOGUE=catalogue)

    @dg.resource
    def tmdb(_: dg.InitResourceContext) -> Iterator[TmdbCollector]:
        with Misbehaving(settings, wrong) as collector:
            yield collector

    definitions = build_definitions(settings=settings, resources={"tmdb": tmdb, "training_config": overridable(QUICK)})
    return definitions.resolve_job_def(DAILY)


def run_platform(
    instance: dg.DagsterInstance,
    storage: str,
    first: str,
    last: str,
    *,
    catalogue: str | None = None,
    assets: list[str] | None = None,
    hyperparameters: dict[str, Any] | None = None,
    **wrong: list[str],
) -> JobExecutionResult:
    """Make every asset, or the given ones, of the days from `first` to `last`.

    `hyperparameters` are what a person would write into the launchpad.
    """
    if first == last:
        tags = {"dagster/partition": first}
    else:
        tags = range_tags(date.fromisoformat(first), date.fromisoformat(last))
    return dg.execute_job(
        dg.build_reconstructable_job(
            "movie_platform_tests.platform",
            "platform_job",
            reconstructable_args=(json.dumps([storage, catalogue, wrong]),),
        ),
        instance=instance,
        tags=tags,
        asset_selection=[dg.AssetKey(asset) for asset in assets] if assets else None,
        run_config={
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            "resources": {"training_config": {"config": hyperparameters}} if hyperparameters else {},
        },
    )
