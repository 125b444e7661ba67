"""Which run the automation asks for next, and what it says when it asks for none."""

from collections.abc import Collection, Mapping, Sequence

import dagster as dg

from movie_platform.dagster_internals import UNFINISHED
from movie_platform.operations.planning import AUTOMATION, MADE_BY, PlannedRun, plan_runs, with_what_follows
from movie_platform.operations.survey import DayState, DayStatus, Survey, local_time
from movie_platform.partitions import ranges

_SHOWN = 5


def next_run(found: Survey, upstream: Mapping[str, Collection[str]], *, at_most: int) -> PlannedRun | None:
    """The first run of at most `at_most` days that are due, consecutive and lack the same assets."""
    due = found.with_status(DayStatus.DUE)
    missing = {asset: {state.day for state in due if asset in state.missing} for asset in upstream}
    return next(iter(plan_runs(with_what_follows(missing, upstream), at_most=at_most)), None)


def run_in_progress(instance: dg.DagsterInstance) -> str | None:
    """The id of a run that the automation has asked for and that has not ended.

    One at a time: later days are made of earlier ones.
    """
    runs = instance.get_runs(dg.RunsFilter(tags={MADE_BY: AUTOMATION}, statuses=UNFINISHED), limit=1)
    return runs[0].run_id if runs else None


def last_run(instance: dg.DagsterInstance) -> str | None:
    """The id of the newest run that the automation has asked for."""
    runs = instance.get_runs(dg.RunsFilter(tags={MADE_BY: AUTOMATION}), limit=1)
    return runs[0].run_id if runs else None


def in_words(found: Survey, *, time_zone: str) -> str:
    """Why there is nothing to ask for."""
    said = []
    if running := found.with_status(DayStatus.RUNNING):
        said.append(f"{ranges([state.day for state in running])}: being made by another run")
    said += [_waiting(state, time_zone) for state in _first(found.with_status(DayStatus.WAITING))]
    said += [
        f"{state.day}: given up after {state.failures} failures ({state.reason}); make it by hand when it is mended"
        for state in _first(found.with_status(DayStatus.GIVEN_UP))
    ]
    others = max(len(found.with_status(status)) - _SHOWN for status in (DayStatus.WAITING, DayStatus.GIVEN_UP))
    if others > 0:
        said.append("and more days like these")
    if not found.days:
        said.append(f"no day is due yet; the newest would be {found.newest}")
    elif not said:
        said.append(f"nothing is missing from {found.days[0].day} to {found.newest}")
    if found.older_gaps:
        said.append(f"too old to be filled by itself: {ranges(found.older_gaps)}")
    text = "; ".join(said)
    return text[0].upper() + text[1:] + "."


def _waiting(state: DayState, time_zone: str) -> str:
    assert state.retry_at is not None
    return f"{state.day}: waits until {local_time(state.retry_at, time_zone)} ({state.reason})"


def _first(states: Sequence[DayState]) -> Sequence[DayState]:
    return states[:_SHOWN]
