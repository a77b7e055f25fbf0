"""LiteRT.js in headless Chromium, from a server on this machine alone: WebAssembly and WebGPU."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import numpy as np

from convert.runtimes.base import ROOT, WORKERS, RefusedError, Reply, Runtime, installing, need_programs
from convert.runtimes.ends import with_float_ends
from convert.runtimes.golden import Case
from demo_web import litert

PACKAGE = f"{litert.PACKAGE}@{litert.VERSION}"
FOLDER = ROOT / "browser"
FLAGS = {
    "wasm": [],
    "webgpu": ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-unsafe-swiftshader"],
}
KINDS = {".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm"}
TIME_LIMIT_S = 240
WRONG = re.compile(r"fall(ing)? back|not supported by|Validation error|Shape mismatch")
"""In what the engine and the browser print: the file runs, but not all of it on WebGPU, or not as it is written."""


def _install() -> None:
    need_programs({"chromium": "chromium", "npm": "npm"})
    if (FOLDER / ".ready").is_file() and (FOLDER / ".ready").read_text() == PACKAGE:
        return
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    installing(PACKAGE, litert.install_command(FOLDER))
    (FOLDER / ".ready").write_text(PACKAGE)


class _Handler(BaseHTTPRequestHandler):
    """The page, the package's files, the model and the crops; the report comes back as a POST."""

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path in self.server.blobs:
            self._send(self.server.blobs[path], "application/octet-stream")
            return
        packages = FOLDER / "node_modules" / "@litertjs"
        file = (
            packages / path.removeprefix("/package/") if path.startswith("/package/") else WORKERS / path[1:]
        ).resolve()
        inside = file.is_relative_to(packages.resolve()) or file.parent == WORKERS.resolve()
        if inside and file.is_file() and file.suffix in KINDS:
            self._send(file.read_bytes(), KINDS[file.suffix])
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        self.server.report = self.rfile.read(int(self.headers["Content-Length"]))
        self._send(b"", "text/plain")
        self.server.reported.set()

    def _send(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        # Both are asked for by pages that share memory between threads.
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_) -> None:
        pass


def _answer(case: Case, accelerator: str) -> Reply:
    data = case.path.read_bytes()
    # LiteRT.js has no int8 tensors at all; uint8 inputs it takes.
    floated = any(spec.dtype == "int8" for spec in (case.card.input, *case.card.outputs.values()))
    if floated:
        data = with_float_ends(data)
    dtype = "float32" if floated else case.card.input.dtype
    report = _visit({"/model": data, "/crops": case.crops.tobytes()}, accelerator, case.card.input.shape, dtype)
    said = [line for line in dict.fromkeys(report["said"]) if not line.startswith("INFO")]
    if "failed" in report:
        raise RefusedError(f"LiteRT.js must take the file. Received: {report['failed'][:200]} {' '.join(said)[:300]}")
    wrong = [line for line in said if WRONG.search(line)]
    if accelerator == "webgpu" and (wrong or not report["accelerated"]):
        what = wrong[0].splitlines()[0][:300] if wrong else "some of it on the CPU"
        raise RefusedError(f"WebGPU must take the whole file. Received: {what}")
    outputs = {
        role: np.array(report["outputs"][spec.name], np.float32).reshape(-1, *spec.shape[1:])
        for role, spec in case.card.outputs.items()
    }
    version = re.search(r"Chrome/(\d+)", report["agent"])
    engine = f"LiteRT.js {PACKAGE.rsplit('@', 1)[1]}, Chromium {version.group(1) if version else '?'}"
    note = "float input and outputs" if floated else ""
    return Reply(outputs, f"{engine}, {report['adapter'] or 'WebAssembly'}", note)


def _visit(blobs: dict[str, bytes], accelerator: str, shape: tuple[int, ...], dtype: str) -> dict:
    """One headless browser with a profile of its own, from start to report."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.blobs, server.report, server.reported = blobs, b"", threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    how = urlencode({"accelerator": accelerator, "shape": ",".join(map(str, shape)), "dtype": dtype})
    with tempfile.TemporaryDirectory(prefix="edgeface-browser-", ignore_cleanup_errors=True) as profile:
        log = Path(profile) / "chromium.log"
        command = ["chromium", "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--no-first-run"]
        command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
        command += [f"--user-data-dir={profile}/profile", *FLAGS[accelerator]]
        with open(log, "wb") as sink:
            browser = subprocess.Popen(
                [*command, f"http://127.0.0.1:{server.server_port}/page.html?{how}"], stdout=sink, stderr=sink
            )
            try:
                arrived = server.reported.wait(TIME_LIMIT_S)
            finally:
                browser.terminate()
                try:
                    browser.wait(10)
                except subprocess.TimeoutExpired:
                    browser.kill()
                    browser.wait()
                server.shutdown()
                server.server_close()
        if not arrived:
            last = log.read_text(errors="replace").strip().splitlines()[-1:]
            raise RefusedError(f"the page must report within {TIME_LIMIT_S} s. Received: {last}")
    return json.loads(server.report)


BROWSER = tuple(Runtime(f"browser-{how}", _install, partial(_answer, accelerator=how)) for how in FLAGS)
