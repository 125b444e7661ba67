"""Servers as processes of this machine, each alone while it is measured.

What belongs here: starting one, waiting until it answers, its memory, and ending it and what it started. What does
not: which ones there are. Needs Linux.
"""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["HOST", "Running", "Server", "ServerError", "free_port", "running"]

HOST = "127.0.0.1"
_START_SECONDS = 180
_STOP_SECONDS = 15
_OK = 200


class ServerError(Exception):
    """A server did not start, or answered wrongly. The message has the end of what it printed."""


@dataclass(frozen=True)
class Server:
    """How a server is started, and asked for one prediction."""

    name: str
    command: Sequence[str]
    """``{port}`` in a part stands for the port that it shall listen on."""
    variables: Mapping[str, str]
    """The environment, whole: nothing of the caller's counts. ``{port}`` is the port here too."""
    path: str
    bodies: Sequence[str]
    """Requests; the first is answered by 200 once the server is ready."""


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    pid: int
    """Of the process that was started, and of the group that all it starts belongs to."""
    port: int
    ready_after: float
    """Seconds from the start of the process to the first answer by 200."""

    def url(self, path: str) -> str:
        """Return the address of a path."""
        return f"http://{HOST}:{self.port}{path}"

    def ask(self, path: str, body: str) -> Any:
        """Return what the server answers. Raises ServerError unless it is 200 and JSON."""
        status, answer = _post(self.port, path, body)
        if status != _OK:
            raise ServerError(f"{path} answered {status}: {answer[:500].decode(errors='replace')}")
        return json.loads(answer)

    def memory(self) -> tuple[float, float]:
        """Return the most memory that the processes have had, each for itself, and what they have now, in MB.

        The first counts what processes share once for each of them (VmHWM), the second shares it out (PSS).
        """
        peak = now = 0.0
        for process in _group(self.pid):
            peak += _kilobytes(process / "status", "VmHWM")
            now += _kilobytes(process / "smaps_rollup", "Pss")
        return peak / 1024, now / 1024


@contextmanager
def running(server: Server, folder: Path) -> Iterator[Running]:
    """Start a server in a folder, wait until it answers, and end it afterwards, whatever happens."""
    port = free_port()
    variables = [f"{name}={value}" for name, value in server.variables.items()]
    command = [part.replace("{port}", str(port)) for part in (*variables, *server.command)]
    log = folder / "server.log"
    with log.open("wb") as output:
        begun = time.monotonic()
        # A session of its own, so that all it starts can be ended with it. env makes way for what it starts.
        process = subprocess.Popen(  # noqa: S603 our own arguments
            [_env(), "--ignore-environment", *command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _wait(process, port, server, log)
        yield Running(pid=process.pid, port=port, ready_after=time.monotonic() - begun)
    finally:
        _stop(process)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port


def _wait(process: "subprocess.Popen[bytes]", port: int, server: Server, log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    last = "it did not listen"
    while time.monotonic() < until and process.poll() is None:
        with suppress(OSError, http.client.HTTPException):
            status, answer = _post(port, server.path, server.bodies[0])
            if status == _OK:
                return
            last = f"it answered {status}: {answer[:300].decode(errors='replace')}"
        time.sleep(0.01)
    ended = "" if process.poll() is None else f" and ended with {process.returncode}"
    tail = "\n".join(line[:500] for line in log.read_text(errors="replace").splitlines()[-10:])
    raise ServerError(f"{server.name} did not become ready ({last}){ended}. The end of its output:\n{tail}")


def _post(port: int, path: str, body: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(HOST, port, timeout=30)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """End the whole group: politely, then at once."""
    for stop in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, stop)
        until = time.monotonic() + _STOP_SECONDS
        while time.monotonic() < until:
            if process.poll() is not None and not _group(process.pid):
                return
            time.sleep(0.02)


def _group(leader: int) -> list[Path]:
    """Return the processes of a group, as folders of /proc."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        # What comes after the name, which may hold anything, in brackets: state, parent, group.
        with suppress(OSError):
            state, _, group, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(group) == leader and state != "Z":
                found.append(folder)
    return found


def _kilobytes(file: Path, field: str) -> int:
    with suppress(OSError):
        for line in file.read_text().splitlines():
            name, _, value = line.partition(":")
            if name == field:
                return int(value.split()[0])
    return 0


def _env() -> str:
    program = shutil.which("env")
    assert program, "a system without env"
    return program
