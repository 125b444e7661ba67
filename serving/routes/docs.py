"""`/docs`: the API's description for people, without the internet.

What belongs here: the page around Swagger UI, whose files are those of the package fastapi-offline. What does not: the
description itself (`openapi`).
"""

from typing import Final

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

# Swagger UI sets styles on its elements. Its scripts are files, so nothing inline may run.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>movie_platform API</title>
<link rel="icon" href="/docs/static/favicon.png">
<link rel="stylesheet" href="/docs/static/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"><p>The description is at <a href="/openapi.json">/openapi.json</a>; this page needs JavaScript to
show it.</p></div>
<script src="/docs/static/swagger-ui-bundle.js"></script>
<script src="/static/docs.js"></script>
</body>
</html>
"""


@router.get("/docs")
async def docs() -> HTMLResponse:
    """Show the API, with forms to try it."""
    return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY})
