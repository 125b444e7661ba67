"""The real daemon: `dagster dev` over `clocked_platform`, in processes of its own that a test can stop and kill."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dagster as dg

from movie_platform.assets import UPSTREAM

DAGSTER_DEV = (
    *(sys.executable, "-W", "ignore", "-m", "dagster", "dev", "-h", "127.0.0.1"),
    *("-m", "movie_platform_tests.clocked_platform"),
)
CONFIG = Path(__file__).parent.parent / "dagster.yaml"


class Deployment:
    """A folder with a platform of its own: `dagster.yaml` of the project, records, files and a clock."""

    def __init__(self, folder: Path, *, assets: Sequence[str] = tuple(UPSTREAM), **monitoring: int) -> None:
        """`monitoring` are settings of `run_monitoring` that are to be other than the project's."""
        self.folder = folder
        self.home, self.storage = folder / "dagster-home", folder / "data"
        self.home.mkdir()
        config = CONFIG.read_text()
        for name, value in monitoring.items():
            config = re.sub(rf"(?m)^  {name}: .*$", f"  {name}: {value}", config)
        (self.home / "dagster.yaml").write_text(config)
        self.runs()  # makes the tables of the records, which two processes at a time cannot
        self._wishes: dict[str, Any] = {"assets": list(assets), "days_behind": 0, "settings": {}}
        self.set()

    def set(self, *, days_behind: float = 0, **settings: Any) -> None:
        """The clock, from now on, and settings beside the earlier ones, from the next start on."""
        self._wishes["days_behind"] = days_behind
        self._wishes["settings"] = {
            "MOVIE_PLATFORM_STORAGE": str(self.storage),
            "MOVIE_PLATFORM_AUTOMATION": True,
            "MOVIE_PLATFORM_DAILY_AT": "00:00",
            **self._wishes["settings"],
            **settings,
        }
        partial = self.folder / "platform.json.partial"
        partial.write_text(json.dumps(self._wishes))
        partial.replace(self.folder / "platform.json")

    @property
    def settings(self) -> Mapping[str, Any]:
        """Those that it runs with, by their variables."""
        settings: Mapping[str, Any] = self._wishes["settings"]
        return settings

    @contextmanager
    def running(self, *, kill: bool = False) -> Iterator[str]:
        """With `dagster dev`: asked to stop at the end, or killed together with all its runs. Yields the UI's URL."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with (self.folder / "dagster.log").open("ab") as log:
            process = subprocess.Popen(
                [*DAGSTER_DEV, "-p", str(port)],
                cwd=self.folder,
                env={**os.environ, "DAGSTER_HOME": str(self.home), "OMP_NUM_THREADS": "1"},  # noqa: TID251 passed on
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            if not kill:
                process.send_signal(signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(60)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its own group: nothing else is in it
            process.wait()

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        """The records."""
        with dg.DagsterInstance.from_config(str(self.home)) as made:
            yield made

    def runs(self) -> list[dg.DagsterRun]:
        """All runs, the oldest first."""
        with self.instance() as instance:
            return list(reversed(instance.get_runs()))

    def rest(self, *, runs: int) -> bool:
        """Whether so many runs have been made, and none is in progress."""
        made = self.runs()
        return len(made) >= runs and all(run.is_finished for run in made)

    def recorded(self, asset: str) -> list[dg.AssetMaterialization]:
        """Every materialization of an asset, in date order."""
        with self.instance() as instance:
            records = instance.fetch_materializations(dg.AssetKey(asset), limit=1000).records
        made = [record.asset_materialization for record in records]
        return sorted((m for m in made if m is not None), key=lambda m: m.partition or "")

    def ticks(self) -> list[str | None]:
        """What the sensor said each time it had nothing to do, the newest first; None when it asked for a run."""
        with self.instance() as instance:
            return [
                tick.skip_reason
                for sensor in instance.all_instigator_state()
                for tick in instance.get_ticks(sensor.instigator_origin_id, sensor.selector_id)
                if tick.is_completed
            ]

    def said(self) -> str:
        """What the sensor said last."""
        return next((words for words in self.ticks() if words), "")

    def wait(self, condition: Callable[[], bool], *, what: str, seconds: float = 150) -> None:
        """Until something is the case; fails with the daemon's last words if it takes too long."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                words = (self.folder / "dagster.log").read_text().splitlines()[-40:]
                raise AssertionError("\n".join([f"not in {seconds} s: {what}", *words]))
            time.sleep(0.25)
