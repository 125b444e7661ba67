"""What Dagster has recorded of an asset's days, beside what the store holds: which days are as they should be.

A record is a claim about the store, and so is its absence; here are the rules that compare the two, for those who
read days, make missing ones, remove old ones and verify. How Dagster keeps records belongs to `dagster_internals`.

A day that was purged has a record that says so. It is written before anything is removed, so that a crash leaves files
that should be gone, and never a day that looks lost.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any, Final

import dagster as dg

from movie_platform.dagster_internals import RecordId, newest_record_ids, recorded_versions, records_of
from movie_platform.partitions import parse_day
from movie_platform.storage import ObjectNotFound, Storage

FETCHED_AT: Final = "fetched at"
"""Under this name, the metadata of a collected day says when TMDB was asked."""

LEARNED_FROM: Final = "preprocessed_movies"
PREDICTIONS: Final = "predicted_ratings"

COLLECTED_AS: Final[Mapping[str, str]] = {
    "raw_movies": "raw_movies",
    "raw_upcoming_movies": "raw_upcoming_movies",
    LEARNED_FROM: "raw_movies",
    "preprocessed_upcoming_movies": "raw_upcoming_movies",
    PREDICTIONS: "raw_upcoming_movies",
}
"""The assets whose files and metadata hold TMDB's texts, and as what those were collected."""

_TEXTLESS: Final = (
    dg.IntMetadataValue,
    dg.FloatMetadataValue,
    dg.BoolMetadataValue,
    dg.TimestampMetadataValue,
    dg.PathMetadataValue,
    dg.UrlMetadataValue,
    dg.TextMetadataValue,
)

_PURGED: Final = "movie_platform/purged"
_PURGED_ON: Final = "movie_platform/purged_on"
_PURGED_FROM: Final = "movie_platform/purged_from"
_LONGEST_TAG: Final = 63


class PurgeKind(StrEnum):
    """What was done to a day whose data had become too old."""

    DELETED = "deleted"
    REDUCED = "reduced"
    """To ids and numbers: it can still be read."""


@dataclass(frozen=True)
class Purge:
    """That a day was purged."""

    kind: PurgeKind
    on: date
    former: str
    """The SHA-256 of the file before, or its beginning."""

    def to_tags(self) -> dict[str, str]:
        """For the record."""
        return {_PURGED: self.kind.value, _PURGED_ON: self.on.isoformat(), _PURGED_FROM: self.former[:_LONGEST_TAG]}

    @classmethod
    def of_tags(cls, tags: Mapping[str, str]) -> "Purge | None":
        """None if the record is not of a purge."""
        if (kind := tags.get(_PURGED)) is None:
            return None
        return cls(PurgeKind(kind), date.fromisoformat(tags[_PURGED_ON]), tags[_PURGED_FROM])


class Standing(StrEnum):
    """How the record and the file of a day agree."""

    GOOD = "good"
    PURGED = "purged"
    DAMAGED = "damaged"
    """The file is another one than the recorded one."""
    MISSING = "missing"
    """Recorded, and there is no file."""
    UNRECORDED = "unrecorded"
    """A file that no run has recorded."""
    NEVER_MADE = "never made"


class AssetRecords:
    """The newest records of an asset's days, as they were when this was made."""

    def __init__(self, instance: dg.DagsterInstance, asset: str) -> None:
        self._instance = instance
        self._key = dg.AssetKey(asset)
        self._purges: dict[date, Purge | None] = {}
        self.versions: Mapping[date, str] = recorded_versions(instance, self._key)
        """The SHA-256 of each day's file; of a deleted one, what it was."""
        newest = newest_record_ids(instance, self._key)
        self.without_run: Mapping[date, RecordId] = {day: found for day, found in newest.items() if found.is_runless}
        """The days whose record belongs to no run: the purged ones, and those whose run has been pruned.

        Known without reading any record.
        """

    @property
    def purged(self) -> Mapping[date, Purge]:
        """The days that were purged and have not been made again since; reads their records."""
        self._read(self.without_run)
        return {day: purge for day, purge in self._purges.items() if purge is not None}

    def purge_of(self, day: date) -> Purge | None:
        """That a day was purged, and has not been made again since."""
        if day in self.without_run:
            self._read([day])
        return self._purges.get(day)

    def deletion_of(self, day: date) -> Purge | None:
        """That a day was purged, and nothing is kept of it."""
        purge = self.purge_of(day)
        return purge if purge is not None and purge.kind is PurgeKind.DELETED else None

    def _read(self, days: Iterable[date]) -> None:
        unread = {self.without_run[day]: day for day in days if day not in self._purges}
        for found, record in records_of(self._instance, self._key, unread).items():
            then = record.asset_materialization
            self._purges[unread[found]] = Purge.of_tags((then and then.tags) or {})

    def agrees(self, day: date, data: bytes) -> bool:
        """Whether a file is the recorded one of its day, or what a purge that was cut short has yet to replace."""
        if (recorded := self.versions.get(day)) is None:
            return False
        sha256 = hashlib.sha256(data).hexdigest()
        return sha256 == recorded or ((purge := self.purge_of(day)) is not None and sha256.startswith(purge.former))

    def standing(self, storage: Storage, day: date, key: str | None) -> Standing:
        """Compare the record with the file of that key, which is read; None if the day has no file."""
        try:
            data = None if key is None else storage.get(key)
        except ObjectNotFound:
            data = None
        if day not in self.versions:
            return Standing.NEVER_MADE if data is None else Standing.UNRECORDED
        if data is None:
            return Standing.PURGED if self.deletion_of(day) else Standing.MISSING
        if not self.agrees(day, data):
            # A deleted day that is collected again has no record until it is complete.
            return Standing.UNRECORDED if self.deletion_of(day) else Standing.DAMAGED
        return Standing.PURGED if self.purge_of(day) else Standing.GOOD


def day_files(keys: Iterable[str]) -> dict[date, str]:
    """Of an asset's keys, those that are a day's own file, by day; folders beside them hold attachments."""
    files = {}
    for key in keys:
        if (day := day_of(key)) is not None and key.count("/") == 1:
            files[day] = key
    return files


def day_of(key: str) -> date | None:
    """The day that the first name below a key's folder begins with: of the day's file, or of one of its attachments."""
    _, _, rest = key.partition("/")
    try:
        return parse_day(rest.partition("/")[0].partition(".")[0])
    except ValueError:
        return None


def textless(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What of an asset's metadata says nothing of single films: they show in tables, Markdown and JSON only."""
    return {name: value for name, value in metadata.items() if isinstance(value, _TEXTLESS)}
