"""The stack of docker-compose.yml, from a fresh copy to its end: started, used, broken, updated, restored.

The tests are one story and build on one another, so they run in this order, and the first that fails ends it. Needs a
Docker engine with the base images, and Chromium. `make stack-test` runs them; the other tests do not need containers.
"""

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import sync_playwright

from movie_platform.assets import UPSTREAM
from movie_platform.partitions import cycle_start, days
from movie_platform_tests.serving.test_browser import CHROMIUM
from movie_platform_tests.stack.stack import SERVICES, Stack

pytestmark = pytest.mark.stack

BUCKET = "docker compose run --rm -T code-location python bucket.py"
CUT = f"{BUCKET} get {{backup}} | head -c 100000 | {BUCKET} put cut.dump"
"""Puts the beginning of a backup beside it."""
FILM = {"title": "Example Movie", "release_year": 2024, "popularity": 123.4, "vote_count": 560}


def beginning(today: date) -> date:
    """The newest day with which a cycle of windows begins, so that a model can be made, but for the last three days."""
    return cycle_start(today - timedelta(days=16))


ALL_DAYS = [str(day) for day in days(beginning(datetime.now(UTC).date()), datetime.now(UTC).date() - timedelta(days=1))]
"""Those of the platform: the first three by hand, the others by the automation."""
THREE = ALL_DAYS[:3]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Started by the two commands of the README, with the automation off."""
    made = Stack(
        tmp_path_factory.mktemp("stack"),
        f"movie-platform-test-{os.getpid()}",
        MOVIE_PLATFORM_FIRST_PARTITION=ALL_DAYS[0],
        MOVIE_PLATFORM_AUTOMATION="off",
        MOVIE_PLATFORM_DAILY_AT="00:00",
        SERVING_POLL_SECONDS="1",
    )
    try:
        made.command("env")
        made.compose("up", "--build", "--quiet-build", "--detach", "--wait")
        yield made
    finally:
        made.remove()


def in_force(stack: Stack) -> str:
    """The SHA-256 of the bundle that is released."""
    script = (
        "from movie_platform.settings import load_settings\n"
        "from movie_platform.storage import open_storage\n"
        "print(open_storage(load_settings().storage).get('champion.json').decode())"
    )
    return str(json.loads(stack.inside("code-location", "python", "-c", script))["sha256"])


def serves(stack: Stack, sha256: str) -> bool:
    """Whether a prediction is answered, by that bundle."""
    answer = httpx.post(f"{stack.api}/predict", json=FILM, timeout=10, trust_env=False)
    return bool(answer.status_code == 200 and answer.json()["model"]["sha256"] == sha256)


# --- as it is after `docker compose up` -----------------------------------------------------------


def test_every_service_is_well(stack: Stack):
    assert stack.is_well(), stack.compose("ps")
    assert stack.ask("{ version }")["version"]


def test_before_anything_is_released_the_api_says_what_to_do(stack: Stack):
    answer = httpx.post(f"{stack.api}/predict", json=FILM, timeout=10, trust_env=False)
    assert answer.status_code == 503
    assert "no bundle has been released yet" in answer.json()["detail"]
    assert httpx.get(f"{stack.api}/docs", timeout=10, trust_env=False).status_code == 200


def test_nobody_is_root_and_nothing_can_be_written_but_the_volume(stack: Stack):
    for service in ["code-location", "webserver", "daemon", "serving-a"]:
        assert stack.inside(service, "id", "-u").strip() == "1000", service
        refused = stack.inside(service, "sh", "-c", "touch /app/x 2>/dev/null || echo refused; touch /state/x /tmp/x")
        assert refused.strip() == "refused", service
    for service in SERVICES:
        host = stack.inspect(stack.containers(service)[0])["HostConfig"]
        assert host["ReadonlyRootfs"], service
        assert not host["Privileged"], service
        assert host["CapDrop"] == ["ALL"], service


def test_the_service_answers_within_ten_seconds_of_its_start_and_may_take_300_mib(stack: Stack):
    stack.compose("restart", "serving-b")
    asks = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8000/health/live').status)"
    stack.wait(lambda: stack.inside("serving-b", "python", "-c", asks) == "200\n", what="it answers", seconds=10)
    for service in ("serving-a", "serving-b"):
        assert stack.inspect(stack.containers(service)[0])["HostConfig"]["Memory"] == 300 * 2**20


def test_the_service_cannot_reach_the_records_and_has_no_dagster(stack: Stack):
    script = (
        "import socket, sys, importlib.metadata as m\n"
        "print([d.name for d in m.distributions() if d.name.startswith('dagster')])\n"
        "try: socket.create_connection(('postgres', 5432), 3); print('reached')\n"
        "except OSError: print('not reached')\n"
    )
    assert stack.inside("serving-a", "python", "-c", script).splitlines() == ["[]", "not reached"]
    address = stack.inspect(stack.containers("postgres")[0])["NetworkSettings"]["Networks"]
    (where,) = [network["IPAddress"] for network in address.values()]
    assert stack.inside("serving-a", "python", "-c", script.replace("'postgres'", f"'{where}'")).endswith(
        "not reached\n"
    )


def test_no_secret_is_in_any_layer_of_an_image(stack: Stack):
    lines = dict(line.split("=", 1) for line in (stack.folder / ".env").read_text().splitlines())
    secrets = [lines[name] for name in ("POSTGRES_PASSWORD", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")]
    for image in ("movie-platform:test", "movie-platform-serving:test"):
        known, env_file = "movie_platform/storage.py", "app/.env\0"  # as an archive names a file
        assert stack.found_in_layers(image, {*secrets, known, env_file}) == {known}, image


# --- days -----------------------------------------------------------------------------------------


def test_each_of_three_days_is_made_in_a_container_of_its_own(stack: Stack):
    runs = [stack.launch(day) for day in THREE]
    stack.wait(lambda: bool(stack.run_containers()), what="the first run has a container")
    (container,) = stack.run_containers()
    limits = stack.inspect(container)["HostConfig"]
    assert (limits["Memory"], limits["ReadonlyRootfs"], limits["CapDrop"]) == (3 * 2**30, True, ["ALL"])
    for run in runs:
        stack.wait_for_run(run)
    assert len({found.container for found in stack.runs()} - {None}) == len(THREE)
    for asset in UPSTREAM:
        assert stack.days_of(asset) == set(THREE), asset
    stack.wait(lambda: not stack.run_containers(), what="the containers of ended runs are gone")


def test_the_output_of_a_run_is_in_the_bucket(stack: Stack):
    script = (
        "import boto3, os\n"
        "found = boto3.resource('s3').Bucket(os.environ['BUCKET']).objects.filter(Prefix='logs/')\n"
        "print(*{o.key.split('/')[2] for o in found if o.size})"
    )
    assert set(stack.inside("code-location", "python", "-c", script).split()) == {run.id for run in stack.runs()}


def test_the_service_answers_with_the_newest_bundle(stack: Stack):
    stack.wait(lambda: serves(stack, in_force(stack)), what="the service has the bundle", seconds=30)
    with httpx.Client(base_url=stack.api, timeout=30, trust_env=False) as outside:
        assert 0 <= outside.post("/predict", json=FILM).json()["prediction"] <= 10
        assert outside.get("/model").json()["newer_released"] is None
        assert outside.get("/upcoming").json()["films"]


def test_the_doctor_finds_nothing_to_mend_but_what_rclone_cannot(stack: Stack):
    said = stack.compose("exec", "-T", "code-location", "movie-platform", "doctor", check=False)
    assert "the bundle of" in said, said
    (problem,) = [line for line in said.splitlines() if line.startswith("problem")]
    assert "does not honour If-None-Match" in problem


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH: apt-get install chromium")
def test_the_pages_open_in_a_browser(stack: Stack, tmp_path: Path):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.goto(stack.api)
        page.get_by_role("heading", name="How will they be rated?").wait_for()
        page.screenshot(path=tmp_path / "service.png")
        page.goto(f"{stack.ui}/assets")
        page.get_by_text("predicted_ratings").first.wait_for()
        page.screenshot(path=tmp_path / "assets.png")
        page.goto(f"{stack.ui}/runs")
        page.get_by_text("Success").first.wait_for()
        page.screenshot(path=tmp_path / "runs.png")
        browser.close()


def test_the_same_days_made_without_containers_have_the_same_bytes(stack: Stack, tmp_path: Path):
    """On this Python, from the same raw files."""
    environment = {
        "PATH": os.environ["PATH"],  # noqa: TID251 passed on
        "HOME": str(tmp_path),
        "MOVIE_PLATFORM_STORAGE": str(tmp_path / "data"),
        "MOVIE_PLATFORM_FIRST_PARTITION": ALL_DAYS[0],
        "DAGSTER_HOME": str(tmp_path / "dagster"),
    }
    (tmp_path / "dagster").mkdir()
    command = [str(Path(sys.executable).parent / "movie-platform"), "backfill", "--from", THREE[0], "--to", THREE[-1]]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    root = tmp_path / "data"
    files = [path for path in root.glob("*/*") if path.is_file()]
    ours = {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    theirs = stack.digests(("raw_movies", "raw_upcoming_movies", "trained_bundle", "released"), THREE)
    assert len([key for key in theirs if key.startswith("trained_bundle/") and key.endswith(".zip")]) == len(THREE)
    assert {key: ours.get(key) for key in theirs} == theirs


# --- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_that_is_killed_comes_back_by_itself_and_nothing_is_lost(stack: Stack, service: str):
    before, released = stack.materialized(), in_force(stack)
    (container,) = stack.containers(service)
    started = stack.inspect(container)["State"]["StartedAt"]
    stack.crash(container)
    stack.wait(lambda: stack.inspect(container)["State"]["StartedAt"] != started, what=f"{service} is started again")
    stack.wait(lambda: stack.is_well() and serves(stack, released), what=f"all is well without the old {service}")
    stack.wait(lambda: stack.materialized() == before, what="the same materializations", seconds=30)


def test_a_run_that_is_killed_is_found_and_its_days_are_made(stack: Stack):
    """By the automation, which is switched on in the UI."""
    stack.start_sensor("catch_up")
    stack.wait(lambda: len(stack.run_containers()) == 1, what="the automation has a run", seconds=120)
    (killed,) = stack.run_containers()
    run = next(found for found in stack.runs() if found.container == killed)
    stack.wait(lambda: stack.status(run.id) == "STARTED", what="the run has begun")
    stack.run("docker", "kill", killed)
    stack.wait_for_run(run.id, status="FAILURE")
    stack.wait(
        lambda: all(stack.days_of(asset) == set(ALL_DAYS) for asset in UPSTREAM),
        what=f"all of {ALL_DAYS} are made",
        seconds=60 + 30 * len(ALL_DAYS),
    )
    stack.wait(lambda: not stack.run_containers(), what="the run has ended")
    verified = stack.inside("code-location", "movie-platform", "verify")
    assert "Nothing is damaged or missing" in verified
    stack.wait(lambda: serves(stack, in_force(stack)), what="the service has the newest bundle", seconds=30)


# --- updates, stops, backups ----------------------------------------------------------------------


class Load:
    """Requests without pause from several clients, each with an id of its own."""

    def __init__(self, url: str, clients: int = 8) -> None:
        self.answered: set[str] = set()
        """The ids of those that were answered with 200."""
        self.failed: list[tuple[str, str, str]] = []
        """Time, id, and what happened instead of the others."""
        self.closing = 0
        """How many answers asked the client to close its connection."""
        self._url, self._stop = url, threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def _ask(self) -> None:
        with httpx.Client(base_url=self._url, timeout=30, trust_env=False) as client:
            while not self._stop.is_set():
                request_id = uuid.uuid4().hex
                try:
                    answer = client.post("/predict", json=FILM, headers={"X-Request-Id": request_id})
                    what = "" if answer.status_code == 200 else f"{answer.status_code}: {answer.text}"
                    self.closing += answer.headers.get("connection") == "close"
                except httpx.HTTPError as error:
                    what = repr(error)
                if what:
                    self.failed.append((f"{datetime.now(UTC):%H:%M:%S.%f}", request_id, what))
                    time.sleep(0.1)
                else:
                    self.answered.add(request_id)

    @contextmanager
    def going_on(self) -> Iterator["Load"]:
        """While the block lasts."""
        for thread in self._threads:
            thread.start()
        try:
            time.sleep(1)
            yield self
            time.sleep(1)
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()


def test_an_update_of_the_service_loses_no_request(stack: Stack):
    replaced = ("serving-a", "serving-b", "code-location")
    before = [stack.containers(service) for service in replaced]
    stack.change(VERSION="next")
    with Load(stack.api).going_on() as load:
        stack.command("update")
    after = [stack.containers(service) for service in replaced]
    assert not [old for old, new in zip(before, after, strict=True) if old == new]
    assert len(load.answered) > 100
    assert load.failed == [], load.failed[:20]
    assert stack.is_well()


def test_records_that_are_destroyed_come_back_from_the_backup(stack: Stack):
    before = stack.materialized()
    stack.command("backup")
    stack.compose("stop")
    stack.compose("rm", "--force", "postgres")
    stack.run("docker", "volume", "rm", f"{stack.name}_postgres")
    stack.command("restore")
    stack.wait(stack.is_well, what="all is well")
    assert stack.materialized() == before
    (backup,) = stack.command("backups").split()

    stack.run("sh", "-c", CUT.format(backup=backup))
    with pytest.raises(AssertionError, match="not a whole backup; the records are as they were"):
        stack.command("restore", "cut.dump")
    stack.compose("up", "--detach", "--wait")
    assert stack.materialized() == before


def test_a_stop_under_load_finishes_what_was_accepted_and_lets_a_run_end_as_recorded(stack: Stack):
    run = stack.launch(THREE[0])
    stack.wait(lambda: stack.status(run) == "STARTED", what="a run goes on")
    serving = [stack.containers(service)[0] for service in ("serving-a", "serving-b")]
    (proxy,) = stack.containers("proxy")
    with Load(stack.api).going_on() as load:
        stack.command("stop")
    assert not stack.run_containers()
    accepted = {
        json.loads(line)["request_id"]
        for container in serving
        for line in stack.run("docker", "logs", container, both=True).splitlines()
        if '"request_id"' in line
    }
    assert len(load.answered) > 100
    assert [failure for failure in load.failed if failure[1] in accepted] == []
    assert load.closing, "no connection is closed under a client that keeps it"
    assert 137 not in {stack.inspect(container)["State"]["ExitCode"] for container in (*serving, proxy)}

    stack.compose("up", "--detach", "--wait")
    stack.wait(lambda: stack.status(run) in {"CANCELED", "FAILURE", "SUCCESS"}, what="the run's end is recorded")
    assert "Nothing is damaged or missing" in stack.inside("code-location", "movie-platform", "verify")
