"""Faults of a running platform: how each begins, how it is mended, and what becomes of the days.

What belongs here: breaking, mending, observing. What does not: how it is shown (`benchmarks.faults`).
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from movie_platform.assets import UPSTREAM
from movie_platform.operations.survey import DayStatus, survey
from movie_platform.partitions import LOOK_BACK, cycle_start, last_complete_day
from movie_platform.settings import Settings
from movie_platform.storage import open_storage
from movie_platform_tests.daemon import Deployment
from movie_platform_tests.postgres import Postgres
from movie_platform_tests.serving.s3_servers import ACCESS_KEY, SECRET, Rclone

FAULT_BEGINS_AFTER = 2
"""Days that the run has trained when the fault happens: it is in the middle then."""
SKIPPED = timedelta(minutes=20)
"""How far the automation's clock is ahead once the fault is mended: the first pause after a failure is 15 minutes."""
PATIENCE = 300.0
"""Seconds."""


class Platform:
    """A deployment in a folder of its own, and what can be done to it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.stack = stack
        self.deployment = Deployment(folder, poll_interval_seconds=5, free_slots_after_run_end_seconds=5)
        newest = last_complete_day(datetime.now(UTC).date())
        self.days = (newest - cycle_start(newest - timedelta(days=LOOK_BACK - 1))).days + 1
        """With which a new platform begins."""
        self._running: ExitStack | None = None

    def set(self, environment: Mapping[str, str], **settings: Any) -> None:
        """Variables of all its processes, and settings."""
        os.environ |= environment  # noqa: TID251 passed on
        self.deployment.set(**settings)

    def start(self) -> None:
        """Start `dagster dev`."""
        self._running = ExitStack()
        self._running.enter_context(self.deployment.running())

    def stop(self) -> None:
        """Ask it to stop."""
        if self._running is not None:
            self._running.close()
            self._running = None

    def kill(self, *words: str) -> int:
        """SIGKILL the processes of this platform whose command line has one of the words; returns how many."""
        found = [pid for pid, command in _children_of(self.folder) if any(word in command for word in words)]
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        return len(found)

    def trained(self) -> int:
        """How many days have a bundle."""
        with self.deployment.instance() as instance:
            return len(instance.get_materialized_partitions(dg.AssetKey("trained_bundle")))

    def settings(self) -> Settings:
        """Those that the platform runs with."""
        return Settings(**self.deployment.settings)

    def incomplete(self) -> list[str]:
        """The days that are not complete, with what the automation says of them."""
        settings = self.settings()
        with self.deployment.instance() as instance:
            found = survey(instance, open_storage(settings.storage), settings, upstream=UPSTREAM, now=datetime.now(UTC))
        return [
            f"{state.day}: {state.status} ({state.reason})"
            for state in found.days
            if state.status is not DayStatus.COMPLETE
        ]

    def verify(self) -> tuple[bool, str]:
        """What `movie-platform verify` says of all files."""
        environment = {**os.environ, "DAGSTER_HOME": str(self.deployment.home)}  # noqa: TID251 passed on
        environment |= {"MOVIE_PLATFORM_STORAGE": self.settings().storage}
        done = subprocess.run(
            [str(Path(sys.executable).parent / "movie-platform"), "verify"],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode == 0, done.stdout + done.stderr


def _children_of(folder: Path) -> Iterator[tuple[int, str]]:
    """The processes that have the folder's DAGSTER_HOME in their environment: process id and command line."""
    mark = f"DAGSTER_HOME={folder}/dagster-home".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                yield int(process.name), (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it has ended
            continue


class Fault(ABC):
    """What goes wrong, for how long, and how it is mended."""

    name: str
    seconds = 5.0
    """How long it lasts."""

    def prepare(self, platform: Platform) -> None:  # noqa: B027 most need nothing
        """Before the platform starts."""

    @abstractmethod
    def begin(self, platform: Platform) -> None:
        """In the middle of a run."""

    @abstractmethod
    def end(self, platform: Platform) -> None:
        """Mend it, as a person or the machine's supervisor would."""


class RunKilled(Fault):
    """As by the system when memory is short."""

    name = "SIGKILL of the run"

    def begin(self, platform: Platform) -> None:
        """Kill it."""
        assert platform.kill("multiprocessing.spawn"), "there was no run"

    def end(self, platform: Platform) -> None:
        """Nothing: the platform is still there."""


class DaemonKilled(Fault):
    """`dagster dev` ends with it, and with it the run."""

    name = "SIGKILL of the daemon"

    def begin(self, platform: Platform) -> None:
        """Kill it."""
        assert platform.kill("dagster._daemon"), "there was no daemon"

    def end(self, platform: Platform) -> None:
        """Start the platform again."""
        platform.stop()
        platform.start()


class EverythingKilled(Fault):
    """As by a machine that is switched off."""

    name = "SIGKILL of everything"

    def begin(self, platform: Platform) -> None:
        """Kill all processes."""
        assert platform.kill("dagster", "multiprocessing")

    def end(self, platform: Platform) -> None:
        """Start the platform again."""
        platform.stop()
        platform.start()


class SmallDisk(Fault):
    """The files are on a disk of their own."""

    def prepare(self, platform: Platform) -> None:
        """Mount it."""
        folder = platform.deployment.storage
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], check=True)
        platform.stack.callback(subprocess.run, ["umount", "-l", str(folder)], check=True)


class DiskFull(SmallDisk):
    """Filled up by somebody else, to the last few kilobytes."""

    name = "disk full"

    def begin(self, platform: Platform) -> None:
        """Fill it."""
        folder = platform.deployment.storage
        room = shutil.disk_usage(folder).free - 8_192
        (folder / "somebody.else").write_bytes(bytes(room))

    def end(self, platform: Platform) -> None:
        """Make room."""
        (platform.deployment.storage / "somebody.else").unlink()


class ReadOnly(SmallDisk):
    """As Linux does with a disk that has errors."""

    name = "storage read-only"

    def begin(self, platform: Platform) -> None:
        """Let nobody write."""
        subprocess.run(["mount", "-o", "remount,ro", str(platform.deployment.storage)], check=True)

    def end(self, platform: Platform) -> None:
        """Let everybody write."""
        subprocess.run(["mount", "-o", "remount,rw", str(platform.deployment.storage)], check=True)


class S3Gone(Fault):
    """The server does not listen."""

    name = "S3 gone for a minute"
    seconds = 60.0

    def prepare(self, platform: Platform) -> None:
        """Start a server, and let the platform keep its files there."""
        (platform.folder / "s3/films").mkdir(parents=True)
        self._server = Rclone(platform.folder / "s3")
        self._server.start()
        platform.stack.callback(self._server.stop)
        platform.set(
            {
                "AWS_ACCESS_KEY_ID": ACCESS_KEY,
                "AWS_SECRET_ACCESS_KEY": SECRET,
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_ENDPOINT_URL_S3": self._server.endpoint,
                "AWS_EC2_METADATA_DISABLED": "true",
            },
            MOVIE_PLATFORM_STORAGE="s3://films/platform",
        )

    def begin(self, platform: Platform) -> None:
        """Stop it."""
        self._server.stop()

    def end(self, platform: Platform) -> None:
        """Start it again."""
        self._server.start()


class PostgresKilled(Fault):
    """With all its processes; it recovers from its log when it starts again."""

    name = "SIGKILL of PostgreSQL"
    seconds = 10.0

    def prepare(self, platform: Platform) -> None:
        """Start a server, and let Dagster keep its records there."""
        self._server = Postgres(platform.folder / "postgres")
        self._server.start()
        platform.stack.callback(self._server.kill)
        with (platform.deployment.home / "dagster.yaml").open("a") as config:
            config.write(f"storage: {{postgres: {{postgres_url: '{self._server.url}'}}}}\n")
        platform.deployment.runs()  # makes the tables of the records

    def begin(self, platform: Platform) -> None:
        """Kill it."""
        self._server.kill()

    def end(self, platform: Platform) -> None:
        """Start it again, and the platform if that has ended."""
        self._server.start()
        platform.stop()
        platform.start()


FAULTS = (RunKilled, DaemonKilled, EverythingKilled, DiskFull, ReadOnly, S3Gone, PostgresKilled)


@dataclass(frozen=True)
class Outcome:
    """What became of a platform with a fault."""

    fault: str
    days: int
    complete_before: int
    """Days that had a bundle when the fault happened."""
    runs: int
    seconds: float
    """From when it was mended until all days were complete."""
    incomplete: list[str]
    whole: bool
    verified: str


def break_and_mend(fault: Fault, folder: Path, tell: Callable[[str], Any]) -> Outcome:
    """Let one fault happen to a new platform."""
    with ExitStack() as stack:
        platform = Platform(folder, stack)
        stack.callback(platform.stop)
        fault.prepare(platform)
        tell("starting")
        platform.start()
        _wait(lambda: platform.trained() >= FAULT_BEGINS_AFTER)
        before = platform.trained()
        tell(f"{before} of {platform.days} days have a bundle: the fault begins")
        fault.begin(platform)
        time.sleep(fault.seconds)
        fault.end(platform)
        tell("mended")
        mended = time.monotonic()
        while (left := platform.incomplete()) and time.monotonic() < mended + PATIENCE:
            if any("waiting" in day for day in left):
                platform.deployment.set(days_behind=-SKIPPED / timedelta(days=1))
            time.sleep(2)
        seconds = time.monotonic() - mended
        tell("verifying")
        whole, verified = platform.verify()
        return Outcome(
            fault=fault.name,
            days=platform.days,
            complete_before=before,
            runs=len(platform.deployment.runs()),
            seconds=seconds,
            incomplete=left,
            whole=whole,
            verified=verified,
        )


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the first run did not get that far")
        time.sleep(0.5)
