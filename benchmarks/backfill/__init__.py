"""What Dagster costs beside the work: a backfill in ranges, and one run a day with Dagster's default executor."""
