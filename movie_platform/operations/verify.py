"""Verify: read every file again and compare it with what was recorded of it. Nothing is changed.

A day's file is compared with the SHA-256 in Dagster's record, a released copy with the one in the pointer and the
history. Nothing is decoded. Plots beside a day's file have no digest on record and are not looked at.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from functools import partial
from typing import Any

import dagster as dg

from movie_platform.day_records import AssetRecords, Standing, day_files, day_of
from movie_platform.releases import (
    HISTORY,
    RELEASED,
    Champion,
    DamagedError,
    read_entry,
    read_pointer,
    read_released,
)
from movie_platform.storage import ObjectNotFound, Storage

Progress = Callable[[Sequence[Any], str], Iterable[Any]]
"""Given what there is to do and a word for it; yields the same, one after the other."""


class Flaw(StrEnum):
    """What can be wrong with a file."""

    DAMAGED = "damaged"
    """Other bytes than were recorded."""
    MISSING = "missing"
    """Recorded, and not there."""
    UNRECORDED = "unrecorded"
    """There, and no run has recorded it."""
    HALF_WRITTEN = "half-written"
    """What a killed writer left beside the file, which nobody reads."""

    @property
    def is_loss(self) -> bool:
        """Whether something is not as it should be, rather than left over."""
        return self in {Flaw.DAMAGED, Flaw.MISSING}


@dataclass(frozen=True)
class Finding:
    """A file that is not as it should be."""

    flaw: Flaw
    file: str
    day: date | None
    remedy: str


@dataclass
class Verified:
    """What was found."""

    files: int = 0
    """That were read."""
    purged: Counter[str] = field(default_factory=Counter)
    """Days by asset that were purged: not there, or reduced to ids and numbers."""
    findings: list[Finding] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is damaged or missing."""
        return not any(finding.flaw.is_loss for finding in self.findings)


def verify(
    instance: dg.DagsterInstance,
    storage: Storage,
    assets: Iterable[str],
    *,
    first: date = date.min,
    last: date = date.max,
    progress: Progress = lambda items, _: items,
) -> Verified:
    """Verify the days of a range, both included, and what was released of them; by default everything.

    Raises `StorageError` when the storage cannot be read.
    """
    verified = Verified()
    for asset in assets:
        records, files = AssetRecords(instance, asset), day_files(storage.list(asset))
        known = sorted(day for day in {*records.versions, *files} if first <= day <= last)
        for day in progress(known, asset):
            key = files.get(day)
            standing = records.standing(storage, day, key)
            verified.files += key is not None
            if standing is Standing.PURGED:
                verified.purged[asset] += 1
            if standing in _DAY_FLAWS:
                flaw, remedy = _DAY_FLAWS[standing]
                file = f"{asset} of {day}" if key is None else storage.url(key)
                verified.findings.append(Finding(flaw, file, day, remedy.format(asset=asset, day=day)))
    _verify_released(storage, first, last, verified, progress)
    for key in storage.half_written():
        day = day_of(key.removeprefix("rejected/"))
        if day is None or first <= day <= last:
            remedy = "none is needed: the next write takes its place, and the purge removes it"
            verified.findings.append(Finding(Flaw.HALF_WRITTEN, storage.url(key), day, remedy))
    return verified


_DAY_FLAWS = {
    Standing.DAMAGED: (
        Flaw.DAMAGED,
        "movie-platform backfill --from {day} --to {day}, or materialize {asset} for {day} in the UI",
    ),
    Standing.MISSING: (
        Flaw.MISSING,
        "movie-platform backfill --from {day} --to {day}, or materialize {asset} for {day} in the UI",
    ),
    Standing.UNRECORDED: (
        Flaw.UNRECORDED,
        "movie-platform backfill --from {day} --to {day} makes and records it; or delete it",
    ),
}


def _verify_released(storage: Storage, first: date, last: date, verified: Verified, progress: Progress) -> None:
    """The pointer, the history, and the copy of each bundle that they name."""
    named: dict[Champion, None] = {}
    readers: list[Callable[[], Champion | None]] = [lambda: read_pointer(storage)]
    readers += [partial(_champion_of_entry, storage, key) for key in storage.list(HISTORY)]
    all_read = True
    for read in readers:
        try:
            if (champion := read()) is not None:
                named[champion] = None
        except DamagedError as error:
            document, _, problem = str(error).partition(" is not ")
            verified.findings.append(Finding(Flaw.DAMAGED, document, None, f"it is not {problem}"))
            all_read = False
    in_range = sorted((c for c in named if first <= c.partition <= last), key=lambda c: (c.partition, c.sha256))
    for champion in progress(in_range, RELEASED):
        remedy = (
            f"materialize champion_bundle for {champion.partition}, which copies the bundle again if it is the same"
        )
        try:
            read_released(storage, champion)
        except ObjectNotFound:
            flaw = Flaw.MISSING
        except DamagedError:
            flaw, remedy = Flaw.DAMAGED, f"delete it, and {remedy}"
            verified.files += 1
        else:
            verified.files += 1
            continue
        verified.findings.append(Finding(flaw, storage.url(champion.path), champion.partition, remedy))
    if not all_read or (first, last) != (date.min, date.max):
        return  # a copy that nothing names may well be one that the damaged document names
    for key in storage.list(RELEASED):
        if key not in {champion.path for champion in named}:
            remedy = "a run ended before it was released: the next one does it; or delete it"
            verified.findings.append(Finding(Flaw.UNRECORDED, storage.url(key), None, remedy))


def _champion_of_entry(storage: Storage, key: str) -> Champion:
    return read_entry(storage, key).champion
