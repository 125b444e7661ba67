"""The one place that touches Dagster's private parts: events of one day, what a run of a range is, pruning of runs.

Dagster 1.13 records the materializations of a range run after the last day, for every day of the range, and check
results without their day. Here the same events are made day by day, with Dagster's own functions, so that code
version, data version and provenance are those that Dagster itself would write. dagster is pinned exactly;
`test_daily`, `test_backfill` and `test_retention` fail when an upgrade changes what is used here. Nothing else belongs
here.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluation,
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.definitions.assets.definition.asset_spec import AssetExecutionType
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.definitions.metadata import normalize_metadata
from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.events import DagsterEvent
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus
from dagster._core.execution.plan.execute_step import _get_output_asset_events
from dagster._core.instance.utils import RUNLESS_RUN_ID
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
    PRIORITY_TAG,
)
from dagster_shared.record import replace
from dagster_shared.utils.warnings import disable_dagster_warnings

__all__ = [
    "DATA_VERSION",
    "OWN_EVENTS",
    "PRIORITY_TAG",
    "UNFINISHED",
    "ReconstructableJob",
    "RecordId",
    "carry_checks",
    "check_event",
    "check_target",
    "checks_of_run",
    "days_asked_for",
    "days_in_progress",
    "days_made_by",
    "days_of_backfills",
    "delete_run",
    "finished_runs",
    "is_newest",
    "materialization_events",
    "newest_check_results",
    "newest_record_ids",
    "range_tags",
    "record_again",
    "record_ids",
    "recorded_times",
    "recorded_versions",
    "records_of",
    "run_tags",
]

_AT_ONCE: Final = 1_000
"""Dagster asks for that many records in one query; a database has a limit of its own."""

DATA_VERSION: Final = DATA_VERSION_TAG
"""The tag of a materialization under which Dagster finds its data version."""

UNFINISHED: Final = [status for status in dg.DagsterRunStatus if status not in FINISHED_STATUSES]
"""The statuses of a run that has not ended."""

OWN_EVENTS: Mapping[str, Any] = {SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True}
"""Metadata of an output whose IO manager records the materializations itself: Dagster then adds none."""


def range_tags(first: date, last: date) -> dict[str, str]:
    """The tags of a run that is of a range of days, both included."""
    return {ASSET_PARTITION_RANGE_START_TAG: first.isoformat(), ASSET_PARTITION_RANGE_END_TAG: last.isoformat()}


def run_tags(first: date, last: date) -> dict[str, str]:
    """The tags of a run of these days, both included; a single day has the tag that the UI links to its partition."""
    return {PARTITION_NAME_TAG: first.isoformat()} if first == last else range_tags(first, last)


def days_asked_for(run: dg.DagsterRun) -> Sequence[date]:
    """The days that a run was asked for, as its tags say; none for a run without days or of other partitions."""
    try:
        first = date.fromisoformat(run.tags.get(ASSET_PARTITION_RANGE_START_TAG) or run.tags[PARTITION_NAME_TAG])
        last = date.fromisoformat(run.tags.get(ASSET_PARTITION_RANGE_END_TAG) or run.tags[PARTITION_NAME_TAG])
    except (KeyError, ValueError):
        return []
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def days_made_by(instance: dg.DagsterInstance, run_id: str, asset_key: dg.AssetKey) -> set[date]:
    """The days of an asset that a run has recorded so far."""
    entries = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    made = [entry.asset_materialization for entry in entries]
    return {
        date.fromisoformat(record.partition)
        for record in made
        if record is not None and record.asset_key == asset_key and record.partition is not None
    }


def days_in_progress(instance: dg.DagsterInstance) -> dict[date, str]:
    """The days that a run or a backfill from the UI is making or is to make, each with the id of either."""
    runs = instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))
    return dict.fromkeys(days_of_backfills(instance), "a backfill") | {
        day: run.run_id for run in runs for day in days_asked_for(run)
    }


def days_of_backfills(instance: dg.DagsterInstance) -> set[date]:
    """The days that backfills from the UI are to make or are making."""
    found: set[str] = set()
    for backfill in instance.get_backfills(filters=BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED])):
        found.update(backfill.partition_names or [])
        if backfill.asset_backfill_data is not None:
            for subset in backfill.asset_backfill_data.target_subset.partitions_subsets_by_asset_key.values():
                found.update(subset.get_partition_keys())
    return {day for key in found if (day := _day(key)) is not None}


def _day(key: str) -> date | None:
    try:
        return date.fromisoformat(key)
    except ValueError:
        return None


def materialization_events(
    context: dg.OutputContext, day: date, *, data_version: str, metadata: Mapping[str, Any]
) -> Iterator[DagsterEvent]:
    """The materialization of one day of the asset that `context` stores."""
    step, version = context.step_context, dg.DataVersion(data_version)
    with disable_dagster_warnings():  # stating a data version is marked as beta
        output = dg.Output(None, data_version=version)
    for event in _get_output_asset_events(
        context.asset_key,
        [day.isoformat()],
        output,
        step.op_def.output_def_named(context.name),
        normalize_metadata(metadata),
        step,
        AssetExecutionType.MATERIALIZATION,
    ):
        assert isinstance(event, dg.AssetMaterialization)
        yield DagsterEvent.asset_materialization(step, event)
    # An asset that depends on its own earlier days finds this one as the newest when its next day is recorded.
    step.set_data_version(context.asset_key, version)


def recorded_versions(instance: dg.DagsterInstance, asset_key: dg.AssetKey) -> dict[date, str]:
    """The data version of each day of an asset, the SHA-256 of its file, as its newest record says; one query."""
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        asset_key, dg.DagsterEventType.ASSET_MATERIALIZATION, tag_keys=[DATA_VERSION_TAG]
    )
    return {
        date.fromisoformat(day): found[DATA_VERSION_TAG] for day, found in tags.items() if DATA_VERSION_TAG in found
    }


def recorded_times(
    instance: dg.DagsterInstance, asset_key: dg.AssetKey, name: str, wanted: Iterable[date]
) -> dict[date, datetime]:
    """The timestamp that the newest record of each of these days has under `name` in its metadata; two queries.

    Days without a record, or whose record has no such timestamp, are left out. Raises for more than 10,000 days.
    """
    newest = instance.event_log_storage.get_latest_storage_id_by_partition(
        asset_key, dg.DagsterEventType.ASSET_MATERIALIZATION, partitions={day.isoformat() for day in wanted}
    )
    if not newest:
        return {}
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=asset_key, storage_ids=list(newest.values())), limit=len(newest)
    ).records
    times = {}
    for record in records:
        found = record.asset_materialization.metadata.get(name) if record.asset_materialization else None
        if isinstance(found, dg.TimestampMetadataValue) and record.partition_key is not None:
            times[date.fromisoformat(record.partition_key)] = datetime.fromtimestamp(found.value, UTC)
    return times


def check_target(context: dg.OutputContext, day: date) -> AssetCheckEvaluationTargetMaterializationData | None:
    """The record of the day that its checks looked at; the UI counts a check as passed only for the newest one."""
    newest = context.step_context.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=context.asset_key, asset_partitions=[day.isoformat()]), limit=1
    ).records
    return (
        AssetCheckEvaluationTargetMaterializationData(
            storage_id=newest[0].storage_id, run_id=newest[0].run_id, timestamp=newest[0].timestamp
        )
        if newest
        else None
    )


def newest_check_results(
    instance: dg.DagsterInstance, checks: Iterable[tuple[str, str]], day: date
) -> dict[tuple[str, str], AssetCheckEvaluation]:
    """The newest result of each check, named by asset and check, on a day; those that were never made are left out."""
    keys = [dg.AssetCheckKey(dg.AssetKey(asset), check) for asset, check in checks]
    records = instance.event_log_storage.get_latest_asset_check_execution_by_key(
        keys, partition_filter=PartitionKeyFilter(key=day.isoformat())
    )
    found = {key: record.event.dagster_event for key, record in records.items() if record.event is not None}
    return {
        (key.asset_key.path[-1], key.name): event.asset_check_evaluation_data
        for key, event in found.items()
        if event is not None and event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION
    }


def check_event(
    context: dg.OutputContext,
    day: date,
    *,
    name: str,
    passed: bool,
    blocking: bool,
    description: str,
    metadata: Mapping[str, Any],
    target: AssetCheckEvaluationTargetMaterializationData | None,
) -> DagsterEvent:
    """The result of one check on one day of the asset that `context` stores; see `check_target` for the target."""
    return DagsterEvent.asset_check_evaluation(
        context.step_context,
        AssetCheckEvaluation(
            asset_key=context.asset_key,
            check_name=name,
            passed=passed,
            metadata=metadata,
            severity=dg.AssetCheckSeverity.ERROR if blocking else dg.AssetCheckSeverity.WARN,
            description=description,
            blocking=blocking,
            partition=day.isoformat(),
            target_materialization_data=target,
        ),
    )


@dataclass(frozen=True)
class RecordId:
    """Where a materialization is recorded."""

    storage_id: int
    """Later ones have greater numbers."""
    run_id: str
    partition: str | None
    at: datetime

    @property
    def is_runless(self) -> bool:
        """Whether it belongs to no run."""
        return self.run_id == RUNLESS_RUN_ID


def newest_record_ids(instance: dg.DagsterInstance, asset_key: dg.AssetKey) -> dict[date, RecordId]:
    """The newest materialization of each day of an asset; one query that reads no event."""
    newest: dict[date, RecordId] = {}
    for found in record_ids(instance, asset_key):
        if found.partition is not None:
            newest.setdefault(date.fromisoformat(found.partition), found)
    return newest


def record_ids(instance: dg.DagsterInstance, asset_key: dg.AssetKey) -> list[RecordId]:
    """Every materialization of an asset that Dagster still has, the newest first; one query that reads no event."""
    return [
        RecordId(
            found.storage_id,
            found.run_id or RUNLESS_RUN_ID,
            found.partition,
            datetime.fromtimestamp(found.timestamp, UTC),
        )
        for found in instance.event_log_storage.get_asset_event_summary_records(
            dg.DagsterEventType.ASSET_MATERIALIZATION, asset_key
        )
    ]


def records_of(
    instance: dg.DagsterInstance, asset_key: dg.AssetKey, ids: Iterable[RecordId]
) -> dict[RecordId, dg.EventLogRecord]:
    """The materializations themselves; one query a thousand."""
    wanted = {found.storage_id: found for found in ids}
    numbers, records = sorted(wanted), {}
    for start in range(0, len(numbers), _AT_ONCE):
        some = numbers[start : start + _AT_ONCE]
        for record in instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=asset_key, storage_ids=some), limit=len(some)
        ).records:
            records[wanted[record.storage_id]] = record
    return records


def is_newest(instance: dg.DagsterInstance, asset_key: dg.AssetKey, found: RecordId) -> bool:
    """Whether nothing has been recorded of its partition since."""
    if found.partition is None:
        return next((other for other in record_ids(instance, asset_key) if other.partition is None), found) == found
    newest = instance.event_log_storage.get_latest_storage_id_by_partition(
        asset_key, dg.DagsterEventType.ASSET_MATERIALIZATION, partitions={found.partition}
    )
    return newest.get(found.partition) == found.storage_id


def record_again(
    instance: dg.DagsterInstance,
    record: dg.EventLogRecord,
    *,
    keep: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    checks: Sequence[AssetCheckEvaluation],
    description: str | None = None,
    metadata: Mapping[str, Any] = MappingProxyType({}),
    tags: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Record a materialization once more, as belonging to no run, in the place of the one of `record`.

    `keep` chooses what stays of its metadata and of those of its checks, which are recorded again too; `metadata` and
    `tags` are added.
    """
    then = record.asset_materialization
    assert then is not None
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            then.asset_key,
            description=description or then.description,
            metadata={**keep(then.metadata), **metadata},
            partition=then.partition,
            tags={**(then.tags or {}), **tags},
        )
    )
    carry_checks(instance, record, keep=keep, checks=checks)


def carry_checks(
    instance: dg.DagsterInstance,
    record: dg.EventLogRecord,
    *,
    keep: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    checks: Sequence[AssetCheckEvaluation],
) -> None:
    """Record what `checks` found on the materialization of `record` on the one that has taken its place.

    Safe to repeat. Does nothing where a run has made the partition again since.
    """
    then = record.asset_materialization
    assert then is not None
    of_it = [
        check
        for check in checks
        if check.target_materialization_data is not None
        and (check.asset_key, check.target_materialization_data.storage_id) == (then.asset_key, record.storage_id)
    ]
    if not of_it:
        return
    partitions = None if then.partition is None else [then.partition]
    (newest,) = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=then.asset_key, asset_partitions=partitions), limit=1
    ).records
    if newest.run_id != RUNLESS_RUN_ID:
        return
    if then.partition is not None:
        names = [(check.asset_key.path[-1], check.check_name) for check in of_it]
        carried = {
            name
            for name, result in newest_check_results(instance, names, date.fromisoformat(then.partition)).items()
            if result.target_materialization_data is not None
            and result.target_materialization_data.storage_id == newest.storage_id
        }
        of_it = [check for check in of_it if (check.asset_key.path[-1], check.check_name) not in carried]
    target = AssetCheckEvaluationTargetMaterializationData(
        storage_id=newest.storage_id, run_id=newest.run_id, timestamp=newest.timestamp
    )
    for check in of_it:
        _forget_runless_check(instance, check)
        instance.report_runless_asset_event(
            replace(check, metadata=keep(check.metadata), target_materialization_data=target)
        )


def _forget_runless_check(instance: dg.DagsterInstance, check: AssetCheckEvaluation) -> None:
    """Dagster keeps one result of a check and partition that belongs to no run, and refuses another one."""
    executions = AssetCheckExecutionsTable.c
    if isinstance(log := instance.event_log_storage, SqlEventLogStorage):
        with log.index_connection() as connection:
            connection.execute(
                AssetCheckExecutionsTable.delete().where(
                    executions.asset_key == check.asset_key.to_string(),
                    executions.check_name == check.check_name,
                    executions.partition == check.partition,
                    executions.run_id == RUNLESS_RUN_ID,
                )
            )


def checks_of_run(instance: dg.DagsterInstance, run_id: str) -> list[AssetCheckEvaluation]:
    """What the checks of a run found."""
    if run_id == RUNLESS_RUN_ID:
        return []
    entries = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    return [entry.dagster_event.asset_check_evaluation_data for entry in entries if entry.dagster_event is not None]


def finished_runs(instance: dg.DagsterInstance, *, before: datetime | None = None) -> list[str]:
    """The runs that are over, however they ended; only those that were asked for before a moment, if one is given."""
    runs = instance.get_runs(dg.RunsFilter(statuses=list(FINISHED_STATUSES), created_before=before))
    return [run.run_id for run in runs]


def delete_run(instance: dg.DagsterInstance, run_id: str) -> None:
    """Remove a run with all that it said: events, materializations, results of checks, output. Safe to repeat.

    The run itself goes last, so that what a crash leaves is found again.
    """
    log = instance.event_log_storage
    log.delete_events(run_id)
    # Dagster leaves these two behind: the results of checks, and on one machine the file of the run's events.
    if isinstance(log, SqlEventLogStorage):
        with log.index_connection() as connection:
            connection.execute(AssetCheckExecutionsTable.delete().where(AssetCheckExecutionsTable.c.run_id == run_id))
    if isinstance(log, SqliteEventLogStorage):
        for suffix in ("", "-journal", "-wal", "-shm"):
            Path(log.path_for_shard(run_id) + suffix).unlink(missing_ok=True)
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    instance.run_storage.delete_run(run_id)
