"""The HTTP application: routes, what is before them, and what is said where there are none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse

from qwire._version import __version__
from qwire_server.api.http import health, openai, pages, rerank, tei
from qwire_server.api.http.door import Door
from qwire_server.api.http.errors import openai_shape, refusal
from qwire_server.api.http.guard import CLASS_HEADER, INTERACTIVE_TEXTS, TIMEOUT_HEADER
from qwire_server.errors import RequestError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

    from qwire_server.api.http.guard import Guard
    from qwire_server.api.metrics import MetricsObserver

_ABOUT = f"""\
Embeddings and reranking by one engine, in the words of OpenAI, Jina, Cohere and
text-embeddings-inference. gRPC is on another port.

Every POST takes two headers: `{CLASS_HEADER}: interactive` or `bulk` says whose turn it is when
both wait (by default more than {INTERACTIVE_TEXTS} texts to embed are bulk, all else is
interactive), and `{TIMEOUT_HEADER}: seconds` when the answer is of no use any more. `x-request-id`
comes back, and is in the server's log.
"""
_UNKNOWN = (
    "there is nothing at this path: /docs lists what there is (an OpenAI base_url ends in /v1)"
)
_METHOD = "this path does not take that method: /docs lists what there is"


def application(guard: Guard, metrics: MetricsObserver, tokenizer_threads: int) -> ASGIApp:
    """Everything that answers on the HTTP port."""
    app = FastAPI(
        title="Qwire",
        version=__version__,
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        # Its own spans and logs may hold what clients sent; ours (`api/otel.py`) do not.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    for router in (
        openai.routes(guard),
        rerank.routes(guard),
        tei.routes(guard, tokenizer_threads),
        health.routes(guard.gate, metrics),
        pages.routes(),
    ):
        app.include_router(router)
    app.add_exception_handler(RequestError, _refused)
    app.add_exception_handler(HTTPException, _no_route)
    return Door(_with_cors(app, guard.rules.origins), guard.rules)


def _with_cors(app: ASGIApp, origins: tuple[str, ...]) -> ASGIApp:
    if not origins:
        return app
    return CORSMiddleware(
        app, allow_origins=origins, allow_methods=["GET", "POST"], allow_headers=["*"]
    )


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return refusal(error, openai_shape)


async def _no_route(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    told = {404: _UNKNOWN, 405: _METHOD}.get(error.status_code, error.detail)
    body = {"message": told, "type": "invalid_request_error", "param": None, "code": None}
    return JSONResponse({"error": body}, error.status_code, error.headers)
