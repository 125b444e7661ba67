"""Load on the service while bundles are released under it: every answer is compared with what its bundle predicts.

What belongs here: making bundles that differ, asking, releasing, and what was seen. What does not: what is good enough
(`test_swaps`, `benchmarks.swaps`).
"""

import asyncio
import hashlib
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from movie_platform.rating_model.bundle import Bundle
from movie_platform.rating_model.model import RatingModel
from movie_platform.rating_model.rows import RowPredictor
from movie_platform.storage import DiskStorage, Storage
from movie_platform_tests.rating_model.examples import example_films
from movie_platform_tests.serving.service import FILM, Process, film_of, release_bundle, service_process

FIRST_DAY = date(2026, 1, 5)
_FILMS = 100
_IN_A_BATCH = 50
_ENDED = "\r\n\r\n"

Numbers = tuple[float, float, float, str]


@dataclass
class Seen:
    """What came of it."""

    seconds: float = 0.0
    released: int = 0
    damaged: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    """Requests by the SHA-256 of the bundle that the answer names."""

    failures: list[str] = field(default_factory=list)
    """A sentence for each request that failed, or whose answer was not what its bundle predicts."""

    milliseconds: list[float] = field(default_factory=list)
    """Of each single prediction."""

    memory: list[float] = field(default_factory=list)
    """MiB of the process when the next bundle is about to be released."""

    refused: int = 0
    """Bundles that the service says it refused."""

    def percentile(self, share: float) -> float:
        """Return within how many milliseconds that share of the single predictions was answered."""
        return sorted(self.milliseconds)[round(share * (len(self.milliseconds) - 1))]


def variants(bundle: Bundle, count: int) -> list[Bundle]:
    """Return bundles of as many days that predict differently: each has a tree less than the one before."""
    model = bundle.model
    made = []
    for number in range(count):
        day = FIRST_DAY + timedelta(days=number)
        fewer = replace(model, model_text=_without_last_trees(model, number))
        made.append(Bundle.make(fewer, partition=day, code_version="abc", days_used=[day]))
    return made


def _without_last_trees(model: RatingModel, count: int) -> str:
    head, _, trees = model.model_text.partition("\n\n")
    before, _, sizes_and_more = head.partition("tree_sizes=")
    sizes, _, more = sizes_and_more.partition("\n")
    kept = [int(size) for size in sizes.split(" ")]
    kept = kept[: len(kept) - count]
    header = f"{before}tree_sizes={' '.join(map(str, kept))}" + (f"\n{more}" if more else "")
    return f"{header}\n\n{trees[: sum(kept)]}end of trees\n"


def damaged(bundle: Bundle, number: int) -> tuple[bytes, bool]:
    """Return bytes that must be refused, and whether they are to have the released SHA-256."""
    data = bundle.to_bytes()
    return [(data[: len(data) // 2], True), (data, False), (data.replace(b'"prediction":', b'"prediktion":', 1), True)][
        number % 3
    ]


def swap_under_load(
    folder: Path,
    bundles: Sequence[Bundle],
    *,
    bad: int,
    seconds: float,
    connections: int,
    poll_seconds: float,
) -> Seen:
    """Serve the first bundle, and while so many connections ask, release the others, and `bad` damaged ones between."""
    storage = DiskStorage(folder / "storage")
    bodies = _bodies()
    expected = dict(_expected(bundle, bodies) for bundle in bundles)
    release_bundle(storage, bundles[0])
    seen = Seen(seconds=seconds, released=1)
    with service_process(
        folder, MOVIE_PLATFORM_STORAGE=str(folder / "storage"), SERVING_POLL_SECONDS=str(poll_seconds)
    ) as service:
        asyncio.run(
            _all(
                service,
                storage,
                bundles=bundles,
                bad=bad,
                seconds=seconds,
                connections=connections,
                bodies=bodies,
                expected=expected,
                seen=seen,
            )
        )
        # One more look than the last release needs.
        time.sleep(2 * poll_seconds)
        seen.refused = sum(
            "is refused" in line["message"] for line in service.log_lines() if line["logger"] == "serving.bundles"
        )
        seen.failures += [
            f"logged: {line['message']}" for line in service.log_lines() if line["level"] not in {"INFO", "WARNING"}
        ]
    return seen


async def _all(
    service: Process,
    storage: Storage,
    *,
    bundles: Sequence[Bundle],
    bad: int,
    seconds: float,
    connections: int,
    bodies: Sequence[Mapping[str, Any]],
    expected: Mapping[str, Sequence[Numbers]],
    seen: Seen,
) -> None:
    until = time.monotonic() + seconds
    askers = [
        asyncio.create_task(_ask(service, bodies=bodies, expected=expected, seen=seen, until=until, number=number))
        for number in range(connections)
    ]
    events = _events(bundles, bad)
    pause = seconds / (len(events) + 1)
    for data, day, holds in events:
        await asyncio.sleep(pause)
        seen.memory.append(service.memory)
        await asyncio.to_thread(_release, storage, data, day, holds)
        if isinstance(data, Bundle):
            seen.released += 1
        else:
            seen.damaged += 1
    await asyncio.gather(*askers)
    seen.memory.append(service.memory)


def _events(bundles: Sequence[Bundle], bad: int) -> list[tuple[Bundle | bytes, date, bool]]:
    """What is released, in order: a damaged bundle claims the day of the good one that comes after it."""
    events: list[tuple[Bundle | bytes, date, bool]] = []
    after = {round((number + 1) * len(bundles) / (bad + 1)): number for number in range(bad)}
    for place, bundle in enumerate(bundles[1:], start=1):
        if place in after:
            data, holds = damaged(bundle, after[place])
            events.append((data, bundle.metadata.partition, holds))
        events.append((bundle, bundle.metadata.partition, True))
    return events


def _release(storage: Storage, data: Bundle | bytes, day: date, holds: bool) -> None:
    if holds:
        release_bundle(storage, data, day=day)
    elif isinstance(data, bytes):  # other bytes than were released
        champion = release_bundle(storage, data + b"\0", day=day)
        storage.put(champion.path, data)


async def _ask(
    service: Process,
    *,
    bodies: Sequence[Mapping[str, Any]],
    expected: Mapping[str, Sequence[Numbers]],
    seen: Seen,
    until: float,
    number: int,
) -> None:
    """Ask on one connection, one request after the other; the first connection asks for batches."""
    parts = urlsplit(service.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    batches = number == 0
    requests = (
        [_request("/predict/batch", {"films": bodies[:_IN_A_BATCH]})]
        if batches
        else [_request("/predict", body) for body in bodies]
    )
    place = number * 7
    try:
        while time.monotonic() < until:
            place = (place + 1) % len(requests)
            began = time.perf_counter()
            writer.write(requests[place])
            head = (await reader.readuntil(_ENDED.encode())).decode("latin-1")
            lines = head.removesuffix(_ENDED).split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
            answer = json.loads(await reader.readexactly(int(headers["content-length"])))
            if not batches:
                seen.milliseconds.append(1000 * (time.perf_counter() - began))
            failure = _failure(lines[0], headers, answer, expected, range(_IN_A_BATCH) if batches else [place])
            if failure is None:
                seen.answers[answer["model"]["sha256"]] += 1
            else:
                seen.failures.append(failure)
    except (OSError, EOFError, ValueError, KeyError) as error:
        seen.failures.append(f"connection {number}: {type(error).__name__}: {error}")
    finally:
        writer.close()


def _failure(
    status: str,
    headers: Mapping[str, str],
    answer: Mapping[str, Any],
    expected: Mapping[str, Sequence[Numbers]],
    places: Sequence[int],
) -> str | None:
    if status != "HTTP/1.1 200 OK":
        return f"{status}: {answer.get('detail')}"
    model = answer["model"]
    if headers.get("x-model-partition") != model["partition"]:
        return f"X-Model-Partition is {headers.get('x-model-partition')}, and {model['partition']} answered"
    if model["sha256"] not in expected:
        return f"a bundle answered that must not: {model['sha256']}"
    for place, found in zip(places, answer.get("predictions", [answer]), strict=True):
        numbers = (found["prediction"], found["interval"]["low"], found["interval"]["high"], found["situation"])
        if numbers != expected[model["sha256"]][place]:
            return f"{numbers} where {model['partition']} predicts {expected[model['sha256']][place]}"
    return None


def _request(path: str, body: Mapping[str, Any]) -> bytes:
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(content)}"
    )
    return f"{head}{_ENDED}".encode() + content


def _bodies() -> list[dict[str, Any]]:
    rows: Any = example_films(_FILMS - 1, seed=7).itertuples()
    films = [
        {
            "title": row.title,
            "overview": row.overview,
            "release_date": str(row.release_date.date()),
            "genres": row.genres,
            "original_language": row.original_language,
            "popularity": row.popularity,
            "vote_count": row.vote_count if number % 2 else 0,
        }
        for number, row in enumerate(rows)
    ]
    return [FILM, *films]


def _expected(bundle: Bundle, bodies: Sequence[Mapping[str, Any]]) -> tuple[str, list[Numbers]]:
    predictor = RowPredictor(bundle.model)
    found = [predictor.predict(film_of(body)) for body in bodies]
    digest = hashlib.sha256(bundle.to_bytes()).hexdigest()
    return digest, [(row.prediction, row.low, row.high, row.situation) for row in found]
