"""How the service says no: RFC 9457 problem documents that name the field and the remedy.

What belongs here: the document, and putting what pydantic found into words. What does not: the rules themselves
(`films`, the routes), and problems as pages (`routes.pages`).
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import ErrorDetails
from starlette.responses import Response

__all__ = ["MEDIA_TYPE", "FieldError", "Problem", "ProblemDocument", "field_errors", "problem_responses", "refusal"]

MEDIA_TYPE: Final = "application/problem+json"
_MOST_ERRORS: Final = 20

_REMEDIES: Final = {
    "missing": ("is missing", "give it"),
    "string_type": ("is not a text", "write it in quotes"),
    "string_too_short": ("is empty", "write at least one character"),
    "string_too_long": ("has more than {max_length} characters", "shorten it"),
    "string_pattern_mismatch": ("is not of two small letters", "write TMDB's code, like en, or leave it out"),
    "too_short": ("has fewer than {min_length}", "send more"),
    "too_long": ("has more than {max_length}", "send fewer"),
    "greater_than_equal": ("is less than {ge}", "correct it, or leave it out"),
    "less_than_equal": ("is more than {le}", "correct it, or leave it out"),
    "bool_parsing": ("is neither true nor false", "write one of the two"),
    "int_type": ("is not a whole number", "write it without quotes or decimals, or leave it out"),
    "int_from_float": ("is not a whole number", "write it without decimals, or leave it out"),
    "int_parsing": ("is not a whole number", "write digits only, or leave it out"),
    "float_type": ("is not a number", "write it without quotes, or leave it out"),
    "finite_number": ("is not a finite number", "write an ordinary number, or leave it out"),
    "date_type": ("is not a date", "write it as YYYY-MM-DD, or leave it out"),
    "date_parsing": ("is not a date", "write it as YYYY-MM-DD, or leave it out"),
    "list_type": ("is not a list", "write it in square brackets, or leave it out"),
    "model_type": ("is not an object", "write the fields in curly brackets"),
    "json_invalid": ("is not JSON", "send a JSON object in UTF-8"),
}
"""By the type of pydantic's error: what is wrong, and what to do."""


class FieldError(BaseModel):
    """What is wrong with one field of a request."""

    model_config = ConfigDict(frozen=True)

    field: str = Field(description="The field, as `films[3].genres[0]`; `body` is the whole body.")
    problem: str
    remedy: str


class ProblemDocument(BaseModel):
    """Why a request was refused, after RFC 9457."""

    title: str = Field(description="The status in words.")
    status: int
    detail: str = Field(description="A sentence for a person, with what to do.")
    errors: list[FieldError] = Field(default=[], description="Of a 422: every field that is wrong, at most 20.")


class Problem(Exception):  # noqa: N818 the term of RFC 9457
    """Ends a request with a problem document."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = HTTPStatus(status)
        self.detail = detail
        self.errors = list(errors)
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """Return the answer."""
        document = ProblemDocument(title=self.status.phrase, status=self.status, detail=self.detail, errors=self.errors)
        body = document.model_dump_json(exclude={"errors"} if not self.errors else None)
        return Response(body, self.status, media_type=MEDIA_TYPE, headers=self.headers)


def refusal(errors: Sequence[FieldError]) -> Problem:
    """Return the 422 for fields that are wrong, at least one."""
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    first = errors[0]
    return Problem(422, f"{first.field} {first.problem}: {first.remedy}{more}", errors=errors)


def field_errors(
    problems: Iterable[ErrorDetails | Mapping[str, Any]], *, known: Iterable[str] = (), skip: int = 0
) -> list[FieldError]:
    """Put what pydantic found into words; `known` are the fields there are, to suggest one for a typing error.

    Of each location the first `skip` parts are left out, such as FastAPI's "query". The values are not repeated.
    """
    found = []
    for problem in list(problems)[:_MOST_ERRORS]:
        kind, context = str(problem["type"]), problem.get("ctx") or {}
        location = list(problem["loc"][skip:])
        if "field" in context:  # a rule on several fields
            location.append(context["field"])
        if kind == "extra_forbidden":
            name = str(location[-1])[:60]
            near = difflib.get_close_matches(name.lower(), list(known), n=1)
            what, remedy = "is not a field", f"correct it to {near[0]}" if near else "remove it"
        elif kind == "value_error":
            what, _, remedy = str(context["error"]).partition("; ")
        else:
            what, remedy = _REMEDIES.get(kind, (_lowered(str(problem["msg"])), "correct it, or leave it out"))
            what = what.format_map(context)
        found.append(FieldError(field=_path(location), problem=what, remedy=remedy or "correct it"))
    return found


def _path(location: Sequence[int | str]) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part[:60]}" if path else part[:60]
    return path or "body"


def _lowered(message: str) -> str:
    return message[:1].lower() + message[1:]


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of the problems that a route may answer with."""
    return {status: _described(HTTPStatus(status)) for status in statuses}


def _described(status: HTTPStatus) -> dict[str, Any]:
    description, detail = _DESCRIPTIONS[status]
    example = ProblemDocument(title=status.phrase, status=status, detail=detail).model_dump(exclude={"errors"})
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        field, _, rest = detail.partition(" ")
        problem, _, remedy = rest.partition(": ")
        example["errors"] = [{"field": field, "problem": problem, "remedy": remedy}]
    reference = {"$ref": "#/components/schemas/ProblemDocument"}
    return {"description": description, "content": {MEDIA_TYPE: {"schema": reference, "example": example}}}


_DESCRIPTIONS: Final = {
    401: (
        "No valid API key was sent; only where keys are set.",
        "an API key is needed: send it as X-API-Key, as Authorization: Bearer, or in a browser as the password",
    ),
    404: ("There is no such film.", "film 1 is not among the 362 that were predicted on 2026-01-03"),
    408: (
        "The request did not arrive in time.",
        "the request did not arrive within 30 s; send it faster, or less of it",
    ),
    413: ("The body is too large.", "the body has more than 262,144 bytes; send less at once"),
    415: (
        "The body is not declared as JSON.",
        "the body is not declared as JSON; send the header Content-Type: application/json",
    ),
    422: (
        "Fields are unknown, missing, of a wrong type or impossible; each is named with what to do.",
        "release_yer is not a field: correct it to release_year",
    ),
    503: (
        "There is nothing to answer with yet, or too much to do; the detail says which, and what to run.",
        "there is no model to answer with: no bundle has been released yet: there is no s3://films/champion.json. "
        "Run make demo, or make backfill for a range of days, with the same MOVIE_PLATFORM_STORAGE",
    ),
}
"""By status: when it is answered, and an example of the detail."""
