"""The sensor that makes the days: the newest one when it is due, and whatever is missing before it.

A sensor, since a schedule ticks once a day, never catches up what it missed, and cannot wait a growing while.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime

import dagster as dg

from movie_platform.automation.jobs import DAILY
from movie_platform.dagster_internals import PRIORITY_TAG, run_tags
from movie_platform.operations.abandoned import end_dead_runs
from movie_platform.operations.catch_up import in_words, last_run, next_run, run_in_progress
from movie_platform.operations.planning import AUTOMATION, DAYS_IN_A_RUN, MADE_BY
from movie_platform.operations.survey import survey
from movie_platform.settings import Settings
from movie_platform.storage import Storage

_SECONDS = 30
"""Between two looks; Dagster's daemon looks every five seconds whether it is time for one."""
_PRIORITY = "10"
"""Before the runs of a backfill from the UI (0), which may fill the queue for hours."""


def catch_up(
    settings: Settings,
    storage: Storage,
    *,
    upstream: Mapping[str, Collection[str]],
    clock: Callable[[], datetime],
    seconds: int = _SECONDS,
) -> dg.SensorDefinition:
    """The sensor `catch_up`, over these settings, this store and this clock, looking every so many seconds."""

    @dg.sensor(
        name="catch_up",
        job_name=DAILY,
        minimum_interval_seconds=seconds,
        default_status=dg.DefaultSensorStatus.RUNNING if settings.automation else dg.DefaultSensorStatus.STOPPED,
        description="Makes each day when it is due, and the days that are missing, one run at a time, in date order.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        instance = context.instance
        for dead in end_dead_runs(instance):
            context.log.warning(f"The process of run {dead} is gone; the run is marked as failed.")
        if running := run_in_progress(instance):
            return dg.SkipReason(f"Run {running} is making days; the next run is asked for when it has ended.")
        found = survey(instance, storage, settings, upstream=upstream, now=clock())
        run = next_run(found, upstream, at_most=DAYS_IN_A_RUN)
        if run is None:
            return dg.SkipReason(in_words(found, time_zone=settings.time_zone))
        return dg.RunRequest(
            # One run after each: should a daemon die between asking for it and remembering that, it is the same one.
            run_key=f"after {last_run(instance) or 'none'}",
            asset_selection=[dg.AssetKey(asset) for asset in run.assets],
            tags={**run_tags(run.first, run.last), MADE_BY: AUTOMATION, PRIORITY_TAG: _PRIORITY},
        )

    return sensor
