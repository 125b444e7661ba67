"""Which bundle is served: started with, swapped, refused, pinned, and kept for when the storage does not answer."""

import json
import logging
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from fastapi import FastAPI

from movie_platform.rating_model.bundle import MAX_BYTES, Bundle
from movie_platform.releases import POINTER, Champion, champion_of, rollback, withdraw
from movie_platform.settings import ServingSettings
from movie_platform.storage import DiskStorage, Storage
from movie_platform_tests.rating_model.test_bundle import members, zipped
from movie_platform_tests.serving.service import (
    FILM,
    BrokenStorage,
    bundle_of,
    decide,
    film_of,
    point_to,
    release_bundle,
    running,
    service_of,
    wait_until,
)
from serving.app import create_app
from serving.bundles import BundleKeeper
from serving.telemetry import Telemetry

DAY_5, DAY_6, DAY_7 = (date(2026, 1, day) for day in (5, 6, 7))


@pytest.fixture
def own(tmp_path: Path) -> DiskStorage:
    return DiskStorage(tmp_path / "own")


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("serving.bundles.time", made)
    return made


def keeper_of(storage: Storage, own: Storage, *, pinned: date | None = None) -> BundleKeeper:
    return BundleKeeper(storage, own=own, pinned=pinned, telemetry=Telemetry())


def served(keeper: BundleKeeper) -> Champion:
    assert keeper.current is not None, keeper.problem
    return keeper.current.champion


def told(keeper: BundleKeeper) -> str:
    """Return the sentence about what is wrong; there must be one."""
    assert keeper.problem
    return keeper.problem


def forged(bundle: Bundle, **metadata: object) -> bytes:
    """Return a bundle of which the metadata say something else; its check sums hold."""
    contents = members(bundle.to_bytes())
    changed = json.loads(contents["metadata.json"]) | metadata
    return zipped(contents | {"metadata.json": json.dumps(changed).encode()})


# --- start and swap --------------------------------------------------------------------------------


def test_nothing_released_says_what_to_run(storage: Storage, own: Storage):
    keeper = keeper_of(storage, own)
    keeper.poll()
    assert keeper.current is None
    assert "make demo" in told(keeper)
    assert storage.url(POINTER) in told(keeper)


def test_before_the_first_look_there_is_nothing_and_a_reason(storage: Storage, own: Storage, bundle: Bundle):
    release_bundle(storage, bundle)
    keeper = keeper_of(storage, own)
    assert keeper.current is None
    assert "just started" in told(keeper)


def test_the_first_bundle_is_served_with_where_it_is_from(storage: Storage, own: Storage, bundle: Bundle):
    champion = release_bundle(storage, bundle)
    before = datetime.now(UTC)
    keeper = keeper_of(storage, own)
    keeper.poll()
    assert keeper.current is not None
    assert keeper.problem is None
    assert keeper.newest == keeper.current.champion == champion
    assert keeper.current.source == storage.url(champion.path)
    assert not keeper.current.kept
    assert before <= keeper.current.loaded_at <= datetime.now(UTC)
    assert keeper.current.metadata == bundle.metadata


def test_a_newer_bundle_takes_over_and_the_older_goes_on_for_who_has_it(storage: Storage, own: Storage):
    release_bundle(storage, bundle_of(DAY_5))
    keeper = keeper_of(storage, own)
    keeper.poll()
    before = keeper.current
    expected = before.predictor.predict(film_of(FILM))
    champion = release_bundle(storage, bundle_of(DAY_6, seed=1))
    keeper.poll()
    assert served(keeper) == champion
    assert keeper.current.predictor.predict(film_of(FILM)) != expected
    assert before.predictor.predict(film_of(FILM)) == expected


def test_the_same_day_with_another_bundle_takes_over(storage: Storage, own: Storage):
    release_bundle(storage, bundle_of(DAY_5))
    keeper = keeper_of(storage, own)
    keeper.poll()
    champion = release_bundle(storage, bundle_of(DAY_5, seed=1))
    keeper.poll()
    assert served(keeper) == champion


def test_an_unchanged_pointer_changes_nothing(storage: Storage, own: Storage, bundle: Bundle):
    champion = release_bundle(storage, bundle)
    keeper = keeper_of(storage, own)
    keeper.poll()
    before = keeper.current
    storage.delete(champion.path)  # it is not read again
    keeper.poll()
    assert keeper.current is before
    assert keeper.problem is None


def test_after_a_withdrawal_the_older_bundle_is_served_again(storage: Storage, own: Storage):
    older = release_bundle(storage, bundle_of(DAY_5))
    release_bundle(storage, bundle_of(DAY_6, seed=1))
    keeper = keeper_of(storage, own)
    keeper.poll()
    withdraw(storage, DAY_6, in_force=older, reasons=["Worse."], now=datetime(2026, 3, 1, tzinfo=UTC))
    keeper.poll()
    assert served(keeper) == older
    assert keeper.problem is None


def test_after_a_rollback_the_older_bundle_is_served_and_a_pin_on_the_barred_day_still_holds(
    storage: Storage, own: Storage, tmp_path: Path
):
    older, newer = release_bundle(storage, bundle_of(DAY_5)), release_bundle(storage, bundle_of(DAY_6, seed=1))
    for champion in (older, newer):
        decide(storage, champion)
    keeper = keeper_of(storage, own)
    keeper.poll()
    assert served(keeper) == newer
    rollback(storage, reasons=["Rolled back by hand."], now=datetime(2026, 3, 1, tzinfo=UTC))
    keeper.poll()
    assert served(keeper) == older
    assert keeper.problem is None

    pinned = keeper_of(storage, DiskStorage(tmp_path / "pinned"), pinned=DAY_6)
    pinned.poll()
    assert served(pinned) == newer
    assert pinned.problem is None


def test_an_older_day_that_is_released_late_does_not_take_over(storage: Storage, own: Storage):
    newer = release_bundle(storage, bundle_of(DAY_6, seed=1))
    keeper = keeper_of(storage, own)
    keeper.poll()
    release_bundle(storage, bundle_of(DAY_5))
    keeper.poll()
    assert served(keeper) == newer


# --- what is refused -------------------------------------------------------------------------------


def cut_short(storage: Storage) -> None:
    champion = release_bundle(storage, bundle_of(DAY_6, seed=1))
    storage.put(champion.path, storage.get(champion.path)[:-100])


def bit_flipped(storage: Storage) -> None:
    champion = release_bundle(storage, bundle_of(DAY_6, seed=1))
    data = bytearray(storage.get(champion.path))
    data[len(data) // 2] ^= 1
    storage.put(champion.path, bytes(data))


def another_bundle_in_its_place(storage: Storage) -> None:
    champion = release_bundle(storage, bundle_of(DAY_6, seed=1))
    storage.put(champion.path, bundle_of(DAY_6, seed=2).to_bytes())


def missing(storage: Storage) -> None:
    storage.delete(release_bundle(storage, bundle_of(DAY_6, seed=1)).path)


def no_zip(storage: Storage) -> None:
    release_bundle(storage, b"not a zip file", day=DAY_6)


def of_a_later_format(storage: Storage) -> None:
    release_bundle(storage, forged(bundle_of(DAY_6, seed=1), format_version=3), day=DAY_6)


def of_another_day(storage: Storage) -> None:
    release_bundle(storage, bundle_of(DAY_7, seed=1), day=DAY_6)


def failing_a_probe(storage: Storage) -> None:
    bundle = bundle_of(DAY_6, seed=1)
    (first, *others) = (probe.model_dump(mode="json") for probe in bundle.metadata.probes)
    first["prediction"] += 1e-9
    release_bundle(storage, forged(bundle, probes=[first, *others]), day=DAY_6)


def without_probes(storage: Storage) -> None:
    release_bundle(storage, forged(bundle_of(DAY_6, seed=1), probes=[]), day=DAY_6)


def with_an_impossible_probe(storage: Storage) -> None:
    """Of a type that the metadata allow, and a film does not."""
    bundle = bundle_of(DAY_6, seed=1)
    (first, *others) = (probe.model_dump(mode="json") for probe in bundle.metadata.probes)
    first["film"]["release_year"] = 99_999
    release_bundle(storage, forged(bundle, probes=[first, *others]), day=DAY_6)


def too_large(storage: Storage) -> None:
    """With the right digest, so that nothing but its size is wrong."""
    release_bundle(storage, b"\0" * (MAX_BYTES + 1), day=DAY_6)


def with_a_path_that_leads_outside(storage: Storage) -> None:
    champion = release_bundle(storage, bundle_of(DAY_6, seed=1))
    point_to(storage, champion.model_copy(update={"path": "../../etc/passwd"}))


def with_an_absolute_path(storage: Storage) -> None:
    champion = release_bundle(storage, bundle_of(DAY_6, seed=1))
    point_to(storage, champion.model_copy(update={"path": "/etc/passwd"}))


def with_a_path_of_a_folder(storage: Storage) -> None:
    champion = release_bundle(storage, bundle_of(DAY_6, seed=1))
    point_to(storage, champion.model_copy(update={"path": "released"}))


def with_another_digest(storage: Storage) -> None:
    champion = release_bundle(storage, bundle_of(DAY_6, seed=1))
    point_to(storage, champion.model_copy(update={"sha256": champion.sha256.upper()}))


def pointer_gone(storage: Storage) -> None:
    storage.delete(POINTER)


def pointer_empty(storage: Storage) -> None:
    storage.put(POINTER, b"")


def pointer_of_another_thing(storage: Storage) -> None:
    storage.put(POINTER, b'{"partition": "2026-01-06", "unknown": 1}')


def pointer_too_large(storage: Storage) -> None:
    storage.put(POINTER, b" " * (2**20 + 1))


def pointer_deep(storage: Storage) -> None:
    storage.put(POINTER, b"[" * 100_000)


BAD_BUNDLES = [
    cut_short,
    bit_flipped,
    another_bundle_in_its_place,
    missing,
    no_zip,
    of_a_later_format,
    of_another_day,
    failing_a_probe,
    without_probes,
    with_an_impossible_probe,
    too_large,
    with_a_path_that_leads_outside,
    with_an_absolute_path,
    with_a_path_of_a_folder,
    with_another_digest,
]
BAD_POINTERS = [pointer_gone, pointer_empty, pointer_of_another_thing, pointer_too_large, pointer_deep]


@pytest.mark.parametrize("damage", [*BAD_BUNDLES, *BAD_POINTERS], ids=lambda damage: damage.__name__)
def test_what_is_bad_is_refused_and_the_old_bundle_goes_on(
    storage: Storage, own: Storage, clock: Clock, damage: Callable[[Storage], None]
):
    """It is said what is wrong, and the next good bundle is taken."""
    good = release_bundle(storage, bundle_of(DAY_5))
    keeper = keeper_of(storage, own)
    keeper.poll()
    damage(storage)
    for _ in range(3):
        keeper.poll()
        assert served(keeper) == good
        assert keeper.problem
        assert "\n" not in told(keeper)
        assert "unexpectedly" not in told(keeper)
        clock.now += 100
    storage.delete(POINTER)
    newer = release_bundle(storage, bundle_of(DAY_7, seed=1))
    keeper.poll()
    assert served(keeper) == newer
    assert keeper.problem is None


@pytest.mark.parametrize("damage", [*BAD_BUNDLES, *BAD_POINTERS], ids=lambda damage: damage.__name__)
def test_what_is_bad_at_start_is_refused_until_it_is_mended(
    storage: Storage, own: Storage, clock: Clock, damage: Callable[[Storage], None]
):
    damage(storage)
    keeper = keeper_of(storage, own)
    for _ in range(2):
        keeper.poll()
        assert keeper.current is None
        assert keeper.problem
        clock.now += 100
    storage.delete(POINTER)
    champion = release_bundle(storage, bundle_of(DAY_7, seed=1))
    keeper.poll()
    assert served(keeper) == champion


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut_short, "SHA-256"),
        (missing, "there is no "),
        (no_zip, "not a whole zip file"),
        (of_a_later_format, "format_version"),
        (of_another_day, "2026-01-07"),
        (failing_a_probe, "The Lighthouse at Kettle Point"),
        (too_large, "more than"),
        (with_a_path_that_leads_outside, "is not a key"),
        (pointer_empty, "restore it"),
        (pointer_gone, "make demo"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_the_problem_says_what_is_wrong(storage: Storage, own: Storage, damage: Callable[[Storage], None], words: str):
    release_bundle(storage, bundle_of(DAY_5))
    damage(storage)
    keeper = keeper_of(storage, own)
    keeper.poll()
    assert words in told(keeper)


def test_a_refused_bundle_is_told_once_counted_once_and_tried_ever_less_often(
    storage: Storage, own: Storage, clock: Clock, caplog: pytest.LogCaptureFixture
):
    real = storage
    release_bundle(real, bundle_of(DAY_5))
    reads = []

    class Counting(BrokenStorage):
        def get_versioned(self, key, **options):
            reads.append(key)
            return super().get_versioned(key, **options)

    telemetry = Telemetry()
    keeper = BundleKeeper(Counting(real), own=own, pinned=None, telemetry=telemetry)
    keeper.poll()
    failing_a_probe(real)
    reads.clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(600):
            keeper.poll()
            clock.now += 1
    tried = sum(key.startswith("released/") for key in reads)
    assert 5 <= tried <= 20
    assert len(caplog.records) == 1
    assert b"serving_refused_bundles_total 1.0" in telemetry.exposition()


def test_a_bundle_that_is_mended_in_its_place_is_taken_by_itself(storage: Storage, own: Storage, clock: Clock):
    champion = release_bundle(storage, bundle_of(DAY_5))
    good = storage.get(champion.path)
    storage.put(champion.path, good[:-1])
    keeper = keeper_of(storage, own)
    keeper.poll()
    assert keeper.current is None
    storage.put(champion.path, good)
    clock.now += 61
    keeper.poll()
    assert served(keeper) == champion
    assert keeper.problem is None


def test_a_problem_that_has_passed_is_no_longer_told(storage: Storage, own: Storage, clock: Clock):
    """The storage is back while a refused bundle waits for its next try: the bundle is the problem again."""
    release_bundle(storage, bundle_of(DAY_5))
    broken = BrokenStorage(storage)
    keeper = keeper_of(broken, own)
    keeper.poll()
    failing_a_probe(storage)
    for _ in range(6):
        keeper.poll()
        clock.now += 61
    keeper.poll()
    broken.stop()
    keeper.poll()
    assert "EndpointConnectionError" in told(keeper)
    broken.error = None
    keeper.poll()
    assert "Kettle Point" in told(keeper)


# --- trouble of the storage ------------------------------------------------------------------------


def test_a_storage_that_stops_is_told_and_the_bundle_goes_on(storage: Storage, own: Storage, bundle: Bundle):
    champion = release_bundle(storage, bundle)
    broken = BrokenStorage(storage)
    keeper = keeper_of(broken, own)
    keeper.poll()
    broken.stop()
    keeper.poll()
    assert served(keeper) == champion
    assert not keeper.current.kept
    assert "EndpointConnectionError" in told(keeper)
    broken.error = None
    keeper.poll()
    assert keeper.problem is None


@pytest.mark.parametrize(
    "error", [KeyError("x"), MemoryError(), RecursionError(), ZeroDivisionError(), OSError(5, "x"), TimeoutError()]
)
def test_an_exception_that_nobody_expects_is_logged_and_the_service_goes_on(
    storage: Storage, own: Storage, bundle: Bundle, error: Exception, caplog: pytest.LogCaptureFixture
):
    champion = release_bundle(storage, bundle)
    broken = BrokenStorage(storage)
    broken.error = error
    keeper = keeper_of(broken, own)
    keeper.poll()
    assert keeper.current is None
    assert "log" in told(keeper)
    assert any(record.exc_info for record in caplog.records)
    broken.error = None
    keeper.poll()
    assert served(keeper) == champion
    broken.error = error
    keeper.poll()
    assert served(keeper) == champion


def test_without_the_storage_the_kept_copy_is_served_and_said_to_be_one(storage: Storage, own: Storage, bundle: Bundle):
    champion = release_bundle(storage, bundle)
    keeper_of(storage, own).poll()
    broken = BrokenStorage(storage)
    broken.stop()
    keeper = keeper_of(broken, own)
    keeper.poll()
    assert served(keeper) == champion
    assert keeper.current.kept
    assert keeper.current.source == own.url(champion.path)
    assert "EndpointConnectionError" in told(keeper)
    newer = release_bundle(storage, bundle_of(DAY_6, seed=1))
    broken.error = None
    keeper.poll()
    assert served(keeper) == newer
    assert not keeper.current.kept
    assert keeper.problem is None


def test_without_the_storage_and_a_copy_there_is_nothing_until_it_is_back(
    storage: Storage, own: Storage, bundle: Bundle
):
    champion = release_bundle(storage, bundle)
    broken = BrokenStorage(storage)
    broken.stop()
    keeper = keeper_of(broken, own)
    keeper.poll()
    assert keeper.current is None
    assert "EndpointConnectionError" in told(keeper)
    broken.error = None
    keeper.poll()
    assert served(keeper) == champion


def test_a_bundle_refused_at_start_leaves_the_kept_copy(storage: Storage, own: Storage):
    good = release_bundle(storage, bundle_of(DAY_5))
    keeper_of(storage, own).poll()
    failing_a_probe(storage)
    keeper = keeper_of(storage, own)
    keeper.poll()
    assert served(keeper) == good
    assert keeper.current.kept
    assert "Kettle Point" in told(keeper)


def test_a_folder_that_is_gone_is_a_storage_that_is_down(
    storage: Storage, own: Storage, bundle: Bundle, tmp_path: Path
):
    champion = release_bundle(storage, bundle)
    keeper_of(storage, own).poll()
    (tmp_path / "storage").rename(tmp_path / "elsewhere")
    keeper = keeper_of(storage, own)
    keeper.poll()
    assert keeper.current.kept
    assert "make demo" in told(keeper)
    (tmp_path / "elsewhere").rename(tmp_path / "storage")
    keeper.poll()
    assert served(keeper) == champion
    assert keeper.problem is None


def test_only_the_served_bundle_is_kept(storage: Storage, own: Storage):
    keeper = keeper_of(storage, own)
    for number, day in enumerate((DAY_5, DAY_6, DAY_7)):
        champion = release_bundle(storage, bundle_of(day, seed=number))
        keeper.poll()
        assert list(own.list()) == sorted([POINTER, champion.path])


def kept_cut_short(own: Storage) -> None:
    (path,) = own.list("released")
    own.put(path, own.get(path)[:-1])


def kept_pointer_rubbish(own: Storage) -> None:
    own.put(POINTER, b"\xff{")


def kept_pointer_leading_outside(own: Storage) -> None:
    champion = Champion.model_validate_json(own.get(POINTER))
    point_to(own, champion.model_copy(update={"path": "../secret"}))


def kept_bundle_gone(own: Storage) -> None:
    (path,) = own.list("released")
    own.delete(path)


def kept_no_bundle(own: Storage) -> None:
    data = b"PK\x05\x06" + b"\0" * 18
    champion = champion_of(data, partition=DAY_5, code_version="abc", synthetic=True)
    own.put(champion.path, data)
    point_to(own, champion)


KEPT_DAMAGE = [kept_cut_short, kept_pointer_rubbish, kept_pointer_leading_outside, kept_bundle_gone, kept_no_bundle]


@pytest.mark.parametrize("damage", KEPT_DAMAGE, ids=lambda damage: damage.__name__)
def test_a_damaged_copy_is_not_served_and_replaced_later(
    storage: Storage, own: Storage, bundle: Bundle, damage: Callable[[Storage], None]
):
    champion = release_bundle(storage, bundle)
    keeper_of(storage, own).poll()
    damage(own)
    broken = BrokenStorage(storage)
    broken.stop()
    keeper = keeper_of(broken, own)
    for _ in range(2):
        keeper.poll()
        assert keeper.current is None
        assert "EndpointConnectionError" in told(keeper)
    broken.error = None
    keeper.poll()
    assert served(keeper) == champion
    broken.stop()
    again = keeper_of(broken, own)
    again.poll()
    assert served(again) == champion


@pytest.mark.parametrize("error", [KeyError("x"), MemoryError(), RecursionError()])
def test_an_own_disk_that_fails_as_nobody_expects_does_not_end_the_polling(
    storage: Storage, own: Storage, bundle: Bundle, error: Exception
):
    champion = release_bundle(storage, bundle)
    broken, broken_own = BrokenStorage(storage), BrokenStorage(own)
    broken.stop()
    broken_own.error = error
    keeper = keeper_of(broken, broken_own)
    keeper.poll()
    assert keeper.current is None
    broken.error = None
    keeper.poll()
    assert served(keeper) == champion


def in_the_way(folder: Path) -> None:
    folder.write_text("a file where the folder should be")


def folder_in_the_way(folder: Path) -> None:
    folder.mkdir()
    (folder / "released").write_text("a file where the folder should be")


def pointer_is_a_folder(folder: Path) -> None:
    (folder / POINTER).mkdir(parents=True)


@pytest.mark.parametrize(
    "trouble", [in_the_way, folder_in_the_way, pointer_is_a_folder], ids=lambda trouble: trouble.__name__
)
def test_an_own_disk_that_cannot_be_written_does_not_keep_from_serving(
    storage: Storage,
    bundle: Bundle,
    tmp_path: Path,
    trouble: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
):
    champion = release_bundle(storage, bundle)
    trouble(tmp_path / "own")
    keeper = keeper_of(storage, DiskStorage(tmp_path / "own"))
    with caplog.at_level(logging.WARNING):
        keeper.poll()
    assert served(keeper) == champion
    assert keeper.problem is None
    assert any("no copy of the bundle is kept" in record.getMessage() for record in caplog.records)


# --- a pinned day ----------------------------------------------------------------------------------


def test_a_pinned_day_is_served_whatever_is_released(storage: Storage, own: Storage):
    pinned = release_bundle(storage, bundle_of(DAY_5))
    newest = release_bundle(storage, bundle_of(DAY_6, seed=1))
    keeper = keeper_of(storage, own, pinned=DAY_5)
    keeper.poll()
    assert served(keeper) == pinned
    assert keeper.newest == newest
    assert keeper.problem is None
    newest = release_bundle(storage, bundle_of(DAY_7, seed=2))
    keeper.poll()
    assert served(keeper) == pinned
    assert keeper.newest == newest


def test_a_pinned_day_that_was_withdrawn_is_served(storage: Storage, own: Storage):
    older = release_bundle(storage, bundle_of(DAY_5))
    pinned = release_bundle(storage, bundle_of(DAY_6, seed=1))
    withdraw(storage, DAY_6, in_force=older, reasons=["Worse."], now=datetime(2026, 3, 1, tzinfo=UTC))
    keeper = keeper_of(storage, own, pinned=DAY_6)
    keeper.poll()
    assert served(keeper) == pinned


def test_of_a_pinned_day_released_twice_the_last_bundle_is_served(storage: Storage, own: Storage):
    release_bundle(storage, bundle_of(DAY_5))
    last = release_bundle(storage, bundle_of(DAY_5, seed=1))
    release_bundle(storage, bundle_of(DAY_6, seed=2))
    keeper = keeper_of(storage, own, pinned=DAY_5)
    keeper.poll()
    assert served(keeper) == last


def test_a_pinned_day_that_was_never_released_is_told_with_those_that_were(storage: Storage, own: Storage):
    keeper = keeper_of(storage, own, pinned=date(2025, 12, 31))
    keeper.poll()
    assert "SERVING_BUNDLE_PARTITION" in told(keeper)
    release_bundle(storage, bundle_of(DAY_5))
    keeper.poll()
    assert keeper.current is None
    assert "2025-12-31" in told(keeper)
    assert "2026-01-05" in told(keeper)
    pinned = release_bundle(storage, bundle_of(date(2025, 12, 31), seed=1))
    keeper.poll()
    assert served(keeper) == pinned


@pytest.mark.parametrize("damage", BAD_POINTERS, ids=lambda damage: damage.__name__)
def test_a_pinned_day_does_not_need_the_pointer(storage: Storage, own: Storage, damage: Callable[[Storage], None]):
    """A pin is for the day on which the newest cannot be had."""
    pinned = release_bundle(storage, bundle_of(DAY_5))
    damage(storage)
    keeper = keeper_of(storage, own, pinned=DAY_5)
    keeper.poll()
    assert served(keeper) == pinned


def test_a_pinned_bundle_that_is_damaged_is_refused(storage: Storage, own: Storage):
    pinned = release_bundle(storage, bundle_of(DAY_5))
    release_bundle(storage, bundle_of(DAY_6, seed=1))
    storage.put(pinned.path, b"rubbish")
    keeper = keeper_of(storage, own, pinned=DAY_5)
    keeper.poll()
    assert keeper.current is None, "no other day may take the place of a pinned one"
    assert "SHA-256" in told(keeper)


@pytest.mark.parametrize(("day", "is_served"), [(DAY_5, True), (DAY_6, False)])
def test_a_kept_copy_serves_for_a_pin_only_if_it_is_of_that_day(
    storage: Storage, own: Storage, day: date, is_served: bool
):
    release_bundle(storage, bundle_of(DAY_5))
    keeper_of(storage, own).poll()
    broken = BrokenStorage(storage)
    broken.stop()
    keeper = keeper_of(broken, own, pinned=day)
    keeper.poll()
    assert (keeper.current is not None) is is_served
    assert "EndpointConnectionError" in told(keeper)


def test_a_pinned_service_that_began_with_its_copy_takes_what_is_released_when_the_storage_is_back(
    storage: Storage, own: Storage
):
    """Else two services with one pin would answer differently, for ever."""
    release_bundle(storage, bundle_of(DAY_5))
    keeper_of(storage, own).poll()
    last = release_bundle(storage, bundle_of(DAY_5, seed=1))
    broken = BrokenStorage(storage)
    broken.stop()
    keeper = keeper_of(broken, own, pinned=DAY_5)
    keeper.poll()
    assert keeper.current.kept
    broken.error = None
    keeper.poll()
    assert served(keeper) == last


# --- the service around it -------------------------------------------------------------------------


def test_the_service_recovers_by_itself(storage: Storage, bundle: Bundle, make_app: Callable[..., FastAPI]):
    broken = BrokenStorage(storage)
    broken.stop()
    with running(make_app(broken), polling=True) as client:
        wait_until(lambda: "EndpointConnectionError" in client.get("/health/ready").json()["detail"])
        answer = client.post("/predict", json=FILM)
        assert answer.status_code == 503
        assert "EndpointConnectionError" in answer.json()["detail"]
        assert int(answer.headers["Retry-After"]) > 0
        assert "X-Model-Partition" not in answer.headers
        assert client.get("/health/live").status_code == 200
        release_bundle(storage, bundle)
        broken.error = None
        wait_until(lambda: client.get("/health/ready").status_code == 200)
        assert client.post("/predict", json=FILM).status_code == 200
        newer = release_bundle(storage, bundle_of(DAY_6, seed=1))
        wait_until(lambda: client.get("/model").json()["sha256"] == newer.sha256)


def test_a_storage_that_never_answers_does_not_delay_the_kept_copy(
    storage: Storage, bundle: Bundle, make_app: Callable[..., FastAPI]
):
    """A network that swallows everything is a storage that is down, and no time-out of S3 is short."""
    release_bundle(storage, bundle)
    service_of(make_app(storage)).bundles.poll()
    hanging = BrokenStorage(storage)
    hanging.wait = threading.Event()
    with running(make_app(hanging), polling=True) as client:
        try:
            wait_until(lambda: client.get("/health/ready").status_code == 200, seconds=10)
            assert client.post("/predict", json=FILM).status_code == 200
        finally:
            hanging.wait.set()


def test_a_pointer_that_is_gone_does_not_undo_a_release(
    storage: Storage, bundle: Bundle, make_app: Callable[..., FastAPI]
):
    """A disk that is not mounted looks like an empty one, and a pointer is never taken away: the copy serves."""
    release_bundle(storage, bundle)
    service_of(make_app(storage)).bundles.poll()
    storage.delete(POINTER)
    with running(make_app(storage)) as client:
        answer = client.get("/health/ready")
        assert client.get("/model").json()["from_own_copy"]
    assert answer.status_code == 200
    assert "make demo" in answer.json()["problem"]


@pytest.mark.parametrize("error", [RuntimeError("x"), MemoryError()])
def test_trouble_with_the_upcoming_films_does_not_end_the_polling_of_bundles(
    storage: Storage, bundle: Bundle, make_app: Callable[..., FastAPI], error: Exception
):
    release_bundle(storage, bundle)
    broken = BrokenStorage(storage)
    broken.of_list = error
    app = make_app(broken)
    with running(app, polling=True) as client:
        wait_until(lambda: client.get("/health/ready").status_code == 200)
        newer = release_bundle(storage, bundle_of(DAY_6, seed=1))
        wait_until(lambda: served(service_of(app).bundles) == newer, seconds=5)


def test_model_says_what_is_served_and_what_is_newer(
    storage: Storage, make_app: Callable[..., FastAPI], bundle: Bundle
):
    pinned = release_bundle(storage, bundle)
    newest = release_bundle(storage, bundle_of(DAY_6, seed=1))
    with running(make_app(storage, SERVING_BUNDLE_PARTITION=str(DAY_5))) as client:
        model = client.get("/model").json()
    assert (model["partition"], model["sha256"], model["code_version"]) == ("2026-01-05", pinned.sha256, "abc")
    assert model["pinned"] is True
    assert model["newer_released"]["sha256"] == newest.sha256
    assert model["released_at"] == "2026-02-01T12:00:00Z"
    assert model["release_reasons"] == ["It is better."]
    assert model["source"] == storage.url(pinned.path)
    assert model["from_own_copy"] is False
    assert model["trained_on"]["films"] == bundle.metadata.trained_on.films


def test_the_copy_of_another_storage_is_not_served(tmp_path: Path, bundle: Bundle):
    """Two services with one cache and two storages do not mix their bundles up."""
    one, other = DiskStorage(tmp_path / "one"), BrokenStorage(DiskStorage(tmp_path / "other"))
    release_bundle(one, bundle)
    cache = str(tmp_path / "cache")
    app = create_app(ServingSettings(MOVIE_PLATFORM_STORAGE=str(tmp_path / "one"), SERVING_CACHE=cache), storage=one)
    service_of(app).bundles.poll()
    other.stop()
    settings = ServingSettings(MOVIE_PLATFORM_STORAGE=str(tmp_path / "other"), SERVING_CACHE=cache)
    keeper = service_of(create_app(settings, storage=other)).bundles
    keeper.poll()
    assert keeper.current is None


def test_metrics_count_swaps_refusals_and_failures(storage: Storage, bundle: Bundle, make_app: Callable[..., FastAPI]):
    broken = BrokenStorage(storage)
    app = make_app(broken)
    with running(app) as client:
        assert "serving_ready 0.0" in client.get("/metrics").text
        release_bundle(storage, bundle)
        service_of(app).bundles.poll()
        release_bundle(storage, bundle_of(DAY_6, seed=1))
        service_of(app).bundles.poll()
        release_bundle(storage, b"rubbish", day=DAY_7)
        service_of(app).bundles.poll()
        broken.stop()
        service_of(app).bundles.poll()
        client.post("/predict", json=FILM)
        metrics = client.get("/metrics").text
    for line in (
        "serving_ready 1.0",
        "serving_bundle_swaps_total 1.0",
        "serving_refused_bundles_total 1.0",
        "serving_storage_failures_total 1.0",
        'serving_prediction_rating_count{situation="released"} 1.0',
        'serving_requests_total{method="POST",route="/predict",status="200"} 1.0',
    ):
        assert line in metrics, line
    assert 'partition="2026-01-06"' in metrics


def test_a_pointer_that_is_rubbish_is_not_a_storage_that_fails(storage: Storage, own: Storage):
    telemetry = Telemetry()
    keeper = BundleKeeper(storage, own=own, pinned=None, telemetry=telemetry)
    storage.put(POINTER, b"{}")
    keeper.poll()
    assert "champion.json" in told(keeper)
    assert b"serving_storage_failures_total 0.0" in telemetry.exposition()


def test_what_came_from_the_own_copy_is_read_again_when_the_storage_is_back(
    storage: Storage, own: Storage, bundle: Bundle
):
    champion = release_bundle(storage, bundle)
    keeper_of(storage, own).poll()
    broken = BrokenStorage(storage)
    broken.stop()
    keeper = keeper_of(broken, own)
    keeper.poll()
    assert keeper.current.kept
    broken.error = None
    keeper.poll()
    assert served(keeper) == champion
    assert not keeper.current.kept
    assert keeper.current.source == storage.url(champion.path)
