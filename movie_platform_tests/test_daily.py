"""What happens to the days of a run, by the real executor, IO managers and records of Dagster."""

import json
from datetime import date
from pathlib import Path

import dagster as dg
import pytest
from dagster import JobExecutionResult

from movie_platform.dagster_internals import range_tags
from movie_platform.daily import FailureReport
from movie_platform_tests.tiny_graph import write_plan

DAYS = [f"2026-01-{n:02}" for n in range(1, 7)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "data"
    made.mkdir()
    return made


def run(
    instance: dg.DagsterInstance, folder: Path, first: str, last: str, *, assets: list[str] | None = None
) -> JobExecutionResult:
    job = dg.build_reconstructable_job(
        "movie_platform_tests.tiny_graph", "tiny_graph", reconstructable_args=(str(folder),)
    )
    if first == last:
        tags = {"dagster/partition": first}
    else:
        tags = range_tags(date.fromisoformat(first), date.fromisoformat(last))
    return dg.execute_job(
        job,
        instance=instance,
        tags=tags,
        asset_selection=[dg.AssetKey(asset) for asset in assets] if assets else None,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )


def recorded(instance: dg.DagsterInstance, asset: str) -> list[str]:
    return sorted(instance.get_materialized_partitions(dg.AssetKey(asset)))


def without(day: str) -> list[str]:
    return [d for d in DAYS if d != day]


def events(
    result: JobExecutionResult, instance: dg.DagsterInstance, kind: dg.DagsterEventType
) -> list[dg.DagsterEvent]:
    return [entry.get_dagster_event() for entry in instance.all_logs(result.run_id, of_type=kind)]


def test_a_range_is_stored_and_recorded_day_by_day(instance, folder):
    result = run(instance, folder, DAYS[0], DAYS[-1])

    assert result.success
    for asset in ("numbers", "doubled", "summed"):
        assert recorded(instance, asset) == DAYS
        assert sorted(path.name for path in (folder / asset).glob("[!.]*")) == [f"{day}.json" for day in DAYS]
    materialized = [
        event.step_materialization_data.materialization
        for event in events(result, instance, dg.DagsterEventType.ASSET_MATERIALIZATION)
        if event.step_key == "numbers"
    ]
    assert [m.partition for m in materialized] == DAYS, "each day once, in date order"
    assert [m.metadata["n"].value for m in materialized] == [1, 2, 3, 4, 5, 6], "each with its own metadata"


def test_the_record_of_a_day_has_its_digest_and_the_versions_of_code_and_inputs(instance, folder):
    run(instance, folder, DAYS[0], DAYS[1])

    event = instance.get_latest_materialization_event(dg.AssetKey("doubled"))
    tags = event.asset_materialization.tags
    assert tags["dagster/code_version"] == "doubled-1"
    assert tags["dagster/data_version"] == event.asset_materialization.metadata["sha256"].value
    assert "dagster/input_data_version/numbers" in tags


def test_a_refused_day_is_set_aside_and_the_other_days_complete(instance, folder):
    write_plan(folder, refuse=["2026-01-03"])
    result = run(instance, folder, DAYS[0], DAYS[-1])

    assert not result.success
    assert recorded(instance, "numbers") == without("2026-01-03")
    assert recorded(instance, "doubled") == without("2026-01-03"), "the day cannot be doubled"
    assert recorded(instance, "summed") == DAYS, "a look-back goes on without it"
    assert not (folder / "numbers/2026-01-03.json").exists()
    assert json.loads((folder / "rejected/numbers/2026-01-03.json").read_text()) == {"n": 3}
    assert json.loads((folder / "summed/2026-01-06.json").read_text())["days"] == [
        "2026-01-02",
        "2026-01-04",
        "2026-01-05",
        "2026-01-06",
    ]


def test_each_day_has_its_own_check_result(instance, folder):
    write_plan(folder, refuse=["2026-01-03"], warn=["2026-01-05"])
    result = run(instance, folder, DAYS[0], DAYS[-1])

    found = {
        (data.check_name, data.partition): (data.passed, data.severity)
        for data in (
            event.asset_check_evaluation_data
            for event in events(result, instance, dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        )
    }
    assert {day for (name, day), (passed, _) in found.items() if name == "acceptable" and not passed} == {"2026-01-03"}
    assert found["acceptable", "2026-01-03"][1] == dg.AssetCheckSeverity.ERROR
    assert found["unsuspicious", "2026-01-05"] == (False, dg.AssetCheckSeverity.WARN)
    assert len(found) == 2 * len(DAYS)
    assert "2026-01-05" in recorded(instance, "numbers"), "a warning refuses nothing"


def test_the_record_of_checks_by_day_shows_each_day_as_it_went(instance, folder):
    """As the UI counts them: a check has passed for a day only if it looked at the day's newest materialization."""
    write_plan(folder, refuse=["2026-01-03"])
    result = run(instance, folder, DAYS[0], DAYS[-1])

    for event in events(result, instance, dg.DagsterEventType.ASSET_CHECK_EVALUATION):
        data = event.asset_check_evaluation_data
        newest = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=data.asset_key, asset_partitions=[str(data.partition)]), limit=1
        ).records
        target = data.target_materialization_data
        assert (target.storage_id if target else None) == (newest[0].storage_id if newest else None), data.partition


def test_a_single_refused_day_stops_what_follows_from_it(instance, folder):
    write_plan(folder, refuse=["2026-01-03"])
    result = run(instance, folder, "2026-01-03", "2026-01-03")

    assert not result.success
    assert [recorded(instance, asset) for asset in ("numbers", "doubled", "summed")] == [[], [], []]
    (failure,) = events(result, instance, dg.DagsterEventType.STEP_FAILURE)
    assert failure.step_key == "numbers"
    assert "numbers 2026-01-03: refused by its checks: 3 was looked at." in failure.step_failure_data.error.to_string()


def test_a_day_that_is_refused_later_takes_the_earlier_result_out_of_the_way(instance, folder):
    run(instance, folder, "2026-01-03", "2026-01-03")
    before = (folder / "numbers/2026-01-03.json").read_bytes()
    write_plan(folder, refuse=["2026-01-03"])
    run(instance, folder, "2026-01-03", "2026-01-03")

    assert not (folder / "numbers/2026-01-03.json").exists()
    assert (folder / "rejected/numbers/2026-01-03.before.json").read_bytes() == before


def test_a_day_that_cannot_be_made_does_not_keep_the_others_from_it(instance, folder):
    write_plan(folder, cannot=["2026-01-01"])
    result = run(instance, folder, DAYS[0], DAYS[-1])

    assert not result.success
    assert recorded(instance, "numbers") == without("2026-01-01")
    failures = [e.step_failure_data.error.message for e in events(result, instance, dg.DagsterEventType.STEP_FAILURE)]
    assert any("numbers 2026-01-01: there is no number today" in text for text in failures)
    assert any(
        "numbers has no file for 2026-01-01" in text and "materialize numbers for that day" in text for text in failures
    )


def test_a_crash_on_day_four_leaves_three_finished_days_and_what_follows_from_them(instance, folder):
    write_plan(folder, crash=["2026-01-04"])
    result = run(instance, folder, DAYS[0], DAYS[-1])

    assert not result.success
    assert recorded(instance, "numbers") == DAYS[:3]
    assert recorded(instance, "doubled") == DAYS[:3]
    assert not (folder / "numbers/2026-01-05.json").exists(), "the next day would meet the same"
    text = " ".join(
        e.step_failure_data.error.to_string() for e in events(result, instance, dg.DagsterEventType.STEP_FAILURE)
    )
    assert "RuntimeError: the network is gone" in text
    assert "2 more days were not begun (2026-01-05 to 2026-01-06)" in text


def test_an_outage_is_waited_for_without_making_the_stored_days_again(instance, folder):
    write_plan(folder, blip=[DAYS[3]])
    result = run(instance, folder, DAYS[0], DAYS[-1])
    assert result.success
    assert len(events(result, instance, dg.DagsterEventType.STEP_UP_FOR_RETRY)) == 1
    materialized = [
        event.step_materialization_data.materialization.partition
        for event in events(result, instance, dg.DagsterEventType.ASSET_MATERIALIZATION)
        if event.step_key == "numbers"
    ]
    assert materialized == DAYS, "each day once"


def test_an_outage_that_stays_fails_after_two_more_attempts_and_says_which_day_met_it(instance, folder):
    write_plan(folder, outage=[DAYS[3]])
    result = run(instance, folder, DAYS[0], DAYS[-1])
    assert not result.success
    assert len(events(result, instance, dg.DagsterEventType.STEP_RESTARTED)) == 2
    failures = events(result, instance, dg.DagsterEventType.STEP_FAILURE)
    (report,) = [FailureReport.of_event(event) for event in failures if event.step_key == "numbers"]
    assert (report.asset, report.fatal) == ("numbers", "OutageError")
    assert list(report.days) == [date.fromisoformat(DAYS[3])]
    assert recorded(instance, "doubled") == DAYS[:3], "what follows from the days that are there is made"


def test_no_other_failure_is_tried_again(instance, folder):
    write_plan(folder, crash=[DAYS[3]], refuse=[DAYS[1]])
    result = run(instance, folder, DAYS[0], DAYS[-1])
    assert events(result, instance, dg.DagsterEventType.STEP_UP_FOR_RETRY) == []


def test_a_check_that_breaks_has_not_passed(instance, folder):
    write_plan(folder, check_breaks=["2026-01-02"])
    result = run(instance, folder, DAYS[0], DAYS[2])

    assert recorded(instance, "numbers") == ["2026-01-01", "2026-01-03"]
    (failed,) = [
        event.asset_check_evaluation_data
        for event in events(result, instance, dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        if not event.asset_check_evaluation_data.passed
    ]
    assert "ZeroDivisionError: the check divided by nothing" in str(failed.description)


def test_a_day_counts_only_when_it_is_published(instance, folder):
    write_plan(folder, publish_breaks=["2026-01-02"])
    result = run(instance, folder, DAYS[0], DAYS[2])

    assert not result.success
    assert recorded(instance, "numbers") == ["2026-01-01"]

    write_plan(folder)
    assert run(instance, folder, "2026-01-02", "2026-01-03").success
    assert recorded(instance, "numbers") == DAYS[:3]


def test_a_window_is_a_mapping_on_the_first_day_too(instance, folder):
    assert run(instance, folder, "2026-01-01", "2026-01-01").success
    assert json.loads((folder / "summed/2026-01-01.json").read_text()) == {"n": 2, "days": ["2026-01-01"]}


def test_a_file_that_is_not_the_recorded_one_is_not_read(instance, folder):
    """The record is a claim about the store; the other days go on."""
    run(instance, folder, DAYS[0], DAYS[2])
    (folder / "numbers/2026-01-02.json").write_bytes((folder / "numbers/2026-01-01.json").read_bytes())
    result = run(instance, folder, DAYS[0], DAYS[2], assets=["doubled"])

    assert not result.success
    text = " ".join(
        e.step_failure_data.error.message for e in events(result, instance, dg.DagsterEventType.STEP_FAILURE)
    )
    assert "numbers/2026-01-02.json is not the file that was recorded for numbers 2026-01-02" in text
    assert "materialize numbers for 2026-01-02 again" in text
    assert json.loads((folder / "doubled/2026-01-03.json").read_text()) == {"n": 6}


def test_a_damaged_file_is_named(instance, folder):
    (folder / "numbers").mkdir()
    (folder / "numbers/2026-01-01.json").write_bytes(b'{"n": ')
    result = run(instance, folder, DAYS[0], DAYS[0], assets=["doubled"])
    (failure,) = events(result, instance, dg.DagsterEventType.STEP_FAILURE)
    assert "numbers/2026-01-01.json is damaged (JSONDecodeError" in failure.step_failure_data.error.message
