"""What runs by itself, and when: jobs, schedules and sensors.

What a run does belongs to the assets, what is decided to `operations`; here decisions become requests to Dagster.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from movie_platform.automation.catch_up import catch_up
from movie_platform.automation.jobs import DAILY, daily
from movie_platform.automation.retention import retention_schedule
from movie_platform.automation.watch import watch_sensor
from movie_platform.settings import Settings
from movie_platform.storage import Storage

__all__ = ["DAILY", "Automation", "Clock", "build_automation", "utc_now"]

Clock = Callable[[], datetime]
"""The time now, with a time zone."""


@dataclass(frozen=True)
class Automation:
    """What `Definitions` takes of it."""

    jobs: Sequence[Any]
    schedules: Sequence[dg.ScheduleDefinition] = field(default_factory=list)
    sensors: Sequence[dg.SensorDefinition] = field(default_factory=list)


def utc_now() -> datetime:
    """The machine's time."""
    return datetime.now(UTC)


def build_automation(
    settings: Settings, storage: Storage, *, upstream: Mapping[str, Collection[str]], clock: Clock = utc_now
) -> Automation:
    """Everything that runs by itself; MOVIE_PLATFORM_AUTOMATION says whether it does from the start.

    `upstream` names the assets that each asset reads, in an order in which they can be made.
    """
    retention = retention_schedule(settings, storage, clock=clock)
    return Automation(
        jobs=[daily, retention.job],
        schedules=[retention],
        sensors=[
            catch_up(settings, storage, upstream=upstream, clock=clock),
            watch_sensor(settings, storage, upstream=upstream, clock=clock),
        ],
    )
