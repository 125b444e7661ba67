"""What may not be kept any longer goes, from the store and from Dagster's records, and nothing else does.

Days are made now; "later" is said by the argument `now`.
"""

import gzip
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from movie_platform.assets import ASSETS
from movie_platform.automation import build_automation
from movie_platform.cli import cli
from movie_platform.dagster_internals import (
    newest_check_results,
    record_ids,
    recorded_times,
    recorded_versions,
    run_tags,
)
from movie_platform.day_records import COLLECTED_AS, FETCHED_AT, AssetRecords, PurgeKind
from movie_platform.definitions import build_definitions
from movie_platform.io_managers import are_reduced, read_predictions, reduce_predictions
from movie_platform.operations.backfill import missing_days
from movie_platform.operations.report import best_upcoming
from movie_platform.operations.retention import Purged, first_day_learned_from, retain
from movie_platform.operations.survey import DayStatus, survey
from movie_platform.operations.verify import Flaw, verify
from movie_platform.partitions import days, look_back
from movie_platform.rating_model.outcomes import FORECAST_COLUMNS
from movie_platform.settings import Settings
from movie_platform.storage import DiskStorage, Storage, open_storage
from movie_platform.tmdb.films import films_from_parquet
from movie_platform_tests.platform import run_platform
from movie_platform_tests.postgres import running_postgres

pytestmark = pytest.mark.xdist_group("retention")  # the days that many look at are made by one worker

FIRST, LAST = date(2026, 1, 1), date(2026, 1, 2)
DAYS = days(FIRST, LAST)
NAMES = [asset.key.path[-1] for asset in ASSETS]
CHECKS = [(key.asset_key.path[-1], key.name) for asset in ASSETS for key in asset.check_keys]
UPSTREAM = {asset.key.path[-1]: [parent.path[-1] for parent in asset.dependency_keys] for asset in ASSETS}
KEEP = 170
DELETED = [asset for asset in COLLECTED_AS if asset != "predicted_ratings"]


def later(n: float = KEEP + 1) -> datetime:
    return datetime.now(UTC) + timedelta(days=n)


def purge(instance: dg.DagsterInstance, storage: Storage | Path, now: datetime | None = None, **options: Any) -> Purged:
    store = storage if isinstance(storage, Storage) else open_storage(str(storage))
    chosen: dict[str, Any] = {"keep_days": KEEP, "catch_up_days": 62, "say": lambda text: None, **options}
    return retain(instance, store, now=now or later(), **chosen)


class Place:
    """A folder for files and one for Dagster's records."""

    def __init__(self, root: Path) -> None:
        self.root, self.data, self.home = root, root / "data", root / "home"

    @property
    def storage(self) -> Storage:
        return open_storage(str(self.data))

    def instance(self) -> dg.DagsterInstance:
        return dg.DagsterInstance.from_config(str(self.home))

    def copy(self, to: Path) -> "Place":
        shutil.copytree(self.root, to)
        return Place(to)

    def texts(self) -> set[str]:
        """What TMDB's stand-in says of films in words: of those that metadata show, and of some of all the others."""
        found: set[str] = set()
        for file in (self.data / "predicted_ratings").glob("*.parquet"):
            table = read_predictions(file.read_bytes())
            found.update(table.loc[table["release_date"] > pd.Timestamp(file.stem), "title"].head(10))
        for asset in ("preprocessed_movies", "preprocessed_upcoming_movies"):
            for file in (self.data / asset).glob("*.parquet"):
                table = films_from_parquet(file.read_bytes())
                found.update(table["title"].head(5))
                for column in ("title", "overview", "original_title"):
                    found.update(table[column][::40])
        return {text for text in found if " " in text}  # a single word may be one of the encoder's

    def files(self) -> dict[str, bytes]:
        return {str(path.relative_to(self.data)): path.read_bytes() for path in self.data.rglob("*") if path.is_file()}


def readable(path: Path) -> str:
    """A file's content as text, whatever its format."""
    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes()).decode()
    if path.suffix == ".parquet":
        return "\n".join(map(str, pq.read_table(path).to_pydict().values()))
    if path.suffix == ".db":
        with closing(sqlite3.connect(path)) as database:
            tables = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
            return "\n".join(str(row) for name in tables for row in database.execute(f'select * from "{name}"'))
    return path.read_bytes().decode(errors="replace")


def telling(root: Path, texts: set[str]) -> set[str]:
    """The files that repeat a text, as it is or as JSON writes it."""
    written = texts | {json.dumps(text)[1:-1] for text in texts}
    contents = {str(path.relative_to(root)): readable(path) for path in root.rglob("*") if path.is_file()}
    return {name for name, content in contents.items() if any(text in content for text in written)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Two days of everything; the second one was refused when it was made again, and left files under rejected/."""
    place = Place(tmp_path_factory.mktemp("made"))
    place.home.mkdir()
    (place.home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with place.instance() as instance:
        assert run_platform(instance, str(place.data), str(FIRST), str(LAST)).success
        again = ["preprocessed_movies", "raw_movies"]
        refused = run_platform(instance, str(place.data), str(LAST), str(LAST), assets=again, bad_rows=[str(LAST)])
        assert not refused.success
        assert run_platform(instance, str(place.data), str(LAST), str(LAST), assets=again).success
    return place


@pytest.fixture
def place(made: Place, tmp_path: Path) -> Place:
    return made.copy(tmp_path / "own")


@pytest.fixture
def instance(place: Place) -> Iterator[dg.DagsterInstance]:
    with place.instance() as opened:
        yield opened


def failure_of(result: dg.JobExecutionResult, instance: dg.DagsterInstance) -> str:
    entries = instance.all_logs(result.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    return " ".join(str(entry.get_dagster_event().step_failure_data.user_failure_data) for entry in entries)


# --- what goes, and what stays ---------------------------------------------------------------------


def test_nothing_is_left_of_what_tmdb_says(place: Place, instance: dg.DagsterInstance):
    texts = place.texts()
    before = telling(place.root, texts)
    assert {name.split("/")[1] for name in before if name.startswith("data/")} == {*COLLECTED_AS, "rejected"}
    assert any(name.startswith("home/") for name in before), "first rows and the ten best are in the metadata"

    said: list[str] = []
    purged = purge(instance, place.data, say=said.append)

    assert telling(place.root, texts) == set()
    assert not any(text in line for text in texts for line in said)
    assert purged.days == dict.fromkeys(COLLECTED_AS, DAYS)
    assert {Path(key).parts[0] for key in purged.others} == {"rejected"}
    assert list(place.storage.list("rejected")) == []


def test_days_stay_as_they_are_for_everybody_else(place: Place, instance: dg.DagsterInstance):
    settings = Settings(MOVIE_PLATFORM_STORAGE=str(place.data))
    materialized = {asset: instance.get_materialized_partitions(dg.AssetKey(asset)) for asset in NAMES}
    versions = {asset: recorded_versions(instance, dg.AssetKey(asset)) for asset in NAMES}
    purge(instance, place.data)

    assert materialized == {asset: instance.get_materialized_partitions(dg.AssetKey(asset)) for asset in NAMES}
    unchanged = set(NAMES) - {"predicted_ratings"}
    assert all(versions[asset] == recorded_versions(instance, dg.AssetKey(asset)) for asset in unchanged)
    assert missing_days(instance, place.storage, NAMES, DAYS) == {asset: set() for asset in NAMES}
    states = survey(instance, place.storage, settings, upstream=UPSTREAM, now=datetime(2026, 1, 3, 12, tzinfo=UTC)).days
    assert [(state.day, state.status) for state in states] == [(day, DayStatus.COMPLETE) for day in DAYS]
    verified = verify(instance, place.storage, NAMES)
    assert verified.findings == []
    assert verified.purged == dict.fromkeys(COLLECTED_AS, len(DAYS))


def test_the_record_says_what_was_done_and_keeps_numbers_times_and_provenance(
    place: Place, instance: dg.DagsterInstance
):
    def record(asset: str) -> Any:
        (newest,) = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[str(FIRST)]), limit=1
        ).records
        return newest.asset_materialization

    before = {asset: record(asset) for asset in NAMES}
    purge(instance, place.data, datetime(2040, 1, 1, tzinfo=UTC))
    for asset in NAMES:
        then, now = before[asset], record(asset)
        assert (
            dict(then.tags).items() <= {**now.tags, "dagster/data_version": then.tags["dagster/data_version"]}.items()
        )
        if asset not in COLLECTED_AS:
            assert now.metadata == then.metadata
            continue
        assert now.metadata["dagster/row_count"] == then.metadata["dagster/row_count"]
        assert ("file" in now.metadata) == (asset == "predicted_ratings")
        assert "2040-01-01" in now.description
        assert not any(isinstance(value, dg.TableMetadataValue) for value in now.metadata.values())
    records = AssetRecords(instance, "raw_movies")
    assert records.purged[FIRST].kind is PurgeKind.DELETED
    assert records.purged[FIRST].on == date(2040, 1, 1)
    assert set(recorded_times(instance, dg.AssetKey("raw_upcoming_movies"), "as of", DAYS)) == set(DAYS)


def test_the_results_of_checks_stay_beside_the_days(place: Place, instance: dg.DagsterInstance):
    key = dg.AssetCheckKey(dg.AssetKey("predicted_ratings"), "every_film")

    def newest() -> Any:
        return instance.event_log_storage.get_asset_check_execution_history(key, limit=1)[0]

    films = newest().event.dagster_event.event_specific_data.metadata["films"]
    purge(instance, place.data)
    found = newest().event.dagster_event.event_specific_data
    (record,) = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=key.asset_key, asset_partitions=[found.partition]), limit=1
    ).records
    assert found.passed
    assert found.target_materialization_data.storage_id == record.storage_id
    assert found.metadata["films"] == films


def test_what_is_not_too_old_stays(place: Place, instance: dg.DagsterInstance):
    files, runs = place.files(), instance.get_runs_count()
    purged = purge(instance, place.data, later(KEEP - 1))
    assert (purged.days, purged.others, purged.runs.deleted) == ({}, [], [])
    assert (place.files(), instance.get_runs_count()) == (files, runs)


def test_a_second_time_there_is_nothing_to_do(place: Place, instance: dg.DagsterInstance):
    purge(instance, place.data)
    files = place.files()
    again = purge(instance, place.data, later(KEEP + 40))
    assert (again.days, again.others, again.runs.deleted) == ({}, [], [])
    assert place.files() == files


def test_a_dry_run_says_the_same_and_changes_nothing(place: Place, instance: dg.DagsterInstance):
    files, runs = place.files(), instance.get_runs_count()
    planned = purge(instance, place.data, dry_run=True)
    assert (place.files(), instance.get_runs_count()) == (files, runs)
    done = purge(instance, place.data)
    assert planned == done


# --- reduced predictions ---------------------------------------------------------------------------


def test_reduced_predictions_hold_all_that_outcomes_read(made: Place):
    data = (made.data / f"predicted_ratings/{FIRST}.parquet").read_bytes()
    reduced = reduce_predictions(data)
    columns = list(FORECAST_COLUMNS)
    pd.testing.assert_frame_equal(read_predictions(reduced)[columns], read_predictions(data)[columns])
    assert are_reduced(read_predictions(reduced))
    assert not are_reduced(read_predictions(data))
    assert reduce_predictions(reduced) == reduced == reduce_predictions(data)
    assert (
        pq.read_schema(made.data / f"predicted_ratings/{FIRST}.parquet").names
        == read_predictions(reduced).columns.tolist()
    )


def test_reduced_predictions_can_still_be_judged_and_reported(place: Place, instance: dg.DagsterInstance):
    purge(instance, place.data)
    assert "reduced to ids and numbers" in str(best_upcoming(place.storage, LAST))
    result = run_platform(instance, str(place.data), str(LAST), str(LAST), assets=["prediction_outcomes"])
    assert not result.success
    assert "preprocessed_upcoming_movies of 2026-01-02 was purged on" in failure_of(result, instance)


# --- what a purged day means to those who make days ------------------------------------------------


@pytest.mark.parametrize("asset", ["trained_bundle", "metrics"])
def test_training_on_purged_days_is_refused_with_the_reason(place: Place, instance: dg.DagsterInstance, asset: str):
    purge(instance, place.data)
    files = place.files()
    result = run_platform(instance, str(place.data), str(LAST), str(LAST), assets=[asset])
    assert not result.success
    reason = failure_of(result, instance)
    assert "preprocessed_movies of 2026-01-01, 2026-01-02" in reason
    assert "was purged" in reason
    assert "MOVIE_PLATFORM_KEEP_DAYS" in reason
    assert "materialize raw_movies and preprocessed_movies for those days first" in reason
    assert place.files() == files


def test_training_is_refused_when_a_part_of_its_look_back_was_purged(place: Place, instance: dg.DagsterInstance):
    purge(instance, place.data)
    again = ["raw_movies", "preprocessed_movies"]
    assert run_platform(instance, str(place.data), str(LAST), str(LAST), assets=again).success
    result = run_platform(instance, str(place.data), str(LAST), str(LAST), assets=["trained_bundle"])
    assert "preprocessed_movies of 2026-01-01, from which 2026-01-02 learns, was purged" in failure_of(result, instance)


def test_a_purged_day_can_be_collected_anew_and_is_fresh_then(place: Place, instance: dg.DagsterInstance):
    purge(instance, place.data)
    again = ["raw_movies", "preprocessed_movies", "trained_bundle"]
    assert run_platform(instance, str(place.data), str(FIRST), str(LAST), assets=again).success
    assert AssetRecords(instance, "raw_movies").purged == {}
    assert set(AssetRecords(instance, "raw_upcoming_movies").purged) == set(DAYS)
    files = place.files()
    assert purge(instance, place.data, later(1)).days == {}
    assert place.files() == files
    assert verify(instance, place.storage, NAMES).is_whole
    assert purge(instance, place.data).days == {"raw_movies": DAYS, "preprocessed_movies": DAYS}


def test_a_day_that_is_being_collected_anew_is_left_alone(place: Place, instance: dg.DagsterInstance):
    """As after a kill between the file and its record."""
    purge(instance, place.data)
    place.storage.put(f"raw_movies/{FIRST}.jsonl.gz", b"collected anew")
    assert purge(instance, place.data, later(1)).days == {}
    (finding,) = verify(instance, place.storage, NAMES).findings
    assert (finding.flaw, finding.day) == (Flaw.UNRECORDED, FIRST)


# --- ages ------------------------------------------------------------------------------------------


def put(storage: Storage, key: str, *, age: float) -> None:
    """A file that was written so many days ago."""
    storage.put(key, b"x")
    written = (datetime.now(UTC) - timedelta(days=age)).timestamp()
    os.utime(storage.url(key), (written, written))


def collect(instance: dg.DagsterInstance, asset: str, day: date, *, age: float) -> None:
    """A record that a day was collected so many days ago."""
    at = datetime.now(UTC) - timedelta(days=age)
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            asset,
            partition=f"{day}",
            metadata={FETCHED_AT: dg.MetadataValue.timestamp(at)},
            tags={"dagster/data_version": "0" * 64},
        )
    )


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[tuple[dg.DagsterInstance, DiskStorage]]:
    with dg.instance_for_test() as opened:
        yield opened, DiskStorage(tmp_path / "empty")


@pytest.mark.parametrize(
    ("collected", "written", "goes"),
    [(10, 10, False), (180, 10, True), (10, 180, True), (None, 180, True), (None, 10, False), (169, 169, False)],
)
@pytest.mark.parametrize(
    "key", ["preprocessed_upcoming_movies/2026-01-01.parquet", "rejected/raw_upcoming_movies/2026-01-01/a.txt"]
)
def test_the_collection_counts_or_an_earlier_file(empty, key, collected, written, goes):
    instance, storage = empty
    put(storage, key, age=written)
    if collected is not None:
        collect(instance, "raw_upcoming_movies", FIRST, age=collected)
    purge(instance, storage, later(0))
    assert storage.exists(key) != goes


def test_what_was_refused_is_as_old_as_the_first_collection_that_is_known(empty):
    """The file that stood there before is moved aside when the day is collected again, and looks new."""
    instance, storage = empty
    put(storage, f"rejected/raw_movies/{FIRST}.before.jsonl.gz", age=1)
    collect(instance, "raw_movies", FIRST, age=171)
    collect(instance, "raw_movies", FIRST, age=1)
    purge(instance, storage, later(0))
    assert list(storage.list()) == []


def test_attachments_strange_names_and_half_written_files_go_by_their_own_age(empty):
    instance, storage = empty
    for name in ("raw_movies/2026-01-01/plot.png", "raw_movies/notes.txt", "metrics/2026-01-01.json"):
        put(storage, name, age=171)
        put(storage, f"{name}.new", age=1)
    for name, age in ((".old.partial", 171), (".new.partial", 1)):
        put(storage, f"raw_movies/x{name}", age=age)
        Path(storage.url(f"raw_movies/x{name}")).rename(Path(storage.url("raw_movies/x")).with_name(name))
    purge(instance, storage, later(0))
    assert set(storage.list()) == {
        "metrics/2026-01-01.json",
        "metrics/2026-01-01.json.new",
        "raw_movies/2026-01-01/plot.png.new",
        "raw_movies/notes.txt.new",
    }
    assert set(storage.half_written()) == {"raw_movies/new"}


TODAYS = st.dates(date(2026, 3, 1), date(2036, 1, 1))


@given(TODAYS, st.integers(1, 170), st.data())
def test_the_days_that_training_may_still_read_are_those_of_the_look_backs(today, catch_up, data):
    newest = today - timedelta(days=1)
    trained = newest - timedelta(days=data.draw(st.integers(0, catch_up - 1)))
    first = first_day_learned_from(today, catch_up)
    assert all(day >= first for day in look_back(trained, date(2000, 1, 1)))
    assert first in look_back(newest - timedelta(days=catch_up - 1), date(2000, 1, 1))


@pytest.mark.parametrize(
    ("asset", "day_age", "file_age", "goes"),
    [
        ("preprocessed_movies", 60, 60, False),  # the training of a late day reads it
        ("preprocessed_movies", 87, 87, False),
        ("preprocessed_movies", 89, 89, True),
        ("preprocessed_movies", 60, 181, True),  # but no longer than TMDB allows, whatever the clock said
        ("raw_movies", 60, 60, True),
        ("preprocessed_upcoming_movies", 60, 60, True),
    ],
)
def test_what_training_still_reads_stays_even_if_little_is_to_be_kept(empty, asset, day_age, file_age, goes):
    instance, storage = empty
    day = datetime.now(UTC).date() - timedelta(days=day_age)
    key = f"{asset}/{day}.x"
    put(storage, key, age=file_age)
    purge(instance, storage, later(0), keep_days=31)
    assert storage.exists(key) != goes


# --- runs ------------------------------------------------------------------------------------------


def test_old_runs_go_with_their_logs_however_they_ended(place: Place, instance: dg.DagsterInstance):
    runs = [run.run_id for run in instance.get_runs()]
    assert len(runs) == 3
    assert all((place.home / "storage" / run).exists() for run in runs)
    purged = purge(instance, place.data)
    assert sorted(purged.runs.deleted) == sorted(runs)
    assert instance.get_runs_count() == 0
    left = {path.name for folder in ("history", "storage") for path in (place.home / folder).rglob("*")}
    assert not any(run in name for run in runs for name in left)


def test_a_run_that_is_not_over_stays_and_so_do_its_days(place: Place, instance: dg.DagsterInstance):
    job = build_definitions(settings=Settings(MOVIE_PLATFORM_STORAGE=str(place.data))).resolve_job_def("daily")
    run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=run_tags(LAST, LAST))
    purged = purge(instance, place.data)
    assert purged.left_alone == {LAST}
    assert purged.days == {asset: [FIRST] for asset in COLLECTED_AS}
    assert [run.run_id for run in instance.get_runs()] == [run.run_id]
    instance.report_run_canceled(run)
    assert purge(instance, place.data).days == {asset: [LAST] for asset in COLLECTED_AS}


def test_a_young_run_goes_if_it_tells_of_a_day_that_was_purged(place: Place, instance: dg.DagsterInstance):
    """Made again shortly before the raw data became too old; the other days of that run keep their records."""
    texts = place.texts()
    assets = ["preprocessed_upcoming_movies", "predicted_ratings"]
    young = run_platform(instance, str(place.data), str(FIRST), str(LAST), assets=assets).run_id
    asked_for = instance.get_run_record_by_id(young).create_timestamp

    purged = purge(instance, place.data, asked_for + timedelta(days=KEEP))
    assert purged.days == dict.fromkeys(COLLECTED_AS, DAYS)
    assert young in purged.runs.deleted
    assert instance.get_runs_count() == 0
    assert telling(place.root, texts) == set()


def test_a_young_run_that_made_a_purged_day_anew_stays(place: Place, instance: dg.DagsterInstance):
    purge(instance, place.data)
    run_id = run_platform(instance, str(place.data), str(FIRST), str(FIRST), assets=["raw_movies"]).run_id
    purge(instance, place.data, later(1))
    assert [run.run_id for run in instance.get_runs()] == [run_id]


def test_assets_of_others_keep_their_records(place: Place, instance: dg.DagsterInstance):
    @dg.asset
    def theirs() -> dg.MaterializeResult[Any]:
        return dg.MaterializeResult(metadata={"a table": dg.MetadataValue.md("| a |")})

    assert dg.materialize([theirs], instance=instance).success
    purge(instance, place.data)
    event = instance.get_latest_materialization_event(dg.AssetKey("theirs"))
    assert event.asset_materialization.metadata["a table"] == dg.MetadataValue.md("| a |")
    assert record_ids(instance, dg.AssetKey("theirs"))[0].run_id == ""


# --- kills -----------------------------------------------------------------------------------------


class Killed(BaseException):
    """As if the process had been killed."""


def die_at(patch: pytest.MonkeyPatch, instance: dg.DagsterInstance, step: int, *, after: bool) -> list[str]:
    """Let the n-th change of anything, of the store or of the records, be the last; returns the changes."""
    changes: list[str] = []

    def dying(name: str, change: Callable[..., Any]) -> Callable[..., Any]:
        def replaced(*args: Any, **options: Any) -> Any:
            if len(changes) == step and not after:
                raise Killed
            result = change(*args, **options)
            changes.append(name)
            if len(changes) == step + 1 and after:
                raise Killed
            return result

        return replaced

    for owner, name in (
        (DiskStorage, "put"),
        (DiskStorage, "delete"),
        (instance, "report_runless_asset_event"),
        (instance.event_log_storage, "delete_events"),
        (instance.compute_log_manager, "delete_logs"),
        (instance.run_storage, "delete_run"),
    ):
        patch.setattr(owner, name, dying(name, getattr(owner, name)))
    return changes


@pytest.fixture(scope="module")
def one_day(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, list[str], Mapping[str, bytes]]:
    """A day of everything but training, the changes of purging it, and the files afterwards."""
    place = Place(tmp_path_factory.mktemp("one_day"))
    place.home.mkdir()
    (place.home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with place.instance() as instance:
        assert run_platform(instance, str(place.data), str(FIRST), str(FIRST)).success
    for path in place.data.rglob("*"):
        os.utime(path, (1, 1))
    purged = place.copy(tmp_path_factory.mktemp("purged") / "own")
    with purged.instance() as instance, pytest.MonkeyPatch.context() as patch:
        changes = die_at(patch, instance, 10_000, after=True)
        purge(instance, purged.data)
    assert set(changes) == {
        "put", "delete", "report_runless_asset_event", "delete_events", "delete_logs", "delete_run",
    }  # fmt: skip
    return place, changes, purged.files()


def changes_to_die_at(changes: list[str]) -> list[int]:
    """Every change that is unlike the one before it: what is between is more of the same."""
    return [n for n, name in enumerate(changes) if n == 0 or changes[n - 1] != name]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_kill_at_any_point_leaves_nothing_that_looks_like_a_loss(one_day, tmp_path: Path, after: bool):
    made, changes, files = one_day
    texts = made.texts()
    with made.instance() as instance:
        found = verdicts(instance)
    assert found.keys() == set(CHECKS)
    for number in changes_to_die_at(changes):
        place = made.copy(tmp_path / f"{number}")
        with place.instance() as instance, pytest.MonkeyPatch.context() as patch:
            die_at(patch, instance, number, after=after)
            with pytest.raises(Killed):
                purge(instance, place.data)
        with place.instance() as instance:
            assert verify(instance, place.storage, NAMES).findings == [], (number, changes[number])
            assert missing_days(instance, place.storage, NAMES, [FIRST]) == {asset: set() for asset in NAMES}

            purge(instance, place.data)
            assert instance.get_runs_count() == 0
            assert all(instance.get_materialized_partitions(dg.AssetKey(asset)) == {str(FIRST)} for asset in NAMES)
            assert verify(instance, place.storage, NAMES).findings == []
            assert verdicts(instance) == found, (number, changes[number])
        assert place.files() == files
        assert telling(place.root, texts) == set()


def verdicts(instance: dg.DagsterInstance) -> dict[tuple[str, str], bool]:
    """What each check found on the first day."""
    results = newest_check_results(instance, CHECKS, FIRST)
    return {key: result.passed for key, result in results.items()}


# --- PostgreSQL, the job, the command --------------------------------------------------------------


def test_the_same_with_records_in_postgresql(tmp_path: Path):
    with running_postgres(tmp_path / "postgres") as url:
        place = Place(tmp_path / "own")
        place.home.mkdir(parents=True)
        host, _, port = url.partition("@")[2].partition("/")[0].partition(":")
        (place.home / "dagster.yaml").write_text(
            "telemetry: {enabled: false}\n"
            "storage:\n  postgres:\n    postgres_db:\n"
            f"      {{scheme: postgresql+psycopg2, username: films, password: '', hostname: {host}, "
            f"db_name: postgres, port: {port}}}\n"
        )
        assets = ["raw_upcoming_movies", "preprocessed_upcoming_movies"]
        with place.instance() as instance:
            assert run_platform(instance, str(place.data), str(FIRST), str(LAST), assets=assets).success
            texts = place.texts()
            assert words_in_postgresql(instance, texts)
            purged = purge(instance, place.data)
            assert purged.days == dict.fromkeys(assets, DAYS)
            assert purged.runs.recorded_again == 0
            assert instance.get_runs_count() == 0
            assert not words_in_postgresql(instance, texts)
            assert all(len(instance.get_materialized_partitions(dg.AssetKey(asset))) == len(DAYS) for asset in assets)
            assert verify(instance, place.storage, assets).findings == []
            assert purge(instance, place.data).counts["runs"] == 0


def words_in_postgresql(instance: dg.DagsterInstance, texts: set[str]) -> bool:
    """Whether any row of any table repeats a text."""
    from sqlalchemy import inspect, text  # noqa: PLC0415

    with instance.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]
        tables = inspect(connection).get_table_names()
        rows = [str(tuple(row)) for name in tables for row in connection.execute(text(f'select * from "{name}"'))]
    return any(one in row for row in rows for one in texts | {json.dumps(t)[1:-1] for t in texts})


def test_the_job_purges_by_its_clock(place: Place, instance: dg.DagsterInstance):
    settings = Settings(MOVIE_PLATFORM_STORAGE=str(place.data))
    definitions = build_definitions(settings=settings, clock=later)
    result = definitions.resolve_job_def("retention").execute_in_process(instance=instance)
    assert result.success
    assert set(AssetRecords(instance, "raw_movies").purged) == set(DAYS)
    (output,) = [event for event in result.all_events if event.event_type is dg.DagsterEventType.STEP_OUTPUT]
    assert output.step_output_data.metadata["days of raw_movies"].value == len(DAYS)
    assert [run.job_name for run in instance.get_runs()] == ["retention"]


@pytest.mark.parametrize(("automation", "status"), [("on", "RUNNING"), ("off", "STOPPED")])
def test_the_schedule_runs_each_night_where_the_automation_does(place: Place, automation: str, status: str):
    settings = Settings(MOVIE_PLATFORM_AUTOMATION=automation, MOVIE_PLATFORM_TIME_ZONE="Europe/Berlin")
    (schedule,) = [
        one for one in build_automation(settings, place.storage, upstream=UPSTREAM).schedules if one.name == "retention"
    ]
    assert schedule.default_status is dg.DefaultScheduleStatus(status)
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("30 4 * * *", "Europe/Berlin")


def test_the_command_says_what_would_go(place: Place, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MOVIE_PLATFORM_STORAGE", str(place.data))
    monkeypatch.setenv("DAGSTER_HOME", str(place.home))
    monkeypatch.chdir(place.root)
    old = (datetime.now(UTC) - timedelta(days=171)).timestamp()
    os.utime(place.data / f"raw_movies/{FIRST}.jsonl.gz", (old, old))
    dry = CliRunner().invoke(cli, ["purge", "--dry-run"])
    assert dry.exit_code == 0
    assert f"raw_movies {FIRST}" in dry.stderr
    assert "To be purged: days of raw_movies: 1" in dry.stdout
    assert (place.data / f"raw_movies/{FIRST}.jsonl.gz").exists()
    assert "Purged: days of raw_movies: 1" in CliRunner().invoke(cli, ["purge"]).stdout
    assert not (place.data / f"raw_movies/{FIRST}.jsonl.gz").exists()
    verified = CliRunner().invoke(cli, ["verify"])
    assert verified.exit_code == 0
    assert "raw_movies 1." in verified.stdout
