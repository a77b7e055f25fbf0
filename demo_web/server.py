"""A server for this machine alone, unless it is told another address."""

from __future__ import annotations

import hashlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from demo_web.site import KINDS, Site
from edgeface.errors import InputError

HEADERS = {
    # Both are asked for by pages that share memory between threads.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # Files are asked after each time, and sent only where they have changed.
    "Cache-Control": "no-cache",
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "edgeface"
    sys_version = ""

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path).removeprefix("/") or "index.html"
        body = self.server.site.read(path)
        if body is None:
            self._send(404, b"not found\n", "text/plain")
            return
        tag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
        if self.headers.get("If-None-Match") == tag:
            self._send(304, b"", None, tag)
        else:
            self._send(200, body, KINDS[PurePosixPath(path).suffix], tag)

    do_HEAD = do_GET

    def _send(self, status: int, body: bytes, kind: str | None, tag: str | None = None) -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        if kind is not None:
            self.send_header("Content-Type", kind)
        if tag is not None:
            self.send_header("ETag", tag)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, site: Site, host: str = "127.0.0.1", port: int = 0) -> None:
        """port 0: a free one. InputError where the address cannot be had."""
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"host and port must be free to listen on. Received: {host}:{port}, {reason}") from None
        self.site = site

    @property
    def address(self) -> str:
        host = "localhost" if self.server_address[0] in ("127.0.0.1", "0.0.0.0") else self.server_address[0]
        return f"http://{host}:{self.server_port}/"

    def handle_error(self, request, client_address) -> None:
        """A browser that closes its connection early is no error."""
