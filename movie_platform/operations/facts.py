"""What the watch looks at: failed runs, the days, the newest decisions and warnings, what is served.

Read from Dagster's records, the store and the service, once a minute, so runs are told once and of the files only the
pointer and the newest decisions are read. What of it is worth an alert belongs to `watch`.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Final

import dagster as dg

from movie_platform.dagster_internals import days_asked_for, newest_check_results
from movie_platform.daily import FailureReport, one_line
from movie_platform.operations.run_logs import SURROUNDINGS, StepFailure, read_run_log
from movie_platform.operations.served import Served, ask_service
from movie_platform.operations.survey import DayStatus, Survey, survey
from movie_platform.releases import DECISIONS, Champion, Decision, read_decision, read_pointer
from movie_platform.settings import Settings
from movie_platform.storage import Storage

__all__ = ["Facts", "FailedRun", "Trouble", "Wanted", "Warnings", "look", "refused_in_a_row"]

_RUNS_AT_ONCE: Final = 20
_DIGESTED: Final = (("predicted_ratings", "drift"), ("prediction_outcomes", "coverage"), ("metrics", "beats_baselines"))
"""The checks that warn and are worth a message; a bundle that is no better than the one in force is not."""
_REFUSED: Final = "refused by its checks: "


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """One thing that went wrong in a run, and is not the consequence of another."""

    key: str
    """Equal for what is the same trouble again: tomorrow, or when it is tried again."""
    reason: str
    """On one line."""
    days: tuple[date, ...]
    """The days that were not made for it."""
    asset: str | None = None

    @property
    def refused(self) -> bool:
        """Whether a blocking check refused the days."""
        return self.reason.startswith(_REFUSED)


@dataclass(frozen=True, kw_only=True)
class FailedRun:
    """A run that failed."""

    run_id: str
    job: str
    troubles: tuple[Trouble, ...]


@dataclass(frozen=True, kw_only=True)
class Warnings:
    """What the checks warn of on a day."""

    day: date
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a look has to find out."""

    refusals: int
    """How many decisions to look at, at most."""
    failures_after: int | None = None
    """The newest failure that is known; None for a first look."""
    jobs: frozenset[str] = frozenset()
    """Jobs of which to see whether they succeed."""
    warnings_after: date | None = None
    """The newest day whose warnings are known; None if none are wanted."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """How things stand at a moment, and what failed since the last look."""

    now: datetime
    survey: Survey
    failed: tuple[FailedRun, ...]
    """Runs that failed after the last look, in the order of their ends; none at the first look."""
    newest_failure: int
    """Where the next look goes on."""
    succeeding_jobs: frozenset[str]
    """Of the jobs that were asked about, those whose newest run succeeded."""
    refusals: tuple[Decision, ...]
    """The newest decisions up to the newest that released a bundle, which is left out; the newest first."""
    warnings: Warnings | None
    """Of the newest complete day; None if there is none or it was not asked for."""
    champion: Champion | None
    served: Served | None
    """None if SERVING_URL is not set."""


def look(
    instance: dg.DagsterInstance,
    storage: Storage,
    settings: Settings,
    *,
    upstream: Mapping[str, Collection[str]],
    now: datetime,
    wanted: Wanted,
) -> Facts:
    """Look at everything. Raises `StorageError`."""
    newest_failure, failed = _failures(instance, wanted.failures_after, upstream)
    found = survey(instance, storage, settings, upstream=upstream, now=now)
    complete = max((state.day for state in found.with_status(DayStatus.COMPLETE)), default=None)
    warned = complete is not None and wanted.warnings_after is not None and complete > wanted.warnings_after
    return Facts(
        now=now,
        survey=found,
        failed=failed,
        newest_failure=newest_failure,
        succeeding_jobs=frozenset(job for job in wanted.jobs if _succeeds(instance, job)),
        refusals=refused_in_a_row(storage, at_most=wanted.refusals),
        warnings=_warnings(instance, complete) if complete is not None and warned else None,
        champion=read_pointer(storage),
        served=None if settings.serving_url is None else ask_service(settings.serving_url),
    )


def _failures(
    instance: dg.DagsterInstance, after: int | None, upstream: Mapping[str, Collection[str]]
) -> tuple[int, tuple[FailedRun, ...]]:
    # Runs that a person ends are CANCELED, those that run monitoring ends have failed.
    if after is None:
        newest = instance.fetch_run_status_changes(dg.DagsterEventType.RUN_FAILURE, limit=1).records
        return max((record.storage_id for record in newest), default=0), ()
    records = instance.fetch_run_status_changes(
        dg.RunStatusChangeRecordsFilter(event_type=dg.DagsterEventType.RUN_FAILURE, after_storage_id=after),
        limit=_RUNS_AT_ONCE,
        ascending=True,
    ).records
    failed = []
    for run_id in dict.fromkeys(record.run_id for record in records):
        run = instance.get_run_by_id(run_id)
        if run is not None:  # or it has been deleted since
            troubles = tuple(_troubles(instance, run, upstream))
            failed.append(FailedRun(run_id=run_id, job=run.job_name, troubles=troubles))
    return max((record.storage_id for record in records), default=after), tuple(failed)


def _troubles(
    instance: dg.DagsterInstance, run: dg.DagsterRun, upstream: Mapping[str, Collection[str]]
) -> Iterator[Trouble]:
    days = days_asked_for(run)
    log = read_run_log(instance, run.run_id)
    found: dict[str, Trouble] = {}
    failed_days: dict[str, frozenset[date]] = {}
    for failure in log.failures:
        troubles = list(_of_crash(failure, days) if failure.report is None else _of_report(failure.report, days))
        failed_days[failure.step] = frozenset(day for trouble in troubles for day in trouble.days)
        # What follows from an asset that failed fails for lack of it, which is no news.
        before = frozenset().union(*(failed_days.get(other, ()) for other in _all_before(failure.step, upstream)))
        for trouble in troubles:
            own = tuple(day for day in trouble.days if day not in before)
            if own or not trouble.days:
                _add(found, trouble, own)
    if log.cut_off or not found:
        # By its first day: the next run of the same days is the same trouble, that of later ones is not.
        ended = Trouble(
            key=f"was ended {min(days)}" if days else "was ended",
            reason=log.end or "no reason was given",
            days=tuple(days),
        )
        _add(found, ended, ended.days)
    for trouble in found.values():
        # One job's trouble must not hide another's; that of days is the same, whoever makes them.
        yield trouble if trouble.days else replace(trouble, key=f"{run.job_name} {trouble.key}")


def _add(found: dict[str, Trouble], trouble: Trouble, days: tuple[date, ...]) -> None:
    known = found.get(trouble.key)
    together = tuple(sorted({*days, *(known.days if known else ())}))
    first = known or trouble
    found[trouble.key] = replace(first, days=together)


def _of_report(report: FailureReport, wanted: Sequence[date]) -> Iterator[Trouble]:
    met = max(report.days) if report.fatal else None
    for day, reason in report.days.items():
        if day == met:
            key = str(report.fatal) if report.fatal in SURROUNDINGS else f"{report.asset} {report.fatal}"
            stopped = (day, *(later for later in wanted if later > day))
            yield Trouble(key=key, reason=reason, days=stopped, asset=report.asset)
        else:
            how = "refused" if reason.startswith(_REFUSED) else "not made"
            yield Trouble(key=f"{report.asset} {day} {how}", reason=reason, days=(day,), asset=report.asset)


def _of_crash(failure: StepFailure, days: Sequence[date]) -> Iterator[Trouble]:
    key = failure.cause if failure.cause in SURROUNDINGS else f"{failure.step} {failure.cause}"
    yield Trouble(key=key, reason=failure.reason, days=tuple(days), asset=failure.step)


def _all_before(asset: str, upstream: Mapping[str, Collection[str]]) -> set[str]:
    found: set[str] = set()
    to_look_at = [asset]
    while to_look_at:
        for parent in upstream.get(to_look_at.pop(), ()):
            if parent not in found and parent != asset:
                found.add(parent)
                to_look_at.append(parent)
    return found


def _succeeds(instance: dg.DagsterInstance, job: str) -> bool:
    ended = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
    newest = instance.get_runs(dg.RunsFilter(job_name=job, statuses=ended), limit=1)
    return bool(newest) and newest[0].status is dg.DagsterRunStatus.SUCCESS


def refused_in_a_row(storage: Storage, *, at_most: int) -> tuple[Decision, ...]:
    """The newest decisions that released nothing, back to the newest that did; newest first. Raises `StorageError`."""
    found: list[Decision] = []
    for key in reversed(storage.list(DECISIONS)):
        if len(found) == at_most:
            break
        match = re.fullmatch(rf"{DECISIONS}/(\d{{4}}-\d\d-\d\d)\.json", key)
        decision = read_decision(storage, date.fromisoformat(match[1])) if match else None
        if decision is None:
            continue
        if decision.released:
            break
        found.append(decision)
    return tuple(found)


def _warnings(instance: dg.DagsterInstance, day: date) -> Warnings:
    results = newest_check_results(instance, _DIGESTED, day)
    lines = [
        one_line(f"{asset} {check}: {results[asset, check].description or 'failed'}")
        for asset, check in _DIGESTED
        if (asset, check) in results and not results[asset, check].passed
    ]
    return Warnings(day=day, lines=tuple(lines))
