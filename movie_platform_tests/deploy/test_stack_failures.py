"""`deploy/stack` when something fails half-way, over a Docker that only says yes or no: it must say how things stand.

What the commands do when all is well is tried with real containers, in `stack`.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy/stack"
DOCKER = """#!/bin/sh
echo "$*" >> {asked}
case "$*" in *"{fails}"*) exit 1 ;; esac
"""


def run(folder: Path, *arguments: str, fails: str) -> tuple[int, str, str]:
    """The command's status, what it said, and what Docker was asked for; Docker refuses whatever contains `fails`."""
    (folder / "deploy").mkdir()
    (folder / "bin").mkdir()
    shutil.copy(SCRIPT, folder / "deploy/stack")
    docker = folder / "bin/docker"
    docker.write_text(DOCKER.format(asked=folder / "asked", fails=fails))
    docker.chmod(0o755)
    done = subprocess.run(
        [folder / "deploy/stack", *arguments],
        env={"PATH": f"{folder}/bin{os.pathsep}/usr/local/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr, (folder / "asked").read_text()


@pytest.mark.parametrize("command", [["update"], ["restore", "some.dump"]], ids=lambda command: command[0])
@pytest.mark.parametrize("fails", ["instance migrate", "up --detach --wait code-location"])
def test_a_platform_that_does_not_come_up_is_told(tmp_path: Path, command: list[str], fails: str):
    """The daemon is stopped by then, and stays so."""
    status, said, asked = run(tmp_path, *command, fails=fails)
    assert status != 0
    assert "compose stop daemon" in asked
    assert fails in asked.splitlines()[-1]
    assert said.endswith("stack: the daemon is stopped, so that no day is made: mend it, then deploy/stack up\n")


def test_a_service_that_does_not_come_up_ends_the_update_before_the_other_one_is_touched(tmp_path: Path):
    status, _, asked = run(tmp_path, "update", fails="--wait serving-a")
    assert status != 0
    assert "serving-b" not in asked
    assert "stop" not in asked
