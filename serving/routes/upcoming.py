"""`/upcoming`: the newest predicted ratings as JSON and as a CSV file.

What belongs here: the documents of answers. What does not: what may be asked (`upcoming`), finding films
(`upcoming_table`), and the page for people (`pages`).
"""

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from movie_platform.rating_model.fields import Situation
from serving.films import Interval
from serving.problems import Problem, problem_responses
from serving.service import service_of
from serving.upcoming import UpcomingFilm, UpcomingFilters, UpcomingParameters

if TYPE_CHECKING:
    from serving.upcoming_table import UpcomingFilms

__all__ = ["router"]

router = APIRouter(tags=["upcoming"])

_LEVEL: Final = 0.8
"""Of the intervals in `predicted_ratings`."""

_FILM: Final[JsonDict] = {
    "id": 900157306,
    "title": "The River and the Shadow",
    "original_title": "La dernière lettre de Seville",
    "overview": "In a city that never asks questions, a stubborn translator teaches a village to sing again.",
    "release_date": "2026-02-26",
    "genres": ["Drama"],
    "original_language": "fr",
    "poster_path": "/synthetic900157306.jpg",
    "situation": "unreleased",
    "prediction": 7.73,
    "interval": {"low": 7.04, "high": 8.56, "level": 0.8},
    "bundle": {"partition": "2026-01-03", "sha256": "ab4dbebc0b0b93cc9aee6cb38c6bc75a599464ce72adb9d425caa4f427e476a6"},
    "synthetic": True,
}


class BundleReference(BaseModel):
    """The bundle that predicted a film: not always the one that answers now."""

    partition: date = Field(description="The day that the bundle is of.")
    sha256: str = Field(description="Of the bundle's file.")


class UpcomingFilmDocument(BaseModel):
    """A film with its predicted rating."""

    model_config = ConfigDict(json_schema_extra={"examples": [_FILM]})

    id: int = Field(description="TMDB's.")
    title: str
    original_title: str
    overview: str | None
    release_date: date | None
    genres: list[str] = Field(description="TMDB's English names.")
    original_language: str | None = Field(description="TMDB's code: ISO 639-1, and some of its own.")
    poster_path: str | None = Field(description="To be put behind https://image.tmdb.org/t/p/w342.")
    situation: Situation = Field(description="Whether the film counted as released when it was predicted.")
    prediction: float = Field(ge=0, le=10, description="The rating, 0 to 10.")
    interval: Interval
    bundle: BundleReference
    synthetic: bool = Field(description="The film, or what the model learned from, is invented.")


class UpcomingDocument(BaseModel):
    """A page of films."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "day": "2026-01-03",
                    "synthetic": True,
                    "attribution": "Synthetic: these films, or those that the model learned from, are invented by the "
                    "platform's built-in catalogue.",
                    "total": 1,
                    "page": 1,
                    "pages": 1,
                    "per_page": 50,
                    "from": "2026-01-04",
                    "to": "2026-06-30",
                    "films": [_FILM],
                }
            ]
        }
    )

    day: date = Field(description="Of the predictions.")
    synthetic: bool = Field(description="At least some of the films are synthetic.")
    attribution: str = Field(description="What must be shown with the films.")
    total: int = Field(description="How many films match, on all pages.")
    page: int
    pages: int = Field(description="How many pages there are; 0 if no film matches.")
    per_page: int
    released_from: date | None = Field(alias="from", description="The limit that was applied, given or by default.")
    released_to: date | None = Field(alias="to")
    films: list[UpcomingFilmDocument]


class _CsvResponse(StreamingResponse):
    media_type = "text/csv"


@router.get(
    "/upcoming",
    response_model=UpcomingDocument,
    responses={
        200: {
            "headers": {
                "Link": {
                    "description": "The pages around this one (RFC 8288), relative to this address.",
                    "schema": {"type": "string", "examples": ['<?genre=Drama&page=2>; rel="next"']},
                }
            }
        },
        **problem_responses(401, 422, 503),
    },
)
def list_upcoming(request: Request, parameters: Annotated[UpcomingParameters, Query()]) -> Response:
    """List the films that are still to come, the best predicted first.

    The predictions are those of the newest day. They are not rounded, so they equal those of the day's file.
    """
    films = _films(request)
    query = parameters.query(films)
    selection = films.select(query)
    pages = -(-selection.total // query.per_page)
    around = {"prev": min(query.page - 1, pages), "next": query.page + 1}
    links = [
        f'<?{_query_string(request, page=page)}>; rel="{relation}"'
        for relation, page in around.items()
        if 1 <= page <= pages
    ]
    document = UpcomingDocument.model_validate(
        {
            "day": films.day,
            "synthetic": films.synthetic,
            "attribution": films.attribution,
            "total": selection.total,
            "page": query.page,
            "pages": pages,
            "per_page": query.per_page,
            "from": query.released_from,
            "to": query.released_to,
            "films": [_document(film) for film in selection.films],
        }
    )
    return _json(document, headers={"Link": ", ".join(links)} if links else None)


@router.get(
    "/upcoming.csv",
    response_class=_CsvResponse,
    responses={
        200: {
            "content": {
                "text/csv": {
                    "schema": {"type": "string"},
                    "example": '"id","title",...\n900157306,"The River and the Shadow",...\n',
                }
            }
        },
        **problem_responses(401, 422, 503),
    },
)
def download_upcoming(request: Request, filters: Annotated[UpcomingFilters, Query()]) -> StreamingResponse:
    """Download all films that match as a CSV file in UTF-8, with a row of column names.

    Genres are joined by `|`. A text that begins with `=`, `+`, `-`, `@`, a tab or a line break is preceded by an
    apostrophe, so that no spreadsheet takes it for a formula.
    """
    films = _films(request)
    name = f"upcoming-{films.day}.csv"
    return _CsvResponse(
        films.csv(filters.query(films)), headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


@router.get("/upcoming/{tmdb_id}", response_model=UpcomingFilmDocument, responses=problem_responses(401, 404, 422, 503))
def get_upcoming(
    request: Request, tmdb_id: Annotated[int, Path(ge=1, lt=2**63, description="TMDB's id of the film.")]
) -> Response:
    """Return one film of the newest day's predictions, whether it is still to come or not."""
    films = _films(request)
    film = films.film(tmdb_id)
    if film is None:
        raise Problem(
            404,
            f"film {tmdb_id} is not among the {len(films):,} that were predicted on {films.day}: films released in the "
            "12 months before that day or the 6 months after it; /upcoming lists them, and /predict takes any film",
        )
    return _json(_document(film))


def _films(request: Request) -> "UpcomingFilms":
    keeper = service_of(request).upcoming
    films = keeper.current
    if films is None:
        raise Problem(503, keeper.problem or "the predicted ratings are being read", headers={"Retry-After": "10"})
    return films


def _document(film: UpcomingFilm) -> UpcomingFilmDocument:
    return UpcomingFilmDocument(
        id=film.id,
        title=film.title,
        original_title=film.original_title,
        overview=film.overview,
        release_date=film.release_date,
        genres=list(film.genres),
        original_language=film.original_language,
        poster_path=film.poster_path,
        situation=film.situation,
        prediction=film.prediction,
        interval=Interval(low=film.low, high=film.high, level=_LEVEL),
        bundle=BundleReference(partition=film.bundle_partition, sha256=film.bundle_sha256),
        synthetic=film.synthetic,
    )


def _query_string(request: Request, *, page: int) -> str:
    others = [(name, value) for name, value in request.query_params.multi_items() if name != "page"]
    return urlencode([*others, ("page", page)])


def _json(document: BaseModel, *, headers: Mapping[str, str] | None = None) -> Response:
    # FastAPI would validate and convert the document again, on the event loop.
    return Response(document.model_dump_json(by_alias=True), media_type="application/json", headers=headers)
