"""Days as Dagster's records and the store have them when everything went well, made without running anything."""

from collections.abc import Iterable
from datetime import date

import dagster as dg

from movie_platform.operations.status import ASSETS
from movie_platform.storage import Storage


def make_days(
    instance: dg.DagsterInstance, storage: Storage, days: Iterable[date], assets: Iterable[str] = ASSETS
) -> None:
    """Record these days of the assets, each with a file."""
    for asset in assets:
        for day in days:
            storage.put(f"{asset}/{day}.file", b"content")
            version = {"dagster/data_version": "0" * 64}
            instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=str(day), tags=version))
