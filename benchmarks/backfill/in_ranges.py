"""The platform as it is: `python -m benchmarks.backfill.in_ranges FIRST LAST` does what `movie-platform backfill` does.

With the command's own functions; only the definitions are others, which write down the work.
"""

import sys
from datetime import date
from pathlib import Path

import dagster as dg

from benchmarks.backfill.timed_platform import Place, timed_definitions
from movie_platform.assets import UPSTREAM
from movie_platform.automation import DAILY
from movie_platform.operations.backfill import backfill
from movie_platform.operations.planning import DAYS_IN_A_RUN
from movie_platform.settings import load_settings
from movie_platform.storage import open_storage


def daily() -> dg.JobDefinition:
    """The job, which a run makes once more by this function's name."""
    return timed_definitions().resolve_job_def(DAILY)


def main() -> int:
    """Make the days; 1 if some could not be made."""
    first, last = map(date.fromisoformat, sys.argv[1:])
    place = Place(Path(load_settings().storage).parent)
    with dg.DagsterInstance.from_config(str(place.home)) as instance:
        left = backfill(
            dg.build_reconstructable_job("benchmarks.backfill.in_ranges", daily.__name__),
            instance,
            open_storage(str(place.store)),
            lock=place.home / "backfill.lock",
            upstream=UPSTREAM,
            first=first,
            last=last,
            at_most=DAYS_IN_A_RUN,
            announce=print,
        )
    return 1 if any(left.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
