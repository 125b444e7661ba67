"""The pages for people: upcoming films, one film and why, a form to try a film, the model card.

What belongs here: what each page is given, and putting numbers into words. What does not: how it looks (`templates`,
`static`), geometry (`charts`), and the rules for filters and films, which are those of the API (`upcoming`, `films`).

Every page works without JavaScript; `static/site.js` fetches the same addresses and puts parts of them in place.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from movie_platform.rating_model.card import ATTRIBUTION, HEADINGS, Section, forecasts, limits
from movie_platform.rating_model.card import model_card as card_of
from movie_platform.rating_model.fields import MIN_VOTES, SITUATIONS, YEARS, Film, Situation
from movie_platform.rating_model.rows import RowPrediction
from movie_platform.storage import StorageError
from movie_platform.tmdb.reference import GENRES, LANGUAGES
from serving import charts
from serving.bundles import LoadedBundle
from serving.films import FilmRequest
from serving.model_card import FORECAST_PLOTS, ModelCard
from serving.problems import FieldError, Problem, field_errors
from serving.rendering import render, render_problem, sentence, spoken
from serving.service import bundle_of, service_of
from serving.stories import in_words, tell
from serving.upcoming import UpcomingFilm, UpcomingFilters, UpcomingParameters, UpcomingQuery

if TYPE_CHECKING:
    from serving.upcoming_table import UpcomingFilms

__all__ = ["render_problem", "router"]

router = APIRouter(include_in_schema=False)

_SORTS: Final = (
    ("-prediction", "Highest first"),
    ("prediction", "Lowest first"),
    ("release_date", "Soonest first"),
    ("-release_date", "Latest first"),
    ("title", "By title"),
)
_PER_PAGE: Final = "30"
_SHOWN: Final = 10

_PLOTS: Final = {
    "predicted_against_actual": (
        "Two scatter plots, before and after release: predicted against actual rating of each film of the hold-out.",
        "Each dot is a film of the hold-out: the closer to the diagonal, the better it was predicted.",
    ),
    "residuals_by_year": (
        "Mean error by release year, before and after release, around a line at zero.",
        "Whether films of some years are predicted too high or too low.",
    ),
    "feature_importance": (
        "Bars: the features with the largest share of the trees' gain.",
        "What the trees rely on most. It says what is used, not what causes a rating.",
    ),
    "interval_calibration": (
        "Share of ratings inside the 80 % range, by tenths of the predictions from low to high.",
        "Whether the range keeps its promise for films predicted low, in the middle and high.",
    ),
    "errors_over_time": (
        "Error of forecasts, as root mean square and on average, by month of release and days before it.",
        "How far off the forecasts were, month by month. The table of months has every figure.",
    ),
    "coverage_over_time": (
        "Share of ratings inside the forecasts' range, by month of release and days before it.",
        "How often the range held the rating, month by month.",
    ),
}
_EXAMPLE: Final = (
    ("title", "The Lighthouse of Lisbon"),
    ("overview", "A retired keeper returns to the coast where her brother vanished, and finds his logbook."),
    ("release_date", "2026-11-20"),
    ("genres", "Drama"),
    ("genres", "Mystery"),
    ("original_language", "pt"),
)


# --- upcoming films --------------------------------------------------------------------------------

_FILTERS: Final = ("title", "genre", "language", "from", "to", "sort")


@dataclass(frozen=True, slots=True)
class _Chip:
    """A filter in use, and the address without it."""

    name: str
    url: str
    language: str | None = None


@router.get("/")
def upcoming(request: Request) -> Response:
    """Show upcoming films, ranked, with filters."""
    films = _films(request)
    # What somebody's link has added does not matter to a page, so that unknown parameters are left out, not refused.
    known = UpcomingParameters.names()
    asked = [(name, value) for name, value in request.query_params.multi_items() if name in known and value.strip()]
    del asked[_MOST_FIELDS:]
    context: dict[str, Any] = {
        "films": films,
        "sorts": _SORTS,
        "default_from": UpcomingFilters().query(films).released_from,
        "chips": _chips(asked),
        "csv_query": _query_string([(name, value) for name, value in asked if name in _FILTERS]),
    }
    try:
        parameters = UpcomingParameters.from_form([("per_page", _PER_PAGE), *asked])
    except ValidationError as error:
        told = _sentences(field_errors(error.errors(include_url=False, include_input=False)), _FILTER_LABELS)
        context |= {
            "values": {name: dict(asked).get(name, "") for name in _FILTERS},
            "more_genres": [value for name, value in asked if name == "genre"][:-1],
            "errors": {name: text for name, text in told.items() if name in _FILTERS},
            "other_errors": [text for name, text in told.items() if name not in _FILTERS],
        }
        return render(
            request,
            "upcoming.html",
            synthetic=films.synthetic,
            real=films.attribution == ATTRIBUTION,
            status=422,
            selection=None,
            **context,
        )
    query = parameters.query(films)
    selection = films.select(query)
    earlier = films.day.replace(year=films.day.year - 1, day=1)
    context |= {
        "values": {
            "title": query.title or "",
            "genre": query.genres[-1] if query.genres else "",
            "language": query.language or "",
            "from": query.released_from or "",
            "to": query.released_to or "",
            "sort": query.sort,
        },
        "more_genres": query.genres[:-1],
        "errors": {},
        "other_errors": [],
        "count": _count(selection.total, query),
        "ranked": query.sort == "-prediction",
        "first_rank": (query.page - 1) * query.per_page + 1,
        "page": query.page,
        "pages": max(-(-selection.total // query.per_page), 1),
        "first_url": _address(asked, page=None),
        "previous_url": _address(asked, page=query.page - 1),
        "next_url": _address(asked, page=query.page + 1),
        "earlier_url": None,
    }
    if query.released_from is None or query.released_from > earlier:
        context["earlier_url"] = _address(asked, **{"from": str(earlier), "page": None})
    return render(
        request,
        "upcoming.html",
        synthetic=films.synthetic,
        real=films.attribution == ATTRIBUTION,
        selection=selection,
        **context,
    )


def _films(request: Request) -> "UpcomingFilms":
    keeper = service_of(request).upcoming
    if keeper.current is None:
        raise Problem(503, keeper.problem or "no film has been predicted yet", headers={"Retry-After": "10"})
    return keeper.current


_FILTER_LABELS: Final = {
    "title": "The title",
    "genre": "The genre",
    "language": "The language",
    "from": "This day",
    "to": "This day",
    "sort": "The order",
    "page": "The page",
    "per_page": "The number of films on a page",
}


def _count(total: int, query: UpcomingQuery) -> str:
    films = {0: "No film", 1: "1 film"}.get(total, f"{total:,} films")
    since, until = query.released_from, query.released_to
    if since and until:
        return f"{films}, released {in_words(since)} to {in_words(until)}"
    if until:
        return f"{films}, released until {in_words(until)}"
    return f"{films}, released from {in_words(since)} on" if since else films


def _chips(asked: Sequence[tuple[str, str]]) -> list[_Chip]:
    words = {"title": "“{}”", "from": "from {}", "to": "until {}", "genre": "{}", "language": "{}"}
    return [
        _Chip(
            name=words[name].format(value),
            url=_address([*asked[:index], *asked[index + 1 :]], page=None),
            language=value if name == "language" else None,
        )
        for index, (name, value) in enumerate(asked)
        if name in words
    ]


def _address(asked: Iterable[tuple[str, str]], **changed: int | str | None) -> str:
    """Return the address of the list as it was asked for, but with some parameters changed or, as None, left out."""
    kept = [(name, value) for name, value in asked if name not in changed]
    return "/" + _query_string([*kept, *((name, str(value)) for name, value in changed.items() if value is not None)])


def _query_string(pairs: Sequence[tuple[str, str]]) -> str:
    return f"?{urlencode(pairs)}" if pairs else ""


def _sentences(errors: Iterable[FieldError], labels: Mapping[str, str]) -> dict[str, str]:
    """Return a sentence for each field that is wrong, under its name; the first one where there are several."""
    told: dict[str, str] = {}
    for error in errors:
        field = error.field.partition("[")[0]
        told.setdefault(field, f"{labels.get(field, field)} {error.problem}: {error.remedy}.")
    return told


# --- one film, and why -----------------------------------------------------------------------------


@router.get("/films/{tmdb_id:int}")
def film(request: Request, tmdb_id: int) -> Response:
    """Show one film, what is predicted for it, and why."""
    films = _films(request)
    found = films.film(tmdb_id) if tmdb_id < 2**63 else None
    if found is None:
        raise Problem(
            404, f"no film with the TMDB id {tmdb_id} is among the {len(films):,} predicted on {in_words(films.day)}"
        )
    bundle: LoadedBundle | None = request.state.bundle
    context: dict[str, Any] = {"film": found, "films": films, "story": None, "unexplained": "", "unseen": ()}
    if bundle is None:
        context["unexplained"] = "No model is served at the moment, so what moved the prediction cannot be said."
    else:
        try:
            asked = Film(
                title=found.title,
                overview=found.overview,
                release_date=found.release_date,
                genres=found.genres,
                original_language=found.original_language,
            )
        except ValueError as error:
            context["unexplained"] = f"The model served now does not take this film ({error})."
        else:
            explanation = bundle.predictor.explain(asked)
            context["story"] = tell(explanation, asked)
            context["unseen"] = bundle.predictor.unseen(asked)
            context["differs"] = _difference(found, explanation.prediction, bundle)
    return render(request, "film.html", synthetic=found.synthetic, **context)


def _difference(listed: UpcomingFilm, explained: RowPrediction, bundle: LoadedBundle) -> str:
    """Say in what respect the explanation is not that of the listed prediction; empty if it is."""
    reasons = []
    if listed.situation == "released":
        reasons.append("as if nobody had rated the film yet, since its votes are not kept with the prediction")
    if listed.bundle_sha256 != bundle.champion.sha256:
        reasons.append(f"by the model that is served now, of {in_words(bundle.champion.partition)}")
    if not reasons:
        return ""
    return f"What follows is explained {', and '.join(reasons)}. Asked that way, it is {spoken(explained)}."


# --- trying a film ---------------------------------------------------------------------------------

_LABELS: Final = {
    "title": "The title",
    "overview": "The text",
    "release_date": "The release date",
    "release_year": "The year",
    "genres": "A genre",
    "original_language": "The language",
    "vote_count": "The number of votes",
    "popularity": "The popularity",
}
_MOST_FIELDS: Final = 60
_INTEGER: Final = re.compile(r"-?[0-9]{1,15}")
_NUMBER: Final = re.compile(r"-?[0-9]{1,15}([.][0-9]{1,15}|,([0-9]{1,2}|[0-9]{4,15}))?")
"""With a point or a comma; but 1,234 may be a thousand or one and a bit."""


@router.get("/try")
def try_form(request: Request) -> Response:
    """Show the form, filled in with what the address names."""
    bundle = bundle_of(request)
    given = [(name, value) for name, value in request.query_params.multi_items() if name in _LABELS]
    return _try_page(request, bundle, given)


@router.post("/try")
async def try_film(request: Request) -> Response:
    """Predict the film of the form, and say why."""
    bundle = bundle_of(request)
    return await run_in_threadpool(_tried, request, bundle, await _form(request))


async def _form(request: Request) -> list[tuple[str, str]]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Problem(415, "the form is not sent as application/x-www-form-urlencoded; send it as this page does")
    body = await request.body()  # of limited length: see the middleware
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise Problem(400, "the form cannot be read; send it as this page does, in UTF-8") from error
    return [(name, value) for name, value in pairs if name in _LABELS]


def _tried(request: Request, bundle: LoadedBundle, given: Sequence[tuple[str, str]]) -> Response:
    document, wrong = _document(given)
    try:
        film = FilmRequest.model_validate(document).as_film()
    except ValidationError as error:
        found = field_errors(error.errors(include_url=False, include_input=False))
        # Without a year that could not be read, a date seems to be missing.
        if "release_date" not in document and any(error.field == "release_year" for error in wrong):
            found = [error for error in found if error.field != "release_date"]
        wrong += found
    if wrong:
        return _try_page(request, bundle, given, errors=_form_sentences(wrong))
    explanation = bundle.predictor.explain(film)
    answer = explanation.prediction
    service_of(request).telemetry.predictions.labels(answer.situation).observe(answer.prediction)
    return _try_page(
        request,
        bundle,
        given,
        answer=answer,
        story=tell(explanation, film),
        unseen=bundle.predictor.unseen(film),
    )


def _document(given: Sequence[tuple[str, str]]) -> tuple[dict[str, Any], list[FieldError]]:
    """Return the fields as a request in JSON would have them, and what is wrong with those that cannot be."""
    document: dict[str, Any] = {}
    wrong = []
    for name, text in given:
        value = text.strip()
        if not value:
            continue
        if name == "genres":
            document.setdefault(name, []).append(value)
        elif name in {"release_year", "vote_count"} and _INTEGER.fullmatch(value):
            document[name] = int(value)
        elif name == "popularity" and _NUMBER.fullmatch(value):
            document[name] = float(value.replace(",", "."))
        elif name in {"release_year", "vote_count", "popularity"}:
            what, how = ("a number", "it like 12.5") if name == "popularity" else ("a whole number", "digits only")
            wrong.append(FieldError(field=name, problem=f"is not {what}", remedy=f"write {how}, or leave it out"))
        else:
            document[name] = value
    return document, wrong


def _form_sentences(errors: Iterable[FieldError]) -> dict[str, str]:
    told = _sentences(errors, _LABELS)
    # In the order of the form. Some rules are about two fields, and speak of them by the names that the API has.
    return {
        name: told[name].replace("release_date", "the release date").replace("release_year", "the year")
        for name in _LABELS
        if name in told
    }


def _try_page(
    request: Request,
    bundle: LoadedBundle,
    given: Sequence[tuple[str, str]],
    *,
    errors: Mapping[str, str] | None = None,
    answer: RowPrediction | None = None,
    **result: Any,
) -> Response:
    values: dict[str, Any] = {name: dict(given).get(name, "") for name in _LABELS}
    values["genres"] = [value for name, value in given if name == "genres"]
    return render(
        request,
        "try.html",
        synthetic=bundle.champion.synthetic,
        status=422 if errors else 200,
        values=values,
        errors=errors or {},
        answer=answer,
        genres=sorted(GENRES.values()),
        languages=sorted(LANGUAGES),
        years=YEARS,
        min_votes=MIN_VOTES,
        example_url=f"/try?{urlencode(_EXAMPLE)}",
        **result,
    )


# --- the model card --------------------------------------------------------------------------------


@router.get("/model-card")
def model_card(request: Request) -> Response:
    """Show which model answers, how good it is, what was released and why."""
    service = service_of(request)
    bundle: LoadedBundle | None = request.state.bundle
    card = service.model_card.read(bundle.champion.partition if bundle else None)
    sections: Sequence[Section]
    released = synthetic = None
    if bundle is not None:
        champion = bundle.champion
        synthetic = champion.synthetic
        released, sections = card.release_of(champion), card_of(bundle.metadata, card.figures_of(champion))
    else:
        synthetic = card.days[-1].synthetic if card.days else None
        sections = [limits(synthetic=synthetic)]
    refused = [decision for decision in reversed([*card.decisions.values()]) if not decision.released]
    return render(
        request,
        "model_card.html",
        synthetic=synthetic,
        card=card,
        trouble=sentence(service.bundles.problem),
        trained_on=bundle.metadata.trained_on if bundle else None,
        newest=service.bundles.newest,
        released=released,
        sections={section.name: section for section in sections},
        forecasts=forecasts(card.forecasts) if card.forecasts else None,
        forecast_plots=_pictures(card.forecast_plots),
        error_charts=[_errors_over_days(card, situation) for situation in SITUATIONS],
        coverage_chart=_coverage_over_days(card),
        refusals=refused,
        shown=_SHOWN,
        plots=_pictures(card.plots.get(bundle.champion.partition, ()) if bundle else ()),
    )


def _pictures(names: Sequence[str]) -> list[dict[str, str]]:
    return [{"name": name, "alt": alt, "caption": caption} for name, (alt, caption) in _PLOTS.items() if name in names]


@router.get("/plots/{name}.png")
def plot(request: Request, name: str) -> Response:
    """Send a picture of the served bundle's day, or of what became of forecasts."""
    keeper = service_of(request).model_card
    if name in FORECAST_PLOTS:
        judged = keeper.read().forecasts
        day = judged.partition if judged else None
    else:
        day = bundle_of(request).champion.partition
    known = request.headers.get("if-none-match", "").removeprefix("W/").strip('"')
    try:
        found = keeper.plot(day, name, known=known or None) if day else None
    except StorageError as error:
        raise Problem(503, str(error), headers={"Retry-After": "10"}) from error
    if found is None:
        raise Problem(404, "there is no such plot; /model-card shows those that there are")
    headers = {"ETag": f'"{found.version.strip(chr(34))}"'}
    if found.version == known:
        return Response(status_code=304, headers=headers)
    return Response(found.data, media_type="image/png", headers=headers)


def _errors_over_days(card: ModelCard, situation: Situation) -> dict[str, Any]:
    series = [
        charts.Series(
            label, kind, [(day.partition, getattr(day.figures.of(situation), name).rmse) for day in card.days]
        )
        for label, kind, name in (
            ("model", "first", "model"),
            ("genre mean", "second", "genre_mean"),
            ("mean of all", "third", "global_mean"),
        )
    ]
    heading = HEADINGS[situation]
    return {
        "caption": f"{heading}: error (RMSE, rating points)",
        "svg": charts.line_chart(
            name=f"errors-{situation}",
            title=f"{heading}: root mean square error of each day's model and of the two means",
            description=_ends(series, "{:.3f}"),
            series=series,
            marked={day for day, decision in card.decisions.items() if decision.released},
            marked_as="released",
        ),
    }


def _coverage_over_days(card: ModelCard) -> dict[str, Any]:
    series = [
        charts.Series(
            HEADINGS[situation].lower(),
            kind,
            [
                (day.partition, coverage)
                for day in card.days
                if (coverage := day.figures.of(situation).model.interval_coverage) is not None
            ],
        )
        for situation, kind in zip(SITUATIONS, ("first", "second"), strict=True)
    ]
    return {
        "caption": "How often the range holds the rating",
        "svg": charts.line_chart(
            name="coverage",
            title="Share of the hold-out's ratings inside the 80 % range, for each day's model",
            description=_ends(series, "{:.0%}"),
            series=series,
            reference=(0.8, "aim: 80 %"),
            percent=True,
        ),
    }


def _ends(series: Sequence[charts.Series], number: str) -> str:
    told = [
        f"{line.name} from {number.format(line.points[0][1])} to {number.format(line.points[-1][1])}"
        for line in series
        if line.points
    ]
    days = [day for line in series for day, _ in line.points]
    between = f" from {in_words(min(days))} to {in_words(max(days))}" if days else ""
    return f"Over the days{between}: {'; '.join(told)}. The table below has every figure."
