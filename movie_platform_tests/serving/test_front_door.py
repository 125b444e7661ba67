"""What holds for every request: keys, limits, time-outs, ids, headers, and logs that tell no tales."""

import asyncio
import base64
import json
import logging
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import Mount

from movie_platform.rating_model.bundle import Bundle
from movie_platform.storage import DiskStorage, Storage
from movie_platform_tests.serving.service import (
    FILM,
    FIRST_DAY,
    BrokenStorage,
    answer_on,
    begin_request,
    bundle_of,
    connection_to,
    release_bundle,
    running,
    service_of,
    service_process,
    wait_for,
    wait_until,
)
from serving import middleware

KEY = "a-key-of-24-characters-x"
OTHER_KEY = "another-key-of-characters"
WRONG_KEY = "a-key-of-24-characters-y"
AS_JSON = {"Content-Type": "application/json"}

MakeApp = Callable[..., FastAPI]


def basic(password: str, *, user: str = "anyone") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture
def app(storage: Storage, bundle: Bundle, make_app: MakeApp) -> FastAPI:
    release_bundle(storage, bundle)
    return make_app(storage)


@pytest.fixture
def open_client(app: FastAPI) -> Iterator[httpx.Client]:
    with running(app) as client:
        yield client


@pytest.fixture
def locked_app(storage: Storage, bundle: Bundle, make_app: MakeApp) -> FastAPI:
    release_bundle(storage, bundle)
    return make_app(storage, SERVING_API_KEYS=f"{KEY}, {OTHER_KEY}")


@pytest.fixture
def locked(locked_app: FastAPI) -> Iterator[httpx.Client]:
    with running(locked_app) as client:
        yield client


def addresses(app: FastAPI) -> list[tuple[str, str]]:
    """Return every method and path that the application knows, and some that it does not."""
    found = [
        ("GET", "/openapi.json"),
        ("GET", "/no/such/page"),
        ("POST", "/"),
        ("GET", "/%2e%2e/x"),
    ]
    for route in app.routes:
        if isinstance(route, Mount):
            found += [("GET", f"{route.path}/"), ("GET", f"{route.path}/../x"), ("GET", f"{route.path}/site.css")]
    for path, methods in app.openapi()["paths"].items():
        found += [(method.upper(), path) for method in methods]
    found += [("GET", path) for path in ("/", "/docs", "/try", "/model-card", "/films/1", "/plots/x.png")]
    found += [("POST", "/try"), ("GET", "/docs/static/swagger-ui.css"), ("HEAD", "/health/ready/"), ("GET", "/health")]
    return [(method, re.sub(r"{[^}]*}", "1", path)) for method, path in dict.fromkeys(found)]


# --- keys ------------------------------------------------------------------------------------------


def test_no_address_forgets_to_ask_for_a_key(locked_app: FastAPI, locked: httpx.Client):
    """Every route and mount, and what does not exist; only health is open."""
    asked = addresses(locked_app)
    assert {path for _, path in asked} > {"/predict", "/predict/batch", "/model", "/metrics", "/upcoming", "/static/"}
    for method, path in asked:
        for headers in ({}, {"X-API-Key": WRONG_KEY}, {"Accept": "text/html"}):
            answer = locked.request(method, path, headers=headers)
            if path in {"/health/live", "/health/ready"}:
                assert answer.status_code == 200
            else:
                assert answer.status_code == 401, (method, path, headers)
                assert answer.headers["WWW-Authenticate"].startswith("Basic ")
                assert KEY not in answer.text


def test_every_route_of_the_code_was_asked(locked_app: FastAPI):
    """So that a new page cannot be left out of the test above without being seen."""
    asked = {path for _, path in addresses(locked_app)}

    def routes(found: Any) -> Iterator[str]:
        for route in found:
            inner = getattr(route, "original_router", None)
            if inner is not None:
                yield from routes(inner.routes)
            elif isinstance(route, APIRoute):
                yield re.sub(r"{[^}]*}", "1", route.path)

    known = set(routes(locked_app.routes))
    assert len(known) > 5
    assert known - asked <= {"/plots/1.png"}


@pytest.mark.parametrize("key", [KEY, OTHER_KEY])
@pytest.mark.parametrize("send", [0, 1, 2, 3], ids=["X-API-Key", "Bearer", "bearer", "Basic"])
def test_each_key_opens_in_each_way(locked: httpx.Client, key: str, send: int):
    headers = [
        {"X-API-Key": key},
        {"Authorization": f"Bearer {key}"},
        {"Authorization": f"bearer  {key}"},
        {"Authorization": basic(key)},
    ][send]
    assert locked.post("/predict", json=FILM, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": ""},
        {"X-API-Key": KEY[:-1]},
        {"X-API-Key": KEY + "x"},
        {"X-API-Key": KEY.upper()},
        {"X-API-Key": f"{KEY}, {OTHER_KEY}"},
        {"X-API-Key": WRONG_KEY, "Authorization": "Bearer " + WRONG_KEY},
        {"Authorization": KEY},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic " + base64.b64encode(KEY.encode()).decode()},
        {"Authorization": basic("", user=KEY)},
        {"Authorization": basic("x" + KEY)},
        {"Authorization": "Digest " + KEY},
        {"Authorization": "Basic \u00ff"},
        {"X-API-Key": "\u00ff" * 24},
        {"Cookie": f"X-API-Key={KEY}"},
    ],
    ids=range(17),
)
def test_nothing_else_opens(locked: httpx.Client, headers: dict[str, str]):
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    answer = locked.post("/predict", json=FILM, headers=httpx.Headers(raw))
    assert answer.status_code == 401
    assert "X-API-Key" in answer.json()["detail"]
    assert locked.post(f"/predict?api_key={KEY}", json=FILM).status_code == 401


def test_a_wrong_key_costs_no_reading_of_the_body(locked: httpx.Client):
    """Who may not use the service cannot make it hold megabytes."""
    with connection_to(locked) as connection:
        begin_request(connection, "/predict/batch", b"x", length=10_000_000)
        assert answer_on(connection)[0] == 401


# --- limits ----------------------------------------------------------------------------------------


def chunks(size: int, *, piece: int = 2**16) -> Iterator[bytes]:
    for _ in range(-(-size // piece)):
        yield b" " * piece


@pytest.mark.parametrize(("path", "limit"), [("/predict", 2**18), ("/predict/batch", 16 * 2**20)])
@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "chunked"])
def test_a_body_that_is_too_large_is_refused(open_client: httpx.Client, path: str, limit: int, chunked: bool):
    """The part that was sent is not kept, and the connection is not needed any more."""
    body: Any = chunks(limit + 2**16) if chunked else b" " * (limit + 1)
    answer = open_client.post(path, content=body, headers=AS_JSON)
    assert answer.status_code == 413
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert f"{limit:,}" in answer.json()["detail"]
    assert open_client.post("/predict", json=FILM).status_code == 200


def test_an_announced_body_is_refused_before_it_is_sent(open_client: httpx.Client):
    with connection_to(open_client) as connection:
        begin_request(connection, "/predict", b"", length=2**40)
        assert answer_on(connection)[0] == 413


@pytest.mark.parametrize("path", ["/try", "/health/live", "/no/such/page"])
def test_pages_have_a_limit_too(open_client: httpx.Client, path: str):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert open_client.post(path, content=b"a" * (2**18 + 1), headers=form).status_code == 413


def test_the_largest_film_that_is_allowed_is_below_the_limit(open_client: httpx.Client):
    film = {**FILM, "title": "\U0001f600" * 500, "overview": "\U0001f600" * 10_000}
    assert open_client.post("/predict", content=json.dumps(film), headers=AS_JSON).status_code == 200


def test_a_body_that_does_not_arrive_is_a_408(open_client: httpx.Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(middleware, "SECONDS", 0.3)
    with connection_to(open_client) as connection:
        begin_request(connection, "/predict", b'{"title"', length=100)
        status, content = answer_on(connection)
    assert status == 408
    assert "did not arrive" in json.loads(content)["detail"]


def test_a_body_that_trickles_in_is_a_408(open_client: httpx.Client, monkeypatch: pytest.MonkeyPatch):
    """A byte now and then does not begin the time anew."""
    monkeypatch.setattr(middleware, "SECONDS", 0.5)
    began = time.monotonic()
    first = b""
    with connection_to(open_client) as connection:
        begin_request(connection, "/predict", b"{", length=100)
        assert connection.sock is not None
        connection.sock.settimeout(0.1)
        while not first and time.monotonic() - began < 5:
            connection.send(b" ")
            with suppress(TimeoutError):
                first = connection.sock.recv(12)
    assert first == b"HTTP/1.1 408"
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("path", ["/model", "/model-card"])
def test_an_answer_that_takes_too_long_is_a_503(
    storage: Storage, bundle: Bundle, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, path: str
):
    """It is the service that was slow, not the caller. What needs no storage goes on meanwhile."""
    release_bundle(storage, bundle)
    hanging = BrokenStorage(storage)
    with running(make_app(hanging)) as client:
        monkeypatch.setattr(middleware, "SECONDS", 0.5)
        hanging.wait = threading.Event()
        try:
            answer = client.get(path)
            assert answer.status_code == 503
            assert client.post("/predict", json=FILM).status_code == 200
        finally:
            hanging.wait.set()


def test_a_storage_that_hangs_does_not_stop_what_does_without_it(
    storage: Storage, bundle: Bundle, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
):
    """However many have asked for what needs it."""
    release_bundle(storage, bundle)
    hanging = BrokenStorage(storage)
    with running(make_app(hanging)) as client:
        monkeypatch.setattr(middleware, "SECONDS", 3.0)
        hanging.wait = threading.Event()
        try:

            async def ask_all() -> list[int]:
                limits = httpx.Limits(max_connections=200)
                async with httpx.AsyncClient(base_url=client.base_url, limits=limits, trust_env=False) as many:
                    asked = [asyncio.create_task(many.get("/model", timeout=20)) for _ in range(60)]
                    await asyncio.sleep(0.5)
                    others = [
                        await many.get(path, timeout=5) for path in ("/metrics", "/health/ready", "/static/site.css")
                    ]
                    await asyncio.gather(*asked)
                    return [answer.status_code for answer in others]

            assert asyncio.run(ask_all()) == [200, 200, 200]
        finally:
            hanging.wait.set()


def test_who_hangs_up_while_sending_is_no_failure_of_the_service(
    app: FastAPI, open_client: httpx.Client, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.INFO):
        with connection_to(open_client) as connection:
            begin_request(connection, "/predict", b'{"title"', length=100)
        wait_until(lambda: any(record.getMessage() == "request" for record in caplog.records))
    assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]
    assert b'status="500"' not in service_of(app).telemetry.exposition()


def test_the_process_limits_heads(storage: Storage, bundle: Bundle, tmp_path: Path):
    """As it is run: `test_protocol` has the limits themselves."""
    release_bundle(storage, bundle)
    with (
        service_process(tmp_path, MOVIE_PLATFORM_STORAGE=str(tmp_path / "storage")) as service,
        socket.create_connection(("127.0.0.1", httpx.URL(service.url).port or 0)) as connection,
    ):
        connection.settimeout(10)
        connection.sendall(b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 70_000)
        assert connection.recv(12) == b"HTTP/1.1 431"
    assert "xxxxx" not in service.log.read_text()


# --- what every answer has -------------------------------------------------------------------------


def test_every_answer_has_the_headers_that_protect(app: FastAPI, open_client: httpx.Client):
    """Errors and static files too, and pages as problems."""
    for method, path in addresses(app):
        for accept in ("*/*", "text/html"):
            answer = open_client.request(method, path, headers={"Accept": accept}, follow_redirects=False)
            assert answer.status_code != 500, (method, path, answer.text)
            headers = answer.headers
            assert headers["X-Content-Type-Options"] == "nosniff", path
            assert headers["Referrer-Policy"] == "no-referrer", path
            policy = headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy, path
            assert "frame-ancestors 'none'" in policy, path
            assert "script-src" not in policy or "script-src 'self';" in policy, path
            assert headers["X-Model-Partition"] == str(FIRST_DAY), path
            assert re.fullmatch("[0-9a-f]{16}", headers["X-Request-Id"]), path
            assert "server" not in headers, path
            assert "Traceback" not in answer.text, path
            assert "site-packages" not in answer.text, path
            if headers.get("Content-Type", "").startswith("text/html"):
                assert "<script>" not in answer.text, path
                assert " style=" not in answer.text, path


def test_every_error_is_a_problem_document(open_client: httpx.Client):
    for answer in (
        open_client.get("/no/such/page"),
        open_client.get("/predict"),
        open_client.get("/static/no-such-file"),
        open_client.get("/upcoming?page=x"),
        open_client.get("/upcoming/0"),
        open_client.delete("/model"),
    ):
        assert answer.headers["Content-Type"] == "application/problem+json", answer.url
        document = answer.json()
        assert document["status"] == answer.status_code
        assert document["title"]
        assert len(document["detail"]) > 10
    assert open_client.get("/predict").headers["Allow"] == "POST"


def test_a_request_id_that_is_given_is_kept(open_client: httpx.Client):
    headers = {"X-Request-Id": "order-17.a_B"}
    for path in ("/health/live", "/no/such/page", "/static/site.css"):
        assert open_client.get(path, headers=headers).headers["X-Request-Id"] == "order-17.a_B"


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "é", "a;b", "<script>", "a\tb", "../x", "a\u00ffb"])
def test_a_request_id_that_could_do_harm_is_replaced(open_client: httpx.Client, given: str):
    headers = httpx.Headers([(b"X-Request-Id", given.encode("latin-1"))])
    assert re.fullmatch("[0-9a-f]{16}", open_client.get("/health/live", headers=headers).headers["X-Request-Id"])


def test_ids_differ(open_client: httpx.Client):
    assert len({open_client.get("/health/live").headers["X-Request-Id"] for _ in range(50)}) == 50


def test_a_failure_tells_the_caller_its_id_and_nothing_else(
    app: FastAPI, open_client: httpx.Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a secret of the inside")

    monkeypatch.setattr("serving.routes.predictions.predict", fail)
    answer = open_client.post("/predict", json=FILM, headers={"X-Request-Id": "the-one"})
    assert answer.status_code == 500
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["X-Request-Id"] == "the-one"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "the-one" in answer.json()["detail"]
    assert "secret" not in answer.text
    assert "ZeroDivisionError" not in answer.text
    (failed,) = [record for record in caplog.records if record.exc_info]
    assert failed.request_id == "the-one"  # type: ignore[attr-defined]
    batch = open_client.post("/predict/batch", json={"films": [FILM]})
    assert batch.status_code == 500
    assert "secret" not in batch.text


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_a_request_under_way_ends_with_the_bundle_that_it_began_with(
    app: FastAPI, open_client: httpx.Client, storage: Storage, path: str
):
    """Its body arrives while another bundle takes over."""
    body = json.dumps({"films": [FILM]} if "batch" in path else FILM).encode()
    before = open_client.post(path, content=body, headers=AS_JSON).json()
    with connection_to(open_client) as connection:
        begin_request(connection, path, body[:20], length=len(body))
        time.sleep(0.2)
        release_bundle(storage, bundle_of(FIRST_DAY + timedelta(days=1), seed=1))
        service_of(app).bundles.poll()
        after = open_client.post(path, content=body, headers=AS_JSON).json()
        connection.send(body[20:])
        answer = connection.getresponse()
        assert json.loads(answer.read()) == before
    assert answer.getheader("X-Model-Partition") == before["model"]["partition"] == str(FIRST_DAY)
    assert after["model"]["partition"] == str(FIRST_DAY + timedelta(days=1))


def test_the_header_names_the_bundle_that_answered_while_bundles_change(
    app: FastAPI, open_client: httpx.Client, storage: Storage
):
    """Alone, in batches and for the model's description."""
    stop = threading.Event()
    bundles = [bundle_of(FIRST_DAY + timedelta(days=number), seed=number % 3) for number in range(1, 7)]

    def swap() -> None:
        for bundle in bundles:
            release_bundle(storage, bundle)
            service_of(app).bundles.poll()
            stop.wait(0.05)
        stop.set()

    thread = threading.Thread(target=swap)
    thread.start()
    seen: set[str] = set()
    batch = {"films": [FILM] * 200}
    while not stop.is_set():
        for answer in (open_client.post("/predict", json=FILM), open_client.post("/predict/batch", json=batch)):
            assert answer.status_code == 200
            assert answer.json()["model"]["partition"] == answer.headers["X-Model-Partition"]
        ready = open_client.get("/health/ready")
        assert ready.json()["partition"] == ready.headers["X-Model-Partition"]
        seen.add(answer.headers["X-Model-Partition"])
    thread.join()
    assert len(seen) > 1


# --- logs ------------------------------------------------------------------------------------------


def test_logs_are_json_with_ids_and_hold_nothing_of_the_callers(storage: Storage, bundle: Bundle, tmp_path: Path):
    """The whole process, as it is run: its log and its answers."""
    release_bundle(storage, bundle)
    film = {**FILM, "title": "Sesame-title", "overview": "Sesame-overview"}
    answers = []
    with (
        service_process(
            tmp_path, MOVIE_PLATFORM_STORAGE=str(tmp_path / "storage"), SERVING_API_KEYS=f"{KEY},{OTHER_KEY}"
        ) as service,
        httpx.Client(base_url=service.url, headers={"X-API-Key": KEY}, trust_env=False) as client,
    ):
        for number, (method, path, options) in enumerate(
            (
                ("POST", "/predict", {"json": film}),
                ("POST", "/predict?explain=true", {"json": film}),
                ("POST", "/predict?Sesame-query=1", {"json": film}),
                ("POST", "/predict", {"json": {**film, "Sesame-field": 1, "release_year": "Sesame-value"}}),
                ("POST", "/predict", {"content": b'{"Sesame-broken', "headers": AS_JSON}),
                ("POST", "/predict/batch", {"json": {"films": [film, {**film, "genres": ["Sesame-genre"]}]}}),
                ("GET", "/upcoming?title=Sesame-query", {}),
                ("GET", "/Sesame-path", {}),
                ("POST", "/try", {"data": {"title": "Sesame-form"}}),
                ("GET", "/?title=Sesame-query", {"headers": {"Accept": "text/html"}}),
                ("GET", "/model", {"headers": {"X-API-Key": "Sesame-wrong-key-of-them"}}),
                ("GET", "/model", {"headers": {"X-API-Key": "", "Authorization": basic("Sesame-wrong-password")}}),
                ("GET", "/model", {"headers": {"Cookie": "Sesame-cookie=1", "User-Agent": "Sesame-agent"}}),
            )
        ):
            headers = {"X-Request-Id": f"id-{number}", **options.pop("headers", {})}  # type: ignore[attr-defined]
            answers.append(client.request(method, path, headers=headers, **options))  # type: ignore[arg-type]
        raw = socket.create_connection(("127.0.0.1", httpx.URL(service.url).port or 0))
        raw.sendall(b"SESAME /Sesame-no-method HTTP/1.1\r\n\r\n")
        raw.recv(100)
        raw.close()
    text = service.log.read_text()
    assert "sesame" not in text.lower()
    assert KEY not in text
    assert OTHER_KEY not in text
    assert not any(KEY in answer.text for answer in answers)
    lines = service.log_lines()
    requests = {line["request_id"]: line for line in lines if line["message"] == "request"}
    assert {f"id-{number}" for number in range(len(answers))} <= set(requests)
    for number, answer in enumerate(answers):
        line = requests[f"id-{number}"]
        assert line["status"] == answer.status_code
        assert line["milliseconds"] >= 0
        assert date.fromisoformat(line["partition"]) == FIRST_DAY
    assert {line["level"] for line in lines} <= {"INFO", "WARNING"}, "nothing of this is a failure of the service"
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)


def test_metrics_do_not_grow_with_what_callers_invent(app: FastAPI, open_client: httpx.Client):
    for number in range(20):
        open_client.get(f"/no/such/{number}")
        open_client.request(f"METHOD{number}", "/predict")
        open_client.get(f"/static/no-such-{number}")
        open_client.get(f"/upcoming/{number}")
    text = open_client.get("/metrics").text
    assert "/no/such" not in text
    assert "METHOD1" not in text
    assert text.count("serving_requests_total{") < 15


def test_head_is_answered_as_get_without_the_content(client: httpx.Client):
    for path in ("/health/live", "/health/ready", "/model", "/docs", "/openapi.json", "/static/site.css"):
        answer = client.head(path)
        assert (answer.status_code, answer.content) == (200, b""), path
    assert client.head("/predict").status_code == 405


def test_a_query_that_is_too_long_is_refused_before_it_is_read(client: httpx.Client):
    for path in ("/predict", "/upcoming", "/nothing"):
        answer = client.get(f"{path}?{'genre=Drama&' * 1000}")
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == "query"


def test_a_connection_whose_request_is_refused_before_it_has_arrived_is_closed(client: httpx.Client):
    """Otherwise the rest could take as long as it likes."""
    answer = client.post("/predict", content=iter([b"x" * 200_000, b"x" * 200_000]), headers={"Content-Type": "x"})
    assert answer.status_code == 415
    assert answer.headers["Connection"] == "close"


# --- its end --------------------------------------------------------------------------------------


def test_told_to_end_it_first_says_that_it_is_not_ready_and_answers_all_the_same(tmp_path: Path, bundle: Bundle):
    storage = DiskStorage(tmp_path / "storage")
    release_bundle(storage, bundle)
    where = str(tmp_path / "storage")
    with service_process(tmp_path, MOVIE_PLATFORM_STORAGE=where, SERVING_DRAIN_SECONDS="2") as service:
        service.process.terminate()
        refused = wait_for(f"{service.url}/health/ready", status=503)
        assert "told to end" in refused.json()["detail"]
        assert httpx.post(f"{service.url}/predict", json=FILM, trust_env=False).status_code == 200
        assert service.process.wait(30) == -signal.SIGTERM


def test_told_twice_it_ends_at_once(tmp_path: Path, bundle: Bundle):
    storage = DiskStorage(tmp_path / "storage")
    release_bundle(storage, bundle)
    where = str(tmp_path / "storage")
    with service_process(tmp_path, MOVIE_PLATFORM_STORAGE=where, SERVING_DRAIN_SECONDS="300") as service:
        service.process.terminate()
        wait_for(f"{service.url}/health/ready", status=503)
        service.process.terminate()
        assert service.process.wait(30) == -signal.SIGTERM
