"""The viewer's web application: pages and data of one run, protected by a token.

Serving the viewer on this machine.
"""

import secrets
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from crosstype.errors import CrosstypeError, UsageError
from crosstype.viewer.assets import need_assets
from crosstype.viewer.deepzoom import DeepZoom
from crosstype.viewer.run_data import RunData

STATIC = Path(__file__).with_name("static")
COOKIE = "crosstype_token"
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

Next = Callable[[Request], Awaitable[Response]]


def make_app(out: Path, token: str, openseadragon: Path) -> Starlette:
    """Return the application.

    Args:
        out: folder of the run.
        token: whoever opens the page with `?token=` of this value may look; others get 403.
        openseadragon: folder with its script and pictures.

    Raises:
        UsageError: the folder holds no run.
    """
    app = Starlette(
        routes=[
            Route("/", _page),
            Route("/api/run", _run),
            # An id may hold a slash, which arrives decoded; ids are looked up, no part of a path.
            Route("/api/patients/{patient:path}/genes", _genes),
            Route("/api/slides/{slide:path}/{level:int}/{column:int}_{row:int}.jpg", _picture),
            Route("/api/slides/{slide:path}", _slide),
            Mount("/openseadragon", StaticFiles(directory=openseadragon)),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=_guard)],
        exception_handlers={CrosstypeError: _fault},
    )
    app.state.content, app.state.zoom, app.state.token = RunData(out), DeepZoom(), token
    return app


async def _guard(request: Request, call: Next) -> Response:
    """Let in who has the token; the cookie then stands for it."""
    token: str = request.app.state.token
    given = request.query_params.get("token") or request.cookies.get(COOKIE, "")
    if not secrets.compare_digest(given.encode(), token.encode()):
        text = "403: open the address that `crosstype view` printed, with its token."
        return PlainTextResponse(text, status_code=403, headers=HEADERS)
    response = await call(request)
    response.headers.update(HEADERS)
    if request.url.path == "/":
        response.set_cookie(COOKIE, token, httponly=True, samesite="strict")
    return response


async def _fault(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, status_code=500)


async def _page(_: Request) -> Response:
    return FileResponse(STATIC / "viewer.html")


async def _run(request: Request) -> Response:
    content: RunData = request.app.state.content

    def about() -> dict[str, object]:
        return {
            "title": content.spec.report.title,
            "classes": list(content.classes),
            "models": content.models,
            "patients": content.patients(),
            "pictured": sorted(content.slide_paths),
        }

    return JSONResponse(await run_in_threadpool(about))


async def _genes(request: Request) -> Response:
    content: RunData = request.app.state.content
    search = request.query_params.get("search", "")
    patient = request.path_params["patient"]
    return JSONResponse(await run_in_threadpool(content.genes_of, patient, search))


async def _slide(request: Request) -> Response:
    """Return a slide's size, tiles and maps; a slide of the run and no other."""
    content: RunData = request.app.state.content
    slide = request.path_params["slide"]
    if slide not in content.feature_files:
        return JSONResponse({"error": f"no slide {slide!r} in this run"}, status_code=404)

    def about() -> dict[str, object]:
        path = content.slide_paths.get(slide)
        size = None if path is None else request.app.state.zoom.description(path)
        return {
            "size": size,
            "tiles": content.tiles(slide),
            "tissue": content.tissue(slide),
            "maps": content.maps(slide),
        }

    return JSONResponse(await run_in_threadpool(about))


async def _picture(request: Request) -> Response:
    content: RunData = request.app.state.content
    given = request.path_params
    path = content.slide_paths.get(given["slide"])
    place = (given["level"], given["column"], given["row"])
    zoom: DeepZoom = request.app.state.zoom
    found = None if path is None else await run_in_threadpool(zoom.picture, path, *place)
    if found is None:
        return PlainTextResponse("404: no such picture", status_code=404)
    return Response(found, media_type="image/jpeg")


LOCAL = "127.0.0.1"


def serve(out: Path, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Serve a run until Ctrl-C.

    Args:
        out: folder of the run.
        host: address to listen on; others than this machine's own let others look.
        port: to listen on; 0: any free one.
        announce: receives the address, token included, before the first request.

    Raises:
        UsageError: the folder holds no run, the port is taken, or something is not installed.
    """
    try:
        import uvicorn

    except ModuleNotFoundError as error:
        raise UsageError(
            f'view: {error.name} is not installed. `pip install "crosstype[viewer]"` brings it.'
        ) from error
    token = secrets.token_urlsafe(24)
    app = make_app(out, token, need_assets())
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        raise UsageError(
            f"view: cannot listen on {host}:{port} ({error.strerror}). Choose another --port."
        ) from error
    with listener:
        announce(f"http://{host}:{listener.getsockname()[1]}/?token={token}")
        config = uvicorn.Config(app, log_level="warning")
        uvicorn.Server(config).run(sockets=[listener])
