"""How fast one film is predicted, and how soon after the start of a process, by a row and by a table of one row.

    python -m benchmarks.prediction [--bundle FILE] [--films 2000]

Without a bundle, one is trained on invented films with the default configuration; that takes about half a minute.
Every answer by a row is compared with the table's. A table is ``RatingModel.predict``, the way of the platform; a row
is ``RowPredictor.predict``, the way of the service. Needs Linux.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.common import bundle_of, invented_films, microseconds
from movie_platform.rating_model.bundle import Bundle
from movie_platform.rating_model.rows import RowPredictor
from movie_platform_tests.rating_model.examples import films_of

# Each is run in an interpreter of its own. The peak is read from /proc: what resource.getrusage calls the peak of a
# process includes that of the one that started it.
_START = """
import json, pathlib, sys, time
started = time.clock_gettime(time.CLOCK_MONOTONIC)
from movie_platform.rating_model.bundle import Bundle
from movie_platform.rating_model.fields import Film
bundle = Bundle.from_bytes(pathlib.Path(sys.argv[1]).read_bytes())
{predict}
ready = time.clock_gettime(time.CLOCK_MONOTONIC)
status = dict(line.split(":", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines())
print(json.dumps([ready - started, ready - float(sys.argv[2]), int(status["VmHWM"].split()[0]) / 1024, answer]))
"""
_BY_ROW = """
from movie_platform.rating_model.rows import RowPredictor
answer = RowPredictor(bundle.model).predict(Film(title="The War", vote_count=50))[:3]
"""
_BY_TABLE = """
import pandas as pd
table = pd.DataFrame([{"title": "The War", "vote_count": 50}])
answer = bundle.model.predict(table)[["prediction", "low", "high"]].iloc[0].tolist()
"""


def _microseconds(calls: list[Callable[[], Any]]) -> tuple[str, list[Any]]:
    """Return the median and the 99th percentile of the calls, and what they gave."""
    times, results = microseconds(calls)
    middle, high = np.percentile(times, [50, 99])
    return f"{middle:,.0f} / {high:,.0f}", results


def _in_process(bundle: Bundle, count: int) -> dict[str, Any]:
    model, rows = bundle.model, RowPredictor(bundle.model)
    figures: dict[str, Any] = {}
    for name, words in (("short overview (20 words)", 0), ("long overview (220 words)", 200)):
        table = invented_films(count, words=words, seed=2)
        films = films_of(table)
        by_row, answers = _microseconds([partial(rows.predict, film) for film in films])
        few = range(min(count, 300))
        by_table, expected = _microseconds([partial(model.predict, table.iloc[[place]]) for place in few])
        same = all(tuple(expected[place].iloc[0]) == answers[place] for place in few)
        of_all = model.predict(table).itertuples(index=False)
        same &= all(tuple(one) == answer for one, answer in zip(of_all, answers, strict=True))
        made, _ = _microseconds([partial(rows.explain, film) for film in films[:300]])
        checked, _ = _microseconds([partial(replace, film) for film in films])
        figures |= {
            f"{name}: by row, median / 99 % in µs": by_row,
            f"{name}: checking the film's fields, not in that": checked,
            f"{name}: by table of one row": by_table,
            f"{name}: explained": made,
            f"{name}: all answers are equal to the last bit": same,
        }
    return figures


def _beside_a_busy_thread(bundle: Bundle, count: int) -> str:
    """A thread that computes in Python holds the interpreter for 5 ms at a time; a prediction must not wait for it."""
    rows, films = RowPredictor(bundle.model), films_of(invented_films(count, words=0, seed=2))
    done = threading.Event()

    def compute() -> None:
        while not done.is_set():
            sum(range(1000))

    thread = threading.Thread(target=compute)
    thread.start()
    try:
        return _microseconds([partial(rows.predict, film) for film in films])[0]
    finally:
        done.set()
        thread.join()


def _start(file: Path, predict: str) -> tuple[str, list[float]]:
    """Return the middle of five starts (the first, which fills the disk cache, is left out), and the answer."""
    runs = []
    for _ in range(6):
        begun = str(time.clock_gettime(time.CLOCK_MONOTONIC))
        code = _START.replace("{predict}", predict)
        done = subprocess.run([sys.executable, "-c", code, str(file), begun], check=True, capture_output=True)  # noqa: S603
        runs.append(json.loads(done.stdout))
    imports, whole, memory = np.median([run[:3] for run in runs[1:]], axis=0)
    return f"{whole:.2f} s from the start of the process ({imports:.2f} s of it ours), {memory:.0f} MB", runs[0][3]


def main() -> None:
    """Measure, and print one line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="a bundle's file; otherwise one is trained")
    parser.add_argument("--films", type=int, default=2000, help="how many are predicted by row")
    arguments = parser.parse_args()
    console = Console()
    bundle = bundle_of(arguments.bundle, console)
    config, encoder = bundle.metadata.config, bundle.model.encoder
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "bundle.zip")
        file.write_bytes(bundle.to_bytes())
        by_row, answer = _start(file, _BY_ROW)
        by_table, expected = _start(file, _BY_TABLE)
        figures = {
            "model": f"{config.trees} trees, {len(encoder.feature_names)} features, {len(encoder.text.terms)} terms, "
            f"{file.stat().st_size / 2**20:.1f} MiB",
            "first prediction by row": by_row,
            "first prediction by table": by_table,
            "first predictions are equal to the last bit": answer == expected,
            **_in_process(bundle, arguments.films),
            "beside a thread that computes, short overview: by row": _beside_a_busy_thread(bundle, arguments.films),
        }
    for name, value in figures.items():
        console.print(f"{name}: {value}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
