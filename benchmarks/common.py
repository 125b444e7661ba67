"""What the benchmarks share: invented films, a bundle trained on them, the time of a call, the machine, the console."""

import argparse
import gc
import json
import os
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import ValidationError
from rich.console import Console

from movie_platform.rating_model.bundle import Bundle
from movie_platform.rating_model.config import TrainingConfig
from movie_platform.rating_model.documents import what_is_wrong
from movie_platform.rating_model.training import train
from movie_platform_tests.rating_model.examples import example_films

__all__ = [
    "TRAINING_FILMS",
    "add_config_argument",
    "bundle_of",
    "describe_machine",
    "figures_console",
    "invented_films",
    "microseconds",
    "training_config",
]

_Result = TypeVar("_Result")
_WORDS_KNOWN = 8_000
_QUIET = 0.5
_WIDTH = 120

TRAINING_FILMS: dict[str, Any] = {"count": 6_000, "words": 40, "seed": 1}
"""The films that a bundle is trained on when none is given."""


def invented_films(count: int, *, words: int, seed: int) -> pd.DataFrame:
    """Films with 20 words and so many more in each overview, as frequent as words are in a language (Zipf)."""
    rng = np.random.default_rng(seed)
    films = example_films(count, seed=seed)
    ranks = np.minimum(rng.zipf(1.3, (count, words)), _WORDS_KNOWN)
    overviews = [
        f"{overview} {' '.join(f'w{rank}' for rank in row)}"
        for overview, row in zip(films["overview"], ranks.tolist(), strict=True)
    ]
    return films.assign(overview=overviews)


def bundle_of(file: Path | None, console: Console) -> Bundle:
    """Return the bundle of a file, or one trained on invented films with the default configuration (half a minute)."""
    if file:
        return Bundle.from_bytes(file.read_bytes())
    with console.status("training a model"):
        model = train(invented_films(**TRAINING_FILMS), TrainingConfig(), threads=2)
    day = date(2026, 1, 5)
    return Bundle.make(model, partition=day, code_version="benchmark", days_used=[day])


def microseconds(calls: Sequence[Callable[[], _Result]]) -> tuple[npt.NDArray[np.float64], list[_Result]]:
    """Return how long each call took, and what it gave."""
    for call in calls[:20]:
        call()
    gc.collect()
    times, results = [], []
    for call in calls:
        begun = time.perf_counter_ns()
        result = call()
        times.append(time.perf_counter_ns() - begun)
        results.append(result)
    return np.array(times) / 1000, results


def describe_machine() -> str:
    """Return how many cores there are and how busy they were before, and whether that spoils figures of time."""
    busy = os.getloadavg()[0]
    machine = f"{os.cpu_count()} cores; load average before: {busy:.1f}"
    return machine if busy <= _QUIET else f"{machine}, so others were at work and the figures are not to be relied on"


def figures_console() -> Console:
    """Return standard output, never too narrow for a table of figures."""
    console = Console(highlight=False)
    console.width = max(console.width, _WIDTH)
    return console


def add_config_argument(parser: argparse.ArgumentParser) -> None:
    """Let a command take changes of the configuration, for ``training_config``."""
    parser.add_argument(
        "--config",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change a field of TrainingConfig, like trees=200; may be given several times",
    )


def training_config(changes: Sequence[str]) -> TrainingConfig:
    """Return the default configuration with such changes as "trees=200". Raises ValueError naming the field."""
    fields: dict[str, Any] = {}
    for change in changes:
        name, _, text = change.partition("=")
        try:
            fields[name] = json.loads(text)
        except ValueError:  # a text
            fields[name] = text
    try:
        return TrainingConfig.model_validate(fields)
    except ValidationError as error:
        raise ValueError(f"{what_is_wrong(error)}; write field=value with a field of TrainingConfig") from error
