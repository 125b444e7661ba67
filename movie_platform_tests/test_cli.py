"""The command line as a person meets it: processes with an environment, text, and a status."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from movie_platform.cli import cli, demo_days
from movie_platform.settings import SettingsError, describe_settings

TOKEN = "eyJhbGciOiJIUzI1NiJ9.secret-secret.sig_nature"
PROGRAM = Path(sys.executable).with_name("movie-platform")
DAY = ("--from", "2026-01-01", "--to", "2026-01-01")
DAGSTER_YAML = Path(__file__).parent.parent / "dagster.yaml"


@dataclass(frozen=True)
class Place:
    """A folder to stand in, with a home and a folder for Dagster's records beside it, as make sets them up."""

    root: Path

    def __post_init__(self) -> None:
        for folder in (self.here, self.home, self.dagster):
            folder.mkdir()
        shutil.copy(DAGSTER_YAML, self.dagster)

    @property
    def here(self) -> Path:
        return self.root / "here"

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def dagster(self) -> Path:
        return self.root / "dagster"

    def run(self, *arguments: str, **environment: str | None) -> subprocess.CompletedProcess[str]:
        """Run the program with default settings, changed by `environment`; None takes a variable away."""
        variables: Mapping[str, str | None] = {
            "PATH": os.defpath,
            "HOME": str(self.home),
            "COLUMNS": "200",
            "DAGSTER_HOME": str(self.dagster),
            **environment,
        }
        return subprocess.run(
            [PROGRAM, *arguments],
            cwd=self.here,
            env={name: value for name, value in variables.items() if value is not None},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def complaint(finished: subprocess.CompletedProcess[str]) -> str:
    """The one line that a wrong setting or a storage that does not answer ends with."""
    assert finished.returncode == 2, finished.stderr
    assert finished.stdout == ""
    (line,) = finished.stderr.splitlines()
    return line


# --- arguments ------------------------------------------------------------------------------------


@pytest.fixture
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """For commands in this process: default settings."""
    for setting in describe_settings():
        monkeypatch.delenv(setting.name, raising=False)
    monkeypatch.chdir(tmp_path)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def test_the_commands():
    assert sorted(cli.commands) == [
        "backfill",
        "demo",
        "doctor",
        "purge",
        "release",
        "report",
        "rollback",
        "status",
        "verify",
    ]


@pytest.mark.parametrize("command", ["", *cli.commands])
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_every_command_and_option_is_explained(command: str, option: str):
    result = invoke(*filter(None, [command]), option)
    assert result.exit_code == 0
    assert result.output.startswith("Usage: ")
    assert all(name in result.output for name in (() if command else cli.commands))
    for parameter in cli.commands[command].params if command else ():
        assert getattr(parameter, "help", None), parameter.name


def test_help_needs_no_valid_settings(place: Place):
    """Whoever looks for help may have none yet."""
    assert place.run("backfill", "--help", TMDB_REQUESTS_PER_SECOND="fast").returncode == 0


@pytest.mark.parametrize("command", ["backfill", "report"])
@pytest.mark.parametrize("day", ["2026-02-30", "20260101", "01.01.2026", "yesterday", ""])
def test_a_day_that_is_none_is_refused_with_an_example(command: str, day: str):
    result = invoke(command, "--from", "2026-01-01", "--to", day)
    assert result.exit_code == 2
    assert "'--to'" in result.stderr
    assert "write YYYY-MM-DD, for example 2026-01-05" in result.stderr


@pytest.mark.parametrize("command", ["backfill", "report"])
def test_both_ends_of_a_range_are_needed(command: str):
    result = invoke(command, "--from", "2026-01-01")
    assert result.exit_code == 2
    assert "Missing option '--to'" in result.stderr


@pytest.mark.usefixtures("_clean_environment")
@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("2025-12-31", "2026-01-02"),
        ("2026-01-02", "2026-01-01"),
        ("2026-01-01", str(datetime.now(UTC).date() + timedelta(days=1))),
    ],
    ids=["before the first partition", "backwards", "not over yet"],
)
def test_a_range_of_days_that_do_not_exist_is_not_filled(first: str, last: str):
    """Today's day is over tomorrow. The message names both ends and the setting."""
    result = invoke("backfill", "--from", first, "--to", last)
    assert result.exit_code == 2
    assert f"{first} to {last} is not a range of days from 2026-01-01 (MOVIE_PLATFORM_FIRST_PARTITION)" in result.stderr
    assert "(yesterday)" in result.stderr
    assert list(Path.cwd().iterdir()) == []


def test_a_report_backwards_is_refused(place: Place):
    finished = place.run("report", "--from", "2026-01-02", "--to", "2026-01-01")
    assert finished.returncode == 2
    assert "Traceback" not in finished.stderr
    assert "2026-01-02" in finished.stderr


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("backfill", *DAY),
        ("report", *DAY),
        ("demo",),
        ("status",),
        ("release", "--partition", "2026-01-01"),
        ("rollback",),
    ],
    ids=lambda found: found[0],
)
def test_a_wrong_setting_is_one_line(place: Place, arguments: tuple[str, ...]):
    """From every command, before anything is done."""
    line = complaint(place.run(*arguments, TMDB_REQUESTS_PER_SECOND="400"))
    assert line.startswith("Error: TMDB_REQUESTS_PER_SECOND: ")
    assert list(place.here.iterdir()) == []


def test_a_wrong_setting_of_the_env_file_is_one_line_and_shows_no_secret(place: Place):
    (place.here / ".env").write_text(f"TMDB_TOKEN={TOKEN}\n")
    line = complaint(place.run("report", *DAY))
    assert line.startswith("Error: TMDB_TOKEN: no such setting")
    assert line.endswith("correct it to TMDB_ACCESS_TOKEN, or remove it")
    assert TOKEN not in line


def test_dagster_needs_a_folder_for_its_records(place: Place):
    line = complaint(place.run("backfill", *DAY, DAGSTER_HOME=None))
    assert line.startswith("Error: DAGSTER_HOME is not set: name a folder for Dagster's records")
    assert list(place.here.iterdir()) == []


def test_a_storage_that_does_not_answer_is_one_line(place: Place):
    """Nobody has credentials here, and nothing else is asked."""
    finished = place.run("report", *DAY, MOVIE_PLATFORM_STORAGE="s3://films/platform", AWS_EC2_METADATA_DISABLED="true")
    assert complaint(finished).startswith("Error: cannot read s3://films/platform/metrics/2026-01-01.json: ")


def test_a_second_backfill_at_the_same_time_is_refused(place: Place):
    """It would make the same days."""
    with (place.dagster / "backfill.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        finished = place.run("backfill", *DAY)
    assert finished.returncode in {1, 2}
    assert "Traceback" not in finished.stderr
    assert "wait for it to end" in finished.stderr
    assert not (place.here / "data").exists()


# --- what is done ---------------------------------------------------------------------------------


def test_a_report_on_nothing_says_so(place: Place):
    """Looking writes nothing, and needs no Dagster."""
    finished = place.run("report", "--from", "2026-01-01", "--to", "2026-01-02", DAGSTER_HOME=None)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("no metrics") == 2
    assert "There are no predicted ratings of 2026-01-02." in finished.stdout
    assert "No bundle has been released yet." in finished.stdout
    assert list(place.here.iterdir()) == []


def test_a_backfill_makes_a_day_that_a_report_shows_and_another_backfill_leaves_alone(place: Place):
    """The report says how good the model is, and that the films are invented."""
    finished = place.run("backfill", *DAY)
    assert finished.returncode == 0, finished.stderr
    assert "Run 1 of 1, 2026-01-01: raw_movies, " in finished.stderr
    assert "predicted_ratings 2026-01-01: stored, day 1 of 1" in finished.stderr
    assert (place.here / "data/predicted_ratings/2026-01-01.parquet").exists()
    before = {path: path.stat().st_mtime_ns for path in (place.here / "data").rglob("*")}

    again = place.run("backfill", *DAY)
    assert (again.returncode, again.stdout) == (0, "")
    assert again.stderr == "Nothing is missing from 2026-01-01 to 2026-01-01.\n"

    report = place.run("report", *DAY)
    assert report.returncode == 0, report.stderr
    metrics = json.loads((place.here / "data/metrics/2026-01-01.json").read_text())
    for models in metrics["figures"].values():
        assert f"{models['model']['rmse']:.3f}" in report.stdout
    assert "The 10 best films to be released after 2026-01-01, as predicted" in report.stdout
    assert "SYNTHETIC" in report.stdout
    assert "In force: the bundle of 2026-01-01 (trained on synthetic films)" in report.stdout
    assert {path: path.stat().st_mtime_ns for path in (place.here / "data").rglob("*")} == before


def test_a_day_that_cannot_be_made_is_named_with_the_reason(place: Place):
    """The status is 1, so that scripts notice; what came out is kept aside."""
    old = {"id": 1, "title": "Old", "release_date": "1902-09-01", "original_language": "fr", "vote_count": 1000}
    (place.here / "films.jsonl").write_text(json.dumps({**old, "vote_average": 8.0}) + "\n")
    (place.dagster / "dagster.yaml").unlink()
    finished = place.run("backfill", *DAY, TMDB_CATALOGUE="films.jsonl")
    assert finished.returncode == 1, finished.stderr
    assert "Error: these days could not be made" in finished.stderr
    assert "  raw_movies: 2026-01-01\n" in finished.stderr
    assert "  predicted_ratings: 2026-01-01\n" in finished.stderr
    assert "raw_movies 2026-01-01: refused by its checks: " in finished.stderr
    assert "Traceback" not in finished.stderr
    assert (place.here / "data/rejected/raw_movies/2026-01-01.jsonl.gz").exists()
    assert not (place.here / "data/raw_movies").exists()
    # Where nobody has configured Dagster, its telemetry is off all the same.
    assert "Telemetry" not in finished.stderr
    assert not (place.dagster / ".telemetry").exists()
    assert not (place.home / ".dagster").exists()


@pytest.mark.parametrize(
    ("first_partition", "newest", "expected"),
    [
        (date(2026, 1, 1), date(2026, 5, 1), (date(2026, 1, 1), date(2026, 1, 3))),
        (date(2026, 1, 2), date(2026, 5, 1), (date(2026, 1, 14), date(2026, 1, 16))),
        (date(2026, 1, 2), date(2026, 1, 14), (date(2026, 1, 14), date(2026, 1, 14))),
    ],
)
def test_the_demo_begins_with_a_cycle(first_partition, newest, expected):
    assert demo_days(first_partition, newest=newest) == expected


def test_a_first_partition_too_late_for_the_demo_is_refused_with_the_remedy():
    with pytest.raises(SettingsError, match=r"^MOVIE_PLATFORM_FIRST_PARTITION: .*name an earlier day"):
        demo_days(date(2026, 1, 2), newest=date(2026, 1, 13))
