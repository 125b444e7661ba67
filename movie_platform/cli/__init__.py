"""The command line, `movie-platform`: arguments in, text out. What a command does belongs to `operations`."""

import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import click
from dotenv import load_dotenv
from rich.console import Console

from movie_platform.cli.keeping import purge_command, verify_command
from movie_platform.cli.options import Day
from movie_platform.cli.releasing import release_command, rollback_command
from movie_platform.cli.watching import doctor, status_command
from movie_platform.partitions import cycle_start, days, last_complete_day
from movie_platform.settings import Settings, SettingsError, load_serving_settings, load_settings
from movie_platform.storage import ObjectNotFound, Storage, StorageError, open_storage

_DEMO_DAYS = 3
EXAMPLE_FILM = '{"title": "Example Movie", "release_year": 2024, "popularity": 123.4, "vote_count": 560}'


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Collect TMDB's films day by day, train a rating model, release it, and rank upcoming films.

    Settings are environment variables, or lines of a file named .env; .env.example names them all. The status is 0
    when all is well, 1 when something needs a person or could not be done, 2 for wrong settings and arguments and for
    a storage that fails.
    """


cli.add_command(status_command)
cli.add_command(doctor)
cli.add_command(release_command)
cli.add_command(rollback_command)
cli.add_command(verify_command)
cli.add_command(purge_command)


@cli.command(epilog="Example: movie-platform backfill --from 2026-01-01 --to 2026-01-13")
@click.option("--from", "first", type=Day(), required=True, help="First day.")
@click.option("--to", "last", type=Day(), required=True, help="Last day, included.")
def backfill(first: date, last: date) -> None:
    """Make every asset of a range of days that is missing, in date order.

    Finished days are left alone, so the command can be repeated after a failure. Ends with status 1 and names what
    is still missing if some days could not be made. Nobody needs it for the newest days where the automation is on
    (movie-platform status says whether it is): that one finds and fills what is missing of the last
    MOVIE_PLATFORM_CATCH_UP_DAYS days. What is older, and what the automation has given up, is left to this command.
    """
    settings = load_settings()
    _fill(settings, open_storage(settings.storage), first, last)


@cli.command(epilog="Example: movie-platform report --from 2026-01-01 --to 2026-01-13")
@click.option("--from", "first", type=Day(), required=True, help="First day.")
@click.option("--to", "last", type=Day(), required=True, help="Last day, included.")
def report(first: date, last: date) -> None:
    """Show the metrics of a range of days beside the baselines, and the best upcoming films of its last day."""
    if last < first:
        raise click.UsageError(f"--from {first} lies after --to {last}: swap them")
    _report(open_storage(load_settings().storage), days(first, last))


@cli.command()
def demo() -> None:
    """Make three days, from the first that begins a cycle of windows, and show what came out."""
    settings, serving = load_settings(), load_serving_settings()
    storage = open_storage(settings.storage)
    first, last = demo_days(settings.first_partition, newest=last_complete_day(datetime.now(UTC).date()))
    _fill(settings, storage, first, last)
    _report(storage, days(first, last))
    Console().print(
        "\nWhat next:\n"
        "  make ui    the Dagster UI: lineage, days, checks, plots\n"
        f"  make backfill FROM={first} TO={first + timedelta(days=12)}    a whole cycle of windows: every film\n"
        f"  {storage.url('metrics')}    figures and plots as files\n"
        f"  make serve    the service and its pages: http://127.0.0.1:{serving.port}; then, in another terminal:\n\n"
        f"curl -sS http://127.0.0.1:{serving.port}/predict -H 'Content-Type: application/json' "
        f"-d '{EXAMPLE_FILM}'",
        highlight=False,
        soft_wrap=True,
    )


def demo_days(first_partition: date, *, newest: date) -> tuple[date, date]:
    """The first and last day of the demo; `newest` is the last day that can be made.

    It begins with a cycle, whose first day collects the newest films: without them there is nothing to measure a model
    on. Raises `SettingsError` when no cycle begins in time.
    """
    first = cycle_start(first_partition)
    if first > newest:
        raise SettingsError(
            f"MOVIE_PLATFORM_FIRST_PARTITION: no cycle of windows begins from {first_partition} to {newest} "
            "(yesterday), so there are no recent films to learn from; name an earlier day, like 2026-01-01"
        )
    return first, min(first + timedelta(days=_DEMO_DAYS - 1), newest)


def _fill(settings: Settings, storage: Storage, first: date, last: date) -> None:
    newest = last_complete_day(datetime.now(UTC).date())
    if not settings.first_partition <= first <= last <= newest:
        raise click.UsageError(
            f"{first} to {last} is not a range of days from {settings.first_partition} "
            f"(MOVIE_PLATFORM_FIRST_PARTITION) to {newest} (yesterday)"
        )
    if settings.dagster_home is None:
        raise SettingsError("DAGSTER_HOME is not set: name a folder for Dagster's records, or use make, which does")

    import dagster as dg  # noqa: PLC0415

    from movie_platform.assets import UPSTREAM  # noqa: PLC0415
    from movie_platform.assets.policy import POOLS  # noqa: PLC0415
    from movie_platform.definitions import daily_job  # noqa: PLC0415
    from movie_platform.operations.backfill import BackfillRunningError  # noqa: PLC0415
    from movie_platform.operations.backfill import backfill as run_backfill  # noqa: PLC0415
    from movie_platform.operations.planning import DAYS_IN_A_RUN  # noqa: PLC0415

    _prepare_home(settings.dagster_home)
    with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
        for pool, places in POOLS.items():  # whatever the instance's own configuration says of pools
            instance.event_log_storage.set_concurrency_slots(pool, places)
        try:
            left = run_backfill(
                dg.reconstructable(daily_job),
                instance,
                storage,
                lock=settings.dagster_home / "backfill.lock",
                upstream=UPSTREAM,
                first=first,
                last=last,
                at_most=DAYS_IN_A_RUN,
                announce=lambda text: click.echo(text, err=True),
            )
        except BackfillRunningError as error:
            raise click.ClickException(str(error)) from error
    missing = {asset: sorted(lacking) for asset, lacking in left.items() if lacking}
    if missing:
        lines = [f"  {asset}: {', '.join(map(str, lacking))}" for asset, lacking in missing.items()]
        raise click.ClickException("these days could not be made; the reasons stand above:\n" + "\n".join(lines))


def _prepare_home(home: Path) -> None:
    """Make the folder of Dagster's records; without a configuration of its own, one that sends nothing anywhere."""
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():
        (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")


def _report(storage: Storage, shown: list[date]) -> None:
    from movie_platform.operations.report import best_upcoming, champion_line, metrics_table, refusals  # noqa: PLC0415

    console = Console()
    console.print(metrics_table(storage, shown))
    for line in refusals(storage, shown):
        console.print(line, highlight=False)
    try:
        console.print(best_upcoming(storage, shown[-1]))
    except ObjectNotFound:
        console.print(f"There are no predicted ratings of {shown[-1]}.")
    console.print(champion_line(storage), highlight=False, soft_wrap=True)


def main() -> None:
    """Run the command line; settings and storage that make no sense end it with a message instead of a stack."""
    load_dotenv(".env")  # as `dagster dev` does, so that its AWS lines reach boto3 too
    try:
        cli()
    except (SettingsError, StorageError) as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
