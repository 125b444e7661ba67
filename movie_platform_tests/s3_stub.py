"""A small S3 for races: it compares and writes under one lock, and can answer as S3 does on its bad days.

Here belongs only what those tests need: GET, DELETE, listing, PUT with `If-Match` and `If-None-Match`, and answers
ordered in advance. Everything else about S3 is tested against moto's server.
"""

import hashlib
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

_ERROR = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"


class S3Stub(ThreadingHTTPServer):
    """The server and its objects. `answers` are status and code of the next requests, before it works again."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.Lock()
        self.objects: dict[str, bytes] = {}
        self.answers: deque[tuple[int, str]] = deque()
        self.requests: list[tuple[str, str]] = []
        self.ignores: str | None = None
        """A condition that it does not honour, `If-Match` or `If-None-Match`, as some servers do not."""

    @property
    def endpoint(self) -> str:
        """The URL for AWS_ENDPOINT_URL_S3."""
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def serve() -> Iterator[S3Stub]:
    """Serve on loopback for as long as the block lasts."""
    with S3Stub() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: S3Stub

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.requests.append(("GET", self.path))
            if self.server.answers:
                return self._refuse(*self.server.answers.popleft())
            query = parse_qs(urlsplit(self.path).query)
            if "list-type" in query:
                return self._answer(200, self._listing(urlsplit(self.path).path, query.get("prefix", [""])[0]))
            data = self.server.objects.get(urlsplit(self.path).path)
        return self._refuse(404, "NoSuchKey") if data is None else self._answer(200, data, etag=_etag(data))

    def do_DELETE(self) -> None:
        with self.server.lock:
            self.server.objects.pop(urlsplit(self.path).path, None)
        self._answer(204, b"")

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        name = urlsplit(self.path).path
        with self.server.lock:
            self.server.requests.append(("PUT", self.path))
            if self.server.answers:
                return self._refuse(*self.server.answers.popleft())
            current = self.server.objects.get(name)
            if self.server.ignores is not None:
                del self.headers[self.server.ignores]
            if self.headers["If-None-Match"] == "*" and current is not None:
                return self._refuse(412, "PreconditionFailed")
            if expected := self.headers["If-Match"]:
                if current is None:
                    return self._refuse(404, "NoSuchKey")
                if expected != _etag(current):
                    return self._refuse(412, "PreconditionFailed")
            self.server.objects[name] = data
        return self._answer(200, b"", etag=_etag(data))

    def _listing(self, bucket: str, prefix: str) -> bytes:
        names = [name.removeprefix(f"{bucket}/") for name in sorted(self.server.objects)]
        written = "<LastModified>2026-01-05T03:00:00.000Z</LastModified>"  # nobody here asks when
        keys = "".join(f"<Contents><Key>{name}</Key>{written}</Contents>" for name in names if name.startswith(prefix))
        return f"<?xml version='1.0'?><ListBucketResult>{keys}</ListBucketResult>".encode()

    def _refuse(self, status: int, code: str) -> None:
        self._answer(status, _ERROR.format(code=code, message="said the stub").encode())

    def _answer(self, status: int, body: bytes, *, etag: str | None = None) -> None:
        self.send_response(status)
        if etag:
            self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the name is the base class's
        """Stay silent."""


def _etag(data: bytes) -> str:
    return f'"{hashlib.sha256(data).hexdigest()}"'
