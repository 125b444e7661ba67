"""Looks for what would keep the platform from working, by trying the real thing: each finding with its remedy.

Writes nothing but a small object in the storage and a file in DAGSTER_HOME, both removed at once. What is set wrongly
is the settings' own matter; how things stand, `status`.
"""

import asyncio
import platform
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Final

import dagster as dg
import httpx

from movie_platform.code_version import code_version
from movie_platform.operations.records import RecordsError, open_records
from movie_platform.operations.retention import retain
from movie_platform.operations.served import ask_service
from movie_platform.operations.status import DAEMON_IS_DOWN, read_automation
from movie_platform.operations.survey import due_at, newest_due
from movie_platform.releases import read_pointer, read_released
from movie_platform.settings import Settings, Source
from movie_platform.storage import Conflict, ObjectNotFound, Storage, StorageError
from movie_platform.tmdb.client import AuthenticationError, TmdbClient, TmdbError
from movie_platform.tmdb.pacing import Pacer
from movie_platform.tmdb.reference import LONGEST_KEPT

_GIB: Final = 2**30
_LITTLE_DISK: Final = 5 * _GIB
_NO_DISK: Final = _GIB // 2
_LITTLE_MEMORY: Final = _GIB
_LARGEST_SKEW: Final = timedelta(seconds=30)
_TMDB_SECONDS: Final = 20


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """What was looked at, and what was found, in a sentence."""

    about: str
    level: Level
    said: str
    remedy: str = ""
    """What to do; empty if nothing is."""


def examine_machine() -> Iterator[Finding]:
    """What does not depend on any setting."""
    yield _versions()
    yield _memory()


def examine(settings: Settings, storage: Storage, *, sensors: Mapping[str, bool], now: datetime) -> Iterator[Finding]:
    """What depends on the settings; the findings come one by one, since some take seconds.

    `sensors` says of each sensor and schedule whether it is on by default.
    """
    yield from _disks(settings)
    yield _time_zone(settings, now)
    yield from _dagster(settings, storage, sensors, now)
    yield _storage(storage)
    yield _tmdb(settings)
    yield _clock(settings, storage)
    yield _alerts(settings)
    yield _release(storage)
    yield _service(settings, storage)


def _versions() -> Finding:
    ours = metadata.version("dagster")
    _, minor, patch = (int(number) for number in ours.split("."))
    fitting = {ours, f"0.{minor + 16}.{patch}"}  # how Dagster numbers its integrations
    others = {
        found.name: found.version
        for found in metadata.distributions()
        if found.name.startswith("dagster") and found.version not in fitting
    }
    pinned = [re.match(r"dagster==([0-9.]+)", needed) for needed in metadata.requires("movie-platform") or ()]
    expected = next((match[1] for match in pinned if match), ours)
    said = (
        f"Python {platform.python_version()}, dagster {ours}, lightgbm {metadata.version('lightgbm')}, "
        f"code version {code_version()}"
    )
    remedy = "install from the lock files: make, or pip install -r locks/platform.lock"
    if others:
        named = ", ".join(f"{name} {version}" for name, version in sorted(others.items()))
        return Finding("versions", Level.PROBLEM, f"{said}; not made for it: {named}", remedy)
    if expected != ours:
        return Finding("versions", Level.PROBLEM, f"{said}; this version needs dagster {expected}", remedy)
    return Finding("versions", Level.OK, said)


def _memory() -> Finding:
    try:
        found = re.search(r"^MemAvailable: +(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    if found is None:
        return Finding("memory", Level.OK, "not looked at: this system does not say how much is free")
    return judge_memory(int(found[1]) * 1024)


def judge_memory(free: int) -> Finding:
    """Whether a day can be made with so many bytes."""
    said = f"{free / _GIB:.1f} GiB free"
    if free < _LITTLE_MEMORY:
        return Finding(
            "memory",
            Level.WARNING,
            said,
            "stop something else, or use a larger machine: training may be killed for lack of it",
        )
    return Finding("memory", Level.OK, said)


def _disks(settings: Settings) -> Iterator[Finding]:
    places = {"disk of the storage": None if "://" in settings.storage else Path(settings.storage)}
    places["disk of DAGSTER_HOME"] = settings.dagster_home
    for about, folder in places.items():
        if folder is not None:
            there = next(above for above in (folder, *folder.parents) if above.exists())
            yield judge_disk(about, shutil.disk_usage(there).free)


def judge_disk(about: str, free: int) -> Finding:
    """Whether so many bytes are enough."""
    said = f"{free / _GIB:.1f} GiB free"
    if free < _LITTLE_DISK:
        level = Level.PROBLEM if free < _NO_DISK else Level.WARNING
        return Finding(about, level, said, "free some space, or use a larger disk")
    return Finding(about, Level.OK, said)


def _time_zone(settings: Settings, now: datetime) -> Finding:
    following = due_at(newest_due(now, settings) + timedelta(days=1), settings)
    return Finding(
        "time zone",
        Level.OK,
        f"days are in UTC; the next is due at {following:%Y-%m-%d %H:%M} UTC ({settings.daily_at:%H:%M} "
        f"{settings.time_zone}); this machine's clock is in {time.tzname[0]}",
    )


def _dagster(settings: Settings, storage: Storage, sensors: Mapping[str, bool], now: datetime) -> Iterator[Finding]:
    home = settings.dagster_home
    if home is None:
        yield Finding("DAGSTER_HOME", Level.PROBLEM, "not set", "name a folder for Dagster's records, or use make")
        return
    if not home.is_dir():
        yield Finding("DAGSTER_HOME", Level.WARNING, f"{home} does not exist yet", "make ui or make backfill makes it")
        return
    try:
        tempfile.TemporaryFile(dir=home).close()
    except OSError as error:
        yield Finding(
            "DAGSTER_HOME",
            Level.PROBLEM,
            f"{home} cannot be written ({error.strerror})",
            "give this user the right to it",
        )
    else:
        yield Finding("DAGSTER_HOME", Level.OK, f"{home} can be written")
    if not (home / "dagster.yaml").exists():
        yield Finding(
            "dagster.yaml",
            Level.WARNING,
            f"none in {home}: runs and pools have no limits",
            f"copy the project's: cp dagster.yaml {home}",
        )
    try:
        with open_records(home) as instance:
            yield _records(instance)
            yield _automation(settings, instance, sensors, now)
            try:
                yield _retention(settings, instance, storage, now)
            except (StorageError, ObjectNotFound) as error:
                yield Finding("retention", Level.PROBLEM, *_split(str(error)))
    except RecordsError as error:
        yield Finding("Dagster's records", Level.PROBLEM, *_split(str(error)))


def _records(instance: dg.DagsterInstance) -> Finding:
    return Finding(
        "Dagster's records", Level.OK, f"{instance.get_runs_count():,} runs, in {type(instance.run_storage).__name__}"
    )


def _automation(
    settings: Settings, instance: dg.DagsterInstance, sensors: Mapping[str, bool], now: datetime
) -> Finding:
    automation = read_automation(instance, sensors)
    off = [name for name, on in automation.sensors.items() if not on]
    if automation.on and not automation.is_alive(now):
        return Finding("automation", Level.PROBLEM, "on, but Dagster's daemon does not run", DAEMON_IS_DOWN)
    if off and settings.automation:
        return Finding(
            "automation", Level.WARNING, f"switched off: {', '.join(off)}", "switch it on in the UI, under Automation"
        )
    if not automation.on:
        return Finding("automation", Level.OK, "off: days are made only when somebody asks for them")
    return Finding("automation", Level.OK, f"on ({', '.join(name for name in sensors if name not in off)})")


def _retention(settings: Settings, instance: dg.DagsterInstance, storage: Storage, now: datetime) -> Finding:
    def due(keep_days: int) -> str:
        # Since yesterday: what became due today is the coming night's work.
        purged = retain(
            instance,
            storage,
            keep_days=keep_days,
            catch_up_days=settings.catch_up_days,
            now=now - timedelta(days=1),
            say=lambda _: None,
            dry_run=True,
        )
        counts = {
            "days": sum(len(days) for days in purged.days.values()),
            "other files": len(purged.others),
            "runs": len(purged.runs.deleted),
        }
        return ", ".join(f"{what}: {number:,}" for what, number in counts.items() if number)

    if too_old := due(settings.keep_days):
        said = f"TMDB's data is kept for longer than {settings.keep_days} days ({too_old})"
        remedy = "movie-platform purge"
        if unlawful := due(LONGEST_KEPT.days):
            said += f", and than the {LONGEST_KEPT.days} that its terms allow ({unlawful})"
            return Finding("retention", Level.PROBLEM, said, remedy)
        return Finding("retention", Level.WARNING, said, remedy)
    return Finding("retention", Level.OK, f"nothing of TMDB's is kept for longer than {settings.keep_days} days")


def _storage(storage: Storage) -> Finding:
    key = f"doctor-{uuid.uuid4().hex}"
    try:
        problem = _round_trip(storage, key)
    except StorageError as error:
        return Finding("storage", Level.PROBLEM, *_split(str(error)))
    finally:
        with suppress(StorageError):
            storage.delete(key)
    if problem is not None:
        return Finding("storage", Level.PROBLEM, f"{storage.url(key)}: {problem}", "use a storage that does")
    return Finding("storage", Level.OK, f"an object was written, read, swapped and deleted as {storage.url(key)}")


def _round_trip(storage: Storage, key: str) -> str | None:
    """What the storage does not do, as the platform needs it."""
    if not storage.put_new(key, b"first"):
        return "a new object was refused, as if there were one"
    read = storage.get_versioned(key)
    if read is None or read.data != b"first":
        return "what was written is not what is read"
    if storage.put_new(key, b"second"):
        return "it does not honour If-None-Match: two writers would overwrite one another's objects"
    storage.swap(key, b"third", expected=read.version)
    try:
        storage.swap(key, b"fourth", expected=read.version)
    except Conflict:
        pass
    else:
        return "it does not honour If-Match: two writers of champion.json would lose one another's release"
    if storage.get(key) != b"third" or not storage.exists(key):
        return "what was written is not what is read"
    storage.delete(key)
    return "a deleted object is still there" if storage.exists(key) else None


def _tmdb(settings: Settings) -> Finding:
    if settings.source is not Source.TMDB:
        return Finding("TMDB", Level.OK, f"not asked: TMDB_ACCESS_TOKEN is not set, films are from: {settings.source}")
    try:
        asyncio.run(_authenticate(settings))
    except AuthenticationError as error:
        remedy = "set TMDB_ACCESS_TOKEN to the API Read Access Token of https://www.themoviedb.org/settings/api"
        return Finding("TMDB", Level.PROBLEM, f"the token is refused (HTTP {error.http_status})", remedy)
    except (TmdbError, TimeoutError) as error:
        said = str(error).partition(" Sent ")[0] or f"no answer in {_TMDB_SECONDS} s"
        remedy = "see whether the network, TMDB_BASE_URL and https://status.themoviedb.org are well"
        return Finding("TMDB", Level.PROBLEM, said, remedy)
    return Finding("TMDB", Level.OK, f"{settings.tmdb_base_url} accepts the token")


async def _authenticate(settings: Settings) -> None:
    assert settings.tmdb_access_token is not None
    async with (
        asyncio.timeout(_TMDB_SECONDS),
        TmdbClient(
            base_url=settings.tmdb_base_url,
            token=settings.tmdb_access_token,
            pacer=Pacer(settings.tmdb_requests_per_second),
            retry_seconds=0,
        ) as client,
    ):
        await client.get("/authentication")


def _clock(settings: Settings, storage: Storage) -> Finding:
    before = datetime.now(UTC)
    try:
        whose, theirs = "the storage", storage.clock()
    except StorageError:
        theirs = None
    if theirs is None and settings.source is Source.TMDB:
        before = datetime.now(UTC)
        whose, theirs = "TMDB", _date_of(settings.tmdb_base_url)
    if theirs is None:
        return Finding("clock", Level.OK, "not checked: nothing outside is asked that tells the time")
    return judge_clock(theirs - before - (datetime.now(UTC) - before) / 2, whose)


def judge_clock(ahead: timedelta, whose: str) -> Finding:
    """Whether this machine's clock is right, when another one's is so much ahead of it."""
    if abs(ahead) > _LARGEST_SKEW:
        seconds = ahead.total_seconds()
        said = f"{abs(seconds):.0f} s {'behind' if seconds > 0 else 'ahead of'} that of {whose}"
        return Finding("clock", Level.PROBLEM, said, "let the machine follow a time server (NTP)")
    return Finding("clock", Level.OK, f"within {_LARGEST_SKEW.seconds} s of that of {whose}")


def _date_of(url: str) -> datetime | None:
    """The time that whoever answers there shows; asked without a token, since any answer will do."""
    try:
        return parsedate_to_datetime(httpx.get(url, timeout=5).headers["date"])
    except (httpx.HTTPError, KeyError, ValueError):
        return None


def _alerts(settings: Settings) -> Finding:
    heartbeat = f"; MOVIE_PLATFORM_HEARTBEAT is {'set' if settings.heartbeat else 'not set'}"
    if settings.slack_webhook_url is not None:
        return Finding("alerts", Level.OK, f"by SLACK_WEBHOOK_URL{heartbeat}")
    if settings.slack_bot_token is not None:
        return Finding("alerts", Level.OK, f"by SLACK_BOT_TOKEN to {settings.slack_channel}{heartbeat}")
    said = f"Slack is not set: nobody is told of a failure{heartbeat}"
    if settings.automation:
        return Finding("alerts", Level.WARNING, said, "set SLACK_WEBHOOK_URL, or SLACK_BOT_TOKEN and SLACK_CHANNEL")
    return Finding("alerts", Level.OK, said)


def _release(storage: Storage) -> Finding:
    try:
        champion = read_pointer(storage)
        if champion is None:
            return Finding("release", Level.OK, "no bundle has been released yet")
        read_released(storage, champion)
    except ObjectNotFound as error:
        remedy = "materialize champion_bundle for that day, or movie-platform rollback"
        return Finding("release", Level.PROBLEM, f"{error}, which is in force", remedy)
    except StorageError as error:
        return Finding("release", Level.PROBLEM, *_split(str(error)))
    return Finding("release", Level.OK, f"in force is the bundle of {champion.partition}, and its copy is whole")


def _service(settings: Settings, storage: Storage) -> Finding:
    if settings.serving_url is None:
        return Finding("service", Level.OK, "not looked at: SERVING_URL is not set")
    served = ask_service(settings.serving_url)
    if served.problem is not None:
        return Finding(
            "service", Level.PROBLEM, f"{settings.serving_url}: {served.problem}", "see its log; make serve starts it"
        )
    try:
        champion = read_pointer(storage)
    except StorageError:
        champion = None
    aside = f"; in force is {champion.partition}" if champion and champion.partition != served.partition else ""
    return Finding("service", Level.OK, f"{settings.serving_url} serves the bundle of {served.partition}{aside}")


def _split(text: str) -> tuple[str, str]:
    """An error of ours ends with its remedy."""
    said, _, remedy = text.rpartition(": ")
    return (said, remedy) if said else (text, "")
