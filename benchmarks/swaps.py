"""Changes bundles under load: `python -m benchmarks.swaps`. Takes a minute and a half.

The service runs as a process of its own. 16 connections ask it without pause, one of them for batches, while 20
different bundles of full size are released and 3 damaged ones are offered between them. Every answer is compared with
what the bundle that it names predicts, to the last bit. Ends with 1 unless all that must hold does.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.common import bundle_of
from movie_platform_tests.serving.swapping import Seen, swap_under_load, variants

_GOOD, _BAD, _CONNECTIONS, _NAMED = 20, 3, 16, 15
_MOST_GROWTH = 10.0
"""MiB between the memory after swaps 5 to 10 and after the last five."""


def main() -> None:
    """Run, print, and say whether it holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--bundle", type=Path, help="a bundle's file; otherwise one is trained")
    arguments = parser.parse_args()
    console = Console()
    bundles = variants(bundle_of(arguments.bundle, console), _GOOD)
    with tempfile.TemporaryDirectory() as folder, console.status(f"asking for {arguments.seconds:g} s"):
        seen = swap_under_load(
            Path(folder), bundles, bad=_BAD, seconds=arguments.seconds, connections=_CONNECTIONS, poll_seconds=1
        )
    size = len(bundles[0].to_bytes()) / 2**20
    console.print(_table(seen, size))
    for failure in seen.failures[:10]:
        console.print(failure, style="red", highlight=False)
    checks = _checks(seen)
    for sentence, holds in checks.items():
        console.print(f"{'yes' if holds else 'NO '}  {sentence}", style=None if holds else "red", highlight=False)
    sys.exit(0 if all(checks.values()) else 1)


def _growth(seen: Seen) -> float:
    return statistics.mean(seen.memory[-5:]) - statistics.mean(seen.memory[5:10])


def _checks(seen: Seen) -> dict[str, bool]:
    return {
        "no request failed, and each answer is what its bundle predicts": not seen.failures,
        f"{_GOOD} bundles were released and {_BAD} damaged ones offered": (seen.released, seen.damaged)
        == (_GOOD, _BAD),
        f"at least {_NAMED} bundles are named in answers": len(seen.answers) >= _NAMED,
        "the damaged ones were refused": seen.refused >= _BAD,
        f"the memory is level at the end, within {_MOST_GROWTH:g} MiB": abs(_growth(seen)) < _MOST_GROWTH,
    }


def _table(seen: Seen, size: float) -> Table:
    table = Table(title=f"{_GOOD} bundles of {size:.1f} MiB in {seen.seconds:g} s, {_CONNECTIONS} connections")
    table.add_column("what")
    table.add_column("figure", justify="right")
    requests = sum(seen.answers.values()) + len(seen.failures)
    rows = {
        "requests": f"{requests:,} ({requests / seen.seconds:,.0f} a second)",
        "failed or wrong": str(len(seen.failures)),
        "bundles named in answers": str(len(seen.answers)),
        "answers of the bundle named least": f"{min(seen.answers.values(), default=0):,}",
        "damaged bundles offered / refused": f"{seen.damaged} / {seen.refused}",
        "one prediction, ms: p50 / p99 / p99.9 / longest": " / ".join(
            f"{seen.percentile(share):.1f}" for share in (0.5, 0.99, 0.999, 1)
        ),
        "memory, MiB: first / after swaps 5..10 / last five": f"{seen.memory[0]:.0f} / "
        f"{statistics.mean(seen.memory[5:10]):.0f} / {statistics.mean(seen.memory[-5:]):.0f}",
        "memory after each swap, MiB": " ".join(f"{memory:.0f}" for memory in seen.memory),
    }
    for name, figure in rows.items():
        table.add_row(name, figure)
    return table


if __name__ == "__main__":
    main()
