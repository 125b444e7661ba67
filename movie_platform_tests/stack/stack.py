"""A stack of real containers in a folder of its own, as somebody would start it from a fresh clone.

What belongs here: starting, stopping, asking, breaking. What does not: what must hold (`test_stack`).
"""

import json
import os
import shutil
import socket
import subprocess
import tarfile
import time
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from movie_platform.assets import UPSTREAM

ROOT: Final = Path(__file__).parents[2]
SERVICES: Final = ("postgres", "s3", "code-location", "webserver", "daemon", "serving-a", "serving-b", "proxy")
REPOSITORY: Final = {"repositoryName": "__repository__", "repositoryLocationName": "movie_platform"}
_LAUNCH: Final = """
mutation($parameters: ExecutionParams!) {
  launchRun(executionParams: $parameters) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  }
}
"""
_START_SENSOR: Final = """
mutation($sensor: SensorSelector!) {
  startSensor(sensorSelector: $sensor) { __typename ... on PythonError { message } }
}
"""
_RUNS: Final = """
{ runsOrError { ... on Runs { results { runId status tags { key value } } } } }
"""
_MATERIALIZED: Final = """
query($asset: AssetKeyInput!) {
  assetOrError(assetKey: $asset) {
    ... on Asset { assetMaterializations { partition runId timestamp } }
  }
}
"""


@dataclass(frozen=True)
class Run:
    """What the web server says of a run."""

    id: str
    status: str
    tags: Mapping[str, str]

    @property
    def container(self) -> str | None:
        """Of the container that was made for it."""
        return self.tags.get("docker/container_id")


class Stack:
    """A copy of the project's files, with a `.env` and ports of its own."""

    def __init__(self, folder: Path, name: str, **settings: str) -> None:
        """The copy, before anything is started. `settings` are lines of `.env`."""
        self.folder, self.name = folder, name
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        )
        for file in filter(None, listed.stdout.decode().split("\0")):
            if (ROOT / file).exists():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / file, folder / file)
        ui, api = _free_port(), _free_port()
        self.ui, self.api = f"http://127.0.0.1:{ui}", f"http://127.0.0.1:{api}"
        lines = {
            "COMPOSE_PROJECT_NAME": name,
            "VERSION": "test",
            "UI_PORT": f"127.0.0.1:{ui}",
            "API_PORT": f"127.0.0.1:{api}:8000",
            **settings,
        }
        (folder / ".env").write_text("".join(f"{key}={value}\n" for key, value in lines.items()))

    # --- commands ---------------------------------------------------------------------------------

    def change(self, **settings: str) -> None:
        """Other lines of `.env`, in place of those of the same name."""
        lines = (self.folder / ".env").read_text().splitlines()
        kept = [line for line in lines if line.partition("=")[0] not in settings]
        changed = [f"{name}={value}" for name, value in settings.items()]
        (self.folder / ".env").write_text("".join(f"{line}\n" for line in [*kept, *changed]))

    def run(self, *command: str, check: bool = True, both: bool = False) -> str:
        """Run a command in the folder, with nothing of the caller's settings; what it printed (on `both` outputs)."""
        passed_on = os.environ.items()  # noqa: TID251
        environment = {k: v for k, v in passed_on if k in {"PATH", "HOME"} or k.startswith("DOCKER_")}
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, errors="replace", check=False
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done.stdout + done.stderr if both else done.stdout

    def command(self, *arguments: str) -> str:
        """`deploy/stack` with arguments."""
        return self.run("deploy/stack", *arguments)

    def compose(self, *arguments: str, check: bool = True) -> str:
        """`docker compose` with arguments."""
        return self.run("docker", "compose", *arguments, check=check)

    def inside(self, service: str, *command: str) -> str:
        """A command in a service's container."""
        return self.compose("exec", "-T", service, *command)

    def inspect(self, container: str) -> dict[str, Any]:
        """What Docker says of a container."""
        (found,) = json.loads(self.run("docker", "inspect", container))
        return dict(found)

    def containers(self, service: str) -> list[str]:
        """The ids of a service's containers."""
        return self.compose("ps", "--quiet", service).split()

    def found_in_layers(self, image: str, texts: Collection[str]) -> set[str]:
        """Which of the texts stand anywhere in an image: in its description or any of its layers, removed ones too."""
        found = set()
        longest = max(len(text) for text in texts)
        with (
            subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as saving,
            tarfile.open(fileobj=saving.stdout, mode="r|") as saved,
        ):
            for member in saved:
                if (file := saved.extractfile(member)) is None:
                    continue
                chunk, before = file.read(2**20), b""
                # It depends on the engine whether layers are compressed.
                zipped = zlib.decompressobj(wbits=31) if chunk.startswith(b"\x1f\x8b") else None
                while chunk:
                    part = before + (zipped.decompress(chunk) if zipped else chunk)
                    found |= {text for text in texts if text.encode() in part}
                    chunk, before = file.read(2**20), part[-longest:]
        return found

    def crash(self, container: str) -> None:
        """End a container's process as a crash would: Docker restarts nothing that `docker kill` has ended."""
        process = self.inspect(container)["State"]["Pid"]
        self.run(
            *("docker", "run", "--rm", "--pid", "host", "--user", "root", "--network", "none", "--entrypoint", "sh"),
            *("movie-platform-serving:test", "-c", f"kill -KILL {process}"),
        )

    def run_containers(self) -> list[str]:
        """The ids of those in which a run goes on."""
        return self.run(
            "docker", "ps", "--quiet", "--no-trunc", "--filter", f"label=movie-platform.stack={self.name}"
        ).split()

    def remove(self) -> None:
        """Take everything away, but for the images."""
        found = self.run(
            "docker", "ps", "--all", "--quiet", "--filter", f"label=movie-platform.stack={self.name}"
        ).split()
        if found:
            self.run("docker", "rm", "--force", *found, check=False)
        self.compose("down", "--volumes", "--timeout", "5", check=False)

    # --- the UI -----------------------------------------------------------------------------------

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """A question to the web server, which may be starting anew."""
        answer = httpx.post(
            f"{self.ui}/graphql", json={"query": query, "variables": variables}, timeout=60, trust_env=False
        ).json()
        assert "errors" not in answer, answer
        return dict(answer["data"])

    def launch(self, day: str) -> str:
        """Ask for a run of the job `daily` for a day, as the launchpad does; its id."""
        parameters = {
            "selector": {**REPOSITORY, "jobName": "daily"},
            "runConfigData": {},
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": day}]},
        }
        answer = self.ask(_LAUNCH, parameters=parameters)["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["runId"])

    def start_sensor(self, sensor: str) -> None:
        """Switch it on, as under Automation."""
        self.ask(_START_SENSOR, sensor={**REPOSITORY, "sensorName": sensor})

    def runs(self) -> list[Run]:
        """All runs, the oldest first."""
        found = self.ask(_RUNS)["runsOrError"]["results"]
        return [Run(r["runId"], r["status"], {t["key"]: t["value"] for t in r["tags"]}) for r in reversed(found)]

    def materialized(self) -> dict[str, list[tuple[str, str, str]]]:
        """Partition, run and time of every materialization, by asset."""
        return {
            asset: sorted(
                (m["partition"], m["runId"], m["timestamp"])
                for m in self.ask(_MATERIALIZED, asset={"path": [asset]})["assetOrError"]["assetMaterializations"]
            )
            for asset in UPSTREAM
        }

    def days_of(self, asset: str) -> set[str]:
        """The days with a materialization."""
        return {partition for partition, *_ in self.materialized()[asset]}

    def digests(self, assets: Sequence[str], days: Sequence[str]) -> dict[str, str]:
        """The SHA-256 of the files of some days, by key, as read in the container."""
        script = (
            "import hashlib, sys\n"
            "from movie_platform.settings import load_settings\n"
            "from movie_platform.storage import open_storage\n"
            "storage = open_storage(load_settings().storage)\n"
            f"for asset in {list(assets)}:\n"
            "    for key in storage.list(asset):\n"
            f"        if any(day in key for day in {list(days)}):\n"
            "            print(key, hashlib.sha256(storage.get(key)).hexdigest())\n"
        )
        lines = self.inside("code-location", "python", "-c", script).splitlines()
        return dict(line.split(" ") for line in lines)

    # --- waiting ----------------------------------------------------------------------------------

    def wait(self, condition: Callable[[], bool], *, what: str, seconds: float = 120) -> None:
        """Until something is the case, whatever does not answer meanwhile; fails with the last words of all."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if condition():
                    return
            except (httpx.HTTPError, AssertionError, ValueError, KeyError):
                pass
            if time.monotonic() > deadline:
                words = self.compose("logs", "--no-color", "--tail", "15", check=False)
                raise AssertionError(f"not in {seconds} s: {what}\n{self.compose('ps', check=False)}\n{words}")
            time.sleep(0.5)

    def wait_for_run(self, run: str, *, status: str = "SUCCESS", seconds: float = 180) -> None:
        """Until a run has ended like that."""
        self.wait(lambda: self.status(run) == status, what=f"run {run} is {status}", seconds=seconds)

    def status(self, run: str) -> str:
        """Of a run."""
        return next(found.status for found in self.runs() if found.id == run)

    def is_well(self) -> bool:
        """Whether every service runs and answers, with one container each."""
        for service in SERVICES:
            found = self.containers(service)
            if len(found) != 1:
                return False
            state = self.inspect(found[0])["State"]
            if (
                not state["Running"]
                or state["Restarting"]
                or state.get("Health", {}).get("Status", "healthy") != "healthy"
            ):
                return False
        return True


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port
