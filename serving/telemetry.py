"""What the service tells those who run it: Prometheus metrics, and logs as JSON lines.

What belongs here: the names and meanings of the metrics, and how a log line looks. What does not: when they change.
"""

import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from datetime import time as time_of_day
from time import gmtime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from movie_platform.releases import Champion

__all__ = ["Telemetry", "log_as_json"]

_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_RATINGS: Final = (1, 2, 3, 4, 4.5, 5, 5.5, 6, 6.5, 7, 7.5, 8, 9, 10)


class Telemetry:
    """The metrics of one service."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "serving_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self.seconds = Histogram(
            "serving_request_seconds",
            "Seconds from a request's head to the end of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.predictions = Histogram(
            "serving_prediction_rating",
            "Predicted ratings, 0 to 10.",
            ("situation",),
            buckets=_RATINGS,
            registry=self._registry,
        )
        self.refused_bundles = Counter(
            "serving_refused_bundles",
            "Released bundles that were refused: damaged, missing, of an unknown format, or failing their probes.",
            registry=self._registry,
        )
        self.storage_failures = Counter(
            "serving_storage_failures",
            "Looks for a released bundle that the storage did not answer.",
            registry=self._registry,
        )
        self._swaps = Counter(
            "serving_bundle_swaps", "Bundles that took another one's place while serving.", registry=self._registry
        )
        self._served = _ServedBundle()
        self._registry.register(self._served)
        ProcessCollector(registry=self._registry)

    def serves(self, champion: Champion, *, swapped: bool) -> None:
        """Say that `champion` is served from now on."""
        self._served.champion = champion
        if swapped:
            self._swaps.inc()

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class _ServedBundle(Collector):
    """The served bundle, whose age grows from scrape to scrape."""

    champion: Champion | None = None

    def collect(self) -> Iterator[Metric]:
        champion = self.champion
        yield GaugeMetricFamily("serving_ready", "1 if a bundle is served.", value=float(champion is not None))
        if champion is None:
            return
        info = GaugeMetricFamily(
            "serving_bundle_info", "The served bundle.", labels=("partition", "sha256", "synthetic")
        )
        info.add_metric([str(champion.partition), champion.sha256, str(champion.synthetic).lower()], 1)
        yield info
        began = datetime.combine(champion.partition, time_of_day(), tzinfo=UTC)
        yield GaugeMetricFamily(
            "serving_bundle_partition_timestamp_seconds",
            "The beginning of the day that the served bundle is of, in seconds since 1970.",
            value=began.timestamp(),
        )
        yield GaugeMetricFamily(
            "serving_bundle_age_seconds",
            "Seconds since the end of the day that the served bundle is of.",
            value=(datetime.now(UTC) - began).total_seconds() - 86_400,
        )


def log_as_json() -> None:
    """Write the process's logs to standard error, a JSON object a line, the server's own too."""
    formatter = JsonFormatter(
        "%(asctime)s %(levelname)s %(name)s %(message)s",
        rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        reserved_attrs=[*RESERVED_ATTRS, "color_message"],
        json_ensure_ascii=False,
    )
    # UTC to the millisecond. The formatter's own option for this costs twice as much as the rest of the line.
    formatter.converter = gmtime
    formatter.default_time_format = "%Y-%m-%dT%H:%M:%S"
    formatter.default_msec_format = "%s.%03dZ"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    # Nobody reads these, and finding them out takes time.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # Each request is logged by the middleware, with its id.
    logging.getLogger("uvicorn.access").disabled = True
