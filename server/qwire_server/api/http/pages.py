"""The files of the page: each a route of its own, so that no path leads anywhere else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.responses import FileResponse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_FOLDER = Path(__file__).parent / "page"
_INDEX = "index.html"


def routes() -> APIRouter:
    """A route for each file that is there now; `index.html` is `/`, `docs.html` is `/docs` too."""
    router = APIRouter(include_in_schema=False)
    for file in sorted(_FOLDER.rglob("*")):
        if file.is_file():
            name = file.relative_to(_FOLDER).as_posix()
            names = {name, "" if name == _INDEX else name.removesuffix(".html")}
            for each in sorted(names):
                router.add_api_route(f"/{each}", _sent(file), methods=["GET"])
    return router


def _sent(file: Path) -> Callable[[], Awaitable[FileResponse]]:
    async def send() -> FileResponse:
        # The browser asks again each time, and is told when nothing changed.
        return FileResponse(file, headers={"cache-control": "no-cache"})

    return send
