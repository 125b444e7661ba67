"""Fill a range of days: find what is missing, in as few runs as possible, in date order, in this process.

Which days are missing is decided by Dagster's record *and* the store: a day that is recorded but whose file is gone
or another one is missing, and so is a file that no run has recorded. A backfill that was killed leaves a run that
looks alive; the next one, which a lock shows to be the only one, says of it that it failed.
"""

import fcntl
import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import dagster as dg

from movie_platform.console import SHORT_LOG
from movie_platform.dagster_internals import ReconstructableJob, range_tags, recorded_versions
from movie_platform.partitions import days
from movie_platform.storage import Storage

_MADE_HERE: Final = {"movie_platform/made_by": "backfill"}


@dataclass(frozen=True)
class PlannedRun:
    """A run to be made: consecutive days that lack the same assets."""

    first: date
    last: date
    assets: tuple[str, ...]

    def __str__(self) -> str:
        span = f"{self.first}" if self.first == self.last else f"{self.first} to {self.last}"
        return f"{span}: {', '.join(self.assets)}"


def missing_days(
    instance: dg.DagsterInstance, storage: Storage, assets: Iterable[str], wanted: Sequence[date]
) -> dict[str, set[date]]:
    """By asset, the days that have no record, no file under their final name, or another file than the recorded one.

    Reads every file of the days, since the record is only a claim about the store.
    """
    missing: dict[str, set[date]] = {}
    for asset in assets:
        recorded = recorded_versions(instance, dg.AssetKey(asset))
        # The day is the file's name up to its extension; folders beside it hold attachments.
        keys = {key.split("/")[1].partition(".")[0]: key for key in storage.list(asset) if key.count("/") == 1}
        missing[asset] = set()
        for day in wanted:
            key = keys.get(day.isoformat())
            if key is None or hashlib.sha256(storage.get(key)).hexdigest() != recorded.get(day):
                missing[asset].add(day)
    return missing


def with_what_follows(
    missing: Mapping[str, Collection[date]], upstream: Mapping[str, Collection[str]]
) -> dict[str, set[date]]:
    """The days to be made: the missing ones, and what was made of them, since they will be others when made anew.

    `upstream` names the assets that each asset reads, in an order in which they can be made.
    """
    to_make: dict[str, set[date]] = {}
    for asset, parents in upstream.items():
        to_make[asset] = set(missing[asset]).union(*(to_make[parent] for parent in parents if parent != asset))
    return to_make


def plan_runs(missing: Mapping[str, Collection[date]], *, at_most: int) -> list[PlannedRun]:
    """The fewest runs of at most `at_most` consecutive days, in date order, that make just what is missing."""
    runs: list[PlannedRun] = []
    for day in sorted(set().union(*missing.values())):
        assets = tuple(asset for asset, lacking in missing.items() if day in lacking)
        if runs and _continues(runs[-1], day, assets, at_most):
            runs[-1] = PlannedRun(runs[-1].first, day, assets)
        else:
            runs.append(PlannedRun(day, day, assets))
    return runs


def _continues(run: PlannedRun, day: date, assets: tuple[str, ...], at_most: int) -> bool:
    return run.assets == assets and run.last + timedelta(days=1) == day and (day - run.first).days < at_most


class BackfillRunningError(Exception):
    """Another backfill is being made with the same Dagster records."""


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold the lock, which the system takes away from a process that dies."""
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackfillRunningError(
                f"another backfill is running with the same DAGSTER_HOME (it holds {lock}): wait for it to end"
            ) from None
        yield


def _end_abandoned_runs(instance: dg.DagsterInstance) -> None:
    """Mark the runs of backfills whose process is gone as failed. Only for whoever holds the lock."""
    unfinished = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
    for run in instance.get_runs(dg.RunsFilter(statuses=unfinished, tags=_MADE_HERE)):
        if run.parent_run_id is not None:  # started again from the UI, which copies the tags
            continue
        instance.report_run_failed(run, "The process of this run ended without a word, for example by a kill.")


def backfill(
    job: ReconstructableJob,
    instance: dg.DagsterInstance,
    storage: Storage,
    *,
    lock: Path,
    upstream: Mapping[str, Collection[str]],
    first: date,
    last: date,
    at_most: int,
    announce: Callable[[str], Any],
) -> dict[str, set[date]]:
    """Make everything that is missing between two days, both included; returns what is missing afterwards.

    Safe to repeat, after a kill too: finished days are left alone, but for those that were made of a missing one. A
    day that fails does not keep the others from being made. Raises `BackfillRunningError` while another process holds
    the `lock` file.
    """
    wanted = days(first, last)
    with _alone(lock):
        _end_abandoned_runs(instance)
        missing = missing_days(instance, storage, upstream, wanted)
        runs = plan_runs(with_what_follows(missing, upstream), at_most=at_most)
        if not runs:
            announce(f"Nothing is missing from {first} to {last}.")
        for number, run in enumerate(runs, start=1):
            announce(f"Run {number} of {len(runs)}, {run}")
            dg.execute_job(
                job,
                instance=instance,
                asset_selection=[dg.AssetKey(asset) for asset in run.assets],
                run_config=SHORT_LOG,
                tags={**_MADE_HERE, **range_tags(run.first, run.last)},
            )
        return missing_days(instance, storage, upstream, wanted)
