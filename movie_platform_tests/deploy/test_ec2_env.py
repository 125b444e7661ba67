"""`.env` on EC2, made from Parameter Store (moto's, over HTTP) by the script that the instance runs."""

import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import httpx
import pytest

ROOT = Path(__file__).parents[2]
FACTS = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "BUCKET": "films-bucket",
    "PARAMETERS": "/movie-platform",
    "REGISTRY": "",
    "VERSION": "v1.2.0",
    "API_ADDRESS": "https://api.example.com:8443",
    "API_TLS": "tls internal",
    "API_PORT": "443:8443",
}
SECRETS = {"SERVING_API_KEYS": "key-of-the-api", "TMDB_ACCESS_TOKEN": "token-of-tmdb"}


class Instance:
    """A folder with what the script needs, and the parameters that it finds."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.folder, self.facts = folder, folder / "facts.env"
        (folder / "deploy").mkdir()
        for file in ("docker-compose.yml", "deploy/ec2_env.py", "deploy/stack"):
            shutil.copy2(ROOT / file, folder / file)
        self.write_facts(FACTS)
        self._ssm = boto3.session.Session().client("ssm", endpoint_url=endpoint)

    def write_facts(self, facts: dict[str, str]) -> None:
        self.facts.write_text("".join(f"{name}={value}\n" for name, value in facts.items()))

    def put(self, **parameters: str) -> None:
        for name, value in parameters.items():
            self._ssm.put_parameter(Name=f"/movie-platform/{name}", Type="SecureString", Value=value, Overwrite=True)

    def put_elsewhere(self, name: str) -> None:
        self._ssm.put_parameter(Name=name, Type="String", Value="elsewhere")

    def start(self) -> subprocess.CompletedProcess[str]:
        """As the unit does."""
        return subprocess.run(
            [sys.executable, self.folder / "deploy/ec2_env.py", self.facts], capture_output=True, text=True, check=False
        )

    @property
    def env(self) -> dict[str, str]:
        """The lines of `.env`, as they stand there."""
        lines = (self.folder / ".env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


@pytest.fixture
def instance(
    aws_environment: None, moto_endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Instance]:
    """With nothing in Parameter Store."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SSM", moto_endpoint)
    httpx.post(f"{moto_endpoint}/moto-api/reset", trust_env=False).raise_for_status()
    yield Instance(tmp_path, moto_endpoint)
    httpx.post(f"{moto_endpoint}/moto-api/reset", trust_env=False).raise_for_status()


def test_env_has_the_facts_and_the_parameters(instance: Instance):
    instance.put(**SECRETS, SERVING_POLL_SECONDS="2")
    assert instance.start().returncode == 0
    assert instance.env == {
        **{name: value for name, value in FACTS.items() if name != "PARAMETERS"},
        "API_TLS": "'tls internal'",
        **SECRETS,
        "SERVING_POLL_SECONDS": "2",
    }


def test_a_parameter_wins_over_a_fact(instance: Instance):
    instance.put(**SECRETS, API_TLS="tls /certificates/api.pem /certificates/api.key")
    assert instance.start().returncode == 0
    assert instance.env["API_TLS"] == "'tls /certificates/api.pem /certificates/api.key'"


def test_more_parameters_than_fit_a_page_are_all_there(instance: Instance):
    """Parameter Store answers with ten at a time at the most."""
    names = [
        *("MOVIE_PLATFORM_DAILY_AT", "MOVIE_PLATFORM_TIME_ZONE", "MOVIE_PLATFORM_CATCH_UP_DAYS"),
        *("MOVIE_PLATFORM_KEEP_DAYS", "MOVIE_PLATFORM_UI_URL", "SLACK_WEBHOOK_URL", "SLACK_BOT_TOKEN", "SLACK_CHANNEL"),
        *("RUN_MEMORY", "API_MEMORY", "WEBSERVER_MEMORY", "DAEMON_MEMORY"),
    ]
    instance.put(**SECRETS, **dict.fromkeys(names, "1"))
    assert instance.start().returncode == 0
    assert instance.env.items() >= dict.fromkeys(names, "1").items()


def test_only_what_is_directly_under_the_path_counts(instance: Instance):
    instance.put(**SECRETS)
    instance.put_elsewhere("/movie-platform/more/RUN_MEMORY")
    instance.put_elsewhere("/movie-platform-of-others/RUN_MEMORY")
    instance.put_elsewhere("RUN_MEMORY")
    assert instance.start().returncode == 0
    assert "RUN_MEMORY" not in instance.env


def test_env_is_readable_by_its_owner_alone_and_nothing_else_is_left(instance: Instance):
    instance.put(**SECRETS)
    (instance.folder / ".env").write_text("")
    (instance.folder / ".env").chmod(0o644)
    before = set(instance.folder.iterdir())
    assert instance.start().returncode == 0
    assert stat.S_IMODE((instance.folder / ".env").stat().st_mode) == 0o600
    assert set(instance.folder.iterdir()) == before


def test_no_value_is_printed(instance: Instance):
    """Neither when all is well nor when one is refused."""
    instance.put(**SECRETS, SLACK_CHANNEL="secret-channel")
    said = instance.start()
    instance.put(SLACK_CHANNEL="secret-channel'")
    refused = instance.start()
    assert (said.returncode, refused.returncode) == (0, 1)
    everything = said.stdout + said.stderr + refused.stdout + refused.stderr
    assert "SERVING_API_KEYS" in said.stderr
    assert not [value for value in (*SECRETS.values(), "secret-channel") if value in everything]


def test_the_password_of_the_database_stays_and_what_else_was_there_does_not(instance: Instance):
    instance.put(**SECRETS, RUN_MEMORY="2g")
    assert instance.start().returncode == 0
    with (instance.folder / ".env").open("a") as file:
        file.write("POSTGRES_PASSWORD=made-once\nDOCKER_GID=1\nBY_HAND=1\n")
    instance.put(RUN_MEMORY="4g")
    assert instance.start().returncode == 0
    assert (instance.env["POSTGRES_PASSWORD"], instance.env["RUN_MEMORY"]) == ("made-once", "4g")
    assert not {"DOCKER_GID", "BY_HAND"} & instance.env.keys()


def test_the_stack_adds_what_it_makes_itself_once(instance: Instance, monkeypatch: pytest.MonkeyPatch):
    """Both commands of the unit, twice; no S3 server, since there is a bucket."""
    path = instance.folder / "docker.sock"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    monkeypatch.setenv("DOCKER_SOCKET", str(path))
    instance.put(**SECRETS)
    passwords = []
    for _ in range(2):
        assert instance.start().returncode == 0
        subprocess.run([instance.folder / "deploy/stack", "env"], check=True, capture_output=True)
        passwords.append(instance.env["POSTGRES_PASSWORD"])
        assert instance.env["DOCKER_GID"] == str(path.stat().st_gid)
        assert (instance.env["BUCKET"], "COMPOSE_PROFILES" in instance.env) == ("films-bucket", False)
    listening.close()
    assert len(passwords[0]) >= 32
    assert passwords[0] == passwords[1]


def test_white_space_around_a_secret_is_not_part_of_it(instance: Instance):
    """As of a file with a line break at its end."""
    instance.put(SERVING_API_KEYS="key-of-the-api\n")
    assert instance.start().returncode == 0
    assert instance.env["SERVING_API_KEYS"] == "key-of-the-api"


# --- refused, with .env as it was -----------------------------------------------------------------


def refusal(instance: Instance) -> str:
    """What is said, once the script has refused and left the file alone."""
    (instance.folder / ".env").write_text("BUCKET=before\n")
    done = instance.start()
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert (instance.folder / ".env").read_text() == "BUCKET=before\n"
    return done.stderr


def test_an_api_without_keys_is_refused(instance: Instance):
    instance.put(TMDB_ACCESS_TOKEN="token")
    assert "/movie-platform/SERVING_API_KEYS is missing" in refusal(instance)


@pytest.mark.parametrize("name", ["SERVING_API_KEY", "TMDB_TOKEN", "POSTGRES_PASSWORD", "DOCKER_GID", "VERSION"])
def test_a_parameter_that_would_change_nothing_or_too_much_is_refused_by_name(instance: Instance, name: str):
    instance.put(**SECRETS, **{name: "x"})
    assert f": {name} (under /movie-platform)" in refusal(instance)


@pytest.mark.parametrize("value", ["a'b", "a\\b", "a\nBUCKET=b"])
def test_a_value_that_could_say_more_than_itself_is_refused(instance: Instance, value: str):
    instance.put(SERVING_API_KEYS=value)
    assert "SERVING_API_KEYS has" in refusal(instance)


def test_facts_that_are_not_whole_are_refused(instance: Instance):
    instance.write_facts({"BUCKET": "films-bucket"})
    assert "does not name AWS_DEFAULT_REGION, PARAMETERS" in refusal(instance)


def test_a_parameter_store_that_does_not_answer_is_said(instance: Instance, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_SSM", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert "Parameter Store does not answer" in refusal(instance)
