"""Pruning of Dagster's records: runs that are too old go, and what is recorded of each day stays.

A run's metadata, log lines and evidence of checks repeat what TMDB says of films. Deleting a run deletes its
materializations too, and days without one look as if they had never been made. So only runs that own no newest
materialization are deleted; one that does own some has them recorded again first, without TMDB's texts and as belonging
to no run. How Dagster does that belongs to `dagster_internals`; files belong to `retention`.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from types import MappingProxyType
from typing import Any

import dagster as dg

from movie_platform.dagster_internals import (
    RecordId,
    carry_checks,
    checks_of_run,
    delete_run,
    finished_runs,
    is_newest,
    record_again,
    record_ids,
    records_of,
)
from movie_platform.day_records import COLLECTED_AS, AssetRecords, textless


@dataclass
class Pruned:
    """What was pruned."""

    deleted: list[str] = field(default_factory=list)
    """Ids of runs."""
    recorded_again: int = 0
    """Materializations that stay, without the run that made them."""


def prune_runs(
    instance: dg.DagsterInstance,
    *,
    before: datetime,
    say: Callable[[str], Any],
    dry_run: bool = False,
    would_be_purged: Mapping[str, Collection[date]] = MappingProxyType({}),
) -> Pruned:
    """Delete the finished runs that were asked for before a moment, and those that tell of a day purged since.

    A dry run changes nothing, and takes the days of `would_be_purged`, by asset, for purged.
    Every partition stays materialized, with the results of its checks. Dagster may call those that read it unsynced.
    Safe to repeat, after a kill at any point too.
    """
    newest: dict[str, list[tuple[dg.AssetKey, RecordId]]] = {}
    replaced: dict[str, list[tuple[dg.AssetKey, RecordId]]] = {}
    tell_of_purged: set[str] = set()
    for key in instance.all_asset_keys():
        asset = key.path[-1]
        purged = {f"{day}" for day in AssetRecords(instance, asset).purged} if asset in COLLECTED_AS else set()
        would_be = {f"{day}" for day in would_be_purged.get(asset, ())}
        seen: dict[str | None, RecordId] = {}
        for found in record_ids(instance, key):
            later = seen.get(found.partition)
            seen[found.partition] = found
            if later is None:
                if found.partition in would_be:
                    tell_of_purged.add(found.run_id)
                else:
                    newest.setdefault(found.run_id, []).append((key, found))
                continue
            if later.is_runless and not found.is_runless:
                replaced.setdefault(found.run_id, []).append((key, found))
            if found.partition in purged | would_be:
                tell_of_purged.add(found.run_id)
    due = finished_runs(instance, before=before)
    if tell_of_purged:
        due += [run_id for run_id in finished_runs(instance) if run_id in tell_of_purged and run_id not in due]
    pruned = Pruned(deleted=due, recorded_again=sum(len(newest.get(run_id, [])) for run_id in due))
    if due:
        say(
            f"{len(due)} runs: {'to be ' * dry_run}deleted, {pruned.recorded_again} records of theirs kept without them"
        )
    if not dry_run:
        for run_id in due:
            _keep_records(instance, run_id, newest.get(run_id, []), replaced.get(run_id, []))
            delete_run(instance, run_id)
    return pruned


def _keep_records(
    instance: dg.DagsterInstance,
    run_id: str,
    owned: list[tuple[dg.AssetKey, RecordId]],
    replaced: list[tuple[dg.AssetKey, RecordId]],
) -> None:
    """Record again what the run owns; of what was before, perhaps by a pass that was killed, the checks."""
    checks = checks_of_run(instance, run_id) if owned or replaced else []
    for key in dict.fromkeys(key for key, _ in [*owned, *replaced]):
        ids = [found for owner, found in [*owned, *replaced] if owner == key]
        keep: Callable[[Mapping[str, Any]], Mapping[str, Any]] = textless if key.path[-1] in COLLECTED_AS else dict
        for found, record in records_of(instance, key, ids).items():
            if is_newest(instance, key, found):
                record_again(instance, record, keep=keep, checks=checks)
            else:
                carry_checks(instance, record, keep=keep, checks=checks)
