"""Servers for the tests: the page's own, and a plain one of files."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypeVar

from demo_web.server import Server
from demo_web.site import Site

AnyServer = TypeVar("AnyServer", bound=ThreadingHTTPServer)


@contextmanager
def serving(site: Site) -> Iterator[Server]:
    with _running(Server(site)) as server:
        yield server


@contextmanager
def plain(folder: Path) -> Iterator[str]:
    """The address of a host of static files: no header of its own, nothing made on the spot."""
    with _running(ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))) as server:
        yield f"http://127.0.0.1:{server.server_port}/"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_) -> None:
        pass


@contextmanager
def _running(server: AnyServer) -> Iterator[AnyServer]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
