"""Which runs a backfill makes, and that what is finished is left alone."""

import time
from datetime import date, timedelta
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from movie_platform.dagster_internals import range_tags, run_tags
from movie_platform.operations import backfill as module
from movie_platform.operations.backfill import BackfillRunningError, backfill, missing_days
from movie_platform.operations.planning import PlannedRun, plan_runs, with_what_follows
from movie_platform.partitions import days
from movie_platform.storage import open_storage
from movie_platform_tests.tiny_graph import tiny_graph, write_plan

FIRST = date(2026, 1, 1)
UPSTREAM = {"numbers": [], "doubled": ["numbers"], "summed": ["doubled"]}
ASSETS = tuple(UPSTREAM)


def day(n: int) -> date:
    return FIRST + timedelta(days=n - 1)


def test_days_that_lack_the_same_are_one_run():
    assert plan_runs({"a": set(days(day(1), day(6))), "b": set(days(day(1), day(6)))}, at_most=31) == [
        PlannedRun(day(1), day(6), ("a", "b"))
    ]


def test_what_is_left_after_a_crash_is_two_runs_in_date_order():
    """`a` was finished, `b` up to day 3, `c` not begun."""
    missing = {"a": set(), "b": set(days(day(4), day(6))), "c": set(days(day(1), day(6)))}
    assert plan_runs(missing, at_most=31) == [
        PlannedRun(day(1), day(3), ("c",)),
        PlannedRun(day(4), day(6), ("b", "c")),
    ]


def test_a_long_range_is_cut():
    runs = plan_runs({"a": set(days(day(1), day(70)))}, at_most=31)
    assert [(run.first, run.last) for run in runs] == [
        (day(1), day(31)),
        (day(32), day(62)),
        (day(63), day(70)),
    ]


@given(
    st.dictionaries(st.sampled_from(ASSETS), st.sets(st.integers(1, 60).map(day)), min_size=1),
    st.integers(1, 31),
)
def test_the_runs_make_exactly_what_is_missing_in_date_order(missing, at_most):
    runs = plan_runs(missing, at_most=at_most)

    made = [(asset, made_day) for run in runs for made_day in days(run.first, run.last) for asset in run.assets]
    assert len(made) == len(set(made))
    assert set(made) == {(asset, lacking) for asset, all_lacking in missing.items() for lacking in all_lacking}
    assert all(earlier.last < later.first for earlier, later in pairwise(runs))
    assert all(len(days(run.first, run.last)) <= at_most for run in runs)


def fill(instance: dg.DagsterInstance, folder: Path, first: int, last: int) -> tuple[dict[str, set[date]], list[str]]:
    folder.mkdir(exist_ok=True)
    said: list[str] = []
    left = backfill(
        dg.build_reconstructable_job(
            "movie_platform_tests.tiny_graph", "tiny_graph", reconstructable_args=(str(folder),)
        ),
        instance,
        open_storage(str(folder)),
        lock=folder.parent / "backfill.lock",
        upstream=UPSTREAM,
        first=day(first),
        last=day(last),
        at_most=31,
        announce=said.append,
    )
    return left, said


def fill_until_killed(home: Path, folder: Path) -> None:
    """Fill six days in a process of its own; the test ends it."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        fill(instance, folder, 1, 6)


def test_a_backfill_is_one_run_and_a_second_one_has_nothing_to_do(instance, tmp_path):
    left, said = fill(instance, tmp_path / "data", 1, 6)
    assert left == {asset: set() for asset in ASSETS}
    assert len(said) == 1

    assert fill(instance, tmp_path / "data", 1, 6)[1] == ["Nothing is missing from 2026-01-01 to 2026-01-06."]
    assert instance.get_runs_count() == 1


def test_after_a_crash_only_what_is_missing_is_made(instance, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    write_plan(folder, crash=["2026-01-04"])
    left, _ = fill(instance, folder, 1, 6)
    assert left["numbers"] == {day(4), day(5), day(6)}

    write_plan(folder)
    finished = {path: path.stat().st_mtime_ns for path in (folder / "numbers").glob("2026*")}
    left, said = fill(instance, folder, 1, 6)
    assert left == {asset: set() for asset in ASSETS}
    assert len(said) == 1, said
    assert {path: path.stat().st_mtime_ns for path in finished} == finished


def test_a_recorded_day_whose_file_is_gone_is_missing(instance, tmp_path):
    folder = tmp_path / "data"
    fill(instance, folder, 1, 3)
    (folder / "doubled/2026-01-02.json").unlink()
    missing = missing_days(instance, open_storage(str(folder)), UPSTREAM, days(day(1), day(3)))
    assert missing == {"numbers": set(), "doubled": {day(2)}, "summed": set()}
    assert with_what_follows(missing, UPSTREAM) == {"numbers": set(), "doubled": {day(2)}, "summed": {day(2)}}
    left, _ = fill(instance, folder, 1, 3)
    assert not any(left.values())


def test_a_file_that_no_run_recorded_is_missing(instance, tmp_path):
    folder = tmp_path / "data"
    (folder / "numbers").mkdir(parents=True)
    (folder / "numbers/2026-01-01.json").write_text('{"n": 1}')
    assert missing_days(instance, open_storage(str(folder)), ["numbers"], [day(1)]) == {"numbers": {day(1)}}


def test_a_backfill_that_was_killed_is_finished_by_the_next_one(instance, tmp_path):
    """The same files and records as without the kill, and no run that looks alive for ever."""
    folder, undisturbed = tmp_path / "data", tmp_path / "undisturbed"
    folder.mkdir()
    write_plan(folder, hang=["2026-01-04"])
    killed = get_context("spawn").Process(target=fill_until_killed, args=(tmp_path / "dagster-home", folder))
    killed.start()
    while len(instance.get_materialized_partitions(dg.AssetKey("numbers"))) < 3:
        time.sleep(0.1)
    with pytest.raises(BackfillRunningError, match="wait for it to end"):
        fill(instance, folder, 1, 6)
    killed.kill()
    killed.join()

    (folder / "plan.json").unlink()
    finished = {path: path.stat().st_mtime_ns for path in (folder / "numbers").glob("2026*")}
    left, _ = fill(instance, folder, 1, 6)
    assert not any(left.values())
    assert {path: path.stat().st_mtime_ns for path in finished} == finished, "what was finished is left alone"
    assert [str(run.status) for run in reversed(list(instance.get_runs()))] == [
        "DagsterRunStatus.FAILURE",
        "DagsterRunStatus.SUCCESS",
        "DagsterRunStatus.SUCCESS",
    ]
    undisturbed.mkdir()
    with dg.instance_for_test() as other:
        fill(other, undisturbed, 1, 6)
    assert {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()} == {
        path.relative_to(undisturbed): path.read_bytes() for path in undisturbed.rglob("*") if path.is_file()
    }


def test_a_file_that_is_not_the_recorded_one_is_made_again(instance, tmp_path):
    """As after a kill between a day's file and its record."""
    folder = tmp_path / "data"
    fill(instance, folder, 1, 3)
    (folder / "doubled/2026-01-02.json").write_text('{"n": 5}')
    left, said = fill(instance, folder, 1, 3)
    assert not any(left.values())
    assert said == ["Run 1 of 1, 2026-01-02: doubled, summed"]
    assert (folder / "doubled/2026-01-02.json").read_text() == '{\n "n": 4\n}\n'


def test_what_could_be_made_beside_a_failed_day_is_not_reported_as_missing(instance, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    write_plan(folder, refuse=["2026-01-02"])
    left, _ = fill(instance, folder, 1, 3)
    assert left == {"numbers": {day(2)}, "doubled": {day(2)}, "summed": set()}


def test_a_run_that_was_started_again_from_the_ui_is_left_alone(instance, tmp_path):
    """The UI copies the tags of the run it repeats."""
    made = instance.create_run_for_job(
        tiny_graph(str(tmp_path)),
        status=dg.DagsterRunStatus.STARTED,
        tags={"movie_platform/made_by": "backfill"},
        parent_run_id="parent",
        root_run_id="parent",
    )
    fill(instance, tmp_path / "data", 1, 1)
    assert instance.get_run_by_id(made.run_id).status == dg.DagsterRunStatus.STARTED


def test_days_that_somebody_else_makes_meanwhile_are_not_made_again(instance, tmp_path):
    """As the automation does, while a long backfill is at its first run."""
    folder = tmp_path / "data"
    folder.mkdir()
    job = dg.build_reconstructable_job(
        "movie_platform_tests.tiny_graph", "tiny_graph", reconstructable_args=(str(folder),)
    )
    said = []

    def announce(text: str) -> None:
        said.append(text)
        if text.startswith("Run 1 of 3"):
            dg.execute_job(job, instance=instance, tags=range_tags(day(4), day(5)))

    left = backfill(
        job,
        instance,
        open_storage(str(folder)),
        lock=tmp_path / "backfill.lock",
        upstream=UPSTREAM,
        first=day(1),
        last=day(7),
        at_most=3,
        announce=announce,
    )
    assert not any(left.values())
    assert [text.partition(":")[0] for text in said] == [
        "Run 1 of 3, 2026-01-01 to 2026-01-03",
        "Run 2 of 3, 2026-01-06",
        "Run 3 of 3, 2026-01-07",
    ]
    records = instance.fetch_materializations(dg.AssetKey("summed"), limit=100).records
    assert sorted(str(record.partition_key) for record in records) == [str(day(n)) for n in range(1, 8)]


def test_days_that_somebody_else_begins_while_the_files_are_read_are_left_alone(instance, tmp_path, monkeypatch):
    """Reading every file of many days takes minutes on S3."""
    begun: list[dg.DagsterRun] = []

    def slow(*args):
        found = missing_days(*args)
        if not begun:
            begun.append(
                instance.create_run_for_job(
                    tiny_graph(str(tmp_path / "data")),
                    status=dg.DagsterRunStatus.STARTED,
                    tags=run_tags(day(2), day(2)),
                )
            )
        return found

    monkeypatch.setattr(module, "missing_days", slow)
    left, said = fill(instance, tmp_path / "data", 1, 2)
    assert left == {asset: {day(2)} for asset in ASSETS}
    assert said == [
        f"2026-01-02 is left to {begun[0].run_id}, which is making it",
        "Run 1 of 1, 2026-01-01: numbers, doubled, summed",
    ]


def test_a_run_that_falls_into_two_looks_before_the_second_too(instance, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    job = dg.build_reconstructable_job(
        "movie_platform_tests.tiny_graph", "tiny_graph", reconstructable_args=(str(folder),)
    )
    said = []

    def announce(text: str) -> None:
        said.append(text)
        if text.startswith("Run 1 of 2"):
            dg.execute_job(job, instance=instance, tags=run_tags(day(5), day(5)))
        if "2026-01-04:" in text:
            dg.execute_job(job, instance=instance, tags=run_tags(day(6), day(6)))

    left = backfill(
        job,
        instance,
        open_storage(str(folder)),
        lock=tmp_path / "backfill.lock",
        upstream=UPSTREAM,
        first=day(1),
        last=day(6),
        at_most=3,
        announce=announce,
    )
    assert not any(left.values())
    records = instance.fetch_materializations(dg.AssetKey("summed"), limit=100).records
    assert sorted(str(record.partition_key) for record in records) == [str(day(n)) for n in range(1, 7)]
    assert [text.partition(":")[0] for text in said] == [
        "Run 1 of 2, 2026-01-01 to 2026-01-03",
        "Run 2 of 3, 2026-01-04",
    ]
