"""The settings of the platform, and the one reader of the environment.

Here belongs what a person can set: its name, default, meaning, and what is refused. A check here needs
nothing but the value, the other settings, the clock and the local disk; whether a bucket or an API answers
shows when it is used. The AWS variables are boto3's and are not read here, and neither are MLflow's own but for two.

No error ever repeats a value: whoever pastes a token into the wrong variable must not find it in a log.
"""

import difflib
import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar
from urllib.parse import SplitResult, urlsplit, urlunsplit
from zoneinfo import available_timezones

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource, SettingsConfigDict

__all__ = [
    "ServingSettings",
    "SettingDescription",
    "Settings",
    "SettingsError",
    "Source",
    "describe_settings",
    "load_serving_settings",
    "load_settings",
]

_PUBLIC_API = "https://api.themoviedb.org/3"
_PREFIXES = ("MOVIE_PLATFORM_", "TMDB_", "SERVING_")
"""Names that begin like this are ours: an unknown one is a typing error, not somebody else's variable."""
_ENV_FILE = ".env"
_SHORTEST_KEY = 16
_S3_URL = re.compile(r"s3://[A-Za-z0-9._-]+(/[A-Za-z0-9_+=-][A-Za-z0-9._+=-]*)*/?")


_Kind = TypeVar("_Kind", bound="_Settings")


class SettingsError(Exception):
    """Settings that make no sense: a line each, the variable first, then what is wrong and what to do."""


class Source(StrEnum):
    """Where films come from."""

    TMDB = "tmdb"
    FILE = "file"
    SYNTHETIC = "synthetic"


class SettingDescription(NamedTuple):
    """One setting for a person: the variable, its default as it would be written, and what it means."""

    name: str
    default: str
    description: str


class _Settings(BaseSettings):
    """What the platform and the service have in common.

    Valid and unchanging. The environment wins over `.env` in the current folder, and a variable given to the
    constructor over both: `Settings(MOVIE_PLATFORM_STORAGE="/srv/data")`. A blank variable counts as not set.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        case_sensitive=True,
        env_file=_ENV_FILE,
        env_file_encoding="utf-8-sig",  # Windows editors may begin a file with a mark
        extra="ignore",  # .env may hold other programs' variables; ours are checked by `_load`
        hide_input_in_errors=True,
        validate_default=True,
    )

    storage: str = Field(
        default="data",
        validation_alias="MOVIE_PLATFORM_STORAGE",
        description="Where all files are kept: a folder, or s3://bucket/prefix (with the AWS variables).",
    )
    """An absolute path, or s3://bucket/prefix: what `storage.open_storage` takes."""

    @model_validator(mode="before")
    @classmethod
    def _blank_is_not_set(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if not (isinstance(value, str) and not value.strip())}

    @field_validator("storage")
    @classmethod
    def _storage(cls, text: str) -> str:
        if "://" not in text:
            folder = _absolute(Path(text))
            _refuse_file(folder, remedy="name a folder or s3://bucket/prefix")
            return str(folder)
        if not _S3_URL.fullmatch(text):
            raise ValueError("is neither a folder nor like s3://bucket/prefix; write one of the two")
        return text.rstrip("/")


class Settings(_Settings):
    """The platform's settings. Get them from `load_settings`, whose errors are fit to be read."""

    first_partition: date = Field(
        default=date(2026, 1, 1),
        validation_alias="MOVIE_PLATFORM_FIRST_PARTITION",
        description="The first day that is collected, in UTC. Best 2026-01-01 or a multiple of 13 days later: on other "
        "days collection begins with old films, and there is no model before the newest.",
    )
    min_vote_count: int = Field(
        default=10,
        ge=0,
        validation_alias="MOVIE_PLATFORM_MIN_VOTE_COUNT",
        description="Films with fewer votes are not collected for training.",
    )
    tmdb_access_token: SecretStr | None = Field(
        default=None,
        validation_alias="TMDB_ACCESS_TOKEN",
        description="The API Read Access Token of https://www.themoviedb.org/settings/api. Not set: no TMDB, "
        "films come from TMDB_CATALOGUE or are synthetic.",
    )
    tmdb_base_url: str = Field(
        default=_PUBLIC_API,
        validation_alias="TMDB_BASE_URL",
        description="The API to ask, with its version. Only together with TMDB_ACCESS_TOKEN.",
    )
    tmdb_catalogue: Path | None = Field(
        default=None,
        validation_alias="TMDB_CATALOGUE",
        description="A file to take films from instead of TMDB: JSON lines, one TMDB item each, gzip or not.",
    )
    tmdb_requests_per_second: float = Field(
        default=20,
        gt=0,
        le=40,
        allow_inf_nan=False,
        validation_alias="TMDB_REQUESTS_PER_SECOND",
        description="How fast TMDB is asked, evenly spaced. Above 40 it begins to refuse.",
    )
    tmdb_retry_seconds: float = Field(
        default=120,
        ge=0,
        le=3600,
        allow_inf_nan=False,
        validation_alias="TMDB_RETRY_SECONDS",
        description="For how many seconds a request that fails in a way that usually passes is sent again before the "
        "day fails.",
    )
    tmdb_faults: str | None = Field(
        default=None,
        validation_alias="TMDB_FAULTS",
        description="Faults of the built-in catalogue, to see how collection copes with them, like "
        "seed=7,retryable=0.1 (docs/collection.md lists them). Not together with TMDB_ACCESS_TOKEN.",
    )
    dagster_home: Path | None = Field(
        default=None,
        validation_alias="DAGSTER_HOME",
        description="The folder where Dagster keeps runs and events, as an absolute path.",
    )

    automation: bool = Field(
        default=False,
        validation_alias="MOVIE_PLATFORM_AUTOMATION",
        description="Whether schedules and sensors run from the start, on or off. Either way, the UI can switch them.",
    )
    daily_at: time = Field(
        default=time(3),
        validation_alias="MOVIE_PLATFORM_DAILY_AT",
        description="From when on the day before is made, as HH:MM in MOVIE_PLATFORM_TIME_ZONE.",
    )
    time_zone: str = Field(
        default="UTC",
        validation_alias="MOVIE_PLATFORM_TIME_ZONE",
        description="The time zone of MOVIE_PLATFORM_DAILY_AT, like Europe/Berlin. The days themselves are in UTC.",
    )
    catch_up_days: int = Field(
        default=62,
        ge=1,
        le=170,
        validation_alias="MOVIE_PLATFORM_CATCH_UP_DAYS",
        description="How many days back the automation fills what is missing; what is older is left to a person.",
    )
    deadline_hours: float = Field(
        default=12,
        gt=0,
        le=168,
        allow_inf_nan=False,
        validation_alias="MOVIE_PLATFORM_DEADLINE_HOURS",
        description="How many hours after MOVIE_PLATFORM_DAILY_AT a day that is not complete is reported.",
    )
    keep_days: int = Field(
        default=170,
        ge=31,
        le=180,
        validation_alias="MOVIE_PLATFORM_KEEP_DAYS",
        description="For how many days after it was collected what TMDB says of films is kept. TMDB forbids more than "
        "six months.",
    )
    ui_url: str = Field(
        default="http://127.0.0.1:3000",
        validation_alias="MOVIE_PLATFORM_UI_URL",
        description="Where the Dagster UI is, for links in alerts.",
    )
    heartbeat: SecretStr | None = Field(
        default=None,
        validation_alias="MOVIE_PLATFORM_HEARTBEAT",
        description="A file to touch, as an absolute path, or a URL to ask, each minute while the automation is alive, "
        "for a monitor outside.",
    )
    """A secret, since a monitor's URL is one."""
    slack_webhook_url: SecretStr | None = Field(
        default=None,
        validation_alias="SLACK_WEBHOOK_URL",
        description="Slack's incoming webhook for alerts. Not set: no alerts, unless SLACK_BOT_TOKEN is.",
    )
    slack_bot_token: SecretStr | None = Field(
        default=None,
        validation_alias="SLACK_BOT_TOKEN",
        description="A bot's token, instead of a webhook, to send alerts to SLACK_CHANNEL.",
    )
    slack_channel: str | None = Field(
        default=None,
        validation_alias="SLACK_CHANNEL",
        description="The channel for alerts, like #films. Only together with SLACK_BOT_TOKEN.",
    )
    slack_api_url: str = Field(
        default="https://slack.com/api/",
        validation_alias="SLACK_API_URL",
        description="Slack's API for SLACK_BOT_TOKEN; https://slack-gov.com/api/ for GovSlack.",
    )
    serving_url: str | None = Field(
        default=None,
        validation_alias="SERVING_URL",
        description="Where the service is, like http://127.0.0.1:8000, to see whether it serves what was released.",
    )
    served_within_minutes: float = Field(
        default=10,
        gt=0,
        le=1440,
        allow_inf_nan=False,
        validation_alias="MOVIE_PLATFORM_SERVED_WITHIN_MINUTES",
        description="How many minutes after its release a bundle that is not served at SERVING_URL is reported.",
    )

    mlflow_tracking_uri: SecretStr | None = Field(
        default=None,
        validation_alias="MLFLOW_TRACKING_URI",
        description="The MLflow server on which every day's training is recorded, like http://127.0.0.1:5000. Needs "
        "the extra tracking.",
    )
    """A secret, since it may hold a user's name and password."""
    mlflow_experiment_name: str = Field(
        default="movie_platform",
        max_length=200,
        validation_alias="MLFLOW_EXPERIMENT_NAME",
        description="The MLflow experiment that trainings are recorded in; made when there is none of that name.",
    )

    @property
    def source(self) -> Source:
        """Where films come from."""
        if self.tmdb_access_token is not None:
            return Source.TMDB
        return Source.SYNTHETIC if self.tmdb_catalogue is None else Source.FILE

    @field_validator("first_partition", mode="before")
    @classmethod
    def _is_written_as_a_day(cls, value: object) -> object:
        return _day(value)

    @field_validator("first_partition")
    @classmethod
    def _is_in_the_past(cls, day: date) -> date:
        if day < date(1900, 1, 1):
            raise ValueError("lies before 1900-01-01; name a later day")
        if day >= datetime.now(UTC).date():
            raise ValueError("is not in the past; name a day before today (UTC)")
        return day

    @field_validator("tmdb_access_token")
    @classmethod
    def _is_one_word(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and not all("!" <= character <= "~" for character in token.get_secret_value()):
            raise ValueError(
                "contains white space, a line break or a character that no token has; copy the API Read "
                "Access Token from https://www.themoviedb.org/settings/api again, whole and without 'Bearer'"
            )
        return token

    @field_validator("tmdb_base_url")
    @classmethod
    def _base_url(cls, text: str, info: ValidationInfo) -> str:
        url = _base_url(text)
        if url != _PUBLIC_API and not _token_is_given(info):
            raise ValueError("would not be used, since TMDB_ACCESS_TOKEN is not set; set that, or unset this")
        return url

    @field_validator("tmdb_catalogue")
    @classmethod
    def _catalogue(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if path is None:
            return None
        if _token_is_given(info):
            raise ValueError("is set together with TMDB_ACCESS_TOKEN, and films have one source; unset one of them")
        path = _absolute(path)
        remedy = "name a file of JSON lines, gzip or not"
        try:
            if path.exists() and not path.is_file():  # opening a pipe could wait for ever
                raise ValueError(f"is not a file; {remedy}")
            path.open("rb").close()
        except OSError as error:
            raise ValueError(f"cannot be read ({error.strerror}); {remedy}") from None
        return path

    @field_validator("tmdb_faults")
    @classmethod
    def _faults(cls, text: str | None, info: ValidationInfo) -> str | None:
        if text is not None and _token_is_given(info):
            raise ValueError(
                "is set together with TMDB_ACCESS_TOKEN, but only the built-in catalogue has faults; unset one of them"
            )
        return text

    @field_validator("dagster_home")
    @classmethod
    def _dagster_home(cls, path: Path | None) -> Path | None:
        if path is None:
            return None
        if not path.is_absolute():
            raise ValueError("is not an absolute path; write the whole path, from /")
        folder = _absolute(path)
        _refuse_file(folder, remedy="name a folder")
        return folder

    @field_validator("daily_at", mode="before")
    @classmethod
    def _is_hours_and_minutes(cls, value: object) -> object:
        if isinstance(value, str) and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
            raise ValueError("is not a time of day; write HH:MM, for example 03:00")
        return value

    @field_validator("time_zone")
    @classmethod
    def _is_a_time_zone(cls, name: str) -> str:
        if name not in available_timezones():
            raise ValueError("is not a time zone that this machine knows; write one like Europe/Berlin, or UTC")
        return name

    @field_validator("ui_url", "serving_url")
    @classmethod
    def _is_an_address(cls, text: str | None, info: ValidationInfo) -> str | None:
        if text is None:
            return None
        default = "http://127.0.0.1:3000" if info.field_name == "ui_url" else "http://127.0.0.1:8000"
        remedy = f"write a URL like {default}"
        parts = _http_url(text, remedy=remedy)
        if "@" in parts.netloc or "?" in text or "#" in text:
            raise ValueError(f"contains credentials, a query or a fragment; {remedy}")
        return text.rstrip("/")

    @field_validator("heartbeat")
    @classmethod
    def _is_a_file_or_an_address(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is None:
            return None
        text = secret.get_secret_value()
        remedy = "write the absolute path of a file, or a URL"
        if "://" in text:
            _http_url(text, remedy=remedy)
        elif not Path(text).is_absolute() or not text.isprintable():
            raise ValueError(f"is neither an absolute path nor a URL; {remedy}")
        return secret

    @field_validator("slack_webhook_url")
    @classmethod
    def _is_a_webhook(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            remedy = "copy the webhook's URL from Slack again"
            _https_or_loopback(_http_url(secret.get_secret_value(), remedy=remedy), remedy=remedy)
        return secret

    @field_validator("slack_bot_token")
    @classmethod
    def _is_one_of_two_ways(cls, token: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if token is None:
            return None
        if info.data.get("slack_webhook_url", "refused") is not None:
            raise ValueError("is set together with SLACK_WEBHOOK_URL, and alerts are sent once; unset one of them")
        if not all("!" <= character <= "~" for character in token.get_secret_value()):
            raise ValueError("contains white space or a character that no token has; copy it from Slack again")
        return token

    @field_validator("slack_channel")
    @classmethod
    def _is_printable(cls, name: str | None) -> str | None:
        if name is not None and not name.isprintable():
            raise ValueError("contains a line break or another control character; write it again")
        return name

    @field_validator("slack_api_url")
    @classmethod
    def _is_slack(cls, text: str) -> str:
        remedy = "write a URL like https://slack.com/api/"
        _https_or_loopback(_http_url(text, remedy=remedy), remedy=remedy)
        return text.rstrip("/") + "/"

    @model_validator(mode="after")
    def _has_a_channel(self) -> Self:
        if (self.slack_bot_token is None) != (self.slack_channel is None):
            set_one, other = ("SLACK_BOT_TOKEN", "SLACK_CHANNEL")[:: 1 if self.slack_channel is None else -1]
            raise ValueError(f"{set_one}: is set without {other}; set both or none")
        return self

    @field_validator("mlflow_tracking_uri")
    @classmethod
    def _mlflow_tracking_uri(cls, uri: SecretStr | None) -> SecretStr | None:
        return None if uri is None else SecretStr(_tracking_uri(uri.get_secret_value()))

    @field_validator("mlflow_experiment_name")
    @classmethod
    def _is_a_line(cls, name: str) -> str:
        if not name.isprintable():
            raise ValueError("contains a line break or another control character; write it again")
        return name


class ServingSettings(_Settings):
    """The service's settings. Get them from `load_serving_settings`, whose errors are fit to be read."""

    host: str = Field(
        default="127.0.0.1",
        pattern=r"^[A-Za-z0-9.:_-]+$",
        validation_alias="SERVING_HOST",
        description="The address that the service listens on. 0.0.0.0 is every address of the machine: set "
        "SERVING_API_KEYS then, or keep others out in another way.",
    )
    port: int = Field(
        default=8000,
        ge=1,
        le=65_535,
        validation_alias="SERVING_PORT",
        description="The port that the service listens on.",
    )
    poll_seconds: float = Field(
        default=10,
        ge=0.1,
        le=3600,
        allow_inf_nan=False,
        validation_alias="SERVING_POLL_SECONDS",
        description="How often the service looks whether another bundle has been released, in seconds.",
    )
    bundle_partition: date | None = Field(
        default=None,
        validation_alias="SERVING_BUNDLE_PARTITION",
        description="A released day to serve whatever is released later, like 2026-01-05. Not set: the newest.",
    )
    drain_seconds: float = Field(
        default=0,
        ge=0,
        le=300,
        allow_inf_nan=False,
        validation_alias="SERVING_DRAIN_SECONDS",
        description="For how many seconds after it is told to end (SIGTERM) the service goes on answering, while "
        "/health/ready says 503, so that a load balancer turns away first.",
    )
    cache: Path = Field(
        default=Path(".serving"),
        validation_alias="SERVING_CACHE",
        description="The folder where the service keeps a copy of the bundle it serves, to start from when the storage "
        "does not answer.",
    )
    api_keys: SecretStr | None = Field(
        default=None,
        validation_alias="SERVING_API_KEYS",
        description="Keys, separated by commas, of which every request must carry one (health checks aside). Not set: "
        "whoever can reach the service may use it.",
    )

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of `api_keys`, one by one; none means that no key is asked for."""
        return () if self.api_keys is None else tuple(self.api_keys.get_secret_value().replace(" ", "").split(","))

    @field_validator("bundle_partition", mode="before")
    @classmethod
    def _is_written_as_a_day(cls, value: object) -> object:
        return _day(value)

    @field_validator("cache")
    @classmethod
    def _is_no_file(cls, path: Path) -> Path:
        folder = _absolute(path)
        _refuse_file(folder, remedy="name a folder")
        return folder

    @field_validator("api_keys")
    @classmethod
    def _are_long_enough(cls, keys: SecretStr | None) -> SecretStr | None:
        for key in () if keys is None else keys.get_secret_value().replace(" ", "").split(","):
            if len(key) < _SHORTEST_KEY or not all("!" <= character <= "~" for character in key):
                raise ValueError(
                    f"contains a key that is shorter than {_SHORTEST_KEY} characters or has one that does not belong "
                    "in a header; make keys with: openssl rand -hex 16"
                )
        return keys


def load_settings() -> Settings:
    """Read the platform's settings from the environment and from `.env` in the current folder.

    Raises `SettingsError`, which lists every problem at once and never a value.
    """
    return _load(Settings)


def load_serving_settings() -> ServingSettings:
    """Read the service's settings, as `load_settings` does the platform's."""
    return _load(ServingSettings)


def _load(kind: type[_Kind]) -> _Kind:
    try:
        given = {
            _ENV_FILE: DotEnvSettingsSource(kind).env_vars,
            "the environment": EnvSettingsSource(kind).env_vars,
        }
    except (OSError, UnicodeDecodeError):
        given = {}
    # Raised outside of the handlers, since an exception would keep the handled one, which holds values.
    if not given:
        raise SettingsError(f"{_ENV_FILE}: cannot be read as UTF-8 text; save it as UTF-8, readable for this user")
    problems = list(_unknown_names(given))
    settings = None
    try:
        settings = kind()
    except ValidationError as error:
        problems += _problems(error, kind)
    if settings is None or problems:
        raise SettingsError("\n".join(problems))
    return settings


def describe_settings(*kinds: type[BaseSettings]) -> Iterator[SettingDescription]:
    """Yield every setting, by default of the platform and then of the service, in the order of the models.

    An empty default means that it is not set.
    """
    fields = {name: field for kind in kinds or (Settings, ServingSettings) for name, field in kind.model_fields.items()}
    for field in fields.values():
        yield SettingDescription(str(field.validation_alias), _written(field.default), str(field.description))


def _written(default: object) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, time):
        return default.isoformat("minutes")
    return "" if default is None else str(default)


def _unknown_names(given: Mapping[str, Iterable[str]]) -> Iterator[str]:
    known = [setting.name for setting in describe_settings()]
    reported: set[str] = set()
    for place, names in given.items():
        # A name of .env is in the environment too where something has loaded the file; once is enough.
        for name in sorted(set(names) - reported):
            if name.upper().startswith(_PREFIXES) and name not in known:
                reported.add(name)
                nearest = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.0)[0]
                yield f"{name}: no such setting, but set in {place}; correct it to {nearest}, or remove it"


def _problems(error: ValidationError, kind: type[BaseSettings]) -> Iterator[str]:
    for problem in error.errors(include_url=False, include_input=False):
        if not problem["loc"]:  # of several settings together, which the text names
            yield str(problem["ctx"]["error"])
            continue
        name = str(problem["loc"][0])
        if name in kind.model_fields:  # a default was refused
            name = str(kind.model_fields[name].validation_alias)
        if problem["type"] == "value_error":
            yield f"{name}: {problem['ctx']['error']}"
        else:
            default = next(setting.default for setting in describe_settings() if setting.name == name)
            yield f"{name}: {problem['msg'].lower()}; correct it, or unset it for {default or 'none'}"


def _day(value: object) -> object:
    # Pydantic would take seconds since 1970 and times of day as well.
    if isinstance(value, str):
        try:
            day = date.fromisoformat(value)
        except ValueError:
            day = None
        if day is None or str(day) != value:
            raise ValueError("is not a day; write YYYY-MM-DD, for example 2026-01-01")
    return value


def _token_is_given(info: ValidationInfo) -> bool:
    """Tell whether there is a token, or one that was itself refused and so is missing from the data."""
    return info.data.get("tmdb_access_token", "refused") is not None


def _absolute(path: Path) -> Path:
    if not str(path).isprintable():
        raise ValueError("contains a line break or another control character; write it again")
    try:
        return path.expanduser().resolve()
    except (OSError, RuntimeError):
        raise ValueError("cannot be resolved (an unknown user after ~, or links in a circle); correct it") from None


def _refuse_file(path: Path, *, remedy: str) -> None:
    try:
        in_the_way = path.exists() and not path.is_dir()
    except OSError as error:
        raise ValueError(f"cannot be looked at ({error.strerror}); {remedy}") from None
    if in_the_way:
        raise ValueError(f"is a file; {remedy}")


def _base_url(text: str) -> str:
    remedy = f"write a URL like {_PUBLIC_API}"
    parts = _http_url(text, remedy=remedy)
    if "@" in parts.netloc or "?" in text or "#" in text:
        raise ValueError(f"contains credentials, a query or a fragment; {remedy}")
    if parts.scheme == "http" and not _is_loopback(str(parts.hostname)):
        raise ValueError("would send the token in clear text; write https (http only for this machine itself)")
    return urlunsplit((parts.scheme, parts.netloc.lower(), parts.path.rstrip("/"), "", ""))


def _tracking_uri(text: str) -> str:
    remedy = "write a URL like http://127.0.0.1:5000"
    parts = _http_url(text, remedy=remedy)
    if "?" in text or "#" in text:
        raise ValueError(f"contains a query or a fragment; {remedy}")
    if "@" in parts.netloc and not (parts.username and parts.password):
        raise ValueError(
            "contains a user's name or a password alone; write both, or set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD instead"
        )
    return text.rstrip("/")


def _http_url(text: str, *, remedy: str) -> SplitResult:
    """The parts of an http or https URL with a host; raises ValueError for anything else, without repeating it."""
    if not text.isprintable() or " " in text:
        raise ValueError(f"contains white space or a control character; {remedy}")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"is not a URL; {remedy}") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise ValueError(f"is not an http or https URL; {remedy}")
    return parts


def _https_or_loopback(parts: SplitResult, *, remedy: str) -> None:
    if parts.scheme == "http" and not _is_loopback(str(parts.hostname)):
        raise ValueError(f"would send a secret in clear text; {remedy}, with https")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
