"""What is released: the copies under `released/`, the pointer `champion.json` and its history, on `storage`.

The platform releases, the service reads; both take the names and the documents from here. Whether a bundle is good
enough is decided elsewhere (`rating_model.gate`); here a decision is only carried out, so that

- the pointer always names the newest *partition* that was released: releasing an older day never takes over;
- the released copy is never rewritten, and exists before anything names it; the pointer moves last;
- a day whose gate refuses it when it is made again is no longer in force, if an earlier one was released;
- two writers never lose one another's release (compare-and-swap), and releasing again changes nothing.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from movie_platform.storage import Conflict, Storage, StorageError, Versioned

POINTER = "champion.json"
RELEASED = "released"
HISTORY = "champion_history"
DECISIONS = "champion_bundle"
_ATTEMPTS = 20
_LARGEST_DOCUMENT = 2**20
_Document = TypeVar("_Document", bound=BaseModel)


class DamagedError(StorageError):
    """The object was read, and is not what it should be: reading it again does not help."""


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

    event: Literal["release", "withdrawal"]
    champion: Champion
    reasons: list[str]
    at: datetime
    now_in_force: bool
    """False for a withdrawal, and for a day older than the one in force at that moment."""


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

    Safe to repeat after a crash at any point. Raises `StorageError` when other writers keep moving the pointer.
    """

    def newest(current: Champion | None) -> Champion | None:
        return current if current is not None and current.partition > champion.partition else champion

    in_force = _move_pointer(storage, newest) == champion
    _record(storage, HistoryEntry(event="release", champion=champion, reasons=reasons, at=now, now_in_force=in_force))
    return in_force


def withdraw(storage: Storage, partition: date, *, in_force: Champion, reasons: list[str], now: datetime) -> None:
    """Let the pointer name `in_force` if it names `partition`, whose gate has since refused it. Safe to repeat."""
    current = read_pointer(storage)
    if current is None or current.partition != partition:
        return

    def earlier(pointed: Champion | None) -> Champion | None:
        return in_force if pointed == current else pointed

    # First the entry: once the pointer has moved, a repeat after a crash would not know that there was a withdrawal.
    entry = HistoryEntry(event="withdrawal", champion=current, reasons=reasons, at=now, now_in_force=False)
    _record(storage, entry)
    _move_pointer(storage, earlier)


def _move_pointer(storage: Storage, decide: Callable[[Champion | None], Champion | None]) -> Champion | None:
    """Let the pointer name what `decide` makes of what it names; no other writer's move is lost."""
    for _ in range(_ATTEMPTS):
        read = storage.get_versioned(POINTER)
        current = _parse(Champion, read.data, storage.url(POINTER)) if read else None
        wanted = decide(current)
        if wanted is None or wanted == current:
            return current
        try:
            storage.swap(POINTER, _json(wanted), expected=read.version if read else None)
        except Conflict:
            continue
        return wanted
    raise StorageError(f"{storage.url(POINTER)} was moved by others {_ATTEMPTS} times in a row; try again")


def _record(storage: Storage, entry: HistoryEntry) -> None:
    """Write the entry, unless the newest one of the partition says the same: then this is a repeat after a crash."""
    partition = f"{entry.champion.partition}"
    name = f"{entry.event}-{partition}-{entry.champion.sha256[:12]}.json"
    earlier = [key for key in storage.list(HISTORY) if f"-{partition}-" in key]
    if not earlier or not earlier[-1].endswith(name):
        storage.put_new(f"{HISTORY}/{entry.at.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}-{name}", _json(entry))


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
    """Every release and withdrawal, oldest first."""
    return [_read_entry(storage, key) for key in storage.list(HISTORY)]


def find_released(storage: Storage, partition: date) -> Champion | None:
    """The champion that was last released of a day, in force or not; None if the day was never released."""
    released = [key for day, key in _releases(storage) if day == partition]
    return _read_entry(storage, released[-1]).champion if released else None


def released_days(storage: Storage) -> list[date]:
    """The days of which a bundle was ever released, oldest first."""
    return sorted({day for day, _ in _releases(storage)})


def _releases(storage: Storage) -> Iterator[tuple[date, str]]:
    for key in storage.list(HISTORY):
        match = re.fullmatch(rf"{HISTORY}/[^-]+-release-(\d{{4}}-\d\d-\d\d)-[0-9a-f]{{12}}\.json", key)
        if match:
            yield date.fromisoformat(match[1]), key


def _read_entry(storage: Storage, key: str) -> HistoryEntry:
    return _parse(HistoryEntry, storage.get(key, at_most=_LARGEST_DOCUMENT), storage.url(key))


def newest_released(storage: Storage, *, before: date) -> Champion | None:
    """The champion of the newest day before `before` whose gate released it; None if there is none."""
    for key in reversed(storage.list(DECISIONS)):
        match = re.fullmatch(rf"{DECISIONS}/(\d{{4}}-\d\d-\d\d)\.json", key)
        if match and date.fromisoformat(match[1]) < before:
            decision = _parse(Decision, storage.get(key), storage.url(key))
            if decision.released:
                return decision.candidate
    return None


def _json(document: BaseModel) -> bytes:
    return (document.model_dump_json(indent=1) + "\n").encode()


def _parse(kind: type[_Document], data: bytes, url: str) -> _Document:
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'document'}: {e['msg']}" for e in error.errors())
        raise DamagedError(f"{url} is not a {kind.__name__} document ({problems}): restore it from a backup") from error
