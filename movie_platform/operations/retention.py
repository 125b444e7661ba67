"""Retention: what TMDB says of films is kept for a while only, in the store and in Dagster's records.

TMDB forbids keeping its data longer than six months. Here belongs which files that concerns, how old they are, and in
which order things go. What a purged day means to those who read it belongs to `records`, what becomes of Dagster's runs
to `pruning`, when it happens to `automation`.

- Age counts from the collection, not from the partition's day: a day that is made today is fresh, however old it is.
- Files with TMDB's texts are deleted. `predicted_ratings` are reduced to ids and numbers, since `prediction_outcomes`
  reads them for fifteen months. Bundles, metrics, decisions and outcomes hold ids, numbers and single words: they stay.
- What training may still read stays, as long as TMDB allows.
- First the record says that a day was purged, then the file goes: what a crash leaves is finished by the next time, and
  never looks like a loss.
"""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache, partial
from typing import Any, Final

import dagster as dg
import pyarrow as pa

from movie_platform.dagster_internals import (
    DATA_VERSION,
    RecordId,
    checks_of_run,
    days_in_progress,
    is_newest,
    newest_record_ids,
    record_again,
    record_ids,
    recorded_times,
    records_of,
)
from movie_platform.day_records import (
    COLLECTED_AS,
    FETCHED_AT,
    LEARNED_FROM,
    PREDICTIONS,
    AssetRecords,
    Purge,
    PurgeKind,
    day_files,
    day_of,
    textless,
)
from movie_platform.io_managers import reduce_predictions
from movie_platform.operations.pruning import Pruned, prune_runs
from movie_platform.partitions import LOOK_BACK, last_complete_day
from movie_platform.storage import ObjectNotFound, Storage
from movie_platform.tmdb.reference import LONGEST_KEPT

_REJECTED: Final = "rejected"


@dataclass
class Purged:
    """What was purged; of a dry run, what would be."""

    days: dict[str, list[date]] = field(default_factory=dict)
    """By asset, those that were deleted or reduced."""
    others: list[str] = field(default_factory=list)
    """Keys of other files: what checks refused, what no run recorded, and what killed writers left."""
    left_alone: set[date] = field(default_factory=set)
    """Days that are due, and that a run is at work on: their turn comes with the next time."""
    runs: Pruned = field(default_factory=Pruned)

    @property
    def counts(self) -> dict[str, int]:
        """For a person."""
        return {
            **{f"days of {asset}": len(of_asset) for asset, of_asset in self.days.items()},
            "other files": len(self.others),
            "days left alone": len(self.left_alone),
            "runs": len(self.runs.deleted),
            "records kept without their run": self.runs.recorded_again,
        }


def retain(
    instance: dg.DagsterInstance,
    storage: Storage,
    *,
    keep_days: int,
    catch_up_days: int,
    now: datetime,
    say: Callable[[str], Any],
    dry_run: bool = False,
) -> Purged:
    """Purge what was collected more than `keep_days` before `now`; safe to repeat, after a kill at any point too.

    The look-back of the last `catch_up_days`, which may still be trained, stays until TMDB's own limit. A dry run
    changes nothing.
    """
    purging = _Purging(
        instance,
        storage,
        before=now - timedelta(days=keep_days),
        at_the_latest=now - LONGEST_KEPT,
        learned_from=first_day_learned_from(now.astimezone(UTC).date(), catch_up_days),
        today=now.astimezone(UTC).date(),
        say=say,
        dry_run=dry_run,
    )
    for asset in COLLECTED_AS:
        purging.purge_days(asset)
    purging.purge_rejected()
    purging.purged.runs = prune_runs(
        instance,
        before=now - timedelta(days=keep_days),
        say=say,
        dry_run=dry_run,
        would_be_purged=purging.purged.days if dry_run else {},
    )
    return purging.purged


def first_day_learned_from(today: date, catch_up_days: int) -> date:
    """The first day of `preprocessed_movies` that the training of any of the last `catch_up_days` reads."""
    oldest_trained = last_complete_day(today) - timedelta(days=catch_up_days - 1)
    return oldest_trained - timedelta(days=LOOK_BACK - 1)


class _Purging:
    """One pass over the files."""

    def __init__(
        self,
        instance: dg.DagsterInstance,
        storage: Storage,
        *,
        before: datetime,
        at_the_latest: datetime,
        learned_from: date,
        today: date,
        say: Callable[[str], Any],
        dry_run: bool,
    ) -> None:
        self._instance, self._storage = instance, storage
        self._before, self._at_the_latest = before, at_the_latest
        self._learned_from, self._today = learned_from, today
        self._say, self._dry_run = say, dry_run
        self._in_progress = days_in_progress(instance)
        self._checks = cache(partial(checks_of_run, instance))
        self.purged = Purged()

    def purge_days(self, asset: str) -> None:
        """Purge the days of an asset, and whatever else lies in its folder."""
        key, modified = dg.AssetKey(asset), self._storage.modified(asset)
        files, newest = day_files(modified), newest_record_ids(self._instance, key)
        others = [name for name in modified if name not in files.values()]
        records = AssetRecords(self._instance, asset)
        concerned = {*files, *(newest.keys() - records.purged.keys()), *filter(None, map(day_of, others))}
        fetched = recorded_times(self._instance, dg.AssetKey(COLLECTED_AS[asset]), FETCHED_AT, concerned)
        due = self._days_due(asset, records, files=files, modified=modified, newest=newest, fetched=fetched)
        ids = {day: newest[day] for day in due if day in newest}
        known = records_of(self._instance, key, ids.values())
        for day, collected in sorted(due.items()):
            if day in self._in_progress or (day in ids and not is_newest(self._instance, key, ids[day])):
                self.purged.left_alone.add(day)
            else:
                self._purge_day(asset, day, files.get(day), known[ids[day]] if day in ids else None, collected)
        for name in others:
            of = day_of(name)
            collected = modified[name] if of is None else min(modified[name], fetched.get(of, modified[name]))
            if self._is_due(asset, of, collected):
                self._remove(name, of)
        self._purge_half_written(asset)

    def _days_due(
        self,
        asset: str,
        records: AssetRecords,
        *,
        files: Mapping[date, str],
        modified: Mapping[str, datetime],
        newest: Mapping[date, RecordId],
        fetched: Mapping[date, datetime],
    ) -> dict[date, datetime]:
        """The days to be purged, and when they were collected."""
        purged, due = records.purged, {}
        for day in {*files, *newest}:
            purge, name = purged.get(day), files.get(day)
            # Without a file: lost, or refused when it was made again. Soon it cannot be made any more.
            written = newest[day].at if name is None else modified[name]
            collected = min(written, fetched.get(day, written))
            if purge is not None:
                if name is None or (purge.kind is PurgeKind.REDUCED and written >= newest[day].at - _CLOCKS_AGREE):
                    continue  # done; a crash may have left the record alone, which then is newer than the file
                if purge.kind is PurgeKind.DELETED and not records.agrees(day, self._storage.get(name)):
                    collected = written  # it is being collected anew, and not recorded yet: only the file tells
            if self._is_due(asset, day, collected):
                due[day] = collected
        return due

    def purge_rejected(self) -> None:
        """Delete what checks have refused."""
        for key, at in self._storage.modified(_REJECTED).items():
            asset, day = key.split("/")[1], day_of(key.removeprefix(f"{_REJECTED}/"))
            collected = self._first_collected(asset, day) if day is not None else None
            if min(at, collected or at) < self._before:
                self._remove(key, day)
        self._purge_half_written(_REJECTED)

    def _is_due(self, asset: str, day: date | None, collected: datetime) -> bool:
        still_read = asset == LEARNED_FROM and day is not None and day >= self._learned_from
        return collected < (self._at_the_latest if still_read else self._before)

    def _first_collected(self, asset: str, day: date) -> datetime | None:
        """The first time that the day is known to have been collected: what a check refused may be as old."""
        if asset not in COLLECTED_AS:
            return None
        raw = dg.AssetKey(COLLECTED_AS[asset])
        ids = [found for found in record_ids(self._instance, raw) if found.partition == day.isoformat()]
        times = [
            found.value
            for record in records_of(self._instance, raw, ids).values()
            if (then := record.asset_materialization) is not None
            and Purge.of_tags(then.tags or {}) is None
            and isinstance(found := then.metadata.get(FETCHED_AT), dg.TimestampMetadataValue)
        ]
        return datetime.fromtimestamp(min(times), UTC) if times else None

    def _purge_day(
        self, asset: str, day: date, key: str | None, record: dg.EventLogRecord | None, collected: datetime
    ) -> None:
        former = None
        if key is not None and (asset == PREDICTIONS or not self._dry_run):
            with suppress(ObjectNotFound):
                former = self._storage.get(key)
        data = _reduce(former) if former is not None and asset == PREDICTIONS and record is not None else None
        self.purged.days.setdefault(asset, []).append(day)
        what = "deleted" if data is None else "reduced to ids and numbers"
        self._say(f"{asset} {day}, collected on {collected:%Y-%m-%d}: {'to be ' * self._dry_run}{what}")
        if self._dry_run:
            return
        if record is not None:
            self._record(record, former, data, _file_metadata(self._storage, key, data), collected)
        if key is not None and data is not None:
            self._storage.put(key, data)
        elif key is not None:
            for name in self._storage.list(f"{asset}/{day}"):
                self._storage.delete(name)
            self._storage.delete(key)

    def _record(
        self,
        record: dg.EventLogRecord,
        former: bytes | None,
        data: bytes | None,
        file: Mapping[str, Any],
        collected: datetime,
    ) -> None:
        """Record that a day is purged, unless that was done before a crash."""
        assert record.asset_materialization is not None
        tags = record.asset_materialization.tags or {}
        version = tags[DATA_VERSION] if data is None else _sha256(data)
        kind = PurgeKind.DELETED if data is None else PurgeKind.REDUCED
        earlier = Purge.of_tags(tags)
        if earlier is not None and earlier.kind is kind and tags[DATA_VERSION] == version:
            return
        purge = Purge(kind, self._today, former=tags[DATA_VERSION] if former is None else _sha256(former))
        record_again(
            self._instance,
            record,
            keep=lambda metadata: {
                name: value for name, value in textless(metadata).items() if name not in _OF_THE_FILE
            },
            checks=self._checks(record.run_id),
            description=f"Purged on {self._today}: {purge.kind}, since TMDB's data may not be kept any longer.",
            metadata={"collected": dg.MetadataValue.timestamp(collected), **file},
            tags={**purge.to_tags(), DATA_VERSION: version},
        )

    def _remove(self, key: str, day: date | None) -> None:
        if day in self._in_progress:
            return
        self.purged.others.append(key)
        if not self._dry_run:
            self._storage.delete(key)

    def _purge_half_written(self, folder: str) -> None:
        for key, at in self._storage.half_written(folder).items():
            if at < self._before:
                self.purged.others.append(key)
                if not self._dry_run:
                    self._storage.discard_half_written(key)


_CLOCKS_AGREE: Final = timedelta(seconds=2)
"""S3 keeps whole seconds of a clock of its own."""
_OF_THE_FILE: Final = ("file", "sha256", "size")


def _file_metadata(storage: Storage, key: str | None, data: bytes | None) -> dict[str, Any]:
    if key is None or data is None:
        return {}
    return {
        "file": dg.MetadataValue.path(storage.url(key)),
        "sha256": _sha256(data),
        "size": dg.MetadataValue.text(f"{len(data):,} bytes"),
    }


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _reduce(data: bytes) -> bytes | None:
    """None if there is nothing in it to keep."""
    try:
        return reduce_predictions(data)
    except (ValueError, LookupError, OSError, pa.ArrowException):
        return None
