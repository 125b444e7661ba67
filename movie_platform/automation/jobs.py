"""The job that makes days."""

import dagster as dg

DAILY = "daily"

daily = dg.define_asset_job(
    DAILY,
    selection=dg.AssetSelection.all(),
    description="Every asset of the days that are asked for, in date order, in one process.",
)
