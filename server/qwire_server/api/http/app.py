"""The HTTP application: routes, what is before them, and what is said where there are none."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse

from qwire._version import __version__
from qwire_server.api.http import cohere, health, openai, pages, rerank, tei
from qwire_server.api.http.door import Door
from qwire_server.api.http.errors import openai_shape, refusal
from qwire_server.api.http.guard import CLASS_HEADER, INTERACTIVE_TEXTS, TIMEOUT_HEADER
from qwire_server.api.http.lock import Lock
from qwire_server.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

    from qwire_server.api.http.guard import Guard
    from qwire_server.engine.observer import Observer
    from qwire_server.security.keyring import Keyring

_ABOUT = f"""\
Embeddings and reranking by one engine, in the words of OpenAI, Jina, Cohere and
text-embeddings-inference. gRPC is on another port.

Every POST takes two headers: `{CLASS_HEADER}: interactive` or `bulk` says whose turn it is when
both wait (by default more than {INTERACTIVE_TEXTS} texts to embed are bulk, all else is
interactive), and `{TIMEOUT_HEADER}: seconds` when the answer is of no use any more. `x-request-id`
comes back, and is in the server's log. A server that has keys wants one with each request:
`authorization: Bearer ...`.
"""
_LISTED = ": /docs lists what there is"
_UNKNOWN = "there is nothing at this path{}"
_METHOD = "this path does not take that method{}"


def application(
    guard: Guard,
    metrics: Callable[[], Awaitable[bytes]],
    tokenizer_threads: int,
    keyring: Keyring,
    observer: Observer,
) -> ASGIApp:
    """Everything that answers on the HTTP port."""
    with_pages = guard.rules.pages
    app = FastAPI(
        title="Qwire",
        version=__version__,
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json" if with_pages else None,
        # Its own spans and logs may hold what clients sent; ours (`api/otel.py`) do not.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    files = pages.routes() if with_pages else APIRouter()
    for router in (
        openai.routes(guard),
        rerank.routes(guard),
        cohere.routes(guard),
        tei.routes(guard, tokenizer_threads),
        health.routes(guard.gate, metrics),
        files,
    ):
        app.include_router(router)
    app.add_exception_handler(RequestError, _refused)
    app.add_exception_handler(HTTPException, partial(_no_route, _LISTED if with_pages else ""))
    paths = [route.path for route in files.routes if isinstance(route, APIRoute)]
    # Within CORS: a browser asks whether it may send a key before it sends one.
    locked = Lock(app, keyring, paths, observer)
    return Door(_with_cors(locked, guard.rules.origins), guard.rules)


def _with_cors(app: ASGIApp, origins: tuple[str, ...]) -> ASGIApp:
    if not origins:
        return app
    return CORSMiddleware(
        app, allow_origins=origins, allow_methods=["GET", "POST"], allow_headers=["*"]
    )


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return refusal(error, openai_shape)


async def _no_route(where: str, _: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    told = {404: _UNKNOWN, 405: _METHOD}.get(error.status_code, error.detail).format(where)
    body = {"message": told, "type": "invalid_request_error", "param": None, "code": None}
    return JSONResponse({"error": body}, error.status_code, error.headers)
