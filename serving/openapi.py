"""The OpenAPI description, where FastAPI cannot know it.

What belongs here: bodies that routes read themselves, the document of problems, API keys. What does not: the fields of
requests and answers (`films`, `routes`).
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from serving.films import BatchRequest, FilmRequest
from serving.middleware import OPEN_PATHS
from serving.problems import ProblemDocument

__all__ = ["describe", "json_body", "parameters"]

_REFERENCE: Final = "#/components/schemas/{model}"


def json_body(model: type[FilmRequest | BatchRequest]) -> dict[str, Any]:
    """Return the description of a body that the route validates straight from its bytes."""
    reference = {"$ref": _REFERENCE.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": reference}}}}


def parameters(model: type[BaseModel]) -> dict[str, Any]:
    """Return the description of query parameters that the route reads itself."""
    described = [
        {"name": name, "in": "query", "required": False, "schema": schema, "description": schema.pop("description")}
        for name, schema in model.model_json_schema()["properties"].items()
    ]
    return {"parameters": described}


def describe(app: FastAPI, *, has_keys: bool) -> None:
    """Complete what `/openapi.json` answers."""
    generate = app.openapi

    @cache
    def complete() -> dict[str, Any]:
        description = generate()
        components = description.setdefault("components", {})
        components.setdefault("schemas", {}).update(_schemas())
        if has_keys:
            components["securitySchemes"] = {"key": {"type": "apiKey", "in": "header", "name": "X-API-Key"}}
            description["security"] = [{"key": []}]
            for path in OPEN_PATHS:
                for operation in description["paths"][path].values():
                    operation["security"] = []
        return description

    app.openapi = complete  # type: ignore[method-assign]


def _schemas() -> Mapping[str, Any]:
    models = [(model, "validation") for model in (FilmRequest, BatchRequest, ProblemDocument)]
    _, definitions = models_json_schema(models, ref_template=_REFERENCE)  # type: ignore[arg-type]
    schemas: Mapping[str, Any] = definitions["$defs"]
    return schemas
