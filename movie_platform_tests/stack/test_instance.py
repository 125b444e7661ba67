"""An instance of EC2, from its first boot to an update: the template's user data, by cloud-init under a real systemd.

A container stands for the instance, moto for AWS. Everything else is what an instance does: the repository is cloned,
the units start the stack, its settings come from Parameter Store, its files go to the template's bucket. Not as on EC2:
the packages are in the container's image (the user data's are Ubuntu's), Docker is the machine's own, through its
socket, and keys stand for the role. The tests are one story and run in this order.
"""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer

from movie_platform_tests.deploy.cloudformation import SETTINGS, create, user_data
from movie_platform_tests.stack.stack import REPOSITORY, ROOT

pytestmark = [
    pytest.mark.stack,
    pytest.mark.filterwarnings("ignore:Tried to parse AWS..S3..BucketPolicy:UserWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

NAME = f"movie-platform-instance-{os.getpid()}"
VERSIONS = [f"instance-{os.getpid()}-1", f"instance-{os.getpid()}-2"]
SERVICES = {"postgres", "code-location", "webserver", "daemon", "serving-a", "serving-b", "proxy"}
KEY = '0123456789$HOME#"abcdef'
"""With what compose would take for a variable and a quotation."""


def run(*command: str | Path, check: bool = True, cwd: Path | None = None) -> str:
    """What a command printed."""
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, cwd=cwd)
    if check and done.returncode:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout + done.stderr


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


class Instance:
    """The container, the account that it is in, and what it may be asked from outside."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ui, self.api = free_port(), free_port()

    def make(self, endpoint: str) -> None:
        """The account with the template's stack, and the container, before its first boot."""
        session = boto3.session.Session()
        self._ssm = session.client("ssm", endpoint_url=endpoint)
        repository = self._repository()
        settings = {**SETTINGS, "RepositoryUrl": f"file://{repository}", "Version": VERSIONS[0]}
        made = create(session, settings)
        self.bucket = session.resource("s3", endpoint_url=endpoint).Bucket(made["Bucket"])
        self.put(
            COMPOSE_PROJECT_NAME=NAME,
            MOVIE_PLATFORM_AUTOMATION="off",
            UI_PORT=f"127.0.0.1:{self.ui}",
            API_PORT=f"127.0.0.1:{self.api}:8443",
            AWS_ENDPOINT_URL_S3=endpoint,
            AWS_ACCESS_KEY_ID="test",
            AWS_SECRET_ACCESS_KEY="test-secret",
        )
        seed = self.folder / "seed"
        seed.mkdir()
        text = user_data(session, made["Instance"])
        packages = [line for line in text.splitlines() if line.startswith("package")]
        assert len(packages) == 2
        (seed / "user-data").write_text("\n".join(line for line in text.splitlines() if line not in packages) + "\n")
        (seed / "meta-data").write_text(f"instance-id: {made['Instance']}\n")
        self.aws = [f"AWS_ENDPOINT_URL_SSM={endpoint}", "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test-secret"]
        self._container()

    def _repository(self) -> Path:
        """The project as it is here, with a tag for each of two versions."""
        repository = self.folder / "repository"
        listed = run("git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        for file in filter(None, listed.split("\0")):
            if (ROOT / file).is_file():
                (repository / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / file, repository / file)
        run("git", "init", "--quiet", repository)
        for version in VERSIONS:
            (repository / "deploy" / "version").write_text(version)
            run("git", "add", "--all", cwd=repository)
            run(
                *("git", "-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"),
                *("commit", "--quiet", "--message", version),
                cwd=repository,
            )
            run("git", "tag", version, cwd=repository)
        return repository

    def _container(self) -> None:
        image = "movie-platform-test-instance:local"
        run("docker", "build", "--quiet", "--tag", image, Path(__file__).parent / "instance")
        docker = shutil.which("docker")
        assert docker is not None
        plugins = json.loads(run("docker", "info", "--format", "{{json .ClientInfo.Plugins}}"))
        (compose,) = [Path(plugin["Path"]).resolve() for plugin in plugins if plugin["Name"] == "compose"]
        # The engine mounts files of the project by their path on the machine, so it is the same in the container.
        project = self.folder / "project"
        project.mkdir()
        run(
            *("docker", "create", "--name", NAME, "--network", NAME, "--security-opt", "seccomp=unconfined"),
            *("--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN", "--cgroupns", "host"),
            *(
                "--volume",
                "/sys/fs/cgroup:/sys/fs/cgroup:rw",
                "--tmpfs",
                "/run",
                "--tmpfs",
                "/run/lock",
                "--tmpfs",
                "/tmp",
            ),
            *("--volume", "/var/run/docker.sock:/var/run/docker.sock", "--volume", f"{docker}:/usr/bin/docker:ro"),
            *("--volume", f"{compose}:/usr/libexec/docker/cli-plugins/docker-compose:ro"),
            *("--volume", f"{self.folder}:{self.folder}"),
            image,
        )
        (self.folder / "movie-platform").symlink_to(project)
        run("docker", "cp", self.folder / "movie-platform", f"{NAME}:/opt/movie-platform")
        more = self.folder / "system" / "movie-platform.service.d"
        more.mkdir(parents=True)
        (more / "here.conf").write_text(f"[Service]\nEnvironment={' '.join(self.aws)}\nRestartSec=2\n")
        run("docker", "cp", f"{more.parent}/.", f"{NAME}:/etc/systemd/system/")
        run("docker", "cp", f"{self.folder}/seed", f"{NAME}:/var/lib/cloud/seed/nocloud")

    def put(self, **parameters: str) -> None:
        """Into Parameter Store."""
        for name, value in parameters.items():
            self._ssm.put_parameter(Name=f"/movie-platform/{name}", Type="SecureString", Value=value)

    def do(self, *command: str, check: bool = True) -> str:
        """A command on the instance, as root."""
        return run("docker", "exec", NAME, *command, check=check)

    def systemctl(self, *arguments: str, check: bool = True) -> str:
        return self.do("systemctl", *arguments, check=check).strip()

    def log(self) -> str:
        """Of the unit, since the container was started last: the journal holds earlier boots, too."""
        started = run("docker", "inspect", "--format", "{{.State.StartedAt}}", NAME).strip()
        since = f"@{datetime.fromisoformat(started).timestamp():.6f}"
        listing = ("--no-pager", "--output", "cat", "--since", since, "--unit", "movie-platform")
        return self.do("journalctl", *listing, check=False)

    def wait(self, condition: Callable[[], bool], *, what: str, seconds: float = 300) -> None:
        """Until it holds."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if condition():
                return
            time.sleep(0.5)
        cloud = self.do("tail", "-n", "30", "/var/log/cloud-init-output.log", check=False)
        raise AssertionError(f"not in {seconds} s: {what}\n{self.log()[-3000:]}\n{cloud[-3000:]}")

    def is_up(self) -> bool:
        return self.systemctl("is-active", "movie-platform", check=False) == "active"

    def containers(self, *filters: str) -> dict[str, dict[str, Any]]:
        """What Docker says of the stack's, by service."""
        chosen = [part for one in filters for part in ("--filter", one)]
        ids = run("docker", "ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={NAME}", *chosen)
        found = json.loads(run("docker", "inspect", *ids.split())) if ids.split() else []
        return {one["Config"]["Labels"]["com.docker.compose.service"]: one for one in found}

    def ask_api(self, path: str, **headers: str) -> int:
        """The status of an answer by TLS, to the API's name, with a certificate that nobody knows."""
        with httpx.Client(verify=False, trust_env=False, timeout=30) as client:
            answer = client.get(
                f"https://127.0.0.1:{self.api}{path}",
                headers={"Host": SETTINGS["ApiDomain"], **headers},
                extensions={"sni_hostname": SETTINGS["ApiDomain"]},
            )
        return answer.status_code

    def launch(self, day: str) -> None:
        """Ask for a run of the job `daily` for a day."""
        parameters = {
            "selector": {**REPOSITORY, "jobName": "daily"},
            "runConfigData": {},
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": day}]},
        }
        query = "mutation($of: ExecutionParams!) { launchRun(executionParams: $of) { __typename } }"
        asked = {"query": query, "variables": {"of": parameters}}
        answer = httpx.post(f"http://127.0.0.1:{self.ui}/graphql", json=asked, timeout=60, trust_env=False).json()
        assert answer == {"data": {"launchRun": {"__typename": "LaunchRunSuccess"}}}

    def remove(self) -> None:
        """With everything that it has started, but the shared images."""
        run("docker", "rm", "--force", "--volumes", NAME, check=False)
        runs = run("docker", "ps", "--all", "--quiet", "--filter", f"label=movie-platform.stack={NAME}").split()
        if runs:
            run("docker", "rm", "--force", *runs, check=False)
        for kind, verb in (("container", "rm"), ("volume", "rm"), ("network", "rm")):
            listing = ["ls", "--quiet", "--filter", f"label=com.docker.compose.project={NAME}"]
            found = run("docker", kind, *listing, *(["--all"] if kind == "container" else [])).split()
            if found:
                run("docker", kind, verb, *(["--force"] if kind != "network" else []), *found, check=False)
        run("docker", "network", "rm", NAME, check=False)
        images = [
            f"{image}:{version}" for image in ("movie-platform", "movie-platform-serving") for version in VERSIONS
        ]
        run("docker", "image", "rm", *images, check=False)


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    """Made, and booted for the first time."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        made = Instance(Path(folder))
        run("docker", "network", "create", NAME)
        (network,) = json.loads(run("docker", "network", "inspect", NAME))
        aws = ThreadedMotoServer(ip_address=network["IPAM"]["Config"][0]["Gateway"], port=0, verbose=False)
        aws.start()
        host, port = aws.get_host_and_port()
        for name, value in {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "NO_PROXY": host,
        }.items():
            patch.setenv(name, value)
        try:
            made.make(f"http://{host}:{port}")
            run("docker", "start", NAME)
            yield made
        finally:
            made.remove()
            aws.stop()


def test_the_first_boot_installs_the_units(instance: Instance):
    said = instance.do("cloud-init", "schema", "--config-file", "/var/lib/cloud/seed/nocloud/user-data")
    assert "Valid" in said
    instance.wait(lambda: "status: done" in instance.do("cloud-init", "status", check=False), what="it has run")
    assert instance.systemctl("is-enabled", "movie-platform", "movie-platform-backup.timer").split() == ["enabled"] * 2
    units = [f"/etc/systemd/system/movie-platform{unit}" for unit in (".service", "-backup.service", "-backup.timer")]
    assert instance.do("systemd-analyze", "verify", *units) == ""
    assert "movie-platform-backup.timer" in instance.systemctl("list-timers", "--no-pager")


def test_a_boot_starts_the_stack_and_a_start_that_fails_is_tried_again(instance: Instance):
    """Without keys for the API it is refused, and goes on by itself once they are there."""
    run("docker", "restart", "--time", "60", NAME)
    instance.wait(lambda: "SERVING_API_KEYS is missing" in instance.log(), what="the start is refused", seconds=60)
    assert instance.do("cat", "/proc/1/comm").strip() == "systemd"
    assert instance.containers() == {}
    refused = instance.systemctl("start", "movie-platform-backup.service", check=False)
    assert "ependency" in refused
    instance.put(SERVING_API_KEYS=KEY)
    instance.wait(instance.is_up, what="the stack is up")
    assert int(instance.systemctl("show", "--property", "NRestarts", "--value", "movie-platform")) >= 1


def test_the_stack_of_the_version_is_well(instance: Instance):
    found = instance.containers()
    assert found.keys() == SERVICES
    assert {one["State"]["Health"]["Status"] for one in found.values()} == {"healthy"}
    assert found["serving-a"]["Config"]["Image"] == f"movie-platform-serving:{VERSIONS[0]}"
    environment = dict(line.split("=", 1) for line in found["code-location"]["Config"]["Env"])
    assert environment["MOVIE_PLATFORM_STORAGE"] == f"s3://{instance.bucket.name}/data"
    assert httpx.get(f"http://127.0.0.1:{instance.ui}/server_info", trust_env=False).status_code == 200


def test_the_api_answers_by_tls_and_to_its_key_only(instance: Instance):
    assert instance.ask_api("/health/live") == 200
    assert instance.ask_api("/docs") == 401
    assert instance.ask_api("/docs", **{"X-API-Key": KEY}) == 200


def test_no_secret_is_in_the_log_and_env_is_roots_own(instance: Instance):
    password = instance.do("sed", "-n", "s/^POSTGRES_PASSWORD=//p", "/opt/movie-platform/.env").strip()
    assert len(password) >= 32
    everything = instance.do("journalctl", "--no-pager") + instance.do("cat", "/var/log/cloud-init-output.log")
    assert not [secret for secret in (password, KEY, "test-secret") if secret in everything]
    assert instance.do("stat", "--dereference", "--format", "%a %u", "/opt/movie-platform/.env").split() == ["600", "0"]


def test_the_backup_reaches_the_bucket(instance: Instance):
    instance.systemctl("start", "movie-platform-backup.service")
    (backup,) = instance.bucket.objects.filter(Prefix="backups/")
    assert backup.key.endswith(".dump")


def test_an_update_brings_the_other_version(instance: Instance):
    variables = [part for one in instance.aws for part in ("--env", one)]
    run("docker", "exec", *variables, NAME, "/opt/movie-platform/deploy/ec2-update", VERSIONS[1])
    found = instance.containers("status=running")
    assert found.keys() == SERVICES
    assert found["serving-a"]["Config"]["Image"] == f"movie-platform-serving:{VERSIONS[1]}"
    assert found["daemon"]["Config"]["Image"] == f"movie-platform:{VERSIONS[1]}"
    assert instance.do("cat", "/opt/movie-platform/deploy/version") == VERSIONS[1]
    assert instance.ask_api("/docs", **{"X-API-Key": KEY}) == 200


def test_a_shutdown_lets_a_run_end_and_stops_the_stack_cleanly(instance: Instance):
    """137 is the code of what was killed, since it did not end when it was asked to."""
    instance.launch("2026-01-01")
    of_runs = ("--filter", f"label=movie-platform.stack={NAME}")
    instance.wait(lambda: bool(run("docker", "ps", "--quiet", *of_runs)), what="the run has a container", seconds=60)
    began = int(time.time())
    run("docker", "stop", "--time", "400", NAME)
    ended = ("--since", str(began), "--until", str(int(time.time()) + 1), "--filter", "event=die")
    codes = run("docker", "events", *ended, *of_runs, "--format", "{{.Actor.Attributes.exitCode}}").split()
    assert len(codes) == 1
    assert codes != ["137"]
    found = instance.containers()
    assert found.keys() == SERVICES
    assert {one["State"]["Status"] for one in found.values()} == {"exited"}
    assert 137 not in {one["State"]["ExitCode"] for one in found.values()}
