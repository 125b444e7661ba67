"""The definitions that Dagster loads: everything the other modules declare, put together once.

`build_definitions` takes what a test or another deployment wants to be different. No asset, check or rule is
defined here.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from movie_platform.assets import ASSETS, UPSTREAM
from movie_platform.assets.policy import FIRST_PARTITION
from movie_platform.automation import DAILY, Clock, build_automation, utc_now
from movie_platform.console import console_logger
from movie_platform.daily import EXECUTOR
from movie_platform.io_managers import (
    BundleIOManager,
    FilmsIOManager,
    JsonIOManager,
    JsonLinesIOManager,
    PredictionsIOManager,
)
from movie_platform.launchpad import overridable
from movie_platform.rating_model.config import TrainingConfig
from movie_platform.resources import TmdbCollector
from movie_platform.settings import Settings, SettingsError, load_settings
from movie_platform.storage import open_storage
from movie_platform.tracking import MlflowTracker

TRAINING_THREADS = 1
"""One: LightGBM's threads wait for one another by spinning, so that two took up to three times as long as one on two
cores that something else used as well. The bytes of a bundle do not depend on it."""


def build_definitions(
    *, settings: Settings | None = None, resources: Mapping[str, Any] | None = None, clock: Clock = utc_now
) -> dg.Definitions:
    """The platform's definitions, with the given settings (default: the environment's) and resources replaced by key.

    `clock` is what the automation takes for the time, by default the machine's.

    Raises `SettingsError` when a setting makes no sense.
    """
    settings = settings or load_settings()
    if settings.first_partition != FIRST_PARTITION:
        raise SettingsError(
            "MOVIE_PLATFORM_FIRST_PARTITION: the assets were defined with another one when they were imported; "
            "set it in the environment"
        )
    storage = open_storage(settings.storage)
    automation = build_automation(settings, storage, upstream=UPSTREAM, clock=clock)
    return dg.Definitions(
        assets=ASSETS,
        jobs=automation.jobs,
        schedules=automation.schedules,
        sensors=automation.sensors,
        executor=EXECUTOR,
        loggers={"console": console_logger},
        resources={
            "json_lines": JsonLinesIOManager(storage),
            "films": FilmsIOManager(storage),
            "predictions": PredictionsIOManager(storage),
            "bundle": BundleIOManager(storage),
            "json": JsonIOManager(storage),
            "store": storage,
            "tmdb": _tmdb(settings),
            "min_vote_count": settings.min_vote_count,
            "training_config": overridable(TrainingConfig()),
            "training_threads": TRAINING_THREADS,
            "tracker": _tracker(settings),
            **(resources or {}),
        },
    )


def _tmdb(settings: Settings) -> dg.ResourceDefinition:
    TmdbCollector(settings)  # settings that it refuses are refused now, not in the first run

    @dg.resource(description=f"TMDB's films, from: {settings.source.value}")
    def tmdb(_: dg.InitResourceContext) -> Iterator[TmdbCollector]:
        with TmdbCollector(settings) as collector:
            yield collector

    return tmdb


def _tracker(settings: Settings) -> MlflowTracker | None:
    if settings.mlflow_tracking_uri is None:
        return None
    return MlflowTracker(
        settings.mlflow_tracking_uri, experiment=settings.mlflow_experiment_name, storage=settings.storage
    )


defs = build_definitions()


def daily_job() -> dg.JobDefinition:
    """The job `daily`, for those who run it without the UI."""
    return defs.resolve_job_def(DAILY)
