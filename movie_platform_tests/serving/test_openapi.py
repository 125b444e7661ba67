"""The description of the API and what it answers are one: schemathesis asks, by the description, and by breaking it."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from movie_platform.rating_model.bundle import Bundle
from movie_platform.storage import Storage
from movie_platform_tests.serving.predicted import film, put
from movie_platform_tests.serving.service import release_bundle, running

KEY = "a-key-of-24-characters-x"
OPERATIONS = 9

# A relation between two fields is not in the description: `to` after `from`, a release date or a year.
NOT_DESCRIBED = "positive_data_acceptance"


@pytest.fixture
def full(storage: Storage, bundle: Bundle) -> Storage:
    """A storage with a bundle and with upcoming films."""
    release_bundle(storage, bundle)
    put(storage, *[film(number) for number in range(1, 30)])
    return storage


@pytest.fixture
def client(full: Storage, make_app: Callable[..., FastAPI]) -> Iterator[httpx.Client]:
    with running(make_app(full)) as made:
        yield made


def schemathesis(url: httpx.URL, *options: str) -> str:
    """Let it ask, always the same; fails the test with its report."""
    program = Path(sys.executable).with_name("schemathesis")
    command = [str(program), "run", f"{url}/openapi.json", "--checks=all", f"--exclude-checks={NOT_DESCRIBED}"]
    command += ["--generation-deterministic", "--no-color", *options]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{OPERATIONS} selected / {OPERATIONS} total" in ran.stdout
    return ran.stdout


def cases(report: str) -> int:
    found = re.search(r"(\d+) generated", report)
    assert found is not None
    return int(found[1])


def test_the_description_holds_for_whatever_is_asked(client: httpx.Client):
    """No 5xx, no answer that is not described, nothing wrong that is accepted."""
    report = schemathesis(client.base_url, "--phases=examples,coverage,fuzzing", "--max-examples=10")
    assert cases(report) > 500


def test_the_description_holds_where_keys_are_asked_for(full: Storage, make_app: Callable[..., FastAPI]):
    """What it says of keys is so: needed where it says so, and nowhere else."""
    with running(make_app(full, SERVING_API_KEYS=KEY)) as client:
        description = client.get("/openapi.json", headers={"X-API-Key": KEY}).json()
        assert client.get("/openapi.json").status_code == 401
        options = [f"--header=X-API-Key: {KEY}", "--phases=examples,coverage", "--max-examples=3"]
        assert cases(schemathesis(client.base_url, *options)) > 200
        for path, operations in description["paths"].items():
            for method, operation in operations.items():
                needs_key = operation.get("security", description["security"]) != []
                answer = client.request(method, re.sub(r"{.*}", "1", path))
                assert (answer.status_code == 401) is needs_key, path
                assert not needs_key or "401" in operation["responses"]


def test_without_a_bundle_and_films_the_503s_are_described(storage: Storage, make_app: Callable[..., FastAPI]):
    with running(make_app(storage)) as client:
        description = client.get("/openapi.json").json()
        for path, operations in description["paths"].items():
            for method, operation in operations.items():
                body = examples_of(description, operation)
                answer = client.request(method, re.sub(r"{.*}", "1", path), json=body[0] if body else None)
                assert answer.status_code in {200, 503}
                assert str(answer.status_code) in operation["responses"], path
                if answer.status_code == 503:
                    assert answer.headers["Content-Type"] in operation["responses"]["503"]["content"]


def examples_of(description: dict[str, Any], operation: dict[str, Any]) -> list[Any]:
    """Return the examples of an operation's body."""
    if "requestBody" not in operation:
        return []
    media = operation["requestBody"]["content"]["application/json"]
    schema = description["components"]["schemas"][media["schema"]["$ref"].rpartition("/")[2]]
    return [*schema.get("examples", []), *(example["value"] for example in media.get("examples", {}).values())]


def test_every_example_of_a_body_is_answered(client: httpx.Client):
    description = client.get("/openapi.json").json()
    tried = 0
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            for example in examples_of(description, operation):
                answer = client.request(method, path, json=example)
                assert answer.status_code == 200, (path, example, answer.text)
                tried += 1
    assert tried >= 3


def test_every_example_of_a_parameter_is_answered(client: httpx.Client):
    description = client.get("/openapi.json").json()
    tried = 0
    for path, operations in description["paths"].items():
        for parameter in operations.get("get", {}).get("parameters", []):
            examples = [*parameter.get("examples", []), *parameter["schema"].get("examples", [])]
            for example in examples if parameter["in"] == "query" else []:
                answer = client.get(path, params={parameter["name"]: example})
                assert answer.status_code == 200, (path, parameter["name"], answer.text)
                tried += 1
    assert tried >= 4


def test_the_page_of_the_description_needs_nothing_from_elsewhere(client: httpx.Client):
    """Every address in it is one of this service, and answers."""
    page = client.get("/docs")
    assert page.status_code == 200
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page.text)
    assert len(addresses) >= 4
    for address in addresses:
        assert address.startswith("/")
        assert not address.startswith("//")
        assert client.get(address).status_code == 200, address
    assert "https://" not in page.text
