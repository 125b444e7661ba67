"""Every file against its recorded digest, on disk and on S3, and the command that says so."""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from movie_platform.cli import cli
from movie_platform.day_records import day_files, day_of
from movie_platform.operations.verify import Flaw, Verified, verify
from movie_platform.releases import Champion, champion_of, keep_copy, release
from movie_platform.storage import Storage, open_storage

DAYS = [date(2026, 1, 1) + timedelta(days=n) for n in range(4)]
NOW = datetime(2026, 1, 5, 3, tzinfo=UTC)


@pytest.fixture
def storage(storage_url: str) -> Storage:
    return open_storage(storage_url)


def make(instance: dg.DagsterInstance, storage: Storage, day: date, *, asset: str = "metrics") -> str:
    """A day as a run leaves it; returns its key."""
    key, data = f"{asset}/{day}.json", f"{asset} {day}".encode()
    storage.put(key, data)
    tags = {"dagster/data_version": hashlib.sha256(data).hexdigest()}
    instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=f"{day}", tags=tags))
    return key


def released(storage: Storage, day: date) -> Champion:
    data = f"the bundle of {day}".encode()
    champion = champion_of(data, partition=day, code_version="1", synthetic=True)
    keep_copy(storage, data, champion)
    release(storage, champion, reasons=["It is good."], now=NOW)
    return champion


def flaws(verified: Verified, storage: Storage) -> dict[str, Flaw]:
    """By key, or by asset and day where there is no file."""
    assert all(finding.remedy for finding in verified.findings)
    return {finding.file.removeprefix(storage.url("x")[:-1]): finding.flaw for finding in verified.findings}


def test_what_is_as_recorded_is_whole(instance: dg.DagsterInstance, storage: Storage):
    for day in DAYS:
        make(instance, storage, day)
        released(storage, day)
    storage.put(f"metrics/{DAYS[0]}/plot.png", b"a plot")
    verified = verify(instance, storage, ["metrics"])
    assert (verified.findings, verified.is_whole) == ([], True)
    assert verified.files == 2 * len(DAYS)


def test_every_flaw_is_found_with_its_day_and_a_remedy(instance: dg.DagsterInstance, storage: Storage):
    damaged, missing, *_ = [make(instance, storage, day) for day in DAYS[:3]]
    storage.put(damaged, b"other bytes")
    storage.delete(missing)
    storage.put(f"metrics/{DAYS[3]}.json", b"no run has recorded it")
    verified = verify(instance, storage, ["metrics"])
    assert flaws(verified, storage) == {
        damaged: Flaw.DAMAGED,
        f"metrics of {DAYS[1]}": Flaw.MISSING,
        f"metrics/{DAYS[3]}.json": Flaw.UNRECORDED,
    }
    assert [finding.day for finding in verified.findings] == [DAYS[0], DAYS[1], DAYS[3]]
    assert not verified.is_whole


def test_what_is_only_left_over_is_no_loss(instance: dg.DagsterInstance, storage: Storage):
    storage.put(f"metrics/{DAYS[0]}.json", b"no run has recorded it")
    storage.put(f"released/{DAYS[0]}-0123456789ab.zip", b"its run ended before the release")
    verified = verify(instance, storage, ["metrics"])
    assert set(flaws(verified, storage).values()) == {Flaw.UNRECORDED}
    assert verified.is_whole


def test_released_copies_are_compared_with_pointer_and_history(instance: dg.DagsterInstance, storage: Storage):
    damaged, missing, whole = (released(storage, day) for day in DAYS[:3])
    storage.put(damaged.path, b"other bytes")
    storage.delete(missing.path)
    assert flaws(verify(instance, storage, []), storage) == {
        damaged.path: Flaw.DAMAGED,
        missing.path: Flaw.MISSING,
    }
    storage.put(whole.path, b"other bytes")
    for key in storage.list("champion_history"):
        storage.delete(key)
    assert flaws(verify(instance, storage, []), storage)[whole.path] is Flaw.DAMAGED


@pytest.mark.parametrize("document", ["champion.json", "champion_history"])
def test_a_damaged_pointer_or_history_is_named(instance: dg.DagsterInstance, storage: Storage, document: str):
    champion = released(storage, DAYS[0])
    key = document if document == "champion.json" else storage.list(document)[0]
    storage.put(key, b"{")
    assert flaws(verify(instance, storage, []), storage) == {key: Flaw.DAMAGED}
    storage.delete(champion.path)
    assert flaws(verify(instance, storage, []), storage) == {key: Flaw.DAMAGED, champion.path: Flaw.MISSING}


def test_a_damaged_entry_of_the_history_condemns_no_other_copy(instance: dg.DagsterInstance, storage: Storage):
    for day in DAYS[:3]:
        released(storage, day)
    first, *_ = storage.list("champion_history")
    storage.put(first, b"{")
    copy = next(key for key in storage.list("released") if f"{DAYS[1]}" in key)
    storage.put(copy, b"other bytes")
    assert flaws(verify(instance, storage, []), storage) == {first: Flaw.DAMAGED, copy: Flaw.DAMAGED}


def test_only_the_range_is_read(instance: dg.DagsterInstance, storage: Storage):
    for day in DAYS:
        storage.put(make(instance, storage, day), b"other bytes")
        storage.delete(released(storage, day).path)
    verified = verify(instance, storage, ["metrics"], first=DAYS[1], last=DAYS[2])
    assert {finding.day for finding in verified.findings} == {DAYS[1], DAYS[2]}
    assert len(verified.findings) == 2 * 2


def test_what_a_killed_writer_left_is_half_written(instance: dg.DagsterInstance, tmp_path: Path):
    storage = open_storage(str(tmp_path / "storage"))
    key = make(instance, storage, DAYS[0])
    Path(storage.url(key)).with_name(f".{DAYS[0]}.json.partial").write_bytes(b"metr")
    verified = verify(instance, storage, ["metrics"])
    assert flaws(verified, storage) == {key: Flaw.HALF_WRITTEN}
    assert verified.is_whole
    assert verify(instance, storage, ["metrics"], first=DAYS[1]).findings == []


def test_progress_is_told_of_all_that_is_read(instance: dg.DagsterInstance, storage: Storage):
    told: dict[str, int] = {}

    def progress(items: Sequence[Any], what: str) -> Iterable[Any]:
        told[what] = len(items)
        yield from items

    for day in DAYS:
        make(instance, storage, day)
    released(storage, DAYS[0])
    verify(instance, storage, ["metrics"], progress=progress)
    assert told == {"metrics": len(DAYS), "released": 1}


@given(st.dates(), st.sampled_from([".json", ".jsonl.gz", ".parquet"]))
def test_a_key_tells_its_day(day: date, extension: str):
    own, attached = f"metrics/{day}{extension}", f"metrics/{day}/plot.png"
    assert day_of(own) == day_of(attached) == day
    assert day_files([own, attached, "metrics/notes.txt", "champion.json"]) == {day: own}


def test_the_command_names_what_is_wrong_and_ends_with_a_status(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name, value in {
        "MOVIE_PLATFORM_STORAGE": str(tmp_path / "storage"),
        "DAGSTER_HOME": str(tmp_path / "dagster-home"),
        "COLUMNS": "250",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    storage = open_storage(str(tmp_path / "storage"))
    key = make(instance, storage, DAYS[0])
    good = CliRunner().invoke(cli, ["verify"])
    assert (good.exit_code, good.stdout) == (0, "1 files were read. Nothing is damaged or missing.\n")
    storage.put(key, b"other bytes")
    bad = CliRunner().invoke(cli, ["verify"])
    assert bad.exit_code == 1
    assert storage.url(key) in bad.stdout
    assert "movie-platform backfill --from 2026-01-01 --to 2026-01-01" in bad.stdout
    assert CliRunner().invoke(cli, ["verify", "--from", f"{DAYS[1]}"]).exit_code == 0
    swapped = CliRunner().invoke(cli, ["verify", "--from", "2026-01-02", "--to", "2026-01-01"])
    assert "swap them" in swapped.stderr


def test_the_command_wants_to_know_where_the_records_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "nowhere"))
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["verify"])
    assert result.exit_code == 1
    assert "DAGSTER_HOME" in result.stderr
    assert not (tmp_path / "nowhere").exists()
