"""A process that serves a good bundle and is offered bad ones: `python -m movie_platform_tests.serving.damaged_worker`.

It reads, again and again, a length of 8 bytes and so many bytes from standard input, releases them as a newer bundle
with their SHA-256, polls, predicts, and answers with a line of JSON. LightGBM is C++, so it may take the process along;
the tests see that, and go on with another one. It imports as little as the service does, so as to begin quickly.
"""

import json
import math
import struct
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

from movie_platform.rating_model.fields import Film
from movie_platform.releases import POINTER, champion_of
from movie_platform.storage import DiskStorage
from serving.bundles import BundleKeeper
from serving.telemetry import Telemetry

FILMS = (
    Film(title="Example Movie", release_year=2024, popularity=123.4, vote_count=560),
    Film(title="The River", overview="love war zombie " * 50, release_date=date(1985, 3, 1), genres=["Drama"]),
    Film(title="?", vote_count=10, popularity=1e300, genres=["Action", "Comedy"], original_language="fr"),
    Film(title="x", release_year=2200, vote_count=1e300),
)


def main() -> None:
    """Answer until standard input ends."""
    with tempfile.TemporaryDirectory() as folder:
        good = Path(sys.argv[1]).read_bytes()
        while header := sys.stdin.buffer.read(8):
            data = sys.stdin.buffer.read(*struct.unpack("<Q", header))
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
            answer = _offer(Path(folder), good, data)
            sys.stdout.write(json.dumps(answer | {"memory": _peak_memory()}) + "\n")
            sys.stdout.flush()


def _offer(folder: Path, good: bytes, data: bytes) -> dict[str, Any]:
    storage = DiskStorage(folder / "storage")
    keeper = BundleKeeper(storage, own=DiskStorage(folder / "own"), pinned=None, telemetry=Telemetry())
    for content in (good, data):
        champion = champion_of(content, partition=date(2026, 1, 5), code_version="abc", synthetic=True)
        storage.put(champion.path, content)
        storage.put(POINTER, champion.model_dump_json().encode())
        keeper.poll()
    served = keeper.current
    assert served is not None
    for film in FILMS:
        found = served.predictor.predict(film)
        # Written so that NaN fails.
        assert 0 <= found.low <= found.prediction <= found.high <= 10, found
        served.predictor.unseen(film)
        try:
            explained = served.predictor.explain(film)
        except ValueError:
            continue  # a forged model may predict and not be explained, which is one request's failure
        assert math.isclose(math.fsum(part.points for part in explained.parts), found.prediction, abs_tol=1e-9)
    storage.delete(champion.path)
    return {"accepted": served.champion == champion and data != good, "problem": keeper.problem}


def _peak_memory() -> float:
    """MiB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main()
