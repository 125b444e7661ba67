"""A PostgreSQL server for tests, as another user than root, who may not run one."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

USER = "nobody"


class Postgres:
    """A server in a folder, on a port of loopback, that can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._as_user: Sequence[str] = ()
        if os.geteuid() == 0:
            user = pwd.getpwnam(USER)
            os.chown(folder, user.pw_uid, user.pw_gid)
            for parent in folder.parents:
                if parent.stat().st_uid == 0 and parent != Path("/"):
                    parent.chmod(parent.stat().st_mode | 0o011)  # so that the user reaches the folder
            self._as_user = ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._data = folder / "data"
        options = ["--auth=trust", "--username=films", "--no-sync", "--encoding=UTF8"]
        command = [*self._as_user, "initdb", *options, str(self._data)]
        subprocess.run(command, check=True, capture_output=True, cwd="/")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """With the driver that is installed: SQLAlchemy's default is another one."""
        return f"postgresql+psycopg2://films@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it, and wait until it listens."""
        settings = ["-h", "127.0.0.1", "-p", str(self.port), "-k", ""]
        self._process = subprocess.Popen(
            [*self._as_user, "postgres", "-D", str(self._data), *settings],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
        )
        until = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                break
            assert self._process.poll() is None, "the server has ended"
            assert time.monotonic() < until, "the server does not answer"
            time.sleep(0.05)

    def stop(self) -> None:
        """Ask it to stop, without waiting for its clients."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """All its processes, by SIGKILL."""
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (process / "cwd").resolve() == self._data:
                    os.kill(int(process.name), signal.SIGKILL)
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None


@contextlib.contextmanager
def running_postgres(folder: Path) -> Iterator[str]:
    """Serve on loopback for as long as the block lasts; yields the URL. Skips the test where there is none."""
    if not shutil.which("initdb") or not shutil.which("postgres"):
        pytest.skip("PostgreSQL is not installed")
    server = Postgres(folder)
    server.start()
    try:
        yield server.url
    finally:
        server.stop()
