"""How a run's log reads on a terminal: one line a message, without Dagster's own bookkeeping.

The full log of a run, events included, is in the Dagster UI.
"""

import logging
from collections.abc import Mapping
from typing import Any

import dagster as dg

SHORT_LOG: Mapping[str, Any] = {"loggers": {"console": {}}}
"""Run configuration that chooses the logger below; without it Dagster prints every event."""


class _Formatter(logging.Formatter):
    """Time and message; a failure as its reason, not as the stack of the executor around it."""

    def format(self, record: logging.LogRecord) -> str:
        meta = getattr(record, "dagster_meta", None) or {}
        message = meta.get("orig_message") or record.getMessage().split("\n\n")[0]
        level = "" if record.levelno < logging.WARNING else f"{record.levelname}: "
        return f"{self.formatTime(record, '%H:%M:%S')} {level}{message}"


@dg.logger({"log_level": dg.Field(str, default_value="INFO", is_required=False)}, description="Short lines.")
def console_logger(context: dg.InitLoggerContext) -> logging.Logger:
    """A logger to standard error, from INFO on."""
    logger = logging.Logger("movie_platform", level=context.logger_config["log_level"])
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter())
    logger.addHandler(handler)
    return logger
