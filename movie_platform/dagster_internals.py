"""The one place that touches Dagster's private parts: events of one day, and what a run of a range is.

Dagster 1.13 records the materializations of a range run after the last day, for every day of the range, and check
results without their day. Here the same events are made day by day, with Dagster's own functions, so that code
version, data version and provenance are those that Dagster itself would write. dagster is pinned exactly;
`test_daily` and `test_backfill` fail when an upgrade changes what is used here. Nothing else belongs here.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any

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
from dagster._core.events import DagsterEvent
from dagster._core.execution.plan.execute_step import _get_output_asset_events
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG
from dagster_shared.utils.warnings import disable_dagster_warnings

__all__ = [
    "OWN_EVENTS",
    "ReconstructableJob",
    "check_event",
    "check_target",
    "materialization_events",
    "range_tags",
    "recorded_times",
    "recorded_versions",
]

OWN_EVENTS: Mapping[str, Any] = {SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True}
"""Metadata of an output whose IO manager records the materializations itself: Dagster then adds none."""


def range_tags(first: date, last: date) -> dict[str, str]:
    """The tags of a run that is of a range of days, both included."""
    return {ASSET_PARTITION_RANGE_START_TAG: first.isoformat(), ASSET_PARTITION_RANGE_END_TAG: last.isoformat()}


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
    instance: dg.DagsterInstance, asset_key: dg.AssetKey, name: str, days: Iterable[date]
) -> dict[date, datetime]:
    """The timestamp that the newest record of each of these days has under `name` in its metadata; two queries.

    Days without a record, or whose record has no such timestamp, are left out. Raises for more than 10,000 days.
    """
    newest = instance.event_log_storage.get_latest_storage_id_by_partition(
        asset_key, dg.DagsterEventType.ASSET_MATERIALIZATION, partitions={day.isoformat() for day in days}
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
