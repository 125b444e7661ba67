"""What is released: the copies under `released/`, the pointer `champion.json` and its history, on `storage`.

The platform releases, the service reads; both take the names and the documents from here. Whether a bundle is good
enough is decided elsewhere (`rating_model.gate`); here a decision is only carried out, so that

- the pointer always names the newest *partition* that was released: releasing an older day never takes over;
- the released copy is never rewritten, and exists before anything names it; the pointer moves last;
- a day whose gate refuses it when it is made again is no longer in force, if an earlier one was released;
- a person has the last word: a day that was rolled back is *barred*, whatever its gate says, until it is released by
  hand; and a bundle that was released by hand stays released when its day is made again to the same bytes;
- two writers never lose one another's release (compare-and-swap), no writer leaves the pointer on a barred day, and
  releasing again changes nothing.

The history is the only place where a bar or a release by hand is kept. The names of its entries tell them apart, so
that one look at the folder is enough.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from movie_platform.storage import Conflict, Storage, StorageError, Versioned

POINTER = "champion.json"
RELEASED = "released"
HISTORY = "champion_history"
DECISIONS = "champion_bundle"
_ATTEMPTS = 20
_LARGEST_DOCUMENT = 2**20
_ENTRY = re.compile(
    rf"{HISTORY}/(\d{{8}}T\d{{6}}\.\d{{6}})Z"
    r"-(release|release_by_hand|withdrawal|rollback)-(\d{4}-\d\d-\d\d)-([0-9a-f]{12})\.json"
)
_ENTRY_TIME = "%Y%m%dT%H%M%S.%f"
_ROLLBACK = "rollback"
_HAND_RELEASE = "release_by_hand"
_RELEASES = {"release", _HAND_RELEASE}
_BY_HAND = {_ROLLBACK, _HAND_RELEASE}
_SHOWN_DAYS = 5
_Document = TypeVar("_Document", bound=BaseModel)


class DamagedError(StorageError):
    """The object was read, and is not what it should be: reading it again does not help."""


class RollbackRefusedError(Exception):
    """There is nothing to roll back to: says why, and what can be done instead. Nothing has changed."""


class Champion(BaseModel):
    """A released bundle, and the content of `champion.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    partition: date
    sha256: str
    """Of the whole file at `path`."""
    path: str
    """The key of the released copy in the storage."""
    code_version: str
    synthetic: bool
    """Trained on the built-in synthetic catalogue: its predictions say nothing about real films."""


class Decision(BaseModel):
    """The document of `champion_bundle`: what the gate said of day `partition`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    partition: date
    released: bool
    reasons: list[str]
    """Sentences for a person, whichever way it went."""
    candidate: Champion
    """The bundle of the day; its `path` exists only if it was released."""
    compared_with: Champion | None
    """The newest released partition before this day, if there was one."""
    compared_films: int
    """How many films both hold-outs contain."""
    rmse: dict[str, dict[str, float]]
    """Of `candidate` and `champion`, by situation, on the films that both hold-outs contain."""
    champion_in_force: Champion | None
    """The newest released partition up to and including this day."""
    synthetic: bool


class HistoryEntry(BaseModel):
    """An object of `champion_history/`: the only place where the time of a release is kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    event: Literal["release", "withdrawal", "rollback"]
    """A withdrawal is the gate's; a rollback bars the day until it is released by hand."""
    champion: Champion
    reasons: list[str]
    at: datetime
    now_in_force: bool
    """True only for a release of a day that is not older than the one in force at that moment."""
    by: Literal["gate", "hand"] = "gate"
    """Documents written before there were releases by hand do not say it."""


class _Recorded(NamedTuple):
    """What the name of an entry says."""

    at: datetime
    event: str
    day: date
    sha256: str
    """Its first 12 digits."""
    key: str


@dataclass(frozen=True)
class RolledBack:
    """What a rollback has done."""

    barred: Sequence[date]
    """The days that are barred now and were not before, oldest first."""
    before: Champion | None
    """What was in force."""
    in_force: Champion
    """What is in force now."""


def champion_of(bundle: bytes, *, partition: date, code_version: str, synthetic: bool) -> Champion:
    """The champion that a bundle would be."""
    sha256 = hashlib.sha256(bundle).hexdigest()
    return Champion(
        partition=partition,
        sha256=sha256,
        path=f"{RELEASED}/{partition}-{sha256[:12]}.zip",
        code_version=code_version,
        synthetic=synthetic,
    )


def keep_copy(storage: Storage, bundle: bytes, champion: Champion) -> None:
    """Copy a bundle to where it will be read from; must come before anything that names it. Safe to repeat."""
    if hashlib.sha256(bundle).hexdigest() != champion.sha256:
        raise ValueError(f"the bundle of {champion.partition} is not the one that was judged: its SHA-256 differs")
    storage.put_new(champion.path, bundle)


def release(storage: Storage, champion: Champion, *, reasons: list[str], now: datetime) -> bool:
    """Make `champion`, whose copy is kept, a released bundle; returns whether the pointer names it afterwards.

    For what the gate has released: a day that was barred meanwhile is left alone. Safe to repeat after a crash at any
    point. Raises `StorageError` when other writers keep moving the pointer.
    """
    in_force = _move_pointer(storage, _newer_of(champion)) == champion
    if champion.partition not in barred_days(storage):
        entry = HistoryEntry(event="release", champion=champion, reasons=reasons, at=now, now_in_force=in_force)
        _record(storage, entry)
    return in_force


def release_by_hand(storage: Storage, champion: Champion, *, reasons: list[str], now: datetime) -> bool:
    """Make `champion`, whose copy is kept, a released bundle whatever its gate says; lifts a bar of its day.

    Returns whether the pointer names it afterwards: it does unless a newer day is in force. Safe to repeat after a
    crash at any point.
    """
    current = read_pointer(storage)
    entry = HistoryEntry(
        event="release",
        by="hand",
        champion=champion,
        reasons=reasons,
        at=now,
        now_in_force=current is None or current.partition <= champion.partition,
    )
    _record_by_hand(storage, entry)  # first, since the pointer does not move to a barred day
    return _move_pointer(storage, _newer_of(champion)) == champion


def _newer_of(champion: Champion) -> Callable[[Champion | None], Champion | None]:
    def newer(current: Champion | None) -> Champion | None:
        return current if current is not None and current.partition > champion.partition else champion

    return newer


def withdraw(storage: Storage, partition: date, *, in_force: Champion, reasons: list[str], now: datetime) -> None:
    """Let the pointer name `in_force` if it names `partition`, whose gate has since refused it. Safe to repeat.

    The bundle that the day's decision is about stays if a person has released it, whatever its gate says; one that the
    day was made to before does not.
    """
    current = read_pointer(storage)
    if current is None or current.partition != partition:
        return
    if newest_released(storage, before=partition + timedelta(days=1)) == current:
        return

    def earlier(pointed: Champion | None) -> Champion | None:
        if pointed != current:
            return pointed
        barred = in_force.partition in barred_days(storage)  # since the caller has looked
        return newest_released(storage, before=in_force.partition) if barred else in_force

    # First the entry: once the pointer has moved, a repeat after a crash would not know that there was a withdrawal.
    entry = HistoryEntry(event="withdrawal", champion=current, reasons=reasons, at=now, now_in_force=False)
    _record(storage, entry)
    _move_pointer(storage, earlier)


def rollback(storage: Storage, *, to: date | None = None, reasons: list[str], now: datetime) -> RolledBack:
    """Bar the day in force, or everything ever released after the day `to`, and move the pointer before it.

    A barred day stays barred, also when it is made again and passes its gate, until `release_by_hand`; later days are
    released as usual. The bundle that will be in force is verified first. With `to` it is safe to repeat after a crash
    at any point, and does nothing when all is so already; without, a repeat after the pointer has moved is another
    step back. Raises `RollbackRefusedError` when there is nothing to go back to.
    """
    current = read_pointer(storage)
    if current is None:
        raise RollbackRefusedError(f"no bundle is in force: there is no {storage.url(POINTER)}")
    target = newest_released(storage, before=to + timedelta(days=1) if to else current.partition)
    if target is None or to not in (None, target.partition):
        raise RollbackRefusedError(_nothing_to_go_back_to(storage, to, current.partition))
    try:
        read_released(storage, target)
    except (FileNotFoundError, DamagedError) as error:
        raise RollbackRefusedError(
            f"{error}; so {target.partition} cannot be put in force. Materialize champion_bundle of {target.partition} "
            "again, or name an older day with --to"
        ) from error

    if to is None:
        out = [current]
    else:
        released = {entry.day: entry.key for entry in _releases(storage) if entry.day > to}
        out = [read_entry(storage, key).champion for _, key in sorted(released.items())]
        if current.partition > to and current.partition not in released:  # its writer died before the entry
            out.append(current)
    barred_before = barred_days(storage)
    for champion in out:
        # First the bars: a writer that releases one of these days meanwhile sees its bar, or we see its move.
        entry = HistoryEntry(
            event="rollback", by="hand", champion=champion, reasons=reasons, at=now, now_in_force=False
        )
        _record_by_hand(storage, entry)
    barred = {champion.partition for champion in out}

    def back(pointed: Champion | None) -> Champion | None:
        later = pointed is not None and pointed.partition > target.partition and pointed.partition not in barred
        return pointed if later else target

    return RolledBack(
        barred=sorted(barred - set(barred_before)), before=current, in_force=_move_pointer(storage, back) or target
    )


def _nothing_to_go_back_to(storage: Storage, to: date | None, in_force: date) -> str:
    if to is None:
        return (
            f"no day before {in_force}, which is in force, is released and not barred: there is nothing to go back to. "
            "Release an earlier day by hand first (movie-platform release --partition), or make one"
        )
    since = barred_days(storage).get(to)
    if since is not None:
        return (
            f"{to} is barred itself, since it was rolled back on {since:%Y-%m-%d}: lift that first, with "
            f"movie-platform release --partition {to}, or name an older day"
        )
    usable: list[date] = []
    day = in_force + timedelta(days=1)
    while len(usable) < _SHOWN_DAYS and (champion := newest_released(storage, before=day)) is not None:
        day = champion.partition
        usable.insert(0, day)
    known = ", ".join(map(str, usable)) or "none"
    return f"{to} is not a released day (the newest ones are: {known}): name one of these"


def _move_pointer(storage: Storage, decide: Callable[[Champion | None], Champion | None]) -> Champion | None:
    """Let the pointer name what `decide` makes of what it names; no other writer's move is lost.

    Never a barred day. Whoever bars a day writes the bar before reading the pointer, and the bars are read here again
    after the pointer has moved: so one of the two sees the other, and takes the pointer away from the day.
    """
    for _ in range(_ATTEMPTS):
        read = storage.get_versioned(POINTER)
        current = _parse(Champion, read.data, storage.url(POINTER)) if read else None
        wanted = _not_barred(storage, decide(current), instead=current)
        if wanted is None or wanted == current:
            return current
        try:
            storage.swap(POINTER, _json(wanted), expected=read.version if read else None)
        except Conflict:
            continue
        if wanted.partition not in barred_days(storage):
            return wanted
    raise StorageError(f"{storage.url(POINTER)} was moved by others {_ATTEMPTS} times in a row; try again")


def _not_barred(storage: Storage, wanted: Champion | None, *, instead: Champion | None) -> Champion | None:
    barred = barred_days(storage)
    for champion in (wanted, instead):
        if champion is None or champion.partition not in barred:
            return champion
    assert instead is not None
    return newest_released(storage, before=instead.partition)


def _record(storage: Storage, entry: HistoryEntry) -> None:
    """Write the entry, unless the newest one of the partition says the same: then this is a repeat after a crash."""
    earlier = [found for found in _recorded(storage) if found.day == entry.champion.partition]
    if not earlier or not _says_the_same(earlier[-1], entry):
        _write_entry(storage, entry, after=earlier)


def _record_by_hand(storage: Storage, entry: HistoryEntry) -> None:
    """As `_record`, but what the gate did since to the partition does not undo a person's word."""
    earlier = [found for found in _recorded(storage) if found.day == entry.champion.partition]
    spoken = [found for found in earlier if found.event in _BY_HAND]
    if entry.event == "rollback" and spoken and spoken[-1].event == entry.event:
        return
    if not spoken or not _says_the_same(spoken[-1], entry):
        _write_entry(storage, entry, after=earlier)


def _says_the_same(found: _Recorded, entry: HistoryEntry) -> bool:
    return (found.event, found.sha256) == (_event(entry), entry.champion.sha256[:12])


def _write_entry(storage: Storage, entry: HistoryEntry, *, after: Sequence[_Recorded]) -> None:
    # The newest word counts, and the clock of another machine may be ahead of ours.
    at = max([entry.at.astimezone(UTC), *(found.at + timedelta(microseconds=1) for found in after)])
    name = f"{at:{_ENTRY_TIME}}Z-{_event(entry)}-{entry.champion.partition}-{entry.champion.sha256[:12]}.json"
    storage.put_new(f"{HISTORY}/{name}", _json(entry.model_copy(update={"at": at})))


def _event(entry: HistoryEntry) -> str:
    return _HAND_RELEASE if (entry.event, entry.by) == ("release", "hand") else entry.event


def _recorded(storage: Storage) -> list[_Recorded]:
    """What the names of the history say, oldest first."""
    return [
        _Recorded(
            at=datetime.strptime(match[1], _ENTRY_TIME).replace(tzinfo=UTC),
            event=match[2],
            day=date.fromisoformat(match[3]),
            sha256=match[4],
            key=key,
        )
        for key in storage.list(HISTORY)
        if (match := _ENTRY.fullmatch(key))
    ]


def barred_days(storage: Storage) -> dict[date, datetime]:
    """The days that were rolled back and have not been released by hand since: when it was, by day."""
    said = {entry.day: entry for entry in _recorded(storage) if entry.event in _BY_HAND}
    return {day: entry.at for day, entry in sorted(said.items()) if entry.event == _ROLLBACK}


def in_force_since(storage: Storage, champion: Champion) -> datetime | None:
    """When the bundle in force was released, or what took its place was rolled back or withdrawn."""
    its_own = (champion.partition, champion.sha256[:12])
    moves = [
        entry.at
        for entry in _recorded(storage)
        if ((entry.day, entry.sha256) == its_own if entry.event in _RELEASES else entry.day > champion.partition)
    ]
    return max(moves, default=None)


def last_word(storage: Storage, partition: date) -> HistoryEntry | None:
    """What a person has last said of a day, a rollback or a release by hand; None if it was left to the gate."""
    said = [entry for entry in _recorded(storage) if entry.event in _BY_HAND and entry.day == partition]
    return read_entry(storage, said[-1].key) if said else None


def read_pointer(storage: Storage) -> Champion | None:
    """The champion that is in force now; None before the first release."""
    return PointerReader(storage).read()


class PointerReader:
    """Reads the pointer again and again; S3 sends it only when it has moved. For one thread."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._known: Versioned | None = None

    def read(self) -> Champion | None:
        """The champion that is in force now; None before the first release."""
        self._known = self._storage.get_versioned(POINTER, known=self._known, at_most=_LARGEST_DOCUMENT)
        return _parse(Champion, self._known.data, self._storage.url(POINTER)) if self._known else None


def read_released(storage: Storage, champion: Champion, *, at_most: int | None = None) -> bytes:
    """The bytes of a released bundle, exactly those that were released.

    Raises `ObjectNotFound`, `DamagedError` for other bytes, and `ObjectTooLargeError` for more than `at_most`.
    """
    data = storage.get(champion.path, at_most=at_most)
    if hashlib.sha256(data).hexdigest() != champion.sha256:
        raise DamagedError(f"{storage.url(champion.path)} is damaged: its SHA-256 is not {champion.sha256}")
    return data


def mirror(storage: Storage, bundle: bytes, champion: Champion) -> None:
    """Let a reader's own storage hold this released bundle and no other, for `read_pointer` and `read_released`."""
    storage.put(champion.path, bundle)
    storage.put(POINTER, _json(champion))
    for key in storage.list(RELEASED):
        if key != champion.path:
            storage.delete(key)


def read_history(storage: Storage) -> list[HistoryEntry]:
    """Every release, withdrawal and rollback, oldest first. Raises `DamagedError`."""
    return [read_entry(storage, key) for key in storage.list(HISTORY)]


def find_released(storage: Storage, partition: date) -> Champion | None:
    """The champion that was last released of a day, in force, barred or neither; None if the day was never released."""
    released = [entry.key for entry in _releases(storage) if entry.day == partition]
    return read_entry(storage, released[-1]).champion if released else None


def released_days(storage: Storage) -> list[date]:
    """The days of which a bundle was ever released, oldest first."""
    return sorted({entry.day for entry in _releases(storage)})


def _releases(storage: Storage) -> Iterator[_Recorded]:
    return (entry for entry in _recorded(storage) if entry.event in _RELEASES)


def read_entry(storage: Storage, key: str) -> HistoryEntry:
    """One of them, by its key. Raises `DamagedError`."""
    return _parse(HistoryEntry, storage.get(key, at_most=_LARGEST_DOCUMENT), storage.url(key))


def newest_released(storage: Storage, *, before: date) -> Champion | None:
    """The champion of the newest day before `before` that is released and not barred; None if there is none.

    Released by its gate, or by hand: that counts for the very bundle that the day's decision is about.
    """
    said = {entry.day: entry for entry in _recorded(storage) if entry.event in _BY_HAND}
    for key in reversed(storage.list(DECISIONS)):
        match = re.fullmatch(rf"{DECISIONS}/(\d{{4}}-\d\d-\d\d)\.json", key)
        day = date.fromisoformat(match[1]) if match else before
        word = said.get(day)
        if day >= before or (word is not None and word.event == _ROLLBACK):
            continue
        decision = _parse(Decision, storage.get(key), storage.url(key))
        by_hand = word is not None and word.sha256 == decision.candidate.sha256[:12]
        if decision.released or by_hand:
            return decision.candidate
    return None


def read_decision(storage: Storage, partition: date) -> Decision | None:
    """What was decided of a day; None if nothing was."""
    key = f"{DECISIONS}/{partition}.json"
    found = storage.get_versioned(key, at_most=_LARGEST_DOCUMENT)
    return _parse(Decision, found.data, storage.url(key)) if found else None


def _json(document: BaseModel) -> bytes:
    return (document.model_dump_json(indent=1) + "\n").encode()


def _parse(kind: type[_Document], data: bytes, url: str) -> _Document:
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'document'}: {e['msg']}" for e in error.errors())
        raise DamagedError(f"{url} is not a {kind.__name__} document ({problems}): restore it from a backup") from error
