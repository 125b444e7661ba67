"""Makes the golden bundle of the present format version.

``python -m movie_platform_tests.rating_model.golden FILE`` writes it. It was run once for each format version; a
change of the format makes a new file beside the old ones, which must go on loading and predicting the same. Never
write over one of them.
"""

import sys
from datetime import date
from pathlib import Path
from typing import Final

from movie_platform.rating_model.bundle import Bundle
from movie_platform.rating_model.training import train
from movie_platform_tests.rating_model.examples import SMALL, films_in_series

__all__ = ["GOLDEN", "make_golden"]

GOLDEN: Final = {version: Path(__file__).parent / f"golden_bundle_{version}.zip" for version in (1, 2)}
"""The golden bundle of each format version."""


def make_golden(*, threads: int = 1) -> bytes:
    """Return a bundle trained on 300 invented films in series, small enough to live beside the tests."""
    config = SMALL.model_copy(update={"trees": 7, "averaged_models": 2, "leaves": 7})
    model = train(films_in_series(300), config, threads=threads)
    return Bundle.make(
        model,
        partition=date(2026, 1, 5),
        code_version="golden",
        days_used=[date(2026, 1, 3), date(2026, 1, 5)],
        days_missing=[date(2026, 1, 4)],
    ).to_bytes()


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(make_golden())
