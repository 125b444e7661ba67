"""Fill a range of days: find what is missing, in as few runs as possible, in date order, in this process.

Which days are missing is decided by Dagster's record *and* the store: a day that is recorded but whose file is gone
or another one is missing, and so is a file that no run has recorded. A backfill that was killed leaves a run that
looks alive; the next one, which a lock shows to be the only one, says of it that it failed.
"""

import fcntl
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, Final

import dagster as dg

from movie_platform.console import SHORT_LOG
from movie_platform.dagster_internals import UNFINISHED, ReconstructableJob, days_in_progress, range_tags
from movie_platform.day_records import AssetRecords, Standing, day_files
from movie_platform.operations.abandoned import end_as_failed, end_dead_runs
from movie_platform.operations.planning import BACKFILL, MADE_BY, PlannedRun, plan_runs, with_what_follows
from movie_platform.partitions import days
from movie_platform.storage import Storage

_MADE_HERE: Final = {MADE_BY: BACKFILL}


def missing_days(
    instance: dg.DagsterInstance, storage: Storage, assets: Iterable[str], wanted: Sequence[date]
) -> dict[str, set[date]]:
    """By asset, the days that have no record, no file under their final name, or another file than the recorded one.

    Days that were purged are not missing. Reads every file of the days, since the record is only a claim about the
    store.
    """
    missing: dict[str, set[date]] = {}
    for asset in assets:
        records, files = AssetRecords(instance, asset), day_files(storage.list(asset))
        standings = {day: records.standing(storage, day, files.get(day)) for day in wanted}
        missing[asset] = {
            day for day, standing in standings.items() if standing not in {Standing.GOOD, Standing.PURGED}
        }
    return missing


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
    """Mark the runs of backfills whose process is gone as failed. Only for whoever holds the lock.

    They may have been killed before they could show that they were alive.
    """
    end_dead_runs(instance)
    for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED, tags=_MADE_HERE)):
        if run.parent_run_id is not None:  # started again from the UI, which copies the tags
            continue
        end_as_failed(instance, run)


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

    Safe to repeat, after a kill too: finished days are left alone, but for those that were made of a missing one. So
    are days that another run is making; they are missing afterwards if that one takes longer. A day that fails does
    not keep the others from being made. Raises `BackfillRunningError` while another process holds the `lock` file.
    """
    wanted = days(first, last)
    with _alone(lock):
        _end_abandoned_runs(instance)
        runs, elsewhere = _plan(instance, storage, upstream, wanted, at_most=at_most)
        if not runs and not elsewhere:
            announce(f"Nothing is missing from {first} to {last}.")
        for day, maker in elsewhere.items():
            announce(f"{day} is left to {maker}, which is making it")
        begun = 0
        while runs:
            run = runs.pop(0)
            if begun:  # while the runs before went on, somebody else may have made its days, or begun to
                now, _ = _plan(instance, storage, upstream, days(run.first, run.last), at_most=at_most)
                if not now:
                    continue
                run, *others = now
                runs = [*others, *runs]
            begun += 1
            announce(f"Run {begun} of {begun + len(runs)}, {run}")
            dg.execute_job(
                job,
                instance=instance,
                asset_selection=[dg.AssetKey(asset) for asset in run.assets],
                run_config=SHORT_LOG,
                tags={**_MADE_HERE, **range_tags(run.first, run.last)},
            )
        return missing_days(instance, storage, upstream, wanted)


def _plan(
    instance: dg.DagsterInstance,
    storage: Storage,
    upstream: Mapping[str, Collection[str]],
    wanted: Sequence[date],
    *,
    at_most: int,
) -> tuple[list[PlannedRun], dict[date, str]]:
    """The runs that make what is missing of these days, and by whom days are being made that are left alone for it."""
    # Who is at work, before the files are read, which takes long, and after: what ends or begins in between is theirs.
    in_progress = days_in_progress(instance)
    missing = with_what_follows(missing_days(instance, storage, upstream, wanted), upstream)
    in_progress |= days_in_progress(instance)
    elsewhere = {day: in_progress[day] for day in sorted(set().union(*missing.values()).intersection(in_progress))}
    to_make = {asset: lacking.difference(elsewhere) for asset, lacking in missing.items()}
    return plan_runs(to_make, at_most=at_most), elsewhere
