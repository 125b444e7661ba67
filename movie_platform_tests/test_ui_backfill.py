"""A backfill from the UI: what its button sends to the real web server, done by the real daemon."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest

from movie_platform.dagster_internals import days_asked_for
from movie_platform.partitions import days
from movie_platform_tests.daemon import Deployment

pytestmark = pytest.mark.xdist_group("daemon")

ASSETS = ["raw_upcoming_movies", "preprocessed_upcoming_movies"]
DAYS = days(date(2026, 1, 5), date(2026, 2, 6))
LAUNCH = """
mutation($parameters: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $parameters) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
  }
}
"""


def launch(url: str, assets: Sequence[str], wanted: Sequence[date]) -> str:
    """Ask for a backfill as the UI does; its id."""
    parameters = {
        "assetSelection": [{"path": [asset]} for asset in assets],
        "partitionNames": [str(day) for day in wanted],
    }
    question: dict[str, Any] = {"query": LAUNCH, "variables": {"parameters": parameters}}
    answer = httpx.post(f"{url}/graphql", json=question, timeout=60, trust_env=False).json()
    return str(answer["data"]["launchPartitionBackfill"]["backfillId"])


def is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/server_info", trust_env=False).is_success
    except httpx.TransportError:
        return False


def test_more_days_than_fit_in_a_run_are_two_runs_one_after_the_other_and_just_those_days(tmp_path: Path):
    platform = Deployment(tmp_path, assets=ASSETS)
    platform.set(MOVIE_PLATFORM_AUTOMATION=False)

    def ended(backfill: str) -> bool:
        with platform.instance() as instance:
            found = instance.get_backfill(backfill)
        return found is not None and found.status.value.startswith("COMPLETED")

    with platform.running() as url:
        platform.wait(lambda: is_up(url), what="the UI answers")
        backfill = launch(url, ASSETS, DAYS)
        platform.wait(lambda: ended(backfill), what="the backfill is complete", seconds=300)

    assert [days_asked_for(run) for run in platform.runs()] == [DAYS[:31], DAYS[31:]]
    assert {run.status for run in platform.runs()} == {dg.DagsterRunStatus.SUCCESS}
    with platform.instance() as instance:
        second, first = instance.get_run_records()
        assert first.end_time is not None
        assert second.start_time is not None
        assert first.end_time <= second.start_time
        for asset in ASSETS:
            records = instance.fetch_materializations(dg.AssetKey(asset), limit=1000, ascending=True).records
            assert [record.partition_key for record in records] == [str(day) for day in DAYS], asset
            assert sorted(path.name.partition(".")[0] for path in (platform.storage / asset).iterdir()) == [
                str(day) for day in DAYS
            ]
