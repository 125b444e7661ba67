"""Which days are complete, and what is to become of those that are not: read from Dagster's records and the store.

Nothing is remembered here: the same records at the same time give the same survey, whoever asks for it, and a day that
is mended by hand is mended. Who asks: the automation, the alerts, the command line.

**A day** D is due from the first moment at or after its end (in UTC) at which it is MOVIE_PLATFORM_DAILY_AT in
MOVIE_PLATFORM_TIME_ZONE. It is complete when every asset has a record in Dagster and a file in the store for it.
Whether the file is the recorded one is not looked at here, since that would read every file each minute; `verify` does.

**Which days the automation is responsible for.** From the first day that it, or anybody else, ever made or tried, but
no more than MOVIE_PLATFORM_CATCH_UP_DAYS days: after an outage those are the days from the last complete one, and the
gaps before it. Incomplete days before that window are `older_gaps`, left to a person, so that a long outage does not
become a flood of runs. History before the first day ever made is nobody's gap. On a new instance, where nothing has
been made, the first day is the one that begins the cycle of windows 13 to 25 days before the newest: then one run
collects a whole cycle, and there is a model on the first day.

**Failures** are ended runs that were to make what the day still lacks. There are three kinds:

- the day's own: a check refused it, it could not be made, or an unforeseen exception met it. It is tried again after
  15 minutes, 30 minutes, 1, 2 and 4 hours; after the sixth failure it is given up until somebody makes it by hand;
- of the surroundings: the API is down, the token is wrong, the storage fails, or the run stopped at an earlier day.
  The same pauses, then every 6 hours, never given up: it heals when the surroundings do;
- the run itself was ended (a kill, a restart of the machine, its longest duration): as of the surroundings, but for the
  first time at once. A day that was being made two such times in a row counts as the cause from then on, as if
  the failures were its own, so that the days around it go on.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

import dagster as dg

from movie_platform.dagster_internals import days_asked_for, days_in_progress
from movie_platform.daily import FailureReport, one_line
from movie_platform.day_records import COLLECTED_AS, AssetRecords, day_files
from movie_platform.operations.planning import AUTOMATION, MADE_BY
from movie_platform.operations.run_logs import SURROUNDINGS, RunLog, read_run_log
from movie_platform.partitions import LOOK_BACK, cycle_start, days, end_of, last_complete_day
from movie_platform.settings import Settings
from movie_platform.storage import Storage

__all__ = [
    "DayState",
    "DayStatus",
    "Survey",
    "due_at",
    "first_responsible",
    "local_time",
    "newest_due",
    "survey",
]

_PAUSES: Final = tuple(timedelta(minutes=n) for n in (15, 30, 60, 120, 240, 360))
_GIVEN_UP_AFTER: Final = 6
_ONE_DAY: Final = timedelta(days=1)
_ENDED: Final = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


class DayStatus(StrEnum):
    """What is to become of a day."""

    COMPLETE = "complete"
    RUNNING = "running"
    """Being made, or waiting in a queue to be."""
    DUE = "due"
    """To be requested now."""
    WAITING = "waiting"
    """It failed, and is tried again at `retry_at`."""
    GIVEN_UP = "given up"
    """It failed too often, and is left to a person."""


@dataclass(frozen=True)
class DayState:
    """A day, and what is known of it."""

    day: date
    status: DayStatus
    missing: tuple[str, ...] = ()
    """The assets that it lacks, in an order in which they can be made."""
    failures: int = 0
    """How often it failed since it was last complete or mended by hand."""
    retry_at: datetime | None = None
    reason: str | None = None
    """The newest failure's, on one line."""


@dataclass(frozen=True)
class Survey:
    """The days that the automation is responsible for."""

    newest: date
    """The newest day that is due, which may lie before the first partition."""
    days: tuple[DayState, ...]
    """In date order, up to `newest`."""
    older_gaps: tuple[date, ...]
    """Incomplete days before those, since the first that was ever made."""

    def with_status(self, status: DayStatus) -> list[DayState]:
        """The days of one status."""
        return [state for state in self.days if state.status is status]


@dataclass(frozen=True)
class _Failure:
    at: datetime
    reason: str
    own: bool = False
    killed: bool = False
    here: bool = False
    """Whether the day was being made when the run was killed."""
    lost: bool = False
    """Whether the run did make the day, which lacks something all the same."""


def due_at(day: date, settings: Settings) -> datetime:
    """When a day is due, in UTC.

    An hour that the clocks skip is taken to be as long after midnight as it would have been; of one that they
    repeat, the first that lies after the day's end counts.
    """
    zone, end = ZoneInfo(settings.time_zone), end_of(day)
    moments = set()
    for offset in (-1, 0, 1):
        local_day = end.astimezone(zone).date() + offset * _ONE_DAY
        first, second = (
            datetime.combine(local_day, settings.daily_at, zone).replace(fold=fold).astimezone(UTC) for fold in (0, 1)
        )
        moments.add(first)
        if second.astimezone(zone).replace(tzinfo=None) == datetime.combine(local_day, settings.daily_at):
            moments.add(second)
    return min(moment for moment in moments if moment >= end)


def local_time(moment: datetime, time_zone: str) -> str:
    """A moment for a person, as the clocks there show it."""
    return moment.astimezone(ZoneInfo(time_zone)).strftime("%Y-%m-%d %H:%M %Z")


def newest_due(now: datetime, settings: Settings) -> date:
    """The newest day that is due."""
    day = last_complete_day(now.astimezone(UTC).date())
    while due_at(day, settings) > now:
        day -= _ONE_DAY
    return day


def first_responsible(newest: date, first_begun: date | None, *, first_partition: date, catch_up_days: int) -> date:
    """The first day that the automation is responsible for, after `newest` if there is none.

    `first_begun` is the first day that was ever made or tried.
    """
    window_start = max(first_partition, newest - (catch_up_days - 1) * _ONE_DAY)
    if first_begun is None:
        first_begun = cycle_start(newest - (LOOK_BACK - 1) * _ONE_DAY)
    return max(window_start, first_begun)


def survey(
    instance: dg.DagsterInstance,
    storage: Storage,
    settings: Settings,
    *,
    upstream: Mapping[str, Collection[str]],
    now: datetime,
) -> Survey:
    """Look at all days that are due.

    `upstream` names the assets that each asset reads, in an order in which they can be made. Raises `StorageError`.
    """
    newest = newest_due(now, settings)
    # Before the records are read: a run that ends in between leaves its days running for one look, not missing.
    running = days_in_progress(instance)
    made = {asset: _made_days(instance, storage, asset) for asset in upstream}
    # And after them: on S3 that takes a while, in which somebody may have begun to make them.
    running = {**running, **days_in_progress(instance)}
    first_made = min(
        (day for _, recorded in made.values() for day in recorded if day >= settings.first_partition), default=None
    )
    requested = _first_requested(instance)
    first = first_responsible(
        newest,
        min((day for day in (first_made, requested) if day is not None), default=None),
        first_partition=settings.first_partition,
        catch_up_days=settings.catch_up_days,
    )

    def missing(day: date) -> tuple[str, ...]:
        return tuple(asset for asset, (complete, _) in made.items() if day not in complete)

    wanted = days(first, newest) if first <= newest else []
    lacking = {day: assets for day in wanted if (assets := missing(day))}
    return Survey(
        newest=newest,
        days=tuple(_states(instance, wanted, lacking, running, now=now)),
        older_gaps=tuple(
            day for day in (days(first_made, first)[:-1] if first_made and first_made < first else []) if missing(day)
        ),
    )


def _made_days(instance: dg.DagsterInstance, storage: Storage, asset: str) -> tuple[set[date], set[date]]:
    """The days with a record and a file, or purged, and those with a record."""
    records = AssetRecords(instance, asset)
    stored, recorded = day_files(storage.list(asset)), set(records.versions)
    lost = recorded.difference(stored)
    # Their records are read a thousand at a time, and only where a file is not there.
    purged = records.purged.keys() if asset in COLLECTED_AS and lost.intersection(records.without_run) else set()
    return {day for day in recorded if day in stored or day in purged}, recorded


def _first_requested(instance: dg.DagsterInstance) -> date | None:
    """The first day of the first run that the automation asked for: it is responsible though it may never be made."""
    runs = instance.get_run_records(dg.RunsFilter(tags={MADE_BY: AUTOMATION}), limit=1, ascending=True)
    found = [day for record in runs for day in days_asked_for(record.dagster_run)]
    return min(found, default=None)


def _states(
    instance: dg.DagsterInstance,
    wanted: Sequence[date],
    lacking: Mapping[date, tuple[str, ...]],
    running: Collection[date],
    *,
    now: datetime,
) -> Iterable[DayState]:
    ended: Sequence[dg.RunRecord] = []
    if lacking:
        # A day cannot have been tried before it was over. The newest come first.
        ended = instance.get_run_records(dg.RunsFilter(statuses=_ENDED, created_after=end_of(min(lacking))))
    failures = _failures(instance, ended, {day: lacks for day, lacks in lacking.items() if day not in running})
    for day in wanted:
        if day not in lacking:
            yield DayState(day, DayStatus.COMPLETE)
        elif day in running:
            yield DayState(day, DayStatus.RUNNING, lacking[day])
        else:
            yield _state(day, lacking[day], failures[day], now=now)


def _state(day: date, missing: tuple[str, ...], failures: Sequence[_Failure], *, now: datetime) -> DayState:
    """What follows from a day's failures, the newest first."""
    if not failures:
        return DayState(day, DayStatus.DUE, missing)
    newest = failures[0]
    killed_here = _leading(failure.here for failure in failures) >= 2  # noqa: PLR2004 once is chance
    own = [failure.own or (killed_here and failure.here) for failure in failures]
    if own[0]:
        if sum(own) >= _GIVEN_UP_AFTER:
            return DayState(day, DayStatus.GIVEN_UP, missing, len(failures), None, newest.reason)
        pause = _PAUSES[sum(own) - 1]
    else:
        number = _leading(not its_own for its_own in own) - newest.killed
        pause = _PAUSES[min(number, len(_PAUSES)) - 1] if number else timedelta()
    retry_at = newest.at + pause
    status = DayStatus.DUE if retry_at <= now else DayStatus.WAITING
    return DayState(day, status, missing, len(failures), retry_at, newest.reason)


def _leading(values: Iterable[bool]) -> int:
    """How many are true before the first that is not."""
    count = 0
    for value in values:
        if not value:
            break
        count += 1
    return count


def _failures(
    instance: dg.DagsterInstance, ended: Sequence[dg.RunRecord], lacking: Mapping[date, tuple[str, ...]]
) -> dict[date, list[_Failure]]:
    """The failures of each day since it was last made, the newest first; `ended` the same."""
    found: dict[date, list[_Failure]] = {day: [] for day in lacking}
    open_days = set(lacking)
    for record in ended:
        run = record.dagster_run
        wanted = {asset.path[-1] for asset in run.asset_selection or ()}
        tried = {
            day: assets
            for day in open_days.intersection(days_asked_for(run))
            if (assets := tuple(a for a in lacking[day] if not wanted or a in wanted))
        }
        if not tried:
            continue
        failed, mended = (
            ({}, set()) if run.status is dg.DagsterRunStatus.SUCCESS else _failures_of_run(instance, record, tried)
        )
        for day, assets in tried.items():
            before = found[day]
            failure = failed.get(day)
            if failure is not None and not (before and before[-1].lost):
                before.append(failure)
            elif (
                failure is None
                and day not in mended
                and run.tags.get(MADE_BY) == AUTOMATION
                and all(earlier.lost for earlier in before)
            ):
                # Asked for because it was lacking, made, and lacking again: not to be repeated each minute for ever.
                reason = f"a run made {', '.join(assets)}, but it is not there"
                before.append(_Failure(_end(record), reason, own=True, lost=True))
            else:
                open_days.discard(day)
    return found


def _end(record: dg.RunRecord) -> datetime:
    return record.update_timestamp if record.end_time is None else datetime.fromtimestamp(record.end_time, UTC)


def _failures_of_run(
    instance: dg.DagsterInstance, record: dg.RunRecord, tried: Mapping[date, tuple[str, ...]]
) -> tuple[dict[date, _Failure], set[date]]:
    """Why a run that failed did not make these days, and which of them were mended since.

    A day that it did make is in neither. Of several assets that failed, the first counts: what follows failed for lack
    of it. If that one is there now, the failure is no longer of what the day lacks.
    """
    log, at = read_run_log(instance, record.dagster_run.run_id), _end(record)
    of_the_run = _failure_of_the_run(record.dagster_run, log, at)
    reports = [failure.report for failure in log.failures if failure.report is not None]
    stopped = next((report for report in reports if report.fatal), None)
    found: dict[date, _Failure] = {}
    mended: set[date] = set()
    for day, lacks in tried.items():
        first = next(((report, f) for report in reports if (f := _of_report(report, day, at))), None)
        if first is not None and first[0].asset not in lacks:
            mended.add(day)
        elif first is not None:
            found[day] = first[1]
        elif of_the_run is not None:
            found[day] = of_the_run
        elif stopped is not None:  # what follows from that asset was not begun for any day
            found[day] = _Failure(at, _stopped(stopped))
    # The asset that was being made stopped at its first day that is not there.
    for step in log.cut_off[-1:]:
        stopped_at = min((day for day, lacks in tried.items() if step in lacks), default=None)
        if stopped_at is not None and stopped_at in found and found[stopped_at].killed:
            found[stopped_at] = replace(found[stopped_at], here=True)
    return found, mended


def _failure_of_the_run(run: dg.DagsterRun, log: RunLog, at: datetime) -> _Failure | None:
    """What the days met of which no asset says anything; None if the run went on to its end."""
    crashes = [failure for failure in log.failures if failure.report is None]
    if crashes:
        return _Failure(at, one_line(f"{crashes[-1].step}: {crashes[-1].reason}"))
    if run.status is dg.DagsterRunStatus.CANCELED:
        return _Failure(at, "the run was canceled")
    if log.cut_off or not log.failures:
        return _Failure(at, log.end or "the run ended", killed=True)
    return None


def _of_report(report: FailureReport, day: date, at: datetime) -> _Failure | None:
    """What an asset's report says of a day."""
    met = max(report.days) if report.fatal else None
    if day in report.days:
        return _Failure(at, report.days[day], own=day != met or report.fatal not in SURROUNDINGS)
    if met is not None and day > met:
        return _Failure(at, _stopped(report))
    return None


def _stopped(report: FailureReport) -> str:
    met = max(report.days)
    return one_line(f"{report.asset} stopped at {met}: {report.days[met]}")
