"""Pages as HTML: the template environment, the filters that put numbers into words, and problems as pages.

What belongs here: what every page has in common. What does not: what a single page is given (`routes.pages`), and how
it looks (`templates`, `static`).
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from movie_platform.rating_model.card import ATTRIBUTION
from movie_platform.rating_model.rows import RowPrediction
from serving import charts
from serving.problems import Problem
from serving.stories import in_words
from serving.upcoming import UpcomingFilm

__all__ = ["render", "render_problem", "sentence", "spoken"]

SITE: Final = "Film Forecast"
_POSTER: Final = re.compile(r"/[A-Za-z0-9_-]+\.[a-z]{3,4}")


def spoken(answer: RowPrediction | UpcomingFilm) -> str:
    """Return a prediction as it is read aloud."""
    return f"{answer.prediction:.1f}, likely between {answer.low:.1f} and {answer.high:.1f}"


def _signed(points: float) -> str:
    return f"{points:+.2f}".replace("-", "−")  # noqa: RUF001 a minus as wide as the plus


def _initial(title: str) -> str:
    """Return the letter that stands for a film without a poster, which an article would make the same for most."""
    words = title.split()
    word = words[1] if len(words) > 1 and words[0].casefold() in {"a", "an", "the"} else title
    return next(filter(str.isalnum, word), "·").upper()


def _language_tag(code: str | None) -> str | None:
    """Return the tag that HTML wants for TMDB's code, None for what is no language of HTML."""
    return {"xx": None, "cn": "yue"}.get(code, code) if code else None


def _poster_url(film: UpcomingFilm, size: str) -> str | None:
    # The built-in catalogue has paths of posters, too, but nobody has drawn them.
    if film.synthetic or not film.poster_path or not _POSTER.fullmatch(film.poster_path):
        return None
    return f"https://image.tmdb.org/t/p/{size}{film.poster_path}"


_TEMPLATES: Final = Environment(
    loader=PackageLoader("serving"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters.update(
    day=in_words,
    spoken=spoken,
    signed=_signed,
    rating="{:.1f}".format,
    hundredths="{:.2f}".format,
    thousandths="{:.3f}".format,
    percent=lambda share: f"{100 * share:.0f} %",
    lang=_language_tag,
    poster_url=_poster_url,
    initial=_initial,
)
_TEMPLATES.globals.update(
    site=SITE,
    attribution=ATTRIBUTION,
    interval=charts.interval,
    bar=charts.bar,
    marker=charts.marker,
)


def render(
    request: Request,
    template: str,
    *,
    synthetic: bool | None,
    real: bool | None = None,
    status: int = HTTPStatus.OK,
    **context: Any,
) -> HTMLResponse:
    """Return a page. `synthetic` says whether any film that it shows is, None if it shows none; `real`, whether any is.

    By default all are the one or the other.
    """
    return HTMLResponse(
        _TEMPLATES.get_template(template).render(
            bundle=getattr(request.state, "bundle", None),
            current=request.url.path,
            synthetic=synthetic,
            real=synthetic is False if real is None else real,
            **context,
        ),
        status,
    )


def render_problem(request: Request, problem: Problem) -> Response:
    """Return a problem as a page."""
    answer = render(
        request,
        "problem.html",
        synthetic=None,
        status=problem.status,
        title=_TITLES.get(problem.status, problem.status.phrase),
        detail=sentence(problem.detail),
        back=request.url.path if problem.status == HTTPStatus.SERVICE_UNAVAILABLE and request.method == "GET" else "/",
        code=int(problem.status),
    )
    answer.headers.update(problem.headers)
    return answer


_TITLES: Final[Mapping[int, str]] = {
    404: "There is nothing here",
    422: "That cannot be answered",
    503: "Nothing to show yet",
}


def sentence(text: str | None) -> str | None:
    """Return a text as a sentence, and nothing as nothing."""
    if not text:
        return None
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
