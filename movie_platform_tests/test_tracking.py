"""Trainings in MLflow: what a real server has of them, and what a day says when it could not be recorded.

What stands between is a server on loopback that passes requests on to the real one: it wants a password, or stops.
"""

import asyncio
import base64
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import httpx
import pytest
from dagster import JobExecutionResult
from mlflow import MlflowClient
from mlflow.entities import Run
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from movie_platform.definitions import build_definitions
from movie_platform.rating_model.bundle import Bundle
from movie_platform.rating_model.config import TrainingConfig
from movie_platform.settings import Settings
from movie_platform.tracking import MlflowTracker, TrackedTraining, TrackingError
from movie_platform_tests.loopback import serving
from movie_platform_tests.mlflow_server import Server, mlflow_server
from movie_platform_tests.platform import QUICK, run_platform

# One worker runs them all, so that one server is enough.
pytestmark = pytest.mark.xdist_group("mlflow")

DAYS = ["2026-01-01", "2026-01-02"]
TRAINING = ["raw_movies", "preprocessed_movies", "trained_bundle", "metrics"]
USER, PASSWORD = "ann@films", "p/ss:w@rd-that-must-not-show"
QUOTED = "ann%40films:p%2Fss%3Aw%40rd-that-must-not-show"
BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
SECRETS = (PASSWORD, QUOTED, QUOTED.partition(":")[2], BASIC.partition(" ")[2])
TAGS = {"partition", "storage", "code_version", "bundle_sha256", "synthetic", "dagster_run_id"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as running:
        yield running


@pytest.fixture
def experiment() -> str:
    """A name that no other test has recorded under."""
    return f"experiment-{uuid4()}"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """None of MLflow's variables before a test, and none of those afterwards that the tracker has set."""
    environment = os.environ  # noqa: TID251 only MLflow's names, to take them away
    for name in [name for name in environment if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    yield
    for name in [name for name in environment if name.startswith("MLFLOW_")]:
        del environment[name]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def tracker(url: str, experiment: str, *, storage: str = "/srv/films", patience: float = 60) -> MlflowTracker:
    return MlflowTracker(SecretStr(url), experiment=experiment, storage=storage, patience=patience)


def training(day: str = DAYS[0], *, seed: int = 1) -> TrackedTraining:
    return TrackedTraining(
        day=date.fromisoformat(day),
        config=TrainingConfig(seed=seed),
        figures={"unreleased": {"model": {"rmse": 0.7}, "genre_mean": {"rmse": 0.8}}},
        code_version="abcdef",
        bundle_sha256=f"{seed:064x}",
        synthetic=True,
        dagster_run_id="a-run",
    )


def runs(server: Server, experiment: str) -> list[Run]:
    """Every run of the experiment as the server has it, the oldest first."""
    client = MlflowClient(server.url)
    known = client.get_experiment_by_name(experiment)
    found = client.search_runs([known.experiment_id], order_by=["attributes.start_time ASC"]) if known else []
    return sorted(found, key=lambda run: run.info.start_time)


def with_credentials(url: str, credentials: str) -> str:
    return url.replace("://", f"://{credentials}@") if credentials else url


@contextmanager
def passing_on(server: Server, first: Callable[[Request], Awaitable[Response | None]]) -> Iterator[str]:
    """A server in front of the real one; what `first` returns is the answer, None passes the request on."""

    async def answer(request: Request) -> Response:
        if (own := await first(request)) is not None:
            return own
        headers = {name: value for name, value in request.headers.items() if name not in {"host", "authorization"}}
        async with httpx.AsyncClient(trust_env=False) as client:
            passed = await client.request(
                request.method,
                f"{server.url}{request.url.path}?{request.url.query}",
                headers=headers,
                content=await request.body(),
            )
        return Response(passed.content, passed.status_code, media_type=passed.headers.get("content-type"))

    methods = ["GET", "POST", "PATCH"]
    with serving(Starlette(routes=[Route("/{path:path}", answer, methods=methods)])) as url:
        yield url.removesuffix("/3")


def recorded(instance: dg.DagsterInstance, day: str) -> Any:
    """What the day's metadata says of MLflow."""
    (record,) = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey("metrics"), asset_partitions=[day]), limit=1
    ).records
    return record.asset_materialization.metadata.get("MLflow run")


def everything_said(instance: dg.DagsterInstance, result: JobExecutionResult) -> str:
    return "\n".join(dg.serialize_value(entry) for entry in instance.all_logs(result.run_id))


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- what is recorded -----------------------------------------------------------------------------


def test_each_day_is_a_run_with_the_hyperparameters_and_figures_that_it_was_made_with(
    server, experiment, instance, data, monkeypatch
):
    """The very ones of the bundle, field by field, changed from the launchpad or not; and nothing of a film."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", experiment)
    changed = {"trees": 70, "leaf_l2": 2.5}
    result = run_platform(instance, str(data), *DAYS, assets=TRAINING, hyperparameters=changed)
    assert result.success, everything_said(instance, result)[-6000:]

    found = {run.data.tags["partition"]: run for run in runs(server, experiment)}
    assert len(runs(server, experiment)) == len(found) == 2
    for day in DAYS:
        run, bundle_bytes = found[day], (data / f"trained_bundle/{day}.zip").read_bytes()
        about, measured = (
            Bundle.from_bytes(bundle_bytes).metadata,
            json.loads((data / f"metrics/{day}.json").read_text()),
        )
        assert (run.info.status, run.info.run_name) == ("FINISHED", day)
        assert about.config == QUICK.model_copy(update=changed)
        values = {name: json.loads(value) for name, value in run.data.params.items()}
        assert values.keys() == TrainingConfig.model_fields.keys()
        for name in TrainingConfig.model_fields:
            assert values[name] == getattr(about.config, name), name
        figures = {
            f"{situation}/{metric}" if model == "model" else f"{situation}/{model} {metric}": value
            for situation, models in measured["figures"].items()
            for model, metrics in models.items()
            for metric, value in metrics.items()
        }
        assert run.data.metrics == figures
        assert {"unreleased/rmse", "released/rmse", "unreleased/genre_mean rmse"} <= figures.keys()
        own = {name: value for name, value in run.data.tags.items() if not name.startswith("mlflow.")}
        assert own == {
            "partition": day,
            "storage": str(data),
            "code_version": about.code_version,
            "bundle_sha256": measured["bundle_sha256"],
            "synthetic": "true",
            "dagster_run_id": result.run_id,
        }
        assert own.keys() == TAGS
        page = recorded(instance, day)
        assert isinstance(page, dg.UrlMetadataValue)
        assert page.value == f"{server.url}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"


def test_a_day_that_is_made_again_takes_the_place_of_the_former_one(server, experiment):
    """Both stay to be compared; only one looks like the day's. Other days and other storages are left alone."""
    here = tracker(server.url, experiment)
    here.record(training(DAYS[1]))
    tracker(server.url, experiment, storage="s3://films").record(training())
    first = here.record(training())
    second = here.record(training(seed=2))
    assert first != second

    *others, former, newest = runs(server, experiment)
    assert (former.info.run_name, newest.info.run_name) == (f"{DAYS[0]} (superseded)", DAYS[0])
    assert former.data.tags["superseded_by"] == newest.info.run_id
    assert [run.info.run_name for run in others] == [DAYS[1], DAYS[0]]
    for run in (*others, newest):
        assert "superseded_by" not in run.data.tags
        assert run.info.status == "FINISHED"

    here.record(training())
    assert runs(server, experiment)[-3].data.tags == former.data.tags, "what was superseded once stays as it is"


def test_without_a_server_nothing_of_mlflow_is_imported_and_the_bytes_are_the_same(
    server, experiment, instance, tmp_path, monkeypatch
):
    """One process knows no server; this one does."""
    program = f"""
import sys
import dagster as dg
from movie_platform_tests.platform import run_platform
with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
    assert run_platform(instance, sys.argv[2], "{DAYS[0]}", "{DAYS[0]}").success
    event = instance.get_latest_materialization_event(dg.AssetKey("metrics"))
print([name for name in sys.modules if name.partition(".")[0] in ("mlflow", "databricks")])
print("MLflow run" in event.asset_materialization.metadata)
"""
    home, without, data = tmp_path / "home", tmp_path / "without", tmp_path / "data"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    finished = run_python(program, home, without, env={"MLFLOW_TRACKING_URI": ""}, cwd=tmp_path)
    assert finished.stdout.splitlines() == ["[]", "False"], finished.stderr

    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", experiment)
    assert run_platform(instance, str(data), DAYS[0], DAYS[0]).success
    assert len(runs(server, experiment)) == 1

    def made(folder: Path) -> dict[str, bytes]:
        return {path: file for path, file in content(folder).items() if not path.startswith("champion_history/")}

    assert made(data) == made(without)


def run_python(
    program: str, *arguments: Path | str, env: dict[str, str], cwd: Path
) -> "subprocess.CompletedProcess[str]":
    """A process that inherits nothing, such as the variables by which MLflow knows that it is tested."""
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=cwd,
        env={"PATH": os.defpath, "HOME": str(cwd), "PYTHONPATH": str(Path(__file__).parent.parent), **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_nobody_else_is_asked_and_nothing_is_printed(server, experiment, tmp_path):
    """MLflow's client would report each use to its makers, and print the address of each run."""
    program = """
import sys, threading
asked = set()
sys.addaudithook(lambda event, given: asked.add(given[0]) if event == "socket.getaddrinfo" else None)
from datetime import date
from pydantic import SecretStr
from movie_platform.rating_model.config import TrainingConfig
from movie_platform.tracking import MlflowTracker, TrackedTraining
tracker = MlflowTracker(SecretStr(sys.argv[1]), experiment=sys.argv[2], storage="a", patience=60)
tracker.record(TrackedTraining(day=date(2026, 1, 1), config=TrainingConfig(), figures={}, code_version="a",
                               bundle_sha256="b", synthetic=True, dagster_run_id="c"))
for thread in set(threading.enumerate()) - {threading.main_thread()}:
    thread.join(10)
print(asked)
"""
    finished = run_python(program, server.url, experiment, env={}, cwd=tmp_path)
    assert (finished.stdout, finished.stderr, finished.returncode) == ("{'127.0.0.1'}\n", "", 0)
    assert len(runs(server, experiment)) == 1


# --- credentials ----------------------------------------------------------------------------------


async def wants_a_password(request: Request) -> Response | None:
    """A rude one: it repeats what it was given."""
    given = request.headers.get("authorization", "")
    if given in {BASIC, f"Bearer {PASSWORD}"}:
        return None
    return PlainTextResponse(f"not you, {given}, {request.url}", 401)


@pytest.fixture
def url(server: Server) -> Iterator[str]:
    """A server that wants a password, in front of the real one."""
    with passing_on(server, wants_a_password) as found:
        yield found


@pytest.mark.parametrize(
    ("credentials", "variables"),
    [
        (QUOTED, {}),
        ("", {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": PASSWORD}),
        ("", {"MLFLOW_TRACKING_TOKEN": PASSWORD}),
        (QUOTED, {"MLFLOW_TRACKING_USERNAME": "other", "MLFLOW_TRACKING_PASSWORD": "other"}),
    ],
    ids=["in the address", "MLflow's variables", "a token", "the address wins"],
)
def test_credentials_are_used(url, experiment, monkeypatch, credentials, variables):
    """And are not in the address that a person is shown."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert tracker(with_credentials(url, credentials), experiment).record(training()).startswith(f"{url}/#/")


WRONG = "ann%40films:wr%2Fng-and-must-not-show"


@pytest.mark.parametrize(
    ("credentials", "variables", "secrets"),
    [
        (
            WRONG,
            {},
            ("wr/ng-and-must-not-show", WRONG, base64.b64encode(b"ann@films:wr/ng-and-must-not-show").decode()),
        ),
        ("", {"MLFLOW_TRACKING_TOKEN": "a-token-that-must-not-show"}, ("a-token-that-must-not-show",)),
        (
            "",
            {"MLFLOW_TRACKING_USERNAME": "bob", "MLFLOW_TRACKING_PASSWORD": "must-not-show"},
            ("must-not-show", base64.b64encode(b"bob:must-not-show").decode()),
        ),
    ],
    ids=["in the address", "a token", "MLflow's variables"],
)
def test_credentials_that_are_refused_do_not_show(url, monkeypatch, credentials, variables, secrets):
    """Although the server repeats them: neither in the message, nor in an exception behind it."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(TrackingError, match=r"401.*not you") as refused:
        tracker(with_credentials(url, credentials), "refused").record(training())
    assert "***" in str(refused.value)
    assert not any(secret in str(refused.value) for secret in secrets)
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None


def test_credentials_do_not_show_in_the_definitions():
    """Neither where a person prints them, nor in what Dagster's web server is told."""
    definitions = build_definitions(settings=Settings(MLFLOW_TRACKING_URI=f"https://{QUOTED}@mlflow.example"))
    made = (definitions.resources or {})["tracker"]
    assert isinstance(made, MlflowTracker)
    shown = f"{made!r} {vars(made)} {definitions!r}"
    assert "mlflow.example" in shown
    assert not any(secret in shown for secret in SECRETS)


# --- a server that is not there -------------------------------------------------------------------


def test_a_wrong_address_costs_nothing_but_the_record(instance, data, experiment, monkeypatch):
    """The days are made; the log and the days say why they are not recorded, without the password."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{reserved.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{QUOTED}@{address}")
        result = run_platform(instance, str(data), *DAYS, assets=TRAINING)

    assert result.success
    said = everything_said(instance, result)
    for day in DAYS:
        assert recorded(instance, day).value.startswith("not recorded: ")
        assert f"metrics {day}: not recorded in MLflow: " in said
    assert address in recorded(instance, DAYS[0]).value
    assert "Connection refused" in recorded(instance, DAYS[0]).value
    assert not any(secret in said for secret in SECRETS)


def test_a_server_that_never_answers_holds_up_one_day_of_a_run(instance, data, monkeypatch):
    """It accepts and is silent. The second day does not wait again."""
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{QUOTED}@127.0.0.1:{silent.getsockname()[1]}")
        result = run_platform(instance, str(data), *DAYS, assets=TRAINING)

    assert result.success
    assert recorded(instance, DAYS[0]).value.endswith("took longer than 10 s")
    assert "left alone for a while" in recorded(instance, DAYS[1]).value
    assert not any(secret in everything_said(instance, result) for secret in SECRETS)


def test_what_is_no_mlflow_is_said(experiment):
    async def page(_: Request) -> Response:
        return PlainTextResponse("a page of " + "something else " * 1000, 404)

    with serving(Starlette(routes=[Route("/{path:path}", page)])) as url, pytest.raises(TrackingError) as refused:
        tracker(url, experiment).record(training())
    assert "404" in str(refused.value)
    assert "a page of something else" in str(refused.value)
    assert len(str(refused.value)) < 1000
    assert "\n" not in str(refused.value)


def test_a_server_that_is_killed_does_not_stop_the_days(tmp_path, experiment, instance, data, monkeypatch):
    """The day before is recorded, the one after is not, and both are made."""
    (folder := tmp_path / "server").mkdir()
    with mlflow_server(folder) as mortal:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", mortal.url)
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", experiment)
        assert run_platform(instance, str(data), DAYS[0], DAYS[0], assets=TRAINING).success
        assert recorded(instance, DAYS[0]).value.startswith(f"{mortal.url}/#/")
        mortal.kill()
        assert run_platform(instance, str(data), DAYS[1], DAYS[1], assets=TRAINING).success
    assert recorded(instance, DAYS[1]).value.startswith("not recorded: ")


@pytest.mark.parametrize("answers", range(6))
def test_a_server_that_stops_half_way_leaves_the_former_run_or_a_whole_new_one(server, experiment, answers):
    """Whatever it had answered: the day has one run that is whole. The next attempt clears up the other."""
    tracker(server.url, experiment).record(training())
    asked = count()

    async def stops(_: Request) -> None:
        if next(asked) >= answers:
            await asyncio.sleep(3600)

    with passing_on(server, stops) as url, pytest.raises(TrackingError, match="took longer than 2 s"):
        tracker(url, experiment, patience=2).record(training(seed=2))
    in_force = [run for run in runs(server, experiment) if "superseded_by" not in run.data.tags]
    assert [run for run in in_force if run.data.metrics and len(run.data.params) == len(TrainingConfig.model_fields)]
    assert len([run for run in in_force if run.info.status == "FINISHED"]) <= 1

    tracker(server.url, experiment).record(training(seed=3))
    *former, newest = runs(server, experiment)
    assert (newest.info.status, newest.data.params["seed"]) == ("FINISHED", "3")
    assert all("superseded_by" in run.data.tags for run in former)
    assert {run.info.status for run in former} <= {"FINISHED", "FAILED"}


def test_what_comes_too_late_does_not_count(server, experiment):
    """A server that answers after the day has gone on: the former run stays the day's, the new one unfinished."""
    tracker(server.url, experiment).record(training())
    go_on = threading.Event()

    async def late(request: Request) -> None:
        if request.url.path.endswith("/log-batch"):
            await asyncio.to_thread(go_on.wait)

    with passing_on(server, late) as url:
        with pytest.raises(TrackingError, match="took longer than 2 s"):
            tracker(url, experiment, patience=2).record(training(seed=2))
        go_on.set()
        for thread in threading.enumerate():
            if thread.name == "mlflow":
                thread.join(60)
    first, second = runs(server, experiment)
    assert (first.info.status, second.info.status) == ("FINISHED", "RUNNING")
    assert "superseded_by" not in first.data.tags


# --- without MLflow's client ----------------------------------------------------------------------


@pytest.mark.parametrize(("uri", "status"), [("http://127.0.0.1:5000", 2), ("", 0)])
def test_without_the_extra_it_is_said_what_to_install(tmp_path, uri, status):
    """When the definitions load, and only where there is a server to record on."""
    program = """
import sys
sys.modules["mlflow"] = None  # as where it is not installed
from movie_platform.settings import SettingsError
try:
    import movie_platform.definitions
except SettingsError as error:
    print(error)
    sys.exit(2)
"""
    finished = run_python(program, env={"MLFLOW_TRACKING_URI": uri}, cwd=tmp_path)
    assert finished.returncode == status, finished.stderr
    assert ("pip install 'movie-platform[tracking]'" in finished.stdout) == bool(uri)
    assert finished.stdout.startswith("MLFLOW_TRACKING_URI: " if uri else "")
