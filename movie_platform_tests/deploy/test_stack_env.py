"""`deploy/stack env`, run as people run it: it makes what compose needs, and keeps it to itself."""

import shutil
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy/stack"
OF_OUR_OWN_SERVER = {"COMPOSE_PROFILES", "AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
SECRETS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "POSTGRES_PASSWORD"}


class Project:
    """A folder with the script, and a socket where Docker's would be."""

    def __init__(self, folder: Path) -> None:
        self.env = folder / ".env"
        self._script = folder / "deploy/stack"
        self._script.parent.mkdir()
        shutil.copy(SCRIPT, self._script)

    def make_env(self, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run it. Nothing of the caller's environment reaches it, and it need not be started in its folder."""
        return subprocess.run(
            [self._script, "env"],
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "DOCKER_SOCKET": "docker.sock", **variables},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )

    def settings(self) -> dict[str, str]:
        lines = self.env.read_text().splitlines()
        found = dict(line.split("=", 1) for line in lines)
        assert len(found) == len(lines)
        return found

    def mode(self) -> int:
        return stat.S_IMODE(self.env.stat().st_mode)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    monkeypatch.chdir(tmp_path)  # a socket's path may not be long
    with socket.socket(socket.AF_UNIX) as docker:
        docker.bind("docker.sock")
        yield Project(tmp_path)


def test_it_makes_all_that_compose_asks_for(project: Project):
    done = project.make_env()
    assert done.returncode == 0, done.stderr
    made = project.settings()
    assert made.keys() == {"BUCKET", "POSTGRES_PASSWORD", "DOCKER_GID", "DOCKER_SOCKET"} | OF_OUR_OWN_SERVER
    assert made["COMPOSE_PROFILES"] == "s3"
    assert int(made["DOCKER_GID"]) == Path("docker.sock").stat().st_gid


def test_only_the_owner_reads_it(project: Project):
    project.make_env()
    assert project.mode() == 0o600


def test_a_file_that_others_could_read_is_closed_before_secrets_are_in_it(project: Project):
    project.env.write_text("")
    project.env.chmod(0o644)
    project.make_env()
    assert project.mode() == 0o600


def test_secrets_are_long_and_never_twice_the_same(project: Project):
    project.make_env()
    first = project.settings()
    project.env.unlink()
    project.make_env()
    values = [settings[name] for settings in (first, project.settings()) for name in SECRETS]
    assert len(set(values)) == 2 * len(SECRETS)
    assert min(len(value) for value in values) >= 16


def test_no_value_is_printed(project: Project):
    done = project.make_env()
    made = project.settings()
    assert "POSTGRES_PASSWORD" in done.stdout + done.stderr
    assert not [name for name in SECRETS if made[name] in done.stdout + done.stderr]


def test_it_may_be_run_again(project: Project):
    project.make_env()
    before = project.env.read_bytes()
    done = project.make_env()
    assert done.returncode == 0, done.stderr
    assert project.env.read_bytes() == before
    assert "nothing" in done.stderr


def test_what_the_file_has_already_stays(project: Project):
    """A bucket of AWS needs no server of our own; the last line may lack its end."""
    project.env.write_text("BUCKET=films-of-somebody\nPOSTGRES_PASSWORD=chosen\nTMDB_ACCESS_TOKEN=a=b")
    done = project.make_env()
    assert done.returncode == 0, done.stderr
    assert project.settings() == {
        "BUCKET": "films-of-somebody",
        "POSTGRES_PASSWORD": "chosen",
        "TMDB_ACCESS_TOKEN": "a=b",
        "DOCKER_SOCKET": "docker.sock",
        "DOCKER_GID": str(Path("docker.sock").stat().st_gid),
    }


def test_without_docker_it_says_what_to_do(project: Project):
    done = project.make_env(DOCKER_SOCKET="elsewhere.sock")
    assert done.returncode == 1
    assert "DOCKER_SOCKET" in done.stderr
    assert "DOCKER_GID" not in project.settings()
