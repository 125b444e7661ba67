"""The service on S3, of moto's server and of rclone's: start, poll, swap, and trouble that passes by itself."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import boto3
import pytest
from fastapi import FastAPI

from movie_platform.rating_model.bundle import Bundle
from movie_platform.releases import POINTER, withdraw
from movie_platform.settings import ServingSettings
from movie_platform.storage import Storage, open_storage
from movie_platform_tests.serving.s3_servers import SECRET, Moto, Rclone, S3Server, rclone, tapped
from movie_platform_tests.serving.service import (
    FILM,
    bundle_of,
    release_bundle,
    running,
    service_of,
    service_process,
    wait_for,
    wait_until,
)
from serving.app import create_app

DAY_6 = date(2026, 1, 6)
URL = "s3://films/some/prefix"


@pytest.fixture(params=["moto", "rclone"])
def server(
    request: pytest.FixtureRequest, aws_environment: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[S3Server]:
    """A running server with an empty bucket, and the environment that reaches it."""
    if request.param == "rclone" and rclone() is None:
        pytest.skip("no rclone with `serve s3` (1.65 or newer) on PATH or in the environment")
    (tmp_path / "buckets").mkdir()
    made = Moto() if request.param == "moto" else Rclone(tmp_path / "buckets")
    made.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", made.endpoint)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    client = boto3.session.Session().client("s3")
    client.create_bucket(Bucket="films")
    yield made
    if request.param == "moto":
        made.stop()
        made.start()
        for entry in client.list_objects_v2(Bucket="films").get("Contents", []):
            client.delete_object(Bucket="films", Key=entry["Key"])
        client.delete_bucket(Bucket="films")
    client.close()
    made.stop()


@pytest.fixture
def s3(server: S3Server) -> Storage:
    return open_storage(URL)


@pytest.fixture
def make(tmp_path: Path) -> Callable[[], FastAPI]:
    """Return what makes the service on the bucket, always with the same cache."""

    def make_service(url: str = URL) -> FastAPI:
        return create_app(ServingSettings(MOVIE_PLATFORM_STORAGE=url, SERVING_CACHE=str(tmp_path / "cache")))

    return make_service


def test_start_poll_and_swap(s3: Storage, bundle: Bundle, make: Callable[[], FastAPI]):
    app = make()
    with running(app) as client:
        problem = client.get("/health/ready").json()["detail"]
        assert f"there is no {URL}/{POINTER}" in problem
        assert "make demo" in problem

        first = release_bundle(s3, bundle)
        service_of(app).bundles.poll()
        answer = client.post("/predict", json=FILM)
        assert answer.json()["model"]["sha256"] == first.sha256
        assert client.get("/model").json()["source"] == f"{URL}/{first.path}"

        newer = release_bundle(s3, bundle_of(DAY_6, seed=1))
        service_of(app).bundles.poll()
        assert client.post("/predict", json=FILM).json()["model"]["sha256"] == newer.sha256

        withdraw(s3, DAY_6, in_force=first, reasons=["Worse."], now=datetime(2026, 3, 1, tzinfo=UTC))
        service_of(app).bundles.poll()
        model = client.get("/model").json()
        assert (model["sha256"], model["problem"], model["newer_released"]) == (first.sha256, None, None)


def test_a_damaged_bundle_is_refused(s3: Storage, bundle: Bundle, make: Callable[[], FastAPI]):
    first = release_bundle(s3, bundle)
    app = make()
    with running(app) as client:
        bad = release_bundle(s3, bundle_of(DAY_6, seed=1))
        s3.put(bad.path, s3.get(bad.path)[:-1])
        service_of(app).bundles.poll()
        assert client.get("/model").json()["sha256"] == first.sha256
        problem = client.get("/health/ready").json()["problem"]
    assert "SHA-256" in problem
    assert f"{URL}/{bad.path}" in problem


def test_an_unchanged_pointer_is_answered_without_content(
    server: S3Server, s3: Storage, bundle: Bundle, make: Callable[[], FastAPI], monkeypatch: pytest.MonkeyPatch
):
    """One small conditional request a poll, and the bundle only once."""
    release_bundle(s3, bundle)
    with tapped(server) as tap:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", tap.endpoint)
        bundles = service_of(make()).bundles
        bundles.poll()
        assert bundles.problem is None
        first = [(path.rpartition("/")[2], conditional, status) for _, path, conditional, status in tap.seen]
        assert first[0] == (POINTER, False, 200)
        assert len(first) == 2
        tap.seen.clear()
        for _ in range(5):
            bundles.poll()
        assert [(method, conditional, status) for method, _, conditional, status in tap.seen] == [
            ("GET", True, 304)
        ] * 5
        newer = release_bundle(s3, bundle_of(DAY_6, seed=1))
        tap.seen.clear()
        bundles.poll()
        assert [(conditional, status) for _, _, conditional, status in tap.seen] == [(True, 200), (False, 200)]
        assert bundles.current.champion == newer


def test_a_look_at_an_unchanged_pointer_is_no_problem(s3: Storage, bundle: Bundle, make: Callable[[], FastAPI]):
    """Also of a server that says what the checksum of the object is that it does not send."""
    champion = release_bundle(s3, bundle)
    bundles = service_of(make()).bundles
    for _ in range(3):
        bundles.poll()
        assert bundles.problem is None
        assert bundles.current.champion == champion


def test_a_server_that_stops_and_is_started_again(
    server: S3Server, s3: Storage, bundle: Bundle, make: Callable[[], FastAPI]
):
    """Predictions go on; what is wrong is told; what was released meanwhile is taken afterwards."""
    release_bundle(s3, bundle)
    app = make()
    with running(app) as client:
        newer = release_bundle(s3, bundle_of(DAY_6, seed=1))
        server.stop()
        service_of(app).bundles.poll()
        assert client.post("/predict", json=FILM).status_code == 200
        ready = client.get("/health/ready")
        assert ready.status_code == 200
        assert f"cannot read {URL}/{POINTER}" in ready.json()["problem"]
        assert "AWS_ENDPOINT_URL_S3" in ready.json()["problem"]
        assert "serving_storage_failures_total 1.0" in client.get("/metrics").text
        server.start()
        service_of(app).bundles.poll()
        assert client.get("/model").json()["sha256"] == newer.sha256
        assert client.get("/health/ready").json()["problem"] is None


def test_a_server_that_is_down_at_start(server: S3Server, s3: Storage, bundle: Bundle, make: Callable[[], FastAPI]):
    """Without a kept copy not ready, with one ready, and either way recovered by itself."""
    champion = release_bundle(s3, bundle)
    server.stop()
    app = make()
    with running(app) as client:
        answer = client.get("/health/ready")
        assert answer.status_code == 503
        assert f"cannot read {URL}/{POINTER}" in answer.json()["detail"]
        server.start()
        service_of(app).bundles.poll()
        assert client.get("/health/ready").status_code == 200
    server.stop()
    with running(make()) as client:
        model = client.get("/model").json()
        assert model["sha256"] == champion.sha256
        assert model["from_own_copy"] is True
        assert "cannot read" in model["problem"]
        assert client.post("/predict", json=FILM).status_code == 200


def test_wrong_credentials(
    server: S3Server, s3: Storage, bundle: Bundle, make: Callable[[], FastAPI], monkeypatch: pytest.MonkeyPatch
):
    """The remedy is told, and no credential."""
    release_bundle(s3, bundle)
    server.check_keys()
    with monkeypatch.context() as wrong:
        wrong.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
        with running(make()) as client:
            answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert "AWS_ACCESS_KEY_ID" in answer.json()["detail"] or "s3:GetObject" in answer.json()["detail"]
    assert "not-the-secret" not in answer.text
    assert SECRET not in answer.text


def test_no_credentials(server: S3Server, make: Callable[[], FastAPI], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with running(make()) as client:
        answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert "set AWS_ACCESS_KEY_ID" in answer.json()["detail"]


def test_a_missing_bucket(server: S3Server, make: Callable[..., FastAPI]):
    """It is told as such, and not as nothing having been released."""
    with running(make("s3://nowhere/x")) as client:
        answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert "NoSuchBucket" in answer.json()["detail"]
    assert "create the bucket" in answer.json()["detail"]


def test_a_missing_bucket_still_starts_from_the_kept_copy(
    server: S3Server, s3: Storage, bundle: Bundle, make: Callable[..., FastAPI]
):
    champion = release_bundle(s3, bundle)
    service_of(make()).bundles.poll()
    client = boto3.session.Session().client("s3")
    for key in s3.list():
        s3.delete(key)
    client.delete_bucket(Bucket="films")
    bundles = service_of(make()).bundles
    bundles.poll()
    assert bundles.current is not None
    assert (bundles.current.champion, bundles.current.kept) == (champion, True)
    assert "NoSuchBucket" in (bundles.problem or "")
    client.create_bucket(Bucket="films")
    client.close()


def test_the_process_recovers_by_itself(server: S3Server, s3: Storage, bundle: Bundle, tmp_path: Path):
    """As it is run, with the AWS variables of its environment."""
    server.stop()
    began = time.monotonic()
    with service_process(tmp_path, ready=False, MOVIE_PLATFORM_STORAGE=URL, SERVING_POLL_SECONDS="0.2") as service:
        answer = wait_for(f"{service.url}/health/ready", status=503)
        assert time.monotonic() - began < 20
        server.start()
        champion = release_bundle(s3, bundle)
        wait_for(f"{service.url}/health/ready")
        assert wait_for(f"{service.url}/model").json()["sha256"] == champion.sha256
        newer = release_bundle(s3, bundle_of(DAY_6, seed=1))
        wait_until(lambda: wait_for(f"{service.url}/model").json()["sha256"] == newer.sha256)
    assert answer.status_code == 503
    assert "test-secret" not in service.log.read_text()
    service.log_lines()
