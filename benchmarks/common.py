"""What the benchmarks of predictions share: invented films, a bundle trained on them, and the time of a call."""

import gc
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.console import Console

from movie_platform.rating_model.bundle import Bundle
from movie_platform.rating_model.config import TrainingConfig
from movie_platform.rating_model.training import train
from movie_platform_tests.rating_model.examples import example_films

__all__ = ["TRAINING_FILMS", "bundle_of", "invented_films", "microseconds"]

_Result = TypeVar("_Result")
_WORDS_KNOWN = 8_000

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
