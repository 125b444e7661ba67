"""Breaks a running platform on purpose, and sees whether every day comes out whole: `python -m benchmarks.faults`.

Real parts: `dagster dev` with its daemon, runs as processes of their own, files on a disk of their own or on an S3
server (rclone), records in SQLite or PostgreSQL. For each fault a new platform begins to make its first days; in the
middle of that run the fault happens, lasts, and is mended as a person would. Then the automation is left alone
until all days are complete, and `movie-platform verify` reads every file. Nothing is waited for but the pauses between
attempts, which the clock given to the automation skips.

Needs root, since it mounts small disks, and PostgreSQL's programs for one of the faults. Takes two minutes a fault;
ends with 1 if a day is missing or a file is not what was recorded.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich import box
from rich.table import Table

from benchmarks.common import figures_console
from movie_platform_tests.faults import FAULTS, Outcome, break_and_mend


def main() -> None:
    """Try the faults that were named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = {fault.__name__: fault for fault in FAULTS}
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"of {', '.join(names)}; all without one")
    chosen = parser.parse_args().faults or list(names)
    if unknown := set(chosen) - set(names):
        parser.error(f"no such fault: {', '.join(sorted(unknown))}; name some of {', '.join(names)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended, too
    console = figures_console()
    outcomes = []
    for name in chosen:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)
            fault = names[name]()
            tell = partial(console.print, f"{fault.name}:", highlight=False)
            outcomes.append(break_and_mend(fault, Path(folder), tell))
            tell(outcomes[-1].verified.strip().splitlines()[-1:])
    console.print(_table(outcomes))
    for outcome in outcomes:
        if not outcome.whole:
            console.print(outcome.verified, highlight=False)
        for day in outcome.incomplete:
            console.print(f"{outcome.fault}: {day}", style="red", highlight=False)
    sys.exit(0 if all(outcome.whole and not outcome.incomplete for outcome in outcomes) else 1)


def _table(outcomes: Sequence[Outcome]) -> Table:
    table = Table(box=box.SIMPLE)
    for name in ("fault", "days with a bundle then", "complete", "seconds to it", "runs", "files"):
        table.add_column(name, justify="left" if name in {"fault", "files"} else "right")
    for outcome in outcomes:
        complete = outcome.days - len(outcome.incomplete)
        table.add_row(
            outcome.fault,
            f"{outcome.complete_before} of {outcome.days}",
            f"{complete} of {outcome.days}",
            f"{outcome.seconds:.0f}",
            f"{outcome.runs}",
            "whole" if outcome.whole else "NOT whole",
        )
    return table


if __name__ == "__main__":
    main()
