"""`release` and `rollback`: a person decides which bundle is served."""

from collections.abc import Sequence
from datetime import UTC, date, datetime

import click

from movie_platform.cli.options import Day, Line
from movie_platform.operations.release import ReleaseRefusedError, carry_out, plan_release
from movie_platform.releases import Champion, RollbackRefusedError, read_pointer, rollback
from movie_platform.settings import load_settings
from movie_platform.storage import open_storage

_reason = click.option(
    "--reason",
    type=Line(),
    help="Why, in a sentence. It is kept in the history, and the service's model card shows it.",
)


@click.command(
    "release",
    epilog="Example: movie-platform release --partition 2026-01-05 --reason 'RMSE differs by chance'",
)
@click.option("--partition", type=Day(), required=True, help="The day whose bundle to release.")
@_reason
@click.option("--yes", is_flag=True, help="Do not ask when the gate has refused the bundle.")
def release_command(partition: date, reason: str | None, yes: bool) -> None:  # noqa: FBT001 an option
    """Release a day's bundle by hand: one that the gate refused, or one that was rolled back.

    The service takes it within SERVING_POLL_SECONDS, unless a bundle of a newer day is in force: that one stays. Later
    days are compared with it. Safe to repeat.
    """
    storage = open_storage(load_settings().storage)
    try:
        planned = plan_release(storage, partition)
        bundle = f"The bundle of {partition} ({planned.champion.sha256[:12]})"
        if planned.done:
            click.echo(f"{bundle} is released already. {_in_force(planned.newer)}")
            return
        if planned.barred_since is not None:
            click.echo(f"{bundle} was rolled back on {planned.barred_since:%Y-%m-%d}; this lifts the bar.")
        if not planned.decision.released:
            click.echo(f"{bundle} was refused:")
            for said in planned.decision.reasons:
                click.echo(f"  - {said}")
            if not yes:
                click.confirm("Release it all the same?", abort=True)
        by_hand = f"Released by hand{f': {reason}' if reason else '.'}"
        in_force = carry_out(storage, planned, reasons=[by_hand], now=datetime.now(UTC))
    except ReleaseRefusedError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{bundle} is released. {_in_force(None if in_force else read_pointer(storage))}")
    if not in_force:
        click.echo(f"To put this one in force: movie-platform rollback --to {partition}")
    if not planned.decision.released:
        _what_stays([partition])


@click.command(
    "rollback",
    epilog="Examples: movie-platform rollback --reason 'wrong genres'; movie-platform rollback --to 2026-01-05",
)
@click.option(
    "--to", type=Day(), help="Go back to the bundle of this day: bar everything released after it. Safe to repeat."
)
@_reason
def rollback_command(to: date | None, reason: str | None) -> None:
    """Take the bundle in force out of force; the newest released day before it takes its place.

    The day is barred: it is not released again, whatever its gate says, until movie-platform release --partition names
    it. Later days are released as usual; to keep one day whatever is released later, set SERVING_BUNDLE_PARTITION for
    the service. Without --to, repeating the command goes one step further back.
    """
    storage = open_storage(load_settings().storage)
    by_hand = f"Rolled back by hand{f': {reason}' if reason else '.'}"
    try:
        done = rollback(storage, to=to, reasons=[by_hand], now=datetime.now(UTC))
    except RollbackRefusedError as error:
        raise click.ClickException(str(error)) from error
    if not done.barred and done.before == done.in_force:
        click.echo(f"Nothing to roll back: the bundle of {done.in_force.partition} is in force already.")
        return
    before = f", instead of that of {done.before.partition}" if done.before and done.before != done.in_force else ""
    click.echo(f"In force: the bundle of {done.in_force.partition} ({done.in_force.sha256[:12]}){before}.")
    if done.barred:
        click.echo(f"Barred until released by hand: {', '.join(map(str, done.barred))}.")
        _what_stays(done.barred)


def _in_force(newer: Champion | None) -> str:
    return "It is in force." if newer is None else f"In force is the newer bundle of {newer.partition}."


def _what_stays(days: Sequence[date]) -> None:
    shown = f"{days[0]}" if len(days) == 1 else f"{min(days)} to {max(days)}"
    click.echo(
        f"The decisions and predicted ratings of {shown}, and of later days, stay as they are until champion_bundle "
        "and predicted_ratings are materialized again (in the UI)."
    )
