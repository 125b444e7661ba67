"""Which runs make what is missing: one policy for `make backfill` and for the automation.

In date order, in as few runs as possible, each of consecutive days that lack the same assets. What is missing, and
which of it is to be made now, is decided by whoever calls.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

MADE_BY: Final = "movie_platform/made_by"
"""The tag of a run that says who asked for it; runs from the UI have none."""

DAYS_IN_A_RUN: Final = 31
"""Enough for a month in one run; every asset has the same, since Dagster takes the smallest of a selection."""

BACKFILL: Final = "backfill"
AUTOMATION: Final = "automation"


@dataclass(frozen=True)
class PlannedRun:
    """A run to be made: consecutive days that lack the same assets."""

    first: date
    last: date
    assets: tuple[str, ...]

    def __str__(self) -> str:
        span = f"{self.first}" if self.first == self.last else f"{self.first} to {self.last}"
        return f"{span}: {', '.join(self.assets)}"


def with_what_follows(
    missing: Mapping[str, Collection[date]], upstream: Mapping[str, Collection[str]]
) -> dict[str, set[date]]:
    """The days to be made: the missing ones, and what was made of them, since they will be others when made anew.

    `upstream` names the assets that each asset reads, in an order in which they can be made.
    """
    to_make: dict[str, set[date]] = {}
    for asset, parents in upstream.items():
        to_make[asset] = set(missing[asset]).union(*(to_make[parent] for parent in parents if parent != asset))
    return to_make


def plan_runs(missing: Mapping[str, Collection[date]], *, at_most: int) -> list[PlannedRun]:
    """The fewest runs of at most `at_most` consecutive days, in date order, that make just what is missing."""
    runs: list[PlannedRun] = []
    for day in sorted(set().union(*missing.values())):
        assets = tuple(asset for asset, lacking in missing.items() if day in lacking)
        if runs and _continues(runs[-1], day, assets, at_most):
            runs[-1] = PlannedRun(runs[-1].first, day, assets)
        else:
            runs.append(PlannedRun(day, day, assets))
    return runs


def _continues(run: PlannedRun, day: date, assets: tuple[str, ...], at_most: int) -> bool:
    return run.assets == assets and run.last + timedelta(days=1) == day and (day - run.first).days < at_most
