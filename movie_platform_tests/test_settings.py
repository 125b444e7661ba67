"""Settings as a person meets them: from the environment and `.env`, and what is said of wrong ones."""

import os
import traceback
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from movie_platform.settings import (
    Settings,
    SettingsError,
    Source,
    describe_settings,
    load_serving_settings,
    load_settings,
)

TOKEN = "eyJhbGciOiJIUzI1NiJ9.secret-secret.sig_nature"
NAMES = [setting.name for setting in describe_settings()]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name in list(os.environ):  # noqa: TID251 only their names, to take them away
        if name in NAMES or name.upper().startswith(("MOVIE_PLATFORM_", "TMDB_", "SERVING_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def problems() -> list[str]:
    """List what `load_settings` has to say."""
    with pytest.raises(SettingsError) as refused:
        load_settings()
    return str(refused.value).splitlines()


def problem(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> str:
    """Set one variable and return the one problem, without the name, which must come first."""
    monkeypatch.setenv(name, value)
    (line,) = problems()
    assert line.startswith(f"{name}: ")
    return line.removeprefix(f"{name}: ")


# --- what is read ---------------------------------------------------------------------------------


def test_defaults_need_no_environment(tmp_path: Path):
    """Without any variable the platform runs on the synthetic catalogue and a folder beside it."""
    settings = load_settings()
    assert settings.storage == str(tmp_path / "data")
    assert settings.first_partition == date(2026, 1, 1)
    assert settings.min_vote_count == 10
    assert settings.tmdb_access_token is None
    assert settings.tmdb_base_url == "https://api.themoviedb.org/3"
    assert settings.tmdb_catalogue is None
    assert settings.tmdb_requests_per_second == 20
    assert settings.dagster_home is None
    assert settings.source is Source.SYNTHETIC


def test_every_variable_is_read(monkeypatch: pytest.MonkeyPatch):
    """With a token the source is TMDB."""
    for name, value in {
        "MOVIE_PLATFORM_STORAGE": "s3://films/platform/",
        "MOVIE_PLATFORM_FIRST_PARTITION": "2025-06-30",
        "MOVIE_PLATFORM_MIN_VOTE_COUNT": "0",
        "TMDB_ACCESS_TOKEN": TOKEN,
        "TMDB_BASE_URL": "https://films.example/3/",
        "TMDB_REQUESTS_PER_SECOND": "2.5",
        "DAGSTER_HOME": "/srv/dagster",
    }.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.storage == "s3://films/platform"
    assert settings.first_partition == date(2025, 6, 30)
    assert settings.min_vote_count == 0
    assert settings.tmdb_access_token is not None
    assert settings.tmdb_access_token.get_secret_value() == TOKEN
    assert settings.tmdb_base_url == "https://films.example/3"
    assert settings.tmdb_requests_per_second == 2.5
    assert settings.dagster_home == Path("/srv/dagster")
    assert settings.source is Source.TMDB


def test_a_catalogue_is_the_source_when_there_is_no_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A relative path is resolved at once: a later change of folder does not change what it means."""
    (tmp_path / "films.jsonl").write_text("{}\n")
    monkeypatch.setenv("TMDB_CATALOGUE", "films.jsonl")
    settings = load_settings()
    assert settings.source is Source.FILE
    assert settings.tmdb_catalogue == tmp_path / "films.jsonl"


def test_the_environment_wins_over_the_env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A blank variable in the environment takes a value of `.env` away again."""
    (tmp_path / ".env").write_text(
        f"TMDB_ACCESS_TOKEN={TOKEN}\nMOVIE_PLATFORM_MIN_VOTE_COUNT=3\nMOVIE_PLATFORM_STORAGE=kept\n"
        "AWS_SECRET_ACCESS_KEY=not-ours\nSERVING_POLL_SECONDS=1\n"
    )
    assert load_settings().source is Source.TMDB
    monkeypatch.setenv("TMDB_ACCESS_TOKEN", " ")
    monkeypatch.setenv("MOVIE_PLATFORM_MIN_VOTE_COUNT", "5")
    settings = load_settings()
    assert settings.source is Source.SYNTHETIC
    assert settings.min_vote_count == 5
    assert settings.storage == str(tmp_path / "kept")


def test_an_env_file_from_windows_is_read(tmp_path: Path):
    """A byte order mark and carriage returns belong to the editor, not to the values."""
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfMOVIE_PLATFORM_MIN_VOTE_COUNT=3\r\nMOVIE_PLATFORM_STORAGE=kept\r\n")
    settings = load_settings()
    assert settings.min_vote_count == 3
    assert settings.storage == str(tmp_path / "kept")


@pytest.mark.parametrize("name", NAMES)
def test_a_blank_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch, name: str):
    """Compose files pass every variable on, set or not."""
    before = load_settings(), load_serving_settings()
    monkeypatch.setenv(name, "")
    assert (load_settings(), load_serving_settings()) == before


def test_settings_do_not_change():
    """What was checked is what is used."""
    with pytest.raises(ValueError, match="frozen"):
        load_settings().storage = "elsewhere"  # type: ignore[misc]  # the mistake that is refused


def test_every_setting_says_what_it_is():
    """`.env.example` and the documentation are made from this."""
    described = list(describe_settings())
    assert [setting.name for setting in described] == [
        "MOVIE_PLATFORM_STORAGE",
        "MOVIE_PLATFORM_FIRST_PARTITION",
        "MOVIE_PLATFORM_MIN_VOTE_COUNT",
        "TMDB_ACCESS_TOKEN",
        "TMDB_BASE_URL",
        "TMDB_CATALOGUE",
        "TMDB_REQUESTS_PER_SECOND",
        "TMDB_RETRY_SECONDS",
        "TMDB_FAULTS",
        "DAGSTER_HOME",
        "MOVIE_PLATFORM_AUTOMATION",
        "MOVIE_PLATFORM_DAILY_AT",
        "MOVIE_PLATFORM_TIME_ZONE",
        "MOVIE_PLATFORM_CATCH_UP_DAYS",
        "MOVIE_PLATFORM_DEADLINE_HOURS",
        "MOVIE_PLATFORM_KEEP_DAYS",
        "MOVIE_PLATFORM_UI_URL",
        "MOVIE_PLATFORM_HEARTBEAT",
        "SLACK_WEBHOOK_URL",
        "SLACK_BOT_TOKEN",
        "SLACK_CHANNEL",
        "SLACK_API_URL",
        "SERVING_URL",
        "MOVIE_PLATFORM_SERVED_WITHIN_MINUTES",
        "MLFLOW_TRACKING_URI",
        "MLFLOW_EXPERIMENT_NAME",
        "SERVING_HOST",
        "SERVING_PORT",
        "SERVING_POLL_SECONDS",
        "SERVING_BUNDLE_PARTITION",
        "SERVING_DRAIN_SECONDS",
        "SERVING_CACHE",
        "SERVING_API_KEYS",
    ]
    assert all(setting.description.endswith(".") for setting in described)
    assert {setting.name: setting.default for setting in described} == {
        "MOVIE_PLATFORM_STORAGE": "data",
        "MOVIE_PLATFORM_FIRST_PARTITION": "2026-01-01",
        "MOVIE_PLATFORM_MIN_VOTE_COUNT": "10",
        "TMDB_ACCESS_TOKEN": "",
        "TMDB_BASE_URL": "https://api.themoviedb.org/3",
        "TMDB_CATALOGUE": "",
        "TMDB_REQUESTS_PER_SECOND": "20",
        "TMDB_RETRY_SECONDS": "120",
        "TMDB_FAULTS": "",
        "DAGSTER_HOME": "",
        "MOVIE_PLATFORM_AUTOMATION": "off",
        "MOVIE_PLATFORM_DAILY_AT": "03:00",
        "MOVIE_PLATFORM_TIME_ZONE": "UTC",
        "MOVIE_PLATFORM_CATCH_UP_DAYS": "62",
        "MOVIE_PLATFORM_DEADLINE_HOURS": "12",
        "MOVIE_PLATFORM_KEEP_DAYS": "170",
        "MOVIE_PLATFORM_UI_URL": "http://127.0.0.1:3000",
        "MOVIE_PLATFORM_HEARTBEAT": "",
        "SLACK_WEBHOOK_URL": "",
        "SLACK_BOT_TOKEN": "",
        "SLACK_CHANNEL": "",
        "SLACK_API_URL": "https://slack.com/api/",
        "SERVING_URL": "",
        "MOVIE_PLATFORM_SERVED_WITHIN_MINUTES": "10",
        "MLFLOW_TRACKING_URI": "",
        "MLFLOW_EXPERIMENT_NAME": "movie_platform",
        "SERVING_HOST": "127.0.0.1",
        "SERVING_PORT": "8000",
        "SERVING_POLL_SECONDS": "10",
        "SERVING_BUNDLE_PARTITION": "",
        "SERVING_DRAIN_SECONDS": "0",
        "SERVING_CACHE": ".serving",
        "SERVING_API_KEYS": "",
    }


def test_the_described_defaults_are_the_defaults(monkeypatch: pytest.MonkeyPatch):
    """Writing every default down changes nothing."""
    before = load_settings(), load_serving_settings()
    for setting in describe_settings():
        monkeypatch.setenv(setting.name, setting.default)
    assert (load_settings(), load_serving_settings()) == before


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        "gs://bucket/films",
        "s3://",
        "s3:///",
        "https://films.s3.amazonaws.com",
        "s3://key:secret@films",
        "s3://films/../x",
    ],
)
def test_storage_is_a_folder_or_s3(monkeypatch: pytest.MonkeyPatch, value: str):
    """Other URLs would become strange folders."""
    assert "s3://bucket/prefix" in problem(monkeypatch, "MOVIE_PLATFORM_STORAGE", value)


def test_storage_is_not_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Found at the start, not at the first write."""
    (tmp_path / "data").write_text("")
    (line,) = problems()
    assert line == "MOVIE_PLATFORM_STORAGE: is a file; name a folder or s3://bucket/prefix"


def test_storage_is_expanded_but_only_for_users_who_exist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """`~` is not expanded by a `.env` file itself."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MOVIE_PLATFORM_STORAGE", "~/films")
    assert load_settings().storage == str(tmp_path / "films")
    assert "~" in problem(monkeypatch, "MOVIE_PLATFORM_STORAGE", "~no-such-user/films")


@pytest.mark.parametrize("value", ["data\r", "da\nta", "data\t"])
def test_storage_has_no_control_characters(monkeypatch: pytest.MonkeyPatch, value: str):
    """A carriage return at the end of a line would become part of a folder's name."""
    assert "control character" in problem(monkeypatch, "MOVIE_PLATFORM_STORAGE", value)


@pytest.mark.parametrize("value", ["2026-13-01", "01.01.2026", "20260101", "1767225600", "2026-01-01T00:00:00", "x"])
def test_first_partition_is_a_day(monkeypatch: pytest.MonkeyPatch, value: str):
    """Only the one way of writing that partition keys have."""
    assert "write YYYY-MM-DD" in problem(monkeypatch, "MOVIE_PLATFORM_FIRST_PARTITION", value)


def test_first_partition_is_in_the_past_but_not_before_film(monkeypatch: pytest.MonkeyPatch):
    """Yesterday is the newest day that can have a partition."""
    today = datetime.now(UTC).date()
    monkeypatch.setenv("MOVIE_PLATFORM_FIRST_PARTITION", str(today - timedelta(days=1)))
    assert load_settings().first_partition == today - timedelta(days=1)
    assert "not in the past" in problem(monkeypatch, "MOVIE_PLATFORM_FIRST_PARTITION", str(today + timedelta(days=1)))
    assert "before 1900" in problem(monkeypatch, "MOVIE_PLATFORM_FIRST_PARTITION", "1899-12-31")


@pytest.mark.parametrize("value", ["-1", "ten", "10.5", "nan", "1e3"])
def test_min_vote_count_is_a_whole_number_from_zero(monkeypatch: pytest.MonkeyPatch, value: str):
    """The message is a sentence of pydantic's, with what to do."""
    assert problem(monkeypatch, "MOVIE_PLATFORM_MIN_VOTE_COUNT", value).endswith("; correct it, or unset it for 10")


@pytest.mark.parametrize("value", ["0", "-1", "40.1", "inf", "nan", "fast"])
def test_requests_per_second_is_a_rate_that_tmdb_allows(monkeypatch: pytest.MonkeyPatch, value: str):
    """Above 40 a second TMDB refuses."""
    assert problem(monkeypatch, "TMDB_REQUESTS_PER_SECOND", value).endswith("; correct it, or unset it for 20")


@pytest.mark.parametrize("value", [f"Bearer {TOKEN}", f"{TOKEN}\n", f" {TOKEN}", f"{TOKEN}\x7f", "é"])
def test_a_token_is_one_word(monkeypatch: pytest.MonkeyPatch, value: str):
    """A header can carry nothing else, and half a token would only be found out by TMDB."""
    assert "https://www.themoviedb.org/settings/api" in problem(monkeypatch, "TMDB_ACCESS_TOKEN", value)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("api.themoviedb.org/3", "not an http or https URL"),
        ("ftp://api.themoviedb.org/3", "not an http or https URL"),
        ("https:///3", "not an http or https URL"),
        ("https://[::1/3", "not a URL"),
        ("https://films.example:port/3", "not a URL"),
        (f"https://me:{TOKEN}@films.example/3", "credentials"),
        (f"https://films.example/3?api_key={TOKEN}", "a query"),
        ("https://films.example/3#top", "a fragment"),
        ("https://films.example/3 ", "white space"),
        ("http://films.example/3", "in clear text"),
        ("http://127.0.0.1.films.example/3", "in clear text"),
    ],
)
def test_a_base_url_that_makes_no_sense_is_refused(monkeypatch: pytest.MonkeyPatch, value: str, reason: str):
    """What it holds is not repeated."""
    monkeypatch.setenv("TMDB_ACCESS_TOKEN", "token")
    message = problem(monkeypatch, "TMDB_BASE_URL", value)
    assert reason in message
    assert TOKEN not in message


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https://films.example/3///", "https://films.example/3"),
        ("HTTPS://Films.Example/V3", "https://films.example/V3"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost:8080/3", "http://localhost:8080/3"),
        ("http://[::1]:8080/3", "http://[::1]:8080/3"),
    ],
)
def test_a_base_url_has_one_form(monkeypatch: pytest.MonkeyPatch, value: str, expected: str):
    """Plain http only where the token does not leave the machine."""
    monkeypatch.setenv("TMDB_ACCESS_TOKEN", "token")
    monkeypatch.setenv("TMDB_BASE_URL", value)
    assert load_settings().tmdb_base_url == expected


@pytest.mark.parametrize("value", ["missing.jsonl.gz", "."])
def test_a_catalogue_is_an_existing_file(monkeypatch: pytest.MonkeyPatch, value: str):
    """A folder is none."""
    assert "name a file of JSON lines" in problem(monkeypatch, "TMDB_CATALOGUE", value)


@pytest.mark.parametrize("value", ["-1", "3601", "inf", "nan", "long"])
def test_retry_seconds_are_up_to_an_hour(monkeypatch: pytest.MonkeyPatch, value: str):
    """None at all is allowed: then nothing is sent again."""
    assert problem(monkeypatch, "TMDB_RETRY_SECONDS", value).endswith("; correct it, or unset it for 120")
    monkeypatch.setenv("TMDB_RETRY_SECONDS", "0")
    assert load_settings().tmdb_retry_seconds == 0


def test_faults_are_refused_for_the_real_api(monkeypatch: pytest.MonkeyPatch):
    """They would have no effect."""
    monkeypatch.setenv("TMDB_ACCESS_TOKEN", TOKEN)
    assert "unset one of them" in problem(monkeypatch, "TMDB_FAULTS", "retryable=0.1")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("mlflow.example:5000", "not an http or https URL"),
        ("file:./mlruns", "not an http or https URL"),
        ("databricks", "not an http or https URL"),
        ("https://[::1", "not a URL"),
        (f"http://me:{TOKEN}@mlflow example", "white space"),
        (f"https://me:{TOKEN}@mlflow.example:port", "not a URL"),
        (f"https://mlflow.example?token={TOKEN}", "a query"),
        (f"https://{TOKEN}@mlflow.example", "MLFLOW_TRACKING_PASSWORD instead"),
        (f"https://:{TOKEN}@mlflow.example", "MLFLOW_TRACKING_PASSWORD instead"),
    ],
)
def test_a_tracking_uri_that_makes_no_sense_is_refused(monkeypatch: pytest.MonkeyPatch, value: str, reason: str):
    """What it holds is not repeated."""
    message = problem(monkeypatch, "MLFLOW_TRACKING_URI", value)
    assert reason in message
    assert TOKEN not in message


def test_a_tracking_uri_may_hold_credentials_and_shows_none(monkeypatch: pytest.MonkeyPatch):
    """Inside a network of one's own, plain http is common."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:{TOKEN}@mlflow:5000/")
    settings = load_settings()
    assert settings.mlflow_tracking_uri is not None
    assert settings.mlflow_tracking_uri.get_secret_value() == f"http://me:{TOKEN}@mlflow:5000"
    assert TOKEN not in repr(settings)


@pytest.mark.parametrize("value", ["a\nb", "a" * 201])
def test_an_experiment_has_a_name_of_one_line(monkeypatch: pytest.MonkeyPatch, value: str):
    problem(monkeypatch, "MLFLOW_EXPERIMENT_NAME", value)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "Films, /team 7")
    assert load_settings().mlflow_experiment_name == "Films, /team 7"


def test_dagster_home_is_an_absolute_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Dagster's own message comes later and is longer."""
    assert "absolute path" in problem(monkeypatch, "DAGSTER_HOME", "dagster")
    (tmp_path / "file").write_text("")
    assert problem(monkeypatch, "DAGSTER_HOME", str(tmp_path / "file")) == "is a file; name a folder"


def test_two_sources_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Nobody should have to know which of the two would win."""
    (tmp_path / "films.jsonl").write_text("{}\n")
    monkeypatch.setenv("TMDB_ACCESS_TOKEN", TOKEN)
    assert "unset one of them" in problem(monkeypatch, "TMDB_CATALOGUE", "films.jsonl")


def test_a_base_url_that_would_be_ignored_is_refused(monkeypatch: pytest.MonkeyPatch):
    """The default, written down, is no contradiction."""
    monkeypatch.setenv("TMDB_BASE_URL", "https://api.themoviedb.org/3/")
    assert load_settings().source is Source.SYNTHETIC
    assert "TMDB_ACCESS_TOKEN is not set" in problem(monkeypatch, "TMDB_BASE_URL", "https://films.example/3")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("MOVIE_PLATFORM_STORGE", "MOVIE_PLATFORM_STORAGE"),
        ("TMDB_TOKEN", "TMDB_ACCESS_TOKEN"),
        ("TMDB_CATALOG", "TMDB_CATALOGUE"),
        ("tmdb_base_url", "TMDB_BASE_URL"),
        ("TMDB_", "TMDB_FAULTS"),
    ],
)
def test_a_name_that_is_nearly_right_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, nearest: str
):
    """In the environment and in `.env`; the value, which may be a token, is not shown."""
    message = problem(monkeypatch, name, TOKEN)
    assert message == f"no such setting, but set in the environment; correct it to {nearest}, or remove it"
    monkeypatch.delenv(name)
    (tmp_path / ".env").write_text(f"{name}={TOKEN}\n")
    assert problems() == [f"{name}: no such setting, but set in .env; correct it to {nearest}, or remove it"]


def test_every_problem_is_listed_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """One start is enough to find them all, contradictions included."""
    (tmp_path / ".env").write_text("MOVIE_PLATFORM_STORGE=x\n")
    for name, value in {
        "TMDB_ACCESS_TOKEN": f"Bearer {TOKEN}",
        "TMDB_CATALOGUE": "films.jsonl",
        "TMDB_REQUESTS_PER_SECOND": "400",
        "MOVIE_PLATFORM_FIRST_PARTITION": "soon",
    }.items():
        monkeypatch.setenv(name, value)
    assert [line.partition(":")[0] for line in problems()] == [
        "MOVIE_PLATFORM_STORGE",
        "MOVIE_PLATFORM_FIRST_PARTITION",
        "TMDB_ACCESS_TOKEN",
        "TMDB_CATALOGUE",
        "TMDB_REQUESTS_PER_SECOND",
    ]


def test_an_env_file_that_is_no_text_is_refused(tmp_path: Path):
    """Nor does the error carry the bytes along."""
    (tmp_path / ".env").write_bytes(b"TMDB_ACCESS_TOKEN=\xff\xfe")
    with pytest.raises(SettingsError, match=r"^\.env: cannot be read as UTF-8 text; save it as UTF-8") as refused:
        load_settings()
    assert refused.value.__context__ is None


# --- secrets --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_no_error_shows_a_value(monkeypatch: pytest.MonkeyPatch, name: str):
    """A token that was pasted into the wrong variable shows in no text and hangs on no exception."""
    secret = f"{TOKEN} {TOKEN}"
    monkeypatch.setenv("MOVIE_PLATFORM_MIN_VOTE_COUNT", "-1")
    monkeypatch.setenv(name, secret)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None
    assert TOKEN not in "".join(traceback.format_exception(refused.value))
    assert TOKEN not in repr(refused.value)


def test_the_token_does_not_show_in_the_settings(monkeypatch: pytest.MonkeyPatch):
    """Printing, dumping and serializing them is harmless."""
    monkeypatch.setenv("TMDB_ACCESS_TOKEN", TOKEN)
    settings = load_settings()
    assert TOKEN not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"


def test_the_constructor_takes_names_too(tmp_path: Path):
    """Tests and scripts need no environment."""
    assert Settings(MOVIE_PLATFORM_STORAGE=str(tmp_path)).storage == str(tmp_path)


@pytest.mark.parametrize("name", ["MOVIE_PLATFORM_STORAGE", "TMDB_CATALOGUE", "DAGSTER_HOME"])
def test_a_path_that_no_disk_can_hold_is_refused(monkeypatch: pytest.MonkeyPatch, name: str):
    """The operating system's error would show the path."""
    message = problem(monkeypatch, name, "/" + 300 * "x")
    assert "File name too long" in message
    assert "xxx" not in message


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(NAMES),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40),
)
def test_any_value_is_accepted_or_refused_in_one_line(name: str, value: str):
    """No other exception, no second line, no value."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(name, value)
        try:
            load_settings()
        except SettingsError:
            (line,) = problems()
            assert line.startswith(f"{name}: ")


# --- the service ----------------------------------------------------------------------------------


def test_every_variable_of_the_service_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name, value in {
        "MOVIE_PLATFORM_STORAGE": "s3://films/platform",
        "SERVING_HOST": "0.0.0.0",
        "SERVING_PORT": "8123",
        "SERVING_POLL_SECONDS": "0.5",
        "SERVING_BUNDLE_PARTITION": "2026-01-05",
        "SERVING_CACHE": "kept",
        "SERVING_API_KEYS": f"{'a' * 16}, {'b' * 20}",
    }.items():
        monkeypatch.setenv(name, value)
    settings = load_serving_settings()
    assert settings.storage == "s3://films/platform"
    assert settings.host == "0.0.0.0"
    assert settings.port == 8123
    assert settings.poll_seconds == 0.5
    assert settings.bundle_partition == date(2026, 1, 5)
    assert settings.cache == tmp_path / "kept"
    assert settings.keys == ("a" * 16, "b" * 20)


def test_the_service_asks_for_no_key_unless_told():
    assert load_serving_settings().keys == ()


def test_the_service_does_not_read_the_token(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TMDB_ACCESS_TOKEN", TOKEN)
    assert TOKEN not in repr(load_serving_settings().__dict__)


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("SERVING_PORT", "0", "correct it, or unset it for 8000"),
        ("SERVING_PORT", "http", "correct it, or unset it for 8000"),
        ("SERVING_POLL_SECONDS", "0", "correct it, or unset it for 10"),
        ("SERVING_POLL_SECONDS", "nan", "correct it, or unset it for 10"),
        ("SERVING_HOST", "http://here", "correct it, or unset it for 127.0.0.1"),
        ("SERVING_BUNDLE_PARTITION", "latest", "write YYYY-MM-DD"),
        ("SERVING_CACHE", __file__, "name a folder"),
        ("SERVING_API_KEYS", "hunter2", "openssl rand -hex 16"),
        ("SERVING_API_KEYS", f"{'a' * 16},", "openssl rand -hex 16"),
        ("SERVING_API_KEYS", "ä" * 16, "openssl rand -hex 16"),
    ],
)
def test_a_setting_of_the_service_that_makes_no_sense_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, remedy: str
):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        load_serving_settings()
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"{name}: ")
    assert line.endswith(remedy) or remedy in line
    assert name != "SERVING_API_KEYS" or value not in line


def test_a_wrong_name_of_the_service_is_a_typing_error(monkeypatch: pytest.MonkeyPatch):
    """Each of the two programs says so: which one is started does not matter."""
    monkeypatch.setenv("SERVING_POLL_SECOND", "1")
    for load in (load_settings, load_serving_settings):
        with pytest.raises(SettingsError, match="correct it to SERVING_POLL_SECONDS"):
            load()


def test_keys_never_show():
    key = "k" * 32
    settings = load_serving_settings().model_copy(update={"api_keys": None})
    assert settings.keys == ()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVING_API_KEYS", key)
        assert key not in repr(load_serving_settings()) + str(load_serving_settings())
