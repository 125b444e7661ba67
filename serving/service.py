"""What the routes share: the parts of the running service, and the bundle of a request.

What belongs here: the bundle of parts that `app` makes and routes use. What does not: how they are made.
"""

import hashlib
import threading
from dataclasses import dataclass, field
from pathlib import Path

from starlette.requests import Request

from movie_platform.settings import ServingSettings
from movie_platform.storage import Storage
from serving.batches import BatchWorker
from serving.bundles import BundleKeeper, LoadedBundle
from serving.model_card import ModelCardKeeper
from serving.problems import Problem
from serving.telemetry import Telemetry
from serving.upcoming import UpcomingKeeper

__all__ = ["Service", "bundle_of", "own_folder", "service_of"]


@dataclass(frozen=True, slots=True)
class Service:
    """The parts of a running service."""

    settings: ServingSettings
    storage: Storage
    bundles: BundleKeeper
    upcoming: UpcomingKeeper
    model_card: ModelCardKeeper
    telemetry: Telemetry
    batches: BatchWorker
    draining: threading.Event = field(default_factory=threading.Event)
    """Set once it has been told to end, while it still answers."""


def service_of(request: Request) -> Service:
    """Return the service that answers the request."""
    service: Service = request.app.state.service
    return service


def bundle_of(request: Request) -> LoadedBundle:
    """Return the bundle that the request began with; raises the 503 that says why there is none."""
    bundle: LoadedBundle | None = request.state.bundle
    if bundle is None:
        raise Problem(
            503,
            f"there is no model to answer with: {service_of(request).bundles.problem or 'it is being loaded'}",
            headers={"Retry-After": "10"},
        )
    return bundle


def own_folder(settings: ServingSettings) -> Path:
    """Return where copies of what is served are kept: a folder for each storage and pin, so that none is mixed up."""
    of_what = f"{settings.storage} {settings.bundle_partition}"
    return settings.cache / hashlib.sha256(of_what.encode()).hexdigest()[:12]
