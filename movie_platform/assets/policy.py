"""What all assets have in common: the days, the size of a run, owners, how an asset is declared.

Nothing about a single asset belongs here.
"""

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import dagster as dg

from movie_platform.code_version import code_version
from movie_platform.daily import DayCheck, check_specs
from movie_platform.operations.planning import DAYS_IN_A_RUN
from movie_platform.settings import load_settings

FIRST_PARTITION = load_settings().first_partition

DAYS = dg.DailyPartitionsDefinition(start_date=FIRST_PARTITION.isoformat(), timezone="UTC")
"""From the first partition to yesterday: a day's partition exists when the day is over."""

TMDB = "tmdb"
"""The pool of whatever asks TMDB, with one place: two runs at a time would exceed the rate together."""

RELEASES = "releases"
"""The pool of whatever moves `champion.json`, with one place: a decision rests on those of earlier days."""

POOLS = {TMDB: 1, RELEASES: 1}
"""Places by pool."""


def daily_asset(
    *,
    group: str,
    kinds: set[str],
    io_manager: str,
    code: Iterable[str],
    checks: Iterable[DayCheck],
    **more: Any,
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Declare a function as a daily-partitioned asset of the platform, named like the function.

    `code` lists the parts of the package that decide what comes out: Dagster marks the asset as outdated when they
    change. The function's docstring is what the UI shows.
    """

    def declare(function: Callable[..., Any]) -> dg.AssetsDefinition:
        with warnings.catch_warnings():
            # Backfill policies are marked as beta; without this, every command prints a warning for each asset.
            warnings.simplefilter("ignore", dg.BetaWarning)
            declared: dg.AssetsDefinition = dg.asset(
                name=function.__name__,
                group_name=group,
                kinds=kinds,
                owners=["team:film-data"],
                io_manager_key=io_manager,
                partitions_def=DAYS,
                backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=DAYS_IN_A_RUN),
                code_version=code_version(*code),
                check_specs=check_specs(function.__name__, checks, DAYS),
                **more,
            )(function)
        return declared

    return declare
