"""What `movie-platform doctor` finds, with real parts that are well and that are not; and it shows no secret."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from dagster._daemon.types import DaemonHeartbeat

from movie_platform.cli import cli
from movie_platform.code_version import code_version
from movie_platform.operations.doctor import Finding, Level, examine, judge_clock, judge_disk, judge_memory
from movie_platform.operations.retention import retain
from movie_platform.settings import ServingSettings, Settings, describe_settings
from movie_platform.storage import Storage, open_storage
from movie_platform_tests import s3_stub
from movie_platform_tests.loopback import closed_port
from movie_platform_tests.platform import run_platform
from movie_platform_tests.serving.service import bundle_of, release_bundle, running
from movie_platform_tests.stand_in import StandIn
from serving.app import create_app

TOKEN = "eyJhbGciOiJIUzI1NiJ9.secret-secret.sig_nature"
GIB = 2**30


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Default settings."""
    for setting in describe_settings():
        monkeypatch.delenv(setting.name, raising=False)
    monkeypatch.chdir(tmp_path)


def ask() -> Result:
    return CliRunner().invoke(cli, ["doctor"])


def line_of(result: Result, about: str) -> str:
    """The finding about this, with its remedy."""
    lines = result.output.splitlines()
    (at,) = [number for number, line in enumerate(lines) if line[9:].startswith(f"{about}: ")]
    remedy = lines[at + 1] if lines[at + 1 : at + 2] and lines[at + 1].startswith("         remedy: ") else ""
    return " ".join((lines[at] + remedy).split())


def found(storage: Storage, about: str, *, now: datetime | None = None, **settings: Any) -> Finding:
    findings = examine(Settings(**settings), storage, sensors={"catch_up": True}, now=now or datetime.now(UTC))
    return next(finding for finding in findings if finding.about == about)


# --- all together ---------------------------------------------------------------------------------


def test_a_laptop_that_is_set_up_has_no_problem(instance, monkeypatch, tmp_path: Path):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster-home"))
    result = ask()
    assert result.exit_code == 0, result.output
    assert f"dagster {metadata.version('dagster')}" in line_of(result, "versions")
    assert f"code version {code_version()}" in line_of(result, "versions")
    assert "can be written" in line_of(result, "DAGSTER_HOME")
    assert "0 runs" in line_of(result, "Dagster's records")
    assert "an object was written, read, swapped and deleted" in line_of(result, "storage")
    assert "films are from: synthetic" in line_of(result, "TMDB")
    assert "not checked" in line_of(result, "clock")
    assert "problem" not in result.output
    assert list((tmp_path / "data").iterdir()) == [], "nothing is left in the storage"


def test_every_wrong_setting_is_a_line_and_the_rest_is_not_looked_at(monkeypatch):
    for name, value in {
        "MOVIE_PLATFORM_DAILY_AT": "9",
        "SERVING_PORT": "x",
        "TMDB_TOKEN": TOKEN,
        "TMDB_REQUESTS_PER_SECOND": "400",
    }.items():
        monkeypatch.setenv(name, value)
    result = ask()
    assert result.exit_code == 1
    assert line_of(result, "MOVIE_PLATFORM_DAILY_AT").startswith("problem ")
    assert line_of(result, "MOVIE_PLATFORM_DAILY_AT").endswith("remedy: write HH:MM, for example 03:00")
    assert line_of(result, "SERVING_PORT").startswith("problem ")
    assert line_of(result, "TMDB_TOKEN").endswith("remedy: correct it to TMDB_ACCESS_TOKEN, or remove it")
    assert line_of(result, "TMDB_REQUESTS_PER_SECOND").startswith("problem ")
    assert "not looked at" in line_of(result, "the rest")
    assert TOKEN not in result.output


def test_no_secret_is_shown_whatever_fails(monkeypatch, tmp_path: Path):
    """Everything that has a secret is wrong or down."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("storage: {sqlite: {base_dir: /dev/null/secret-path}}\n")
    port = closed_port()
    secrets = {
        "TMDB_ACCESS_TOKEN": TOKEN,
        "SLACK_BOT_TOKEN": "xoxb-secret",
        "SERVING_API_KEYS": "secret0123456789",
        "MOVIE_PLATFORM_HEARTBEAT": "http://127.0.0.1:1/secret-ping",
        "AWS_SECRET_ACCESS_KEY": "aws-secret",
        "MLFLOW_TRACKING_URI": "http://films:mlflow-secret@127.0.0.1:1",
    }
    others = {
        "TMDB_BASE_URL": f"http://127.0.0.1:{port}/3",
        "SLACK_CHANNEL": "#films",
        "SERVING_URL": f"http://127.0.0.1:{port}",
        "DAGSTER_HOME": str(home),
        "MOVIE_PLATFORM_STORAGE": "s3://films",
        "AWS_ENDPOINT_URL_S3": f"http://films:endpoint-secret@127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }
    for name, value in (secrets | others).items():
        monkeypatch.setenv(name, value)
    result = ask()
    assert result.exit_code == 1
    for about in ("TMDB", "storage", "service", "Dagster's records"):
        line = line_of(result, about)
        assert line.startswith("problem "), line
        assert "remedy: " in line
    for secret in (*secrets.values(), "endpoint-secret", "mlflow-secret"):
        assert secret not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)


# --- the machine ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("free", "level"), [(20 * GIB, Level.OK), (4 * GIB, Level.WARNING), (GIB // 4, Level.PROBLEM), (0, Level.PROBLEM)]
)
def test_a_disk_that_gets_full(free: int, level: Level):
    finding = judge_disk("disk of the storage", free)
    assert finding.level is level
    assert bool(finding.remedy) is (level is not Level.OK)


def test_little_memory_is_a_warning():
    assert judge_memory(8 * GIB).level is Level.OK
    assert judge_memory(GIB // 2).level is Level.WARNING


@pytest.mark.parametrize(
    ("seconds", "level", "words"),
    [
        (0, Level.OK, "within 30 s"),
        (-29, Level.OK, "within 30 s"),
        (31, Level.PROBLEM, "31 s behind that of TMDB"),
        (-3600, Level.PROBLEM, "3600 s ahead of that of TMDB"),
    ],
)
def test_a_clock_that_is_wrong(seconds: int, level: Level, words: str):
    finding = judge_clock(timedelta(seconds=seconds), "TMDB")
    assert (finding.level, words in finding.said) == (level, True)


class Dated(BaseHTTPRequestHandler):
    """Answers anything, an hour in the future."""

    def do_GET(self) -> None:
        self.send_response_only(404)
        self.send_header("Date", format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the name is the base class's
        """Stay silent."""


@contextmanager
def an_hour_ahead() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Dated) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/3"
        server.shutdown()
        thread.join()


def test_the_clock_is_compared_with_that_of_tmdb(tmp_path: Path):
    with an_hour_ahead() as url:
        finding = found(open_storage(str(tmp_path)), "clock", TMDB_ACCESS_TOKEN=TOKEN, TMDB_BASE_URL=url)
    assert finding.level is Level.PROBLEM
    assert finding.said in {f"{n} s behind that of TMDB" for n in (3598, 3599, 3600)}


def test_the_clock_is_compared_with_that_of_s3(s3_url: str):
    finding = found(open_storage(s3_url), "clock")
    assert (finding.level, finding.said) == (Level.OK, "within 30 s of that of the storage")


# --- TMDB -----------------------------------------------------------------------------------------


def test_tmdb_accepts_the_token_or_refuses_it(tmp_path: Path):
    storage = open_storage(str(tmp_path))
    with StandIn([], token=TOKEN) as tmdb:
        accepted = found(storage, "TMDB", TMDB_ACCESS_TOKEN=TOKEN, TMDB_BASE_URL=tmdb.url)
        refused = found(storage, "TMDB", TMDB_ACCESS_TOKEN="another", TMDB_BASE_URL=tmdb.url)
    assert (accepted.level, accepted.said) == (Level.OK, f"{tmdb.url} accepts the token")
    assert (refused.level, refused.said) == (Level.PROBLEM, "the token is refused (HTTP 401)")
    assert "set TMDB_ACCESS_TOKEN" in refused.remedy


def test_a_tmdb_that_does_not_answer_is_a_problem(tmp_path: Path):
    url = f"http://127.0.0.1:{closed_port()}/3"
    finding = found(open_storage(str(tmp_path)), "TMDB", TMDB_ACCESS_TOKEN=TOKEN, TMDB_BASE_URL=url)
    assert finding.level is Level.PROBLEM
    assert "got no whole answer" in finding.said
    assert "TMDB_RETRY_SECONDS" not in finding.said


# --- the storage ----------------------------------------------------------------------------------


def test_the_storage_is_tried_on_s3_and_on_disk_and_nothing_is_left(storage_url: str):
    storage = open_storage(storage_url)
    assert found(storage, "storage").level is Level.OK
    assert storage.list() == []


def test_a_storage_that_cannot_be_written_is_a_problem(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    finding = found(open_storage(str(tmp_path / "file")), "storage")
    assert finding.level is Level.PROBLEM
    assert "cannot write" in finding.said
    assert finding.remedy


@pytest.mark.parametrize("ignored", ["If-None-Match", "If-Match"])
def test_a_storage_that_ignores_conditions_is_a_problem(
    ignored: str, aws_environment: None, monkeypatch: pytest.MonkeyPatch
):
    """Two writers would lose one another's release."""
    with s3_stub.serve() as server:
        server.ignores = ignored
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.endpoint)
        finding = found(open_storage("s3://films"), "storage")
    assert finding.level is Level.PROBLEM
    assert f"does not honour {ignored}" in finding.said


# --- Dagster --------------------------------------------------------------------------------------


def test_a_home_that_is_missing_unset_or_without_configuration(tmp_path: Path):
    storage = open_storage(str(tmp_path / "data"))
    assert found(storage, "DAGSTER_HOME").level is Level.PROBLEM
    missing = found(storage, "DAGSTER_HOME", DAGSTER_HOME=str(tmp_path / "none"))
    assert (missing.level, (tmp_path / "none").exists()) == (Level.WARNING, False)
    bare = tmp_path / "bare"
    bare.mkdir()
    assert "cp dagster.yaml" in found(storage, "dagster.yaml", DAGSTER_HOME=str(bare)).remedy


@pytest.mark.parametrize(
    ("alive", "level"), [(timedelta(seconds=20), Level.OK), (timedelta(hours=1), Level.PROBLEM), (None, Level.PROBLEM)]
)
def test_an_automation_that_is_on_needs_a_daemon(instance, tmp_path: Path, alive: timedelta | None, level: Level):
    if alive is not None:
        beat = DaemonHeartbeat((datetime.now(UTC) - alive).timestamp(), "SENSOR", "id", [])
        instance.add_daemon_heartbeat(beat)
    home = str(tmp_path / "dagster-home")
    finding = found(open_storage(str(tmp_path / "data")), "automation", DAGSTER_HOME=home)
    assert finding.level is level


def test_what_is_kept_too_long_is_told_until_it_is_purged(instance, tmp_path: Path):
    data, home = tmp_path / "data", str(tmp_path / "dagster-home")
    assets = ["raw_upcoming_movies", "preprocessed_upcoming_movies"]
    assert run_platform(instance, str(data), "2026-01-01", "2026-01-02", assets=assets).success
    storage, made = open_storage(str(data)), datetime.now(UTC)

    def after(days: float) -> Finding:
        return found(storage, "retention", now=made + timedelta(days=days), DAGSTER_HOME=home)

    assert after(170.5).level is Level.OK, "the coming night purges it"
    warning, problem = after(172), after(182)
    assert (warning.level, warning.remedy) == (Level.WARNING, "movie-platform purge")
    assert warning.said == "TMDB's data is kept for longer than 170 days (days: 4, runs: 1)"
    assert problem.level is Level.PROBLEM
    assert problem.said == f"{warning.said}, and than the 180 that its terms allow (days: 4, runs: 1)"

    then = made + timedelta(days=172)
    retain(instance, storage, keep_days=170, catch_up_days=62, now=then, say=lambda _: None)
    assert after(182).level is Level.OK


def test_what_keeps_the_purge_from_working_is_a_problem(instance, tmp_path: Path):
    """The folder cannot be listed, though files beside it can be written."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/rejected").symlink_to("rejected")
    finding = found(open_storage(str(tmp_path / "data")), "retention", DAGSTER_HOME=str(tmp_path / "dagster-home"))
    assert finding.level is Level.PROBLEM
    assert "rejected" in finding.said


# --- alerts and the service -----------------------------------------------------------------------


def test_whether_somebody_is_told_of_failures(tmp_path: Path):
    storage = open_storage(str(tmp_path))
    assert found(storage, "alerts").level is Level.OK
    assert found(storage, "alerts", MOVIE_PLATFORM_AUTOMATION="on").level is Level.WARNING
    told = found(storage, "alerts", MOVIE_PLATFORM_AUTOMATION="on", SLACK_BOT_TOKEN="xoxb-1", SLACK_CHANNEL="#films")
    assert (told.level, "to #films" in told.said) == (Level.OK, True)


def test_the_service_is_looked_at(tmp_path: Path):
    storage = open_storage(str(tmp_path / "data"))
    release_bundle(storage, bundle_of())
    settings = ServingSettings(MOVIE_PLATFORM_STORAGE=str(tmp_path / "data"), SERVING_CACHE=str(tmp_path / "own"))
    with running(create_app(settings)) as client:
        finding = found(storage, "service", SERVING_URL=str(client.base_url))
    assert (finding.level, finding.said.partition(" ")[2]) == (Level.OK, "serves the bundle of 2026-01-05")
    down = found(storage, "service", SERVING_URL=f"http://127.0.0.1:{closed_port()}")
    assert (down.level, bool(down.remedy)) == (Level.PROBLEM, True)


def test_the_bundle_in_force_is_read(tmp_path: Path):
    storage = open_storage(str(tmp_path / "data"))
    assert found(storage, "release").level is Level.OK
    champion = release_bundle(storage, bundle_of())
    assert f"the bundle of {champion.partition}" in found(storage, "release").said
    storage.put(champion.path, b"other bytes")
    assert found(storage, "release").level is Level.PROBLEM
    storage.delete(champion.path)
    assert "rollback" in found(storage, "release").remedy
    storage.put("champion.json", b"{")
    assert "restore it from a backup" in found(storage, "release").remedy
