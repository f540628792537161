"""Serving the viewer on this machine."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from pathlib import Path

from crosstype.errors import UsageError
from crosstype.viewer.assets import need_assets

LOCAL = "127.0.0.1"


def serve(out: Path, host: str, port: int, said: Callable[[str], None]) -> None:
    """Serve a run until Ctrl-C.

    Args:
        out: folder of the run.
        host: address to listen on; others than this machine's own let others look.
        port: to listen on; 0: any free one.
        said: told the address, token included, before the first request.

    Raises:
        UsageError: the folder holds no run, the port is taken, or something is not installed.
    """
    try:
        import uvicorn

        from crosstype.viewer.app import make_app
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
        said(f"http://{host}:{listener.getsockname()[1]}/?token={token}")
        config = uvicorn.Config(app, log_level="warning")
        uvicorn.Server(config).run(sockets=[listener])
