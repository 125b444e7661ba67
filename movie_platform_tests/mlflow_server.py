"""A real MLflow server on loopback, with an empty database, in the environment that `make test` makes for it."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

MLFLOW = Path(__file__).parent.parent / ".bench/mlflow/bin/mlflow"
_START_SECONDS = 180
_STOP_SECONDS = 15


@dataclass(frozen=True)
class Server:
    """A server that answers."""

    url: str
    process: "subprocess.Popen[bytes]"

    def kill(self) -> None:
        """End it at once, with the workers that it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(_STOP_SECONDS)


@contextmanager
def mlflow_server(folder: Path) -> Iterator[Server]:
    """Serve from `folder` while the block lasts. Its own telemetry is off, and nothing of the caller's counts."""
    assert MLFLOW.exists(), "make test makes it: python -m benchmarks.serving.mlflow_environment"
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [str(MLFLOW), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        f"{folder}/artifacts",
    ]
    environment = {
        "PATH": f"{MLFLOW.parent}:/usr/bin:/bin",
        "HOME": str(folder),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    log = folder / "server.log"
    with log.open("wb") as output:
        # A session of its own, so that its workers end with it.
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    server = Server(f"http://127.0.0.1:{port}", process)
    try:
        until = time.monotonic() + _START_SECONDS
        while not _answers(server.url):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        yield server
    finally:
        server.kill()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False
