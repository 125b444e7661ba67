"""What those who run the service ask it: is it alive, is it ready, which model is it, how does it do.

What belongs here: health, the model's description, metrics. What does not: deciding which bundle is served (`bundles`).
"""

from datetime import date, datetime
from typing import Any, Final, Literal

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field

from movie_platform.rating_model.bundle import BundleMetadata
from movie_platform.rating_model.measured import MeasuredDay
from movie_platform.rating_model.model import TrainedOn
from movie_platform.releases import Champion
from serving.problems import Problem, problem_responses
from serving.service import bundle_of, service_of

__all__ = ["router"]

router = APIRouter(tags=["operations"])

_ONLY_KEYS: Final = problem_responses(401, 422)


class Live(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    """There is a bundle, and it has predicted."""

    status: Literal["ready"] = "ready"
    partition: date = Field(description="The day that the served bundle is of.")
    sha256: str = Field(description="Of its file.")
    pinned: bool = Field(description="SERVING_BUNDLE_PARTITION names it, whatever is released later.")
    problem: str | None = Field(description="Why another bundle should be served and is not; null when all is well.")


class ReleasedBundle(BaseModel):
    """A released bundle that is not the one served."""

    partition: date
    sha256: str
    code_version: str


class Model(BaseModel):
    """The served bundle."""

    partition: date = Field(description="The day that it is of.")
    sha256: str = Field(description="Of its file.")
    code_version: str = Field(description="Of the sources that trained it.")
    synthetic: bool = Field(description="Trained on invented films.")
    released_at: datetime | None = Field(description="When it was released; null if the history does not say.")
    release_reasons: list[str] = Field(description="Why it was released.")
    trained_on: TrainedOn
    days_used: list[date] = Field(description="The daily tables that it was trained on.")
    days_missing: list[date]
    metrics: MeasuredDay | None = Field(
        description="How good a model like it was on films that it had not seen, beside the means of all films and of "
        "the film's genres; null if the day's metrics cannot be read."
    )
    source: str = Field(description="Where it was read: a path, or s3://bucket/key.")
    from_own_copy: bool = Field(
        description="The storage did not give it: it is the copy kept on the service's own disk."
    )
    loaded_at: datetime
    pinned: bool = Field(description="SERVING_BUNDLE_PARTITION names it, whatever is released later.")
    newer_released: ReleasedBundle | None = Field(description="What champion.json names, if it is not this one.")
    problem: str | None = Field(description="Why another bundle should be served and is not; null when all is well.")


@router.get("/health/live", responses=problem_responses(422))
async def live() -> Live:
    """Answer while the process does. Needs no key."""
    return Live()


@router.get("/health/ready", responses=problem_responses(422, 503))
async def ready(request: Request) -> Ready:
    """Answer 200 if there is a bundle and it has predicted, else 503 with the reason. Needs no key.

    Told to end, it says 503 for `SERVING_DRAIN_SECONDS`, and answers everything else.
    """
    champion, service = bundle_of(request).champion, service_of(request)
    if service.draining.is_set():
        raise Problem(503, "the service has been told to end: ask another one")
    return Ready(
        partition=champion.partition,
        sha256=champion.sha256,
        pinned=service.settings.bundle_partition is not None,
        problem=service.bundles.problem,
    )


@router.get("/model", responses=problem_responses(401, 422, 503))
def model(request: Request) -> Model:
    """Describe the bundle that answers now: what it is, where it is from, how good it is, whether there is a newer."""
    bundle, service = bundle_of(request), service_of(request)
    champion, newest = bundle.champion, service.bundles.newest
    card = service.model_card.read(champion.partition)
    released = card.release_of(champion)
    return Model(
        **_of_champion(champion),
        synthetic=champion.synthetic,
        released_at=released.at if released else None,
        release_reasons=released.reasons if released else [],
        **_of_metadata(bundle.metadata),
        metrics=card.figures_of(champion),
        source=bundle.source,
        from_own_copy=bundle.kept,
        loaded_at=bundle.loaded_at,
        pinned=service.settings.bundle_partition is not None,
        newer_released=ReleasedBundle(**_of_champion(newest)) if newest not in (None, champion) else None,
        problem=service.bundles.problem,
    )


@router.get("/metrics", responses=_ONLY_KEYS, response_class=PlainTextResponse)
def metrics(request: Request) -> Response:
    """Metrics for Prometheus: requests, latency, predicted ratings, the bundle and its age, swaps, refused bundles."""
    return Response(service_of(request).telemetry.exposition(), media_type=CONTENT_TYPE_LATEST)


def _of_champion(champion: Champion) -> dict[str, Any]:
    return {"partition": champion.partition, "sha256": champion.sha256, "code_version": champion.code_version}


def _of_metadata(metadata: BundleMetadata) -> dict[str, Any]:
    return {
        "trained_on": metadata.trained_on,
        "days_used": list(metadata.days_used),
        "days_missing": list(metadata.days_missing),
    }
