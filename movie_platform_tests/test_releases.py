"""What is released stays, the pointer names the newest partition, and nobody's release is lost."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from movie_platform.releases import (
    POINTER,
    Champion,
    DamagedError,
    PointerReader,
    champion_of,
    find_released,
    keep_copy,
    mirror,
    newest_released,
    read_history,
    read_pointer,
    read_released,
    release,
    released_days,
    withdraw,
)
from movie_platform.storage import Conflict, ObjectTooLargeError, Storage, StorageError, open_storage
from movie_platform_tests.serving.service import decide as write_decision

NOW = datetime(2026, 2, 1, 12, tzinfo=UTC)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path))


def candidate(day: str, content: bytes = b"bundle") -> tuple[bytes, Champion]:
    data = content + day.encode()
    return data, champion_of(data, partition=date.fromisoformat(day), code_version="abc", synthetic=False)


def do_release(storage, day: str, content: bytes = b"bundle", *, now: datetime = NOW) -> bool:
    data, champion = candidate(day, content)
    keep_copy(storage, data, champion)
    return release(storage, champion, reasons=["It is better."], now=now)


def test_a_release_makes_a_copy_a_pointer_and_an_entry_in_the_history(storage):
    assert do_release(storage, "2026-01-05")

    data, champion = candidate("2026-01-05")
    assert read_pointer(storage) == champion
    assert champion.path == f"released/2026-01-05-{champion.sha256[:12]}.zip"
    assert read_released(storage, champion) == data
    (entry,) = read_history(storage)
    assert (entry.champion, entry.reasons, entry.at, entry.now_in_force) == (
        champion,
        ["It is better."],
        NOW,
        True,
    )


def test_the_pointer_holds_no_time(storage):
    do_release(storage, "2026-01-05")
    first = storage.get(POINTER)
    storage.delete(POINTER)
    do_release(storage, "2026-01-05", now=NOW + timedelta(days=3))
    assert storage.get(POINTER) == first


def test_an_older_day_is_released_without_taking_over(storage):
    do_release(storage, "2026-01-05")
    assert not do_release(storage, "2026-01-04", now=NOW + timedelta(hours=1))

    assert read_pointer(storage).partition == date(2026, 1, 5)
    assert [entry.now_in_force for entry in read_history(storage)] == [True, False]
    assert storage.exists(candidate("2026-01-04")[1].path)


def test_the_same_day_with_another_bundle_takes_over(storage):
    do_release(storage, "2026-01-05")
    assert do_release(storage, "2026-01-05", b"another", now=NOW + timedelta(hours=1))
    assert read_pointer(storage) == candidate("2026-01-05", b"another")[1]
    assert storage.exists(candidate("2026-01-05")[1].path), "the earlier copy stays"


def test_releasing_again_changes_nothing(storage, tmp_path):
    do_release(storage, "2026-01-05")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert do_release(storage, "2026-01-05", now=NOW + timedelta(days=1))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_release_that_died_after_moving_the_pointer_is_finished_by_the_next_attempt(storage):
    do_release(storage, "2026-01-05")
    for key in storage.list("champion_history"):
        storage.delete(key)
    do_release(storage, "2026-01-05")
    assert len(read_history(storage)) == 1


def test_every_move_of_the_pointer_is_in_the_history(storage):
    """The same day with another bundle, and back again."""
    for hours, content in enumerate([b"one", b"two", b"one"]):
        do_release(storage, "2026-01-05", content, now=NOW + timedelta(hours=hours))
    shas = [candidate("2026-01-05", content)[1].sha256 for content in (b"one", b"two", b"one")]
    assert [entry.champion.sha256 for entry in read_history(storage)] == shas


def test_a_day_that_its_gate_refuses_when_made_again_is_no_longer_in_force(storage):
    do_release(storage, "2026-01-04")
    do_release(storage, "2026-01-05", now=NOW + timedelta(hours=1))
    earlier = candidate("2026-01-04")[1]
    for hours in (2, 3):
        withdraw(storage, date(2026, 1, 5), in_force=earlier, reasons=["Worse."], now=NOW + timedelta(hours=hours))
    assert read_pointer(storage) == earlier
    assert [(entry.event, str(entry.champion.partition)) for entry in read_history(storage)] == [
        ("release", "2026-01-04"),
        ("release", "2026-01-05"),
        ("withdrawal", "2026-01-05"),
    ]


def test_a_day_that_is_not_in_force_is_not_withdrawn(storage):
    do_release(storage, "2026-01-05")
    withdraw(storage, date(2026, 1, 4), in_force=candidate("2026-01-03")[1], reasons=["Worse."], now=NOW)
    assert read_pointer(storage) == candidate("2026-01-05")[1]
    assert len(read_history(storage)) == 1


def test_releases_at_the_same_time_lose_none_and_the_newest_partition_wins(storage):
    days = [f"2026-01-{n:02}" for n in range(1, 13)]
    with ThreadPoolExecutor(len(days)) as pool:
        list(pool.map(lambda day: do_release(storage, day), days))
    assert read_pointer(storage).partition == date(2026, 1, 12)
    assert {str(entry.champion.partition) for entry in read_history(storage)} == set(days)


def test_a_pointer_that_never_stands_still_is_given_up_with_an_error(storage, monkeypatch):
    def refuse(*args, **kwargs):
        raise Conflict("moved")

    monkeypatch.setattr(storage, "swap", refuse)
    with pytest.raises(StorageError, match="moved by others"):
        do_release(storage, "2026-01-05")


def test_another_bundle_than_the_judged_one_is_not_released(storage):
    _, champion = candidate("2026-01-05")
    with pytest.raises(ValueError, match="not the one that was judged"):
        keep_copy(storage, b"something else", champion)
    assert not storage.exists(champion.path)


def test_a_damaged_copy_is_not_read(storage):
    do_release(storage, "2026-01-05")
    _, champion = candidate("2026-01-05")
    storage.put(champion.path, b"damaged")
    with pytest.raises(StorageError, match="is damaged"):
        read_released(storage, champion)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"partition": "2026-01-05"}', b"\xff\xfe"])
def test_a_pointer_that_is_not_one_is_refused_with_its_place_and_a_remedy(storage, content):
    storage.put(POINTER, content)
    with pytest.raises(StorageError, match=r"champion\.json is not a Champion document .*restore it"):
        read_pointer(storage)


def decide(storage, day: str, *, released: bool) -> None:
    _, champion = candidate(day)
    write_decision(storage, champion, released=released)


def test_the_newest_released_day_before_a_day(storage):
    for day, released in [
        ("2026-01-01", True),
        ("2026-01-02", True),
        ("2026-01-03", False),
        ("2026-01-05", True),
    ]:
        decide(storage, day, released=released)
    assert newest_released(storage, before=date(2026, 1, 5)).partition == date(2026, 1, 2)
    assert newest_released(storage, before=date(2026, 1, 2)).partition == date(2026, 1, 1)
    assert newest_released(storage, before=date(2026, 1, 1)) is None


# --- what a reader needs --------------------------------------------------------------------------


def test_a_reader_of_the_pointer_sees_each_move(storage):
    reader = PointerReader(storage)
    assert reader.read() is None
    for day in ("2026-01-05", "2026-01-06"):
        do_release(storage, day)
        assert reader.read() == reader.read() == candidate(day)[1]
    storage.delete(POINTER)
    assert reader.read() is None


def test_a_released_day_is_found_whether_or_not_it_is_in_force(storage):
    do_release(storage, "2026-01-05")
    do_release(storage, "2026-01-06", now=NOW + timedelta(hours=1))
    do_release(storage, "2026-01-05", b"again", now=NOW + timedelta(hours=2))
    assert find_released(storage, date(2026, 1, 5)) == candidate("2026-01-05", b"again")[1]
    assert find_released(storage, date(2026, 1, 6)) == candidate("2026-01-06")[1]
    assert find_released(storage, date(2026, 1, 7)) is None
    assert released_days(storage) == [date(2026, 1, 5), date(2026, 1, 6)]


def test_a_withdrawn_day_is_still_found(storage):
    do_release(storage, "2026-01-05")
    do_release(storage, "2026-01-06", now=NOW + timedelta(hours=1))
    withdraw(storage, date(2026, 1, 6), in_force=candidate("2026-01-05")[1], reasons=["Worse."], now=NOW)
    assert find_released(storage, date(2026, 1, 6)) == candidate("2026-01-06")[1]


def test_a_mirror_holds_one_released_bundle_whatever_it_held(storage, tmp_path):
    own = open_storage(str(tmp_path / "own"))
    for day in ("2026-01-06", "2026-01-05"):
        data, champion = candidate(day)
        mirror(own, data, champion)
        assert read_pointer(own) == champion
        assert read_released(own, champion) == data
        assert own.list("released") == [champion.path]
    own.put(champion.path, b"damaged")
    mirror(own, data, champion)
    assert read_released(own, champion) == data


def test_reading_tells_damage_from_a_storage_that_fails(storage):
    do_release(storage, "2026-01-05")
    _, champion = candidate("2026-01-05")
    with pytest.raises(ObjectTooLargeError):
        read_released(storage, champion, at_most=3)
    storage.put(champion.path, b"damaged")
    with pytest.raises(DamagedError):
        read_released(storage, champion)
    storage.put(POINTER, b"{}")
    with pytest.raises(DamagedError):
        read_pointer(storage)
