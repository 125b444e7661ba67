"""Two S3 servers that share no code, and a wire-tap between them and the service.

What belongs here: starting, stopping, observing. What does not: what is expected of the service.
"""

import http.client
import shutil
import socket
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
from moto.server import ThreadedMotoServer

ACCESS_KEY, SECRET = "test", "test-secret"


class S3Server(ABC):
    """A server that can be stopped and started again on its port, with what it holds."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"

    @abstractmethod
    def start(self) -> None:
        """Begin to answer."""

    @abstractmethod
    def stop(self) -> None:
        """Refuse connections."""

    @abstractmethod
    def check_keys(self) -> None:
        """Refuse from now on who has other keys than ACCESS_KEY and SECRET."""


class Moto(S3Server):
    """Of Python. Holds objects in this process, so they outlive it."""

    _server: ThreadedMotoServer | None = None

    def start(self) -> None:
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self._server.start()

    def stop(self) -> None:
        if self._server is not None:
            httpx.post(f"{self.endpoint}/moto-api/reset-auth", content=b"inf", trust_env=False)
            self._server.stop()
            self._server = None

    def check_keys(self) -> None:
        # It knows no users, so everybody's keys are wrong.
        httpx.post(f"{self.endpoint}/moto-api/reset-auth", content=b"0", trust_env=False).raise_for_status()


class Rclone(S3Server):
    """Of Go. Serves folders, and always checks keys."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = rclone()
        assert program is not None
        options = [f"--addr=127.0.0.1:{self.port}", f"--auth-key={ACCESS_KEY},{SECRET}", "--config="]
        command = [program, "serve", "s3", *options, "--log-level=ERROR", str(self._folder)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(500):
            with socket.socket() as attempt:
                if attempt.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise TimeoutError("rclone did not begin to listen")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def check_keys(self) -> None:
        """It does already."""


@cache
def rclone() -> str | None:
    """Return the program if there is one that can serve S3; Debian 12's cannot."""
    beside = Path(sys.executable).parent
    for folder in (str(beside), None):
        program = shutil.which("rclone", path=folder)
        if program:
            known = subprocess.run([program, "serve", "s3", "--help"], capture_output=True, check=False)
            if b"--auth-key" in known.stdout:
                return program
    return None


class Tap(ThreadingHTTPServer):
    """Passes requests on unchanged, and notes method, path, whether a condition was set, and the answer's status."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.to = port
        self.seen: list[tuple[str, str, bool, int]] = []
        self.endpoint = f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def tapped(server: S3Server) -> Iterator[Tap]:
    """Listen in on the server while the block lasts."""
    with Tap(server.port) as tap:
        thread = threading.Thread(target=tap.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield tap
        finally:
            tap.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Tap

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        connection = http.client.HTTPConnection("127.0.0.1", self.server.to, timeout=10)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():  # with their host, which is signed
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        data = answer.read()
        self.server.seen.append((self.command, self.path, "If-None-Match" in self.headers, answer.status))
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                self.send_header(name, value)
        if answer.status != http.HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        connection.close()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the name is the base class's
        """Stay silent."""
