"""The servers that are measured, made ready to be started: the service, its variants, and mlflow's.

What belongs here: what each needs before it starts, and the films that they are asked about. What does not: running
and measuring them.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.common import TRAINING_FILMS, invented_films
from benchmarks.serving.mlflow_environment import mlflow_environment, run
from benchmarks.serving.servers import HOST, Server
from movie_platform.rating_model.bundle import Bundle
from movie_platform.rating_model.config import TrainingConfig
from movie_platform.rating_model.fields import Film
from movie_platform.releases import champion_of, keep_copy, release
from movie_platform.storage import open_storage

__all__ = ["CONSTANT", "MLFLOW", "SERVICE", "TABLE", "film_of", "films_to_ask", "mlflow", "services"]

SERVICE = "the service"
CONSTANT = "the service, answering a constant"
TABLE = "the service, with a table of one row"
MLFLOW = "mlflow models serve"

_ROOT = Path(__file__).resolve().parents[2]
_FIELDS = ["title", "overview", "release_date", "genres", "original_language", "popularity", "vote_count"]
_README = {"title": "Example Movie", "popularity": 123.4, "vote_count": 560}


def films_to_ask(count: int, *, seed: int) -> list[dict[str, Any]]:
    """Films as requests have them, with overviews of 60 words. The first is the README's, completed."""
    films = _documents(invented_films(count, words=40, seed=seed)[_FIELDS])
    films[0] |= _README
    return films


def film_of(document: Mapping[str, Any]) -> Film:
    """Return a request's film as the model takes it."""
    return Film(**{**document, "release_date": date.fromisoformat(document["release_date"])})


def services(bundle: Bundle, folder: Path, films: Sequence[Mapping[str, Any]]) -> list[Server]:
    """Return the service and its variants, to be asked about the films. The bundle is released in the folder."""
    data, about = bundle.to_bytes(), bundle.metadata
    storage = open_storage(str(folder / "storage"))
    champion = champion_of(
        data, partition=about.partition, code_version=about.code_version, synthetic=about.trained_on.synthetic
    )
    keep_copy(storage, data, champion)
    release(storage, champion, reasons=["to be measured"], now=datetime.now(UTC))
    variables = {
        "PYTHONPATH": str(_ROOT),
        "MOVIE_PLATFORM_STORAGE": str(folder / "storage"),
        "SERVING_CACHE": str(folder / "cache"),
        "SERVING_HOST": HOST,
        "SERVING_PORT": "{port}",
    }
    return [
        Server(
            name=name,
            command=[sys.executable, "-m", *module],
            variables=variables,
            path="/predict",
            bodies=[json.dumps(film) for film in films],
        )
        for name, module in (
            (SERVICE, ["serving"]),
            (CONSTANT, ["benchmarks.serving.variants", "constant"]),
            (TABLE, ["benchmarks.serving.variants", "table"]),
        )
    ]


def mlflow(config: TrainingConfig, folder: Path, films: Sequence[Mapping[str, Any]]) -> Server:
    """Return mlflow's server as its own command starts it, with a pipeline trained on the films of our own training."""
    environment = mlflow_environment()
    known, model = folder / "films.jsonl", folder / "mlflow_model"
    table = invented_films(**TRAINING_FILMS)[[*_FIELDS, "vote_average"]]
    known.write_text("".join(f"{json.dumps(document)}\n" for document in _documents(table)))
    size = [f"--trees={config.trees}", f"--leaves={config.leaves}", f"--learning-rate={config.learning_rate}"]
    pipeline = Path(__file__).with_name("mlflow_pipeline.py")
    run(environment / "bin" / "python", pipeline, known, model, *size)
    command = [environment / "bin" / "mlflow", "models", "serve", "--model-uri", model, "--env-manager", "local"]
    return Server(
        name=MLFLOW,
        command=[*map(str, command), "--host", HOST, "--port", "{port}"],
        variables={"PATH": f"{environment / 'bin'}:/usr/bin:/bin", "HOME": str(folder)},
        path="/invocations",
        bodies=[json.dumps({"dataframe_records": [film]}) for film in films],
    )


def _documents(films: pd.DataFrame) -> list[dict[str, Any]]:
    films = films.assign(release_date=films["release_date"].dt.strftime("%Y-%m-%d"))
    documents: list[dict[str, Any]] = json.loads(films.to_json(orient="records", double_precision=15))
    return documents
