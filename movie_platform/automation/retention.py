"""The job that purges what may not be kept any longer, each night. What goes, and how, belongs to `operations`."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import dagster as dg

from movie_platform.liveness import show_alive
from movie_platform.operations.retention import retain
from movie_platform.settings import Settings
from movie_platform.storage import Storage

RETENTION = "retention"


def retention_schedule(settings: Settings, storage: Storage, *, clock: Callable[[], datetime]) -> dg.ScheduleDefinition:
    """The schedule, with its job. A tick that is missed does not matter: the next one does the same."""

    @dg.op(description=f"Purges what was collected more than {settings.keep_days} days ago (MOVIE_PLATFORM_KEEP_DAYS).")
    def purge(context: dg.OpExecutionContext) -> None:
        # A run that is killed must not look as if it went on: the next one would wait for it.
        show_alive(Path(context.instance.root_directory), context.run_id)
        purged = retain(
            context.instance,
            storage,
            keep_days=settings.keep_days,
            catch_up_days=settings.catch_up_days,
            now=clock(),
            say=context.log.info,
        )
        context.log.info(", ".join(f"{what}: {number:,}" for what, number in purged.counts.items()))
        context.add_output_metadata(purged.counts)

    @dg.job(
        name=RETENTION,
        description="Deletes what TMDB says of films, or reduces it to ids and numbers, before its terms demand it, "
        "and old runs with it. Days stay materialized, and their records say that they were purged.",
    )
    def retention() -> None:
        purge()

    return dg.ScheduleDefinition(
        name=RETENTION,
        job=retention,
        cron_schedule="30 4 * * *",
        execution_timezone=settings.time_zone,
        description="Each night at 04:30.",
        default_status=dg.DefaultScheduleStatus.RUNNING if settings.automation else dg.DefaultScheduleStatus.STOPPED,
    )
