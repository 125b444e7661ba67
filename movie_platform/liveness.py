"""Whether the process of a run is still there: a locked file, whose lock the system takes away from a dead process.

Dagster's own launcher for runs on the same machine cannot tell: a run that was killed looks as if it went on, holds its
place in a pool and keeps its days from being made, until its longest duration is over. Not a word about Dagster here.
"""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

_FOLDER = "alive"
_shown: dict[str, int] = {}
"""The descriptor of the file of the run that this process is making."""


def show_alive(home: Path, run_id: str) -> None:
    """Hold a lock for the run until this process ends or makes another run. May be called again. Raises `OSError`."""
    if run_id in _shown:
        return
    folder = home / _FOLDER
    folder.mkdir(exist_ok=True)
    partial = folder / f".{run_id}"
    descriptor = os.open(partial, os.O_CREAT | os.O_WRONLY, 0o644)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    partial.rename(folder / run_id)  # only now, so that nobody sees it without its lock
    for other in _shown.values():
        os.close(other)
    _shown.clear()
    _shown[run_id] = descriptor


def dead_runs(home: Path) -> Iterator[str]:
    """The ids of runs whose process is gone or has made another run since, but for those that `forget` was told."""
    folder = home / _FOLDER
    for path in sorted(folder.glob("[!.]*")) if folder.is_dir() else []:
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, FileNotFoundError):  # alive, or forgotten by another process in the meantime
            continue
        yield path.name


def forget(home: Path, run_id: str) -> None:
    """Remove the file of a run that is known to have ended."""
    (home / _FOLDER / run_id).unlink(missing_ok=True)
