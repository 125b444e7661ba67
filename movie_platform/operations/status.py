"""How things stand: the days, what is in force and served, what runs by itself, and what needs a person.

Reads records, the store and the service's answer, and changes nothing. How it is shown belongs to the command line.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final

import dagster as dg

from movie_platform.dagster_internals import days_in_progress, recorded_versions
from movie_platform.day_records import day_files
from movie_platform.operations.served import Served
from movie_platform.operations.survey import DayStatus, Survey, due_at
from movie_platform.partitions import ranges
from movie_platform.releases import Champion, barred_days, in_force_since, read_pointer
from movie_platform.settings import Settings
from movie_platform.storage import Storage

ASSETS: Final = (
    "raw_movies",
    "raw_upcoming_movies",
    "preprocessed_movies",
    "preprocessed_upcoming_movies",
    "trained_bundle",
    "metrics",
    "champion_bundle",
    "predicted_ratings",
    "prediction_outcomes",
)
"""Named here, because importing the assets themselves takes seconds; a test holds the two together."""

_SILENT_AFTER: Final = timedelta(minutes=5)
"""Dagster's daemon says every half minute that it is alive."""

DAEMON_IS_DOWN: Final = "start it: dagster-daemon run, or make ui, which runs it too"
"""What to do."""


@dataclass(frozen=True)
class Release:
    """What is in force."""

    champion: Champion
    since: datetime | None


@dataclass(frozen=True)
class Automation:
    """What runs by itself."""

    sensors: Mapping[str, bool]
    """Whether each sensor and schedule is on, by name."""
    alive_at: datetime | None
    """When the daemon that makes them run last said that it is alive; None if it never did."""

    @property
    def on(self) -> bool:
        """Whether days are made without a person."""
        return self.sensors.get("catch_up", False)

    def is_alive(self, now: datetime) -> bool:
        """Whether the daemon has said so lately."""
        return self.alive_at is not None and now - self.alive_at <= _SILENT_AFTER


@dataclass(frozen=True)
class Status:
    """How things stand."""

    now: datetime
    survey: Survey
    newest_complete: Mapping[str, date | None]
    """By asset, the newest day that is recorded and in the store."""
    runs: Mapping[str, Collection[date]]
    """The days of runs and backfills in progress, by run id."""
    release: Release | None
    barred: Mapping[date, datetime]
    automation: Automation
    served: Served | None
    """None if SERVING_URL is not set."""
    needs: list[str] = field(default_factory=list)
    """What needs a person, in sentences; nothing if all is well."""


def read_automation(instance: dg.DagsterInstance, defaults: Mapping[str, bool]) -> Automation:
    """What is on: as somebody has switched it in the UI, or else by default."""
    switched = {state.name: state.status.value for state in instance.all_instigator_state()}
    beats = instance.get_daemon_heartbeats()
    alive_at = max((beat.timestamp for kind, beat in beats.items() if kind == "SENSOR"), default=None)
    return Automation(
        sensors={
            name: {"RUNNING": True, "STOPPED": False}.get(switched.get(name, ""), on) for name, on in defaults.items()
        },
        alive_at=None if alive_at is None else datetime.fromtimestamp(alive_at).astimezone(),
    )


def read_status(
    instance: dg.DagsterInstance,
    storage: Storage,
    settings: Settings,
    *,
    survey: Survey,
    automation: Automation,
    served: Served | None,
    now: datetime,
) -> Status:
    """Put together how things stand. Raises `StorageError`."""
    champion = read_pointer(storage)
    runs: dict[str, list[date]] = {}
    for day, run in sorted(days_in_progress(instance).items()):
        runs.setdefault(run, []).append(day)
    found = Status(
        now=now,
        survey=survey,
        newest_complete={asset: _newest_complete(instance, storage, survey, asset) for asset in ASSETS},
        runs=runs,
        release=None if champion is None else Release(champion, in_force_since(storage, champion)),
        barred=barred_days(storage),
        automation=automation,
        served=served,
    )
    found.needs.extend(_needs(found, settings))
    return found


def _newest_complete(instance: dg.DagsterInstance, storage: Storage, survey: Survey, asset: str) -> date | None:
    for state in reversed(survey.days):
        if asset not in state.missing:
            return state.day
    # Rarely needed: the newest days all lack it.
    recorded = recorded_versions(instance, dg.AssetKey(asset))
    return max(recorded.keys() & day_files(storage.list(asset)).keys(), default=None)


def _needs(found: Status, settings: Settings) -> Iterator[str]:
    survey, automation = found.survey, found.automation
    for state in survey.with_status(DayStatus.GIVEN_UP):
        yield (
            f"{state.day} was given up after {state.failures} failures: mend the cause, then movie-platform backfill "
            f"--from {state.day} --to {state.day}"
        )
    if survey.older_gaps:
        first, last = survey.older_gaps[0], survey.older_gaps[-1]
        yield (
            f"older days are not complete ({ranges(survey.older_gaps, at_most=3)}: {len(survey.older_gaps)}), and the "
            f"automation does not reach back that far: movie-platform backfill --from {first} --to {last}"
        )
    open_days = [state.day for state in survey.days if state.status in {DayStatus.DUE, DayStatus.WAITING}]
    if open_days and not automation.on:
        yield (
            f"days are missing ({ranges(open_days, at_most=3)}: {len(open_days)}) and the automation is off: switch it "
            f"on, or movie-platform backfill --from {open_days[0]} --to {open_days[-1]}"
        )
    if automation.on:
        deadline = timedelta(hours=settings.deadline_hours)
        late = [day for day in open_days if due_at(day, settings) + deadline < found.now]
        if late:
            yield f"past the deadline of {settings.deadline_hours:g} hours: {ranges(late, at_most=3)}"
        if not automation.is_alive(found.now):
            yield f"the automation is on, but Dagster's daemon does not run: {DAEMON_IS_DOWN}"
    yield from _needs_of_service(found, settings)


def _needs_of_service(found: Status, settings: Settings) -> Iterator[str]:
    served, release = found.served, found.release
    if served is None:
        return
    if served.problem is not None:
        yield f"the service at {settings.serving_url}: {served.problem}"
    elif release is not None and not served.pinned and not serves(served, release.champion):
        within = timedelta(minutes=settings.served_within_minutes)
        if release.since is None or found.now - release.since > within:
            yield (
                f"the service serves the bundle of {served.partition}, not that of {release.champion.partition}, which "
                f"is in force for longer than {settings.served_within_minutes:g} minutes: see its log, and whether it "
                "reads the same MOVIE_PLATFORM_STORAGE"
            )


def serves(served: Served, champion: Champion) -> bool:
    """Whether what is served is this bundle."""
    return served.sha256 == champion.sha256
