"""What tests of the service share: small real bundles, releases of them, and the service as a server on loopback.

What belongs here: making these parts. What does not: fixtures (`conftest`), and what is expected of the service.
"""

import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import IO, Any

import httpx
import uvicorn
from fastapi import FastAPI

from movie_platform.rating_model.bundle import Bundle
from movie_platform.rating_model.config import TrainingConfig
from movie_platform.rating_model.fields import Film
from movie_platform.rating_model.training import train
from movie_platform.releases import HISTORY, POINTER, Champion, Decision, champion_of, keep_copy, release
from movie_platform.storage import Storage, StorageError
from movie_platform.tmdb.reference import GENRES
from movie_platform_tests.rating_model.examples import example_films
from serving.service import Service

QUICK = TrainingConfig(trees=10, averaged_models=1, min_rows_in_leaf=10, calibration_min_films=100, learning_rate=0.2)
"""Trained in a third of a second."""

FIRST_DAY = date(2026, 1, 5)
FILM: dict[str, Any] = {"title": "Example Movie", "release_year": 2024, "popularity": 123.4, "vote_count": 560}
"""The request of the README."""

_RELEASED_AT = datetime(2026, 2, 1, 12, tzinfo=UTC)


@cache
def bundle_of(day: date = FIRST_DAY, *, seed: int = 0) -> Bundle:
    """Return a small bundle of the day; another seed gives one that predicts otherwise."""
    model = train(example_films(300, seed=seed), QUICK)
    return Bundle.make(model, partition=day, code_version="abc", days_used=[day])


def release_bundle(storage: Storage, bundle: Bundle | bytes, *, day: date | None = None) -> Champion:
    """Release a bundle, or bytes that may be anything, as that of `day`, as the platform does."""
    if isinstance(bundle, Bundle):
        day, bundle = day or bundle.metadata.partition, bundle.to_bytes()
    champion = champion_of(bundle, partition=day or FIRST_DAY, code_version="abc", synthetic=True)
    keep_copy(storage, bundle, champion)
    at = _RELEASED_AT + timedelta(seconds=len(storage.list(HISTORY)))
    release(storage, champion, reasons=["It is better."], now=at)
    return champion


def decide(storage: Storage, champion: Champion, *, released: bool = True) -> Decision:
    """Write the day's decision about this bundle, as `champion_bundle` does."""
    decision = Decision(
        partition=champion.partition,
        released=released,
        reasons=["It is better." if released else "It is worse."],
        candidate=champion,
        compared_with=None,
        compared_films=0,
        rmse={},
        champion_in_force=champion if released else None,
        synthetic=champion.synthetic,
    )
    storage.put(f"champion_bundle/{champion.partition}.json", decision.model_dump_json().encode())
    return decision


def point_to(storage: Storage, champion: Champion) -> None:
    """Let the pointer name this, whatever is true."""
    storage.put(POINTER, champion.model_dump_json().encode())


def film_of(body: Mapping[str, Any]) -> Film:
    """Return the film that a valid request is about, found without the service's own code."""
    names = {name.casefold(): name for name in GENRES.values()}
    return Film(
        title=body["title"],
        overview=body.get("overview"),
        release_date=date.fromisoformat(body["release_date"]) if body.get("release_date") else None,
        release_year=body.get("release_year"),
        genres=[
            GENRES[genre] if isinstance(genre, int) else names[genre.strip().casefold()]
            for genre in body.get("genres") or ()
        ],
        original_language=body.get("original_language"),
        popularity=body.get("popularity"),
        vote_count=body.get("vote_count"),
    )


class BrokenStorage(Storage):
    """A storage of which everything, or some methods, fail as they are told to, or wait."""

    def __init__(self, real: Storage) -> None:
        self.real = real
        self.error: Exception | None = None
        """What every read raises."""

        self.of_list: Exception | None = None
        """What listing raises."""

        self.wait: threading.Event | None = None
        """What every read waits for."""

    def url(self, key: str) -> str:
        return self.real.url(key)

    def put(self, key: str, data: bytes) -> None:
        self.real.put(key, data)

    def swap(self, key: str, data: bytes, *, expected: str | None) -> None:
        self.real.swap(key, data, expected=expected)

    def get_versioned(self, key: str, **options: Any) -> Any:
        self._fail()
        return self.real.get_versioned(key, **options)

    def exists(self, key: str) -> bool:
        self._fail()
        return self.real.exists(key)

    def list(self, folder: str = "") -> Any:
        self._fail()
        if self.of_list is not None:
            raise self.of_list
        return self.real.list(folder)

    def modified(self, folder: str = "") -> Any:
        self._fail()
        if self.of_list is not None:
            raise self.of_list
        return self.real.modified(folder)

    def delete(self, key: str) -> None:
        self.real.delete(key)

    def stop(self) -> None:
        """Answer as a storage that is down."""
        self.error = StorageError("cannot read: EndpointConnectionError: see whether the network is right")

    def _fail(self) -> None:
        if self.wait is not None:
            self.wait.wait(20)
        if self.error is not None:
            raise self.error


def service_of(app: FastAPI) -> Service:
    """Return the parts of the service."""
    service: Service = app.state.service
    return service


@contextmanager
def running(app: FastAPI, *, polling: bool = False, headers: Mapping[str, str] | None = None) -> Iterator[httpx.Client]:
    """Serve the application on loopback while the block lasts; gives a client for it.

    Without `polling` the storage is looked at once, before the first request, and then only when a test polls.
    """
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, log_config=None, lifespan="on" if polling else "off", timeout_graceful_shutdown=1, server_header=False
    )
    server = uvicorn.Server(config)
    if not polling:
        service_of(app).bundles.poll()
        service_of(app).upcoming.poll()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        wait_until(lambda: server.started)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=False) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()
        service_of(app).batches.close()


@contextmanager
def connection_to(client: httpx.Client) -> Iterator[http.client.HTTPConnection]:
    """A connection to the same server, for requests that are not sent at once."""
    with closing(http.client.HTTPConnection(client.base_url.host, client.base_url.port or 0, timeout=10)) as made:
        yield made


def begin_request(connection: http.client.HTTPConnection, path: str, body: bytes, *, length: int | None = None) -> None:
    """Send the head of a request with so long a body of JSON, and these bytes of it."""
    connection.putrequest("POST", path)
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(len(body) if length is None else length))
    connection.endheaders(body or None)


def send_rest(connection: http.client.HTTPConnection, body: bytes) -> None:
    """Send the rest of a body; whoever is sent away may find the connection closed, with its answer on it."""
    with suppress(BrokenPipeError, ConnectionResetError):
        connection.send(body)


def answer_on(connection: http.client.HTTPConnection) -> tuple[int, bytes]:
    """Return status and content of the next answer."""
    answer = connection.getresponse()
    return answer.status, answer.read()


@dataclass(frozen=True)
class Process:
    """The service as a process of its own, as `make serve` starts it."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def memory(self) -> float:
        """How many MiB it takes at the moment."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024

    def log_lines(self) -> list[dict[str, Any]]:
        """Return what it has logged; each line must be a JSON object."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@contextmanager
def service_process(folder: Path, *, ready: bool = True, **settings: str) -> Iterator[Process]:
    """Run the service with these variables in `folder`; the block begins when it is ready, or else when it is alive."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    variables = {"SERVING_PORT": str(port), "SERVING_CACHE": str(folder / "cache"), **settings}
    log = folder / "log"
    with log.open("ab") as output:
        process = _start([f"{name}={value}" for name, value in variables.items()], folder, output)
    found = Process(url=f"http://127.0.0.1:{port}", process=process, log=log)
    try:
        wait_for(f"{found.url}/health/{'ready' if ready else 'live'}")
        yield found
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(url: str, *, status: int = 200, seconds: float = 30) -> httpx.Response:
    """Ask until it is answered with the status, and return the answer."""
    answers: list[httpx.Response] = []

    def answered() -> bool:
        try:
            answers.append(httpx.get(url, timeout=5, trust_env=False))
        except httpx.TransportError:
            return False
        return answers[-1].status_code == status

    wait_until(answered, seconds=seconds)
    return answers[-1]


def _start(variables: list[str], folder: Path, output: IO[bytes]) -> subprocess.Popen[bytes]:
    # `env` adds to the environment, which only the settings may read here.
    command = ["env", *variables, sys.executable, "-m", "serving"]
    return subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)


def wait_until(condition: Callable[[], bool], *, seconds: float = 20) -> None:
    """Look until it is so; raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("what was waited for did not happen")
        time.sleep(0.01)
