"""What `movie-platform status` says: of the days, the bundle in force, the service and the automation."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner, Result
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus
from dagster._daemon.types import DaemonHeartbeat

from movie_platform.assets import UPSTREAM
from movie_platform.cli import cli
from movie_platform.operations.served import Served
from movie_platform.operations.status import ASSETS, Automation, read_automation, read_status
from movie_platform.operations.survey import DayState, DayStatus, Survey, newest_due
from movie_platform.releases import Champion, rollback
from movie_platform.settings import ServingSettings, Settings, describe_settings
from movie_platform.storage import Storage, open_storage
from movie_platform_tests.loopback import closed_port
from movie_platform_tests.records import make_days
from movie_platform_tests.serving.service import bundle_of, decide, release_bundle, running
from serving.app import create_app

NOW = datetime.now(UTC)
NEWEST = newest_due(NOW, Settings())
DAY = date(2026, 1, 5)
ON = Automation(sensors={"catch_up": True}, alive_at=NOW)
OFF = Automation(sensors={"catch_up": False}, alive_at=None)


def ago(days: int) -> date:
    return NEWEST - timedelta(days=days)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Default settings, and a terminal of 80 columns."""
    for setting in describe_settings():
        monkeypatch.delenv(setting.name, raising=False)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster-home"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """That of the default settings."""
    return open_storage(str(tmp_path / "data"))


def ask(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["status", *arguments])


def words(result: Result) -> str:
    """The text, whatever the lines are broken like."""
    return " ".join(result.output.split())


# --- the days -------------------------------------------------------------------------------------


def test_its_list_of_assets_is_that_of_the_graph():
    """It does not import them, which takes seconds."""
    assert list(ASSETS) == list(UPSTREAM)


def test_when_nothing_is_missing_all_is_well(instance, storage):
    make_days(instance, storage, [ago(1), ago(0)])
    result = ask()
    assert result.exit_code == 0, result.output
    assert f"Days from {ago(1)} to {NEWEST}" in result.output
    assert result.output.count(str(NEWEST)) > len(ASSETS)
    assert "All is well: nothing needs a person." in result.output
    assert max(map(len, result.output.splitlines())) <= 80


def test_gaps_are_ranges_by_asset_and_a_person_is_needed_where_the_automation_is_off(instance, storage):
    make_days(instance, storage, [ago(n) for n in (6, 5, 2)])
    make_days(instance, storage, [ago(0)], ASSETS[:2])
    result = ask()
    assert result.exit_code == 1
    lines = {line.split()[0]: line for line in result.output.splitlines() if line.split()[:1]}
    assert f"{ago(4)} to {ago(3)}, {ago(1)}" in words(result)
    assert lines["raw_movies"].split()[1] == str(NEWEST)
    assert lines["metrics"].split()[1] == str(ago(2))
    assert f"movie-platform backfill --from {ago(4)} --to {NEWEST}" in words(result)


def test_on_days_that_are_long_over_it_says_what_was_made_last(instance, storage):
    long_ago = NEWEST - timedelta(days=100)
    make_days(instance, storage, [long_ago])
    found = json.loads(ask("--json").output)
    assert set(found["newest_complete"].values()) == {str(long_ago)}
    assert len(found["days"]) == 62
    assert found["older_gaps"][0] == str(long_ago + timedelta(days=1))
    assert any("older days" in need for need in found["needs"])


def test_a_failed_day_is_waiting_with_its_reason_as_it_is(instance, storage):
    """Text in brackets is not markup."""

    @dg.asset(partitions_def=dg.DailyPartitionsDefinition("2026-01-01"))
    def raw_movies() -> None:
        raise ValueError("no [bold] films [/bold]")

    make_days(instance, storage, [ago(1)])
    dg.materialize([raw_movies], instance=instance, partition_key=str(NEWEST), raise_on_error=False)
    result = ask()
    assert result.exit_code == 1
    assert f"waiting {NEWEST}, tried again at " in words(result)
    assert "no [bold] films [/bold]" in words(result)


# --- what needs a person --------------------------------------------------------------------------


def needs(
    instance: dg.DagsterInstance,
    storage: Storage,
    *days: DayState,
    automation: Automation = ON,
    served: Served | None = None,
    **survey: Any,
) -> list[str]:
    found = Survey(newest=NEWEST, days=days, **{"older_gaps": (), **survey})
    settings = Settings(SERVING_URL="http://127.0.0.1:8000")
    return read_status(instance, storage, settings, survey=found, automation=automation, served=served, now=NOW).needs


def test_a_day_that_was_given_up_needs_a_person(instance, storage):
    state = DayState(DAY, DayStatus.GIVEN_UP, ("metrics",), 6, None, "The check broke.")
    (need,) = needs(instance, storage, state)
    assert need.startswith("2026-01-05 was given up after 6 failures")
    assert need.endswith("backfill --from 2026-01-05 --to 2026-01-05")


def test_what_the_automation_will_do_needs_nobody_until_the_deadline(instance, storage):
    waiting = DayState(NEWEST, DayStatus.WAITING, ("metrics",), 1, NOW + timedelta(minutes=5), "No network.")
    running = DayState(DAY, DayStatus.RUNNING, ("metrics",))
    assert needs(instance, storage, running) == []
    late = DayState(NEWEST - timedelta(days=2), DayStatus.WAITING, ("metrics",), 9, NOW, "No network.")
    assert needs(instance, storage, late, waiting)[0].startswith("past the deadline of 12 hours: ")


def test_a_dead_daemon_needs_a_person(instance, storage):
    dead = Automation(sensors={"catch_up": True}, alive_at=NOW - timedelta(minutes=6))
    (need,) = needs(instance, storage, automation=dead)
    assert "Dagster's daemon does not run" in need
    assert needs(instance, storage, automation=OFF) == []


def test_a_bundle_that_is_not_served_in_time_needs_a_person(instance, storage):
    champion = release_bundle(storage, bundle_of(DAY))  # released in February
    another = Served(partition=DAY - timedelta(days=1), sha256="0" * 64, pinned=False)
    (need,) = needs(instance, storage, served=another)
    assert "serves the bundle of 2026-01-04, not that of 2026-01-05" in need
    assert needs(instance, storage, served=Served(another.partition, another.sha256, pinned=True)) == []
    assert needs(instance, storage, served=Served(champion.partition, champion.sha256, pinned=False)) == []
    assert needs(instance, storage, served=Served(champion.partition, "f" * 64, pinned=False)), "another of that day"


def test_a_bundle_that_has_just_come_into_force_may_not_be_served_yet(instance, storage):
    for day, seed in ((DAY, 0), (DAY + timedelta(days=1), 1)):
        decide(storage, release_bundle(storage, bundle_of(day, seed=seed)))
    rollback(storage, reasons=["Rolled back by hand."], now=NOW - timedelta(minutes=1))
    assert needs(instance, storage, served=Served(DAY + timedelta(days=1), "0" * 64, pinned=False)) == []


# --- releases and the service ---------------------------------------------------------------------


@pytest.fixture
def released(instance, storage) -> Champion:
    make_days(instance, storage, [ago(0)])
    for day, seed in ((DAY, 0), (DAY + timedelta(days=1), 1)):
        decide(storage, release_bundle(storage, bundle_of(day, seed=seed)))
    return rollback(storage, reasons=["Rolled back by hand."], now=datetime(2026, 3, 1, 8, 15, tzinfo=UTC)).in_force


def test_the_bundle_in_force_and_the_barred_days_are_shown(released):
    result = ask()
    assert result.exit_code == 0, result.output
    assert (
        f"in force 2026-01-05 ({released.sha256[:12]}) since 2026-03-01 08:15 UTC, code version abc, trained on "
        "SYNTHETIC films"
    ) in words(result)
    assert "barred 2026-01-06, rolled back at 2026-03-01 08:15 UTC" in words(result)
    document = json.loads(ask("--json").output)
    assert document["in_force"]["partition"] == "2026-01-05"
    assert document["barred"] == {"2026-01-06": "2026-03-01T08:15:00+00:00"}
    assert document["needs"] == []


@pytest.mark.parametrize("keys", [None, "0123456789abcdef"])
def test_the_service_is_asked_what_it_serves(released, monkeypatch, tmp_path: Path, keys: str | None):
    """Which needs no key."""
    settings: dict[str, Any] = {"SERVING_API_KEYS": keys} if keys else {}
    app = create_app(
        ServingSettings(MOVIE_PLATFORM_STORAGE=str(tmp_path / "data"), SERVING_CACHE=str(tmp_path / "own"), **settings)
    )
    with running(app) as client:
        monkeypatch.setenv("SERVING_URL", str(client.base_url))
        assert json.loads(ask("--json").output)["served"] == {
            "partition": "2026-01-05",
            "sha256": released.sha256,
            "pinned": False,
            "problem": None,
        }


def test_a_service_that_does_not_answer_is_a_line(released, monkeypatch):
    monkeypatch.setenv("SERVING_URL", f"http://127.0.0.1:{closed_port()}")
    result = ask()
    assert result.exit_code == 1
    assert "served it does not answer (ConnectError)" in words(result)
    assert "Needs a person: the service at http://127.0.0.1" in words(result)


# --- the automation -------------------------------------------------------------------------------


def switch(instance: dg.DagsterInstance, name: str, status: InstigatorStatus) -> None:
    """What the UI's switch does."""
    location = RegisteredCodeLocationOrigin("films")
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "__repository__"), name)
    instance.add_instigator_state(InstigatorState(origin, InstigatorType.SENSOR, status))


@pytest.mark.parametrize("default", [True, False])
def test_a_switch_of_the_ui_wins_over_the_default(instance, default: bool):
    assert read_automation(instance, {"catch_up": default}).on is default
    switch(instance, "catch_up", InstigatorStatus.STOPPED if default else InstigatorStatus.RUNNING)
    assert read_automation(instance, {"catch_up": default}).on is not default


def test_what_the_daemon_has_noted_of_a_default_is_not_a_switch(instance):
    switch(instance, "catch_up", InstigatorStatus.DECLARED_IN_CODE)
    assert read_automation(instance, {"catch_up": True}).on


def test_the_automation_is_shown_with_its_last_sign_of_life(instance, storage, monkeypatch):
    make_days(instance, storage, [ago(0)])
    monkeypatch.setenv("MOVIE_PLATFORM_AUTOMATION", "on")
    result = ask()
    assert result.exit_code == 1
    assert "daemon never ran" in words(result)
    now = datetime.now(UTC)
    instance.add_daemon_heartbeat(DaemonHeartbeat(now.timestamp(), "SENSOR", "id", []))
    result = ask()
    assert result.exit_code == 0, result.output
    assert "automation on (catch_up on" in words(result)
    assert f"last alive at {now:%Y-%m-%d %H:%M} UTC" in words(result)


# --- what is not there ----------------------------------------------------------------------------


def test_without_a_folder_of_records_it_says_so_and_makes_none(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "nowhere"))
    result = ask()
    assert result.exit_code == 1
    assert "nothing has been made there yet" in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_is_down_is_one_line(tmp_path: Path, monkeypatch):
    home = tmp_path / "postgres"
    home.mkdir()
    (home / "dagster.yaml").write_text(POSTGRES.format(port=closed_port()))
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    result = ask()
    assert result.exit_code == 1
    (line,) = result.output.splitlines()
    assert line.startswith(
        "Error: the database of Dagster's records does not answer (OperationalError: connection to server at "
    )
    assert "Connection refused" in line
    assert "verysecret" not in line


POSTGRES = """
telemetry: {{enabled: false}}
storage:
  postgres:
    postgres_db:
      {{username: films, password: verysecret, hostname: 127.0.0.1, port: {port}, db_name: dagster,
       scheme: postgresql+psycopg2}}
"""
