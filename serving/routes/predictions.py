"""`/predict` and `/predict/batch`: films in, predictions out.

What belongs here: reading the body, where the work is done, and the answer. What does not: the rules for a film and
the fields of answers (`films`).
"""

import json
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving.batches import giving_way
from serving.bundles import LoadedBundle
from serving.films import (
    MOST_FILMS,
    BatchPrediction,
    BatchRequest,
    FilmRequest,
    Prediction,
    explanation_fields,
    known_fields,
    model_reference,
    predict,
    prediction_fields,
)
from serving.openapi import json_body, parameters
from serving.problems import FieldError, Problem, field_errors, problem_responses, refusal
from serving.service import bundle_of, service_of
from serving.telemetry import Telemetry

__all__ = ["router"]


class _DirectRoute(APIRoute):
    """Calls the endpoint with the request and nothing else: FastAPI's reading of parameters costs half a prediction."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        endpoint: Callable[[Request], Coroutine[Any, Any, Response]] = self.endpoint
        return endpoint


router = APIRouter(tags=["predictions"], route_class=_DirectRoute)

_Body = TypeVar("_Body", FilmRequest, BatchRequest)
_Given = TypeVar("_Given", bound=BaseModel)
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_MOST_QUOTES: Final = 100
_MOST_VALUES: Final = 300
"""With the commas of texts: a film of TMDB has 40 at most, on average."""

_PROBLEMS: Final = problem_responses(401, 408, 413, 415, 422, 503)


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _PredictOptions(_Options):
    explain: bool = Field(default=False, description="Also say what moved the prediction; takes some milliseconds.")


@router.post(
    "/predict",
    response_model=Prediction,
    responses=_PROBLEMS,
    openapi_extra=json_body(FilmRequest) | parameters(_PredictOptions),
)
async def predict_film(request: Request) -> Response:
    """Predict how a film will be rated, with an interval that holds 80 % of such films.

    A film with fewer than 10 votes, or none given, is asked about as unreleased: votes and popularity then do not
    count. The numbers are not rounded, so that they can be compared with the bundle's own.
    """
    bundle, options = bundle_of(request), _options(_PredictOptions, request)
    film = _validated(FilmRequest, await _body(request)).as_film()
    # On the event loop: the work is a tenth of a millisecond, and handing it to a thread would cost more than that.
    if options.explain:
        explanation = bundle.predictor.explain(film)
        answer = prediction_fields(bundle, film, explanation.prediction)
        answer["explanation"] = explanation_fields(explanation)
    else:
        answer = predict(bundle, film)
    _count(service_of(request).telemetry, answer)
    return _json({**answer, "model": model_reference(bundle)})


@router.post(
    "/predict/batch", response_model=BatchPrediction, responses=_PROBLEMS, openapi_extra=json_body(BatchRequest)
)
async def predict_films(request: Request) -> Response:
    """Predict up to 1,000 films at once, in their order. If one of them is refused, all are, and it is named."""
    bundle, service = bundle_of(request), service_of(request)
    _options(_Options, request)
    with service.batches.place():
        body = await _body(request)
        return await service.batches.run(lambda: _predict_all(bundle, body, service.telemetry))


def _predict_all(bundle: LoadedBundle, body: bytes, telemetry: Telemetry) -> Response:
    batch = _validated(BatchRequest, body)
    answers = []
    for film in giving_way(batch.films):
        answers.append(predict(bundle, film.as_film()))
        _count(telemetry, answers[-1])
    return _json({"model": model_reference(bundle), "predictions": answers})


def _options(model: type[_Given], request: Request) -> _Given:
    query = request.scope["query_string"].decode("latin-1")
    try:
        return model.model_validate(dict(parse_qsl(query, keep_blank_values=True)) if query else {})
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
    raise refusal(field_errors(problems, known=model.model_fields))


async def _body(request: Request) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem(415, "the body is not declared as JSON; send the header Content-Type: application/json")
    return await request.body()


def _validated(model: type[_Body], body: bytes) -> _Body:
    # What is quoted in a film: its fields, texts and genres. Pydantic would make an error of each of a million fields,
    # and read a million values before it says that they are too many.
    quotes = body.count(b'"') - body.count(b'\\"')
    values = body.count(b",") + body.count(b"[") + body.count(b"{")
    films = MOST_FILMS if model is BatchRequest else 1
    if quotes > _MOST_QUOTES * films or (model is BatchRequest and values > _MOST_VALUES * films):
        raise refusal([FieldError(field="body", problem="has far more fields than films have", remedy="send fewer")])
    # Straight from the bytes, which is faster than by way of Python's objects, and refuses what is not JSON: NaN, say.
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
    raise refusal(field_errors(problems, known=known_fields()))


def _count(telemetry: Telemetry, answer: dict[str, Any]) -> None:
    telemetry.predictions.labels(answer["situation"]).observe(answer["prediction"])


def _json(answer: dict[str, Any]) -> Response:
    return Response(_ENCODER.encode(answer), media_type="application/json")
