"""Dagster's records, opened for looking: an instance, or one line that says why there is none."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from sqlalchemy.exc import SQLAlchemyError

_LONGEST_REASON = 300


class RecordsError(Exception):
    """Dagster's records cannot be read: says why, and what to do."""


@contextmanager
def open_records(home: Path | None) -> Iterator[dg.DagsterInstance]:
    """The instance of this DAGSTER_HOME, while the block lasts; makes no folder.

    Raises `RecordsError`, for a database that goes away in the block too.
    """
    if home is None:
        raise RecordsError("DAGSTER_HOME is not set: name the folder of Dagster's records")
    if not home.is_dir():
        raise RecordsError(f"there is no folder {home}, which DAGSTER_HOME names: nothing has been made there yet")
    try:
        logging.disable(logging.WARNING)  # ten lines that the database did not answer; ours is one
        opened = dg.DagsterInstance.from_config(str(home))
    except Exception as error:  # whatever a configuration or a database leads to
        raise RecordsError(_in_words(home, error)) from error
    finally:
        logging.disable(logging.NOTSET)
    with opened as instance:
        try:
            yield instance
        except SQLAlchemyError as error:
            raise RecordsError(_in_words(home, error)) from error


def _in_words(home: Path, error: BaseException) -> str:
    cause = error.__cause__ or error.__context__
    of_database = next((e for e in (cause, error) if isinstance(e, SQLAlchemyError)), None)
    if of_database is not None:
        return (
            f"the database of Dagster's records does not answer ({_first_line(of_database)}): see whether it runs, and "
            f"whether {home}/dagster.yaml names it rightly"
        )
    return (
        f"Dagster's records cannot be opened ({_first_line(error)}): correct {home}/dagster.yaml, or install what it "
        "names from the lock files"
    )


def _first_line(error: BaseException) -> str:
    original = getattr(error, "orig", None) or error
    line = (str(original).splitlines() or [""])[0].strip()
    return re.sub(r"://\S*@", "://***@", f"{type(original).__name__}: {line}")[:_LONGEST_REASON]
