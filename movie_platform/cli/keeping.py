"""The commands `verify` and `purge`: what is kept, and whether it is as it should be."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from movie_platform.cli.options import Day
from movie_platform.settings import Settings, load_settings
from movie_platform.storage import open_storage

if TYPE_CHECKING:
    import dagster as dg


@contextmanager
def _records(settings: Settings) -> "Iterator[dg.DagsterInstance]":
    from movie_platform.operations.records import RecordsError, open_records  # noqa: PLC0415 takes a second

    try:
        with open_records(settings.dagster_home) as instance:
            yield instance
    except RecordsError as error:
        raise click.ClickException(str(error)) from error


@click.command("verify", epilog="Example: movie-platform verify --from 2026-01-01")
@click.option("--from", "first", type=Day(), help="First day; by default, from the first one on.")
@click.option("--to", "last", type=Day(), help="Last day, included; by default, up to the last one.")
def verify_command(first: date | None, last: date | None) -> None:
    """Read every file again and compare it with what was recorded of it.

    Nothing is changed. Says what is damaged or missing, what nobody has recorded, and what killed writers left, with a
    remedy each. Days that were purged because TMDB's data may not be kept any longer are counted apart. Ends with
    status 1 if anything is damaged or missing.
    """
    settings = load_settings()
    since, until = first or date.min, last or date.max
    if until < since:
        raise click.UsageError(f"--from {since} lies after --to {until}: swap them")

    from movie_platform.assets import ASSETS  # noqa: PLC0415 they import much
    from movie_platform.operations.verify import verify  # noqa: PLC0415

    console = Console(stderr=True)

    def progress(items: Sequence[Any], what: str) -> Iterable[Any]:
        return track(items, f"{what:30}", console=console, transient=True, disable=not console.is_terminal)

    with _records(settings) as instance:
        found = verify(
            instance,
            open_storage(settings.storage),
            [asset.key.path[-1] for asset in ASSETS],
            first=since,
            last=until,
            progress=progress,
        )
    out = Console()
    if found.findings:
        table = Table(box=box.SIMPLE, pad_edge=False)
        for name in ("what", "file", "remedy"):
            table.add_column(name, overflow="fold")
        for finding in found.findings:
            table.add_row(finding.flaw, finding.file, finding.remedy)
        out.print(table)
    verdict = "Nothing is damaged or missing" if found.is_whole else "Some are damaged or missing"
    out.print(f"{found.files:,} files were read. {verdict}.", highlight=False, soft_wrap=True)
    if purged := ", ".join(f"{asset} {number:,}" for asset, number in found.purged.items() if number):
        out.print(f"Days purged, since TMDB's data may not be kept longer: {purged}.", highlight=False, soft_wrap=True)
    if not found.is_whole:
        sys.exit(1)


@click.command("purge", epilog="Example: movie-platform purge --dry-run")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
def purge_command(*, dry_run: bool) -> None:
    """Delete what TMDB says of films that was collected more than MOVIE_PLATFORM_KEEP_DAYS ago, and old runs.

    The job `retention` does the same each night where the automation is on. Predicted ratings are reduced to ids and
    numbers; bundles, figures and decisions stay. Can be repeated, after a kill too.
    """
    settings = load_settings()
    from movie_platform.operations.retention import retain  # noqa: PLC0415 imports much

    with _records(settings) as instance:
        purged = retain(
            instance,
            open_storage(settings.storage),
            keep_days=settings.keep_days,
            catch_up_days=settings.catch_up_days,
            now=datetime.now(UTC),
            say=lambda text: click.echo(text, err=True),
            dry_run=dry_run,
        )
    counted = ", ".join(f"{what}: {number:,}" for what, number in purged.counts.items())
    click.echo(f"{'To be purged' if dry_run else 'Purged'}: {counted}.")
