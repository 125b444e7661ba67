"""Which days are due, running, waiting or given up, from the records of real runs."""

import time as clock
from datetime import UTC, date, datetime, time, timedelta
from multiprocessing import get_context
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

import dagster as dg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from movie_platform.dagster_internals import run_tags
from movie_platform.operations.survey import (
    DayState,
    DayStatus,
    Survey,
    due_at,
    first_responsible,
    newest_due,
    survey,
)
from movie_platform.partitions import cycle_start, cycle_step, end_of
from movie_platform.settings import Settings
from movie_platform.storage import open_storage
from movie_platform_tests.tiny_graph import tiny_graph, write_plan

UPSTREAM = {"numbers": [], "doubled": ["numbers"], "summed": ["doubled"]}
NOW = datetime.now(UTC)
"""The records of runs have the real time, and so has the clock of these tests."""
NEWEST = NOW.date() - timedelta(days=1)
ZONES = st.sampled_from(sorted(available_timezones()))
TIMES = st.builds(time, st.integers(0, 23), st.integers(0, 59))
DAYS = st.dates(date(2000, 1, 1), date(2037, 12, 31))


def ago(n: int) -> date:
    return NEWEST - timedelta(days=n)


def minutes(n: float) -> timedelta:
    return timedelta(minutes=n)


def at(hour: str, zone: str = "UTC") -> Settings:
    return Settings(MOVIE_PLATFORM_DAILY_AT=hour, MOVIE_PLATFORM_TIME_ZONE=zone)


@given(DAYS, TIMES, ZONES)
@example(date(2026, 3, 28), time(2, 30), "Europe/Berlin")
@example(date(2026, 10, 24), time(2, 30), "Europe/Berlin")
@example(date(2011, 12, 29), time(3, 0), "Pacific/Apia")
def test_a_day_is_due_soon_after_its_end_at_the_hour_that_was_set(day, hour, zone):
    settings = at(hour.strftime("%H:%M"), zone)
    due = due_at(day, settings)

    assert end_of(day) <= due <= end_of(day) + timedelta(hours=27)
    local = due.astimezone(ZoneInfo(zone))
    if local.time() != hour:
        skipped = datetime.combine(local.date(), hour, ZoneInfo(zone))
        assert skipped.astimezone(UTC).astimezone(ZoneInfo(zone)).time() != hour, "only where the clocks skip the hour"
    assert due < due_at(day + timedelta(days=1), settings)


@pytest.mark.parametrize(
    ("day", "hour", "zone", "due"),
    [
        ("2026-01-05", "03:00", "UTC", "2026-01-06 03:00"),
        ("2026-01-05", "00:00", "UTC", "2026-01-06 00:00"),
        ("2026-01-05", "03:00", "Europe/Berlin", "2026-01-06 02:00"),
        ("2026-01-05", "00:30", "Europe/Berlin", "2026-01-06 23:30"),  # at 00:30 on the 6th, the day is not over
        ("2026-01-05", "23:00", "America/New_York", "2026-01-06 04:00"),
        ("2026-03-28", "02:30", "Europe/Berlin", "2026-03-29 01:30"),  # skipped by the clocks: half past three
        ("2026-10-24", "02:30", "Europe/Berlin", "2026-10-25 00:30"),  # the first of two
    ],
)
def test_when_a_day_is_due(day, hour, zone, due):
    assert due_at(date.fromisoformat(day), at(hour, zone)) == datetime.fromisoformat(due).replace(tzinfo=UTC)


@given(DAYS, TIMES, TIMES, ZONES)
def test_the_newest_day_is_due_and_the_next_is_not(day, now, hour, zone):
    settings, now = at(hour.strftime("%H:%M"), zone), datetime.combine(day, now, UTC)
    newest = newest_due(now, settings)
    assert due_at(newest, settings) <= now < due_at(newest + timedelta(days=1), settings)


@given(DAYS, st.integers(0, 400), st.integers(1, 170), st.none() | st.integers(-30, 400))
def test_what_the_automation_is_responsible_for(first_partition, age, catch_up_days, begun):
    newest = first_partition + timedelta(days=age)
    first_begun = None if begun is None else newest - timedelta(days=begun)
    first = first_responsible(newest, first_begun, first_partition=first_partition, catch_up_days=catch_up_days)

    assert first_partition <= first
    assert (newest - first).days < catch_up_days
    if first_begun is not None:
        assert first >= first_begun
    elif catch_up_days >= 26 and age >= 26:
        assert cycle_step(first) == 0
        assert 13 <= (newest - first).days <= 25, "a whole cycle in one run, within the look-back"


class Platform:
    """The tiny graph, and what its survey says."""

    def __init__(self, instance: dg.DagsterInstance, folder: Path) -> None:
        self.instance, self.folder = instance, folder
        folder.mkdir(exist_ok=True)

    def run(self, first: int, last: int, *, by: str = "automation", assets: list[str] | None = None) -> None:
        """Make the days from `first` to `last` days ago."""
        dg.execute_job(
            dg.build_reconstructable_job(
                "movie_platform_tests.tiny_graph", "tiny_graph", reconstructable_args=(str(self.folder),)
            ),
            instance=self.instance,
            tags=run_tags(ago(first), ago(last)) | {"movie_platform/made_by": by},
            asset_selection=[dg.AssetKey(asset) for asset in assets] if assets else None,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )

    def plan(self, **behaviour: list[int]) -> None:
        """Days that misbehave from now on."""
        write_plan(self.folder, **{how: [ago(n).isoformat() for n in numbers] for how, numbers in behaviour.items()})

    def survey(self, *, later: timedelta = timedelta(), catch_up_days: int = 62) -> Survey:
        """The survey, as it would be after a while."""
        return survey(
            self.instance,
            open_storage(str(self.folder)),
            Settings(MOVIE_PLATFORM_DAILY_AT="00:00", MOVIE_PLATFORM_CATCH_UP_DAYS=catch_up_days),
            upstream=UPSTREAM,
            now=datetime.now(UTC) + later,
        )

    def state(self, n: int, *, later: timedelta = timedelta()) -> DayState:
        """A day's state."""
        (found,) = [state for state in self.survey(later=later).days if state.day == ago(n)]
        return found

    def pause(self, n: int) -> timedelta | None:
        """How long after the newest run the day is tried again."""
        state = self.state(n)
        if state.retry_at is None:
            return None
        (newest,) = self.instance.get_run_records(limit=1)
        assert newest.end_time is not None
        return state.retry_at - datetime.fromtimestamp(newest.end_time, UTC)

    def kill(self, first: int, last: int, *, at_day: int) -> None:
        """Make days in another process, which is killed at one of them and then found out."""
        self.plan(hang=[at_day])
        self.folder.with_name("hanging").unlink(missing_ok=True)
        made = get_context("spawn").Process(
            target=run_elsewhere, args=(self.instance.root_directory, self.folder, first, last)
        )
        made.start()
        while not self.folder.with_name("hanging").exists():
            clock.sleep(0.05)
        made.kill()
        made.join()
        (run,) = self.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
        self.instance.report_run_failed(run, "The process of this run is gone.")


def run_elsewhere(home: str, folder: Path, first: int, last: int) -> None:
    with dg.DagsterInstance.from_config(home) as instance:
        Platform(instance, folder).run(first, last)


@pytest.fixture
def platform(instance: dg.DagsterInstance, tmp_path: Path) -> Platform:
    return Platform(instance, tmp_path / "data")


def by_status(found: Survey) -> dict[str, list[int]]:
    """How many days ago, by status; without days that have become due since."""
    result: dict[str, list[int]] = {}
    for state in found.days:
        if state.day > NEWEST:
            continue
        result.setdefault(state.status, []).append((NEWEST - state.day).days)
    return result


def test_a_new_instance_begins_with_a_whole_cycle(platform):
    found = platform.survey()
    assert {state.status for state in found.days} == {DayStatus.DUE}
    assert found.days[0].day == cycle_start(found.newest - timedelta(days=25))
    assert found.older_gaps == ()


def test_after_an_outage_the_days_from_the_last_complete_one_are_due(platform):
    platform.run(9, 6)
    assert by_status(platform.survey()) == {"complete": [9, 8, 7, 6], "due": [5, 4, 3, 2, 1, 0]}


def test_gaps_before_the_window_are_left_to_a_person(platform):
    platform.run(9, 8)
    platform.run(6, 4)
    found = platform.survey(catch_up_days=3)
    assert by_status(found) == {"due": [2, 1, 0]}
    assert found.older_gaps == (ago(7), ago(3))


def test_a_day_that_lacks_an_asset_names_it(platform):
    platform.run(3, 0)
    platform.folder.joinpath("doubled", f"{ago(2)}.json").unlink()
    later = platform.state(2, later=minutes(20))
    assert (later.status, later.missing) == (DayStatus.DUE, ("doubled",))
    assert platform.state(1).status is DayStatus.COMPLETE


def test_a_day_whose_file_vanishes_again_and_again_is_left_to_a_person(platform):
    for _ in range(6):
        platform.run(1, 1, assets=["numbers"])
        platform.folder.joinpath("numbers", f"{ago(1)}.json").unlink()
    state = platform.state(1)
    assert (state.status, state.reason) == (DayStatus.GIVEN_UP, "a run made numbers, but it is not there")

    platform.run(1, 1, by="backfill")
    assert platform.state(1).status is DayStatus.COMPLETE


def test_a_day_that_fails_is_tried_again_with_growing_pauses_and_then_left_to_a_person(platform):
    platform.plan(refuse=[2])
    platform.run(3, 0)
    assert by_status(platform.survey()) == {"complete": [3, 1, 0], "waiting": [2]}
    assert (
        platform.state(2).reason == "refused by its checks: 1 was looked at." or "refused" in platform.state(2).reason
    )
    assert platform.state(2, later=minutes(14.9)).status is DayStatus.WAITING
    assert platform.state(2, later=minutes(15.1)).status is DayStatus.DUE

    pauses = [platform.pause(2)]
    for _ in range(5):
        platform.run(2, 2)
        pauses.append(platform.pause(2))
    assert pauses == [minutes(15), minutes(30), minutes(60), minutes(120), minutes(240), None]
    state = platform.state(2, later=timedelta(days=20))
    assert (state.status, state.failures) == (DayStatus.GIVEN_UP, 6)

    platform.plan()
    platform.run(2, 2, by="a person")
    assert platform.state(2).status is DayStatus.COMPLETE


def test_a_day_whose_cause_a_person_has_mended_is_made(platform):
    """The asset that failed is there now; what follows from it is not yet."""
    platform.plan(refuse=[1])
    for _ in range(6):
        platform.run(1, 1)
    assert platform.state(1).status is DayStatus.GIVEN_UP

    platform.plan()
    platform.run(1, 1, by="a person", assets=["numbers"])
    state = platform.state(1)
    assert (state.status, state.missing, state.failures) == (DayStatus.DUE, ("doubled", "summed"), 0)


def test_a_day_that_an_exception_meets_does_not_hold_those_after_it_for_long(platform):
    platform.plan(crash=[2])
    platform.run(3, 0)
    states = platform.survey().days
    assert [state.status for state in states] == ["complete", "waiting", "waiting", "waiting"]
    assert states[1].reason == "RuntimeError: the network is gone"
    assert states[2].reason == f"numbers stopped at {ago(2)}: RuntimeError: the network is gone"

    platform.run(1, 0)
    assert by_status(platform.survey()) == {"complete": [3, 1, 0], "waiting": [2]}


def test_a_dead_api_holds_all_days_back_and_none_is_given_up(platform):
    platform.plan(outage=[1])
    pauses = []
    for _ in range(8):
        platform.run(1, 0)
        pauses.append((platform.pause(1), platform.pause(0)))
    assert pauses == [(pause, pause) for pause in map(minutes, (15, 30, 60, 120, 240, 360, 360, 360))]
    assert by_status(platform.survey(later=minutes(361)))["due"] == [1, 0]


def test_what_was_not_begun_because_the_storage_failed_is_not_the_days_fault(platform):
    """Day 2 was made, but what follows from it was not even begun."""
    (platform.folder / f"numbers/{ago(1)}.json").mkdir(parents=True)
    for _ in range(6):
        platform.run(2, 0)
    state = platform.state(2)
    assert state.missing == ("doubled", "summed")
    assert state.status is DayStatus.WAITING
    assert state.reason.startswith(f"numbers stopped at {ago(1)}: StorageError: ")


def test_a_killed_run_is_repeated_at_once_and_a_day_that_kills_runs_is_set_apart(platform):
    platform.kill(3, 0, at_day=2)
    assert [platform.pause(n) for n in (2, 1, 0)] == [minutes(0)] * 3
    assert platform.state(2).reason == "The process of this run is gone."
    assert platform.state(3).missing == ("doubled", "summed")

    platform.kill(3, 0, at_day=2)
    assert [platform.pause(n) for n in (2, 1, 0)] == [minutes(30), minutes(15), minutes(15)]


def test_a_day_in_a_run_in_progress_is_running(platform):
    for status in (dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING):
        platform.run(3, 3)
        made = platform.instance.create_run_for_job(
            tiny_graph(str(platform.folder)), status=status, tags=run_tags(ago(2), ago(1))
        )
        assert by_status(platform.survey()) == {"complete": [3], "running": [2, 1], "due": [0]}
        platform.instance.delete_run(made.run_id)


def test_only_a_run_that_was_to_make_what_is_missing_counts(platform):
    platform.run(1, 1, assets=["numbers"])
    platform.plan(refuse=[1])
    platform.run(1, 1, assets=["numbers"])
    platform.plan()
    platform.run(1, 1, assets=["numbers"], by="a person")
    state = platform.state(1)
    assert (state.status, state.missing, state.failures) == (DayStatus.DUE, ("doubled", "summed"), 0)


def test_a_day_that_the_automation_has_asked_for_stays_its_own(platform):
    """Though nothing of it was ever made."""
    platform.plan(refuse=[3])
    platform.run(3, 2)
    platform.run(1, 1)
    assert by_status(platform.survey(later=minutes(16))) == {"due": [3, 0], "complete": [2, 1]}
