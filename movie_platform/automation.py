"""Jobs, schedules and sensors: what is run, and when. What a run does belongs to the assets."""

import dagster as dg

DAILY = "daily"

JOBS = [
    dg.define_asset_job(
        DAILY,
        selection=dg.AssetSelection.all(),
        description="Every asset of the days that are asked for, in date order, in one process.",
    )
]
