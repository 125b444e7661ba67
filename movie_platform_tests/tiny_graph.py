"""A graph of three small assets on the real harness and IO managers, whose days can be told to misbehave.

`numbers` gives each day its own number, `doubled` doubles it, `summed` adds up the last five days. What goes wrong is
said in a file of the storage's folder, so that a run, which rebuilds the graph, sees it.
"""

import json
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg

from movie_platform.assets.policy import TMDB
from movie_platform.daily import (
    EXECUTOR,
    DayCheck,
    DayFailed,
    DayOutput,
    Retries,
    Verdict,
    check_specs,
    materialize_days,
)
from movie_platform.io_managers import DayInputs, JsonIOManager
from movie_platform.storage import open_storage
from movie_platform.tmdb.client import OutageError

DAYS = dg.DailyPartitionsDefinition(start_date="2026-01-01")


def write_plan(folder: Path, **behaviour: list[str]) -> None:
    """Say which days misbehave: refuse, cannot, crash, outage, blip, hang, busy, check_breaks, warn, publish_breaks.

    A blip is an outage that is over when the day is tried again.
    """
    (folder / "plan.json").write_text(json.dumps(behaviour))


def _behaves(folder: Path, how: str, day: date) -> bool:
    plan = folder / "plan.json"
    return plan.exists() and day.isoformat() in json.loads(plan.read_text()).get(how, [])


def tiny_graph(folder_name: str) -> dg.JobDefinition:
    """The job `tiny` over a folder."""
    folder = Path(folder_name)

    def accept(day: date, output: DayOutput) -> Verdict:
        if _behaves(folder, "check_breaks", day):
            raise ZeroDivisionError("the check divided by nothing")
        return Verdict(passed=not _behaves(folder, "refuse", day), summary=f"{output.value['n']} was looked at.")

    checks = [
        DayCheck(name="acceptable", description="Not refused by the plan.", examine=accept),
        DayCheck(
            name="unsuspicious",
            description="Not warned of by the plan.",
            examine=lambda day, _: Verdict(passed=not _behaves(folder, "warn", day), summary="Suspicious?"),
            blocking=False,
        ),
    ]

    def policy(name: str, own: list[DayCheck]) -> dict[str, Any]:
        return {
            "partitions_def": DAYS,
            "code_version": f"{name}-1",
            "check_specs": check_specs(name, own, DAYS),
        }

    @dg.asset(**policy("numbers", checks), pool=TMDB)
    def numbers(context: dg.AssetExecutionContext) -> Iterator[dg.Output[Any]]:
        def make(day: date) -> DayOutput:
            if _behaves(folder, "cannot", day):
                raise DayFailed("there is no number today")
            if _behaves(folder, "hang", day):
                folder.with_name("hanging").touch()
                time.sleep(600)
            if _behaves(folder, "busy", day):
                with folder.with_name("busy").open("x"):  # which fails if somebody else is
                    time.sleep(1)
                folder.with_name("busy").unlink()
            if _behaves(folder, "crash", day):
                raise RuntimeError("the network is gone")
            blip = folder.with_name(f"blip-{day}")
            if _behaves(folder, "blip", day) and not blip.exists():
                blip.touch()
                raise OutageError("nobody answers for a moment", reason="no connection")
            if _behaves(folder, "outage", day):
                raise OutageError("nobody answers", reason="no connection")

            def publish() -> None:
                assert (folder / "numbers" / f"{day}.json").exists()
                if _behaves(folder, "publish_breaks", day):
                    raise RuntimeError("nobody listens")

            return DayOutput(value={"n": day.day}, metadata={"n": day.day}, publish=publish)

        yield from materialize_days(context, make, checks, retries=Retries((OutageError,), pause=0))

    @dg.asset(**policy("doubled", []))
    def doubled(context: dg.AssetExecutionContext, numbers: DayInputs) -> Iterator[dg.Output[Any]]:
        yield from materialize_days(context, lambda day: DayOutput(value={"n": 2 * numbers[day]["n"]}), [])

    @dg.asset(
        **policy("summed", []),
        ins={"doubled": dg.AssetIn(partition_mapping=dg.TimeWindowPartitionMapping(start_offset=-4))},
    )
    def summed(context: dg.AssetExecutionContext, doubled: DayInputs) -> Iterator[dg.Output[Any]]:
        def make(day: date) -> DayOutput:
            used = [d for d in doubled if d <= day and (day - d).days < 5]
            return DayOutput(value={"n": sum(doubled[d]["n"] for d in used), "days": [d.isoformat() for d in used]})

        yield from materialize_days(context, make, [])

    return dg.Definitions(
        assets=[numbers, doubled, summed],
        jobs=[dg.define_asset_job("tiny", selection=dg.AssetSelection.all())],
        resources={"io_manager": JsonIOManager(open_storage(str(folder)))},
        executor=EXECUTOR,
    ).resolve_job_def("tiny")
