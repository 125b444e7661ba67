"""Runs whose process died without a word: they are ended in Dagster's records, so that their days are made again."""

from pathlib import Path

import dagster as dg

from movie_platform.liveness import dead_runs, forget

_DIED = "The process of this run ended without a word, for example by a kill or for lack of memory."


def end_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark the runs of dead processes on this machine as failed, and free their places in pools; returns their ids."""
    home = Path(instance.root_directory)
    ended = []
    for run_id in dead_runs(home):
        run = instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            end_as_failed(instance, run)
            ended.append(run_id)
        forget(home, run_id)
    return ended


def end_as_failed(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Say of a run whose process is gone that it failed."""
    instance.report_run_failed(run, _DIED)
    # A kill leaves the place of the asset that was being made taken.
    instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
