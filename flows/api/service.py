"""The application: its routes, how errors are said, and the page."""

from __future__ import annotations

from importlib import resources
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException

from flows.api.alertmanager import Backstage, alertmanager_routes
from flows.api.beyond import beyond_routes
from flows.api.on_call import on_call_routes
from flows.version import version

__all__ = ["application"]

_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def application(stage: Backstage) -> FastAPI:
    """Return the application. ``/docs`` describes it, ``/openapi.json`` for programs."""
    made = FastAPI(
        title="Headrace notifier",
        version=version(),
        description="Alertmanager's API v2, and what goes beyond it.",
    )
    made.include_router(alertmanager_routes(stage))
    made.include_router(beyond_routes(stage))
    made.include_router(on_call_routes(stage))

    @made.exception_handler(HTTPException)
    def refused(_request: Request, error: HTTPException) -> Response:
        """Say what is wrong as a JSON text, as Alertmanager does."""
        return JSONResponse(error.detail, error.status_code, error.headers)

    @made.exception_handler(RequestValidationError)
    def unreadable(_request: Request, error: RequestValidationError) -> Response:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"][1:]))
        return JSONResponse(f"{place}: {fault['msg']}", 400)

    @made.get("/-/healthy", include_in_schema=False)
    @made.get("/-/ready", include_in_schema=False)
    def ready() -> str:
        return "OK"

    def part(name: str, kind: str) -> None:
        text = resources.files(__package__).joinpath("page", name).read_text("utf-8")
        path = "/" if name == "index.html" else f"/{name}"

        @made.get(path, include_in_schema=False)
        def page() -> Response:
            return Response(text, media_type=kind, headers=_HEADERS)

    part("index.html", HTMLResponse.media_type or "text/html")
    part("page.js", "text/javascript")
    part("page.css", "text/css")
    return made
