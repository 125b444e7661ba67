"""Runs of dead processes, and the places in pools: what two real processes do to one another."""

import time
from collections.abc import Iterator
from datetime import date
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess
from pathlib import Path

import dagster as dg
import pytest

from movie_platform.assets.policy import POOLS, TMDB
from movie_platform.dagster_internals import run_tags
from movie_platform.liveness import dead_runs, forget
from movie_platform.operations.abandoned import end_dead_runs
from movie_platform_tests.tiny_graph import write_plan

DAYS = ["2026-01-01", "2026-01-02"]
CONFIG = Path(__file__).parent.parent / "dagster.yaml"


@pytest.fixture
def deployed(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance with the project's own configuration."""
    home = tmp_path / "dagster-home"
    home.mkdir()
    (home / "dagster.yaml").write_text(CONFIG.read_text())
    (tmp_path / "data").mkdir()
    with dg.DagsterInstance.from_config(str(home)) as made:
        yield made


def make(home: str, folder: Path, day: str) -> None:
    with dg.DagsterInstance.from_config(home) as instance:
        result = dg.execute_job(
            dg.build_reconstructable_job(
                "movie_platform_tests.tiny_graph", "tiny_graph", reconstructable_args=(str(folder),)
            ),
            instance=instance,
            tags=run_tags(date.fromisoformat(day), date.fromisoformat(day)),
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        assert result.success


def start(instance: dg.DagsterInstance, folder: Path, day: str) -> SpawnProcess:
    process = get_context("spawn").Process(target=make, args=(instance.root_directory, folder, day))
    process.start()
    return process


def places_taken(instance: dg.DagsterInstance) -> int:
    return instance.event_log_storage.get_concurrency_info(TMDB).active_slot_count


def test_two_processes_never_collect_at_once(deployed, tmp_path):
    """`make backfill` beside a run of the automation, say: runs of one's own process do not wait in the queue."""
    write_plan(tmp_path / "data", busy=DAYS)
    processes = [start(deployed, tmp_path / "data", day) for day in DAYS]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert sorted(deployed.get_materialized_partitions(dg.AssetKey("numbers"))) == DAYS


def test_every_pool_has_the_places_that_the_configuration_gives(deployed):
    assert set(POOLS.values()) == {deployed.get_concurrency_config().pool_config.default_pool_limit}


def test_a_run_whose_process_was_killed_is_ended_and_its_place_is_freed(deployed, tmp_path):
    write_plan(tmp_path / "data", hang=DAYS[:1])
    process = start(deployed, tmp_path / "data", DAYS[0])
    while not (tmp_path / "hanging").exists():
        time.sleep(0.05)
    assert end_dead_runs(deployed) == [], "it lives"
    process.kill()
    process.join()
    (run,) = deployed.get_runs()
    assert (run.status, places_taken(deployed)) == (dg.DagsterRunStatus.STARTED, 1), "nobody has noticed"

    assert end_dead_runs(deployed) == [run.run_id]
    assert deployed.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.FAILURE
    assert places_taken(deployed) == 0
    assert end_dead_runs(deployed) == []

    second = start(deployed, tmp_path / "data", DAYS[1])
    second.join()
    assert second.exitcode == 0


def test_a_run_that_ended_is_left_as_it_is(deployed, tmp_path):
    process = start(deployed, tmp_path / "data", DAYS[0])
    process.join()
    assert end_dead_runs(deployed) == []
    (run,) = deployed.get_runs()
    assert run.status is dg.DagsterRunStatus.SUCCESS
    assert list((tmp_path / "dagster-home" / "alive").iterdir()) == []


def test_a_run_that_another_process_has_seen_to_meanwhile_is_no_matter(tmp_path):
    """The automation and a backfill may look at the same time."""
    (tmp_path / "alive").mkdir()
    for name in ("one", "two"):
        (tmp_path / "alive" / name).touch()
    dead = dead_runs(tmp_path)
    assert next(dead) == "one"
    forget(tmp_path, "two")
    assert list(dead) == []
