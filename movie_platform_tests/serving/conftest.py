"""A service on a storage of its own, for the tests of its parts; `service` makes what it is made of."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from movie_platform.rating_model.bundle import Bundle
from movie_platform.rating_model.rows import RowPredictor
from movie_platform.settings import ServingSettings
from movie_platform.storage import DiskStorage, Storage
from movie_platform_tests.serving.service import bundle_of, release_bundle, running
from serving.app import create_app

MakeApp = Callable[..., FastAPI]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Nothing of the person who runs the tests: neither variables nor a .env."""
    for name in list(os.environ):  # noqa: TID251 only their names, to take them away
        if name.startswith(("MOVIE_PLATFORM_", "SERVING_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    return bundle_of()


@pytest.fixture(scope="session")
def predictor(bundle: Bundle) -> RowPredictor:
    return RowPredictor(bundle.model)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """An empty storage on disk."""
    return DiskStorage(tmp_path / "storage")


@pytest.fixture
def make_app(tmp_path: Path) -> MakeApp:
    """Return what makes the application on a storage; variables may be set."""

    def make(storage: Storage, **variables: Any) -> FastAPI:
        given = {"SERVING_CACHE": str(tmp_path / "cache"), "SERVING_POLL_SECONDS": "0.1", **variables}
        return create_app(ServingSettings(MOVIE_PLATFORM_STORAGE=str(tmp_path / "storage"), **given), storage=storage)

    return make


@pytest.fixture(scope="session")
def client(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A service that serves `bundle`, for tests that change nothing."""
    folder = tmp_path_factory.mktemp("service")
    storage = DiskStorage(folder / "storage")
    release_bundle(storage, bundle)
    settings = ServingSettings(MOVIE_PLATFORM_STORAGE=str(folder / "storage"), SERVING_CACHE=str(folder / "cache"))
    with running(create_app(settings)) as made:
        yield made
