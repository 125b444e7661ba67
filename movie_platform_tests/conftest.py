"""What tests of several modules share: storages on disk and on S3, a Dagster instance.

S3 is moto's server on loopback, talked to by the real boto3 over HTTP. It keeps objects well, but lets two racing
writers both win, so races are tested against `s3_stub`.
"""

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import boto3
import dagster as dg
import pytest
from hypothesis import settings
from moto.server import ThreadedMotoServer

# An example may take long on a busy machine, which says nothing of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """Two more than there are processors: the daemon's and MLflow's tests mostly wait."""
    processors = yield
    return processors + 2


@pytest.fixture(scope="session")
def moto_endpoint() -> Iterator[str]:
    """The URL of an S3 that lives as long as the tests."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Dummy credentials, and nothing of the person's own who runs the tests."""
    for name in list(os.environ):  # noqa: TID251 only their names, to take them away
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": str(tmp_path / "no-aws-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "no-aws-credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def s3_url(aws_environment: None, moto_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty place on S3, with the environment that reaches it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto_endpoint)
    client = boto3.session.Session().client("s3")
    client.create_bucket(Bucket="films")
    yield "s3://films/some/prefix"
    for page in client.get_paginator("list_objects_v2").paginate(Bucket="films"):
        for entry in page.get("Contents", []):
            client.delete_object(Bucket="films", Key=entry["Key"])
    client.delete_bucket(Bucket="films")
    client.close()


@pytest.fixture(params=["disk", "s3"])
def storage_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty place for `open_storage`, once on disk and once on S3."""
    if request.param == "disk":
        return str(tmp_path / "storage")
    url: str = request.getfixturevalue("s3_url")
    return url


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance with records of its own, on disk as in real use."""
    home = tmp_path / "dagster-home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.from_config(str(home)) as made:
        yield made
