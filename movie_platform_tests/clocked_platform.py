"""A code location for `dagster dev`: the platform, or some assets of it, with a clock that a test sets.

What a test wants is in `platform.json` of the current folder. A run rebuilds the location, and so does every daemon, so
the clock is read from a file each time: it runs as the real one does, some days behind. The records of runs have
the real time, so what follows a failure is only right where the clock is not behind.
"""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from movie_platform.assets import ASSETS, UPSTREAM
from movie_platform.automation.catch_up import catch_up
from movie_platform.definitions import build_definitions
from movie_platform.launchpad import overridable
from movie_platform.settings import Settings
from movie_platform.storage import open_storage
from movie_platform_tests.platform import QUICK

WISHES = Path("platform.json")


def clock() -> datetime:
    """The real time, but for the days that the test has turned it back."""
    return datetime.now(UTC) - timedelta(days=json.loads(WISHES.read_text())["days_behind"])


def _definitions() -> dg.Definitions:
    wishes = json.loads(WISHES.read_text())
    settings = Settings(**wishes["settings"])
    whole = build_definitions(settings=settings, resources={"training_config": overridable(QUICK)}, clock=clock)
    chosen: list[str] = wishes["assets"]
    upstream = {asset: parents for asset, parents in UPSTREAM.items() if asset in chosen}
    return dg.Definitions(
        assets=[asset for asset in ASSETS if asset.key.path[-1] in chosen],
        jobs=whole.jobs,
        sensors=[catch_up(settings, open_storage(settings.storage), upstream=upstream, clock=clock, seconds=5)],
        resources=whole.resources,
        executor=whole.executor,
        loggers=whole.loggers,
    )


defs = _definitions()
