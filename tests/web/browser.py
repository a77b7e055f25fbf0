"""Headless Chromium, driven over a pair of pipes by its DevTools protocol: no package is needed."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)
SOFTWARE_GPU = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-unsafe-swiftshader")


def missing() -> str | None:
    """Why there is no browser here; None where there is one."""
    return None if shutil.which("chromium") else "chromium is not installed"


class Browser:
    """One page of one browser."""

    def __init__(self, flags: tuple[str, ...] = ()) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="edgeface-web-", ignore_cleanup_errors=True)
        there, self._to = os.pipe()
        self._from, back = os.pipe()
        # Chromium reads commands from descriptor 3 and answers on 4. High free ones, so that neither is overwritten.
        high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 40) for end in (there, back)]
        shuffle = 'exec "$@" 3<&{0} 4>&{1} {0}<&- {1}>&-'.format(*high)
        command = ["bash", "-c", shuffle, "_", "chromium", *FLAGS, *flags]
        with open(Path(self._folder.name) / "log", "wb") as log:
            self._process = subprocess.Popen(
                [*command, f"--user-data-dir={self._folder.name}/profile", "about:blank"],
                stdout=log,
                stderr=log,
                pass_fds=high,
            )
        for end in (there, back, *high):
            os.close(end)
        self._buffer, self._count, self._session = b"", 0, None
        self.events: list[dict[str, Any]] = []
        target = next(t for t in self.send("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self._session = self.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._to)
        os.close(self._from)
        self._folder.cleanup()

    def send(self, method: str, *, limit_s: float = 60, **params: Any) -> dict[str, Any]:
        """A command's result. Events that arrive meanwhile are kept in ``events``."""
        self._count += 1
        words = {"id": self._count, "method": method, "params": params}
        if self._session is not None:
            words["sessionId"] = self._session
        os.write(self._to, json.dumps(words).encode() + b"\0")
        until = time.monotonic() + limit_s
        while True:
            answer = self._next(until)
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise RuntimeError(f"{method} must succeed. Received: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def _next(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._from], [], [], max(0, until - time.monotonic()))[0]:
                raise TimeoutError("the browser must answer in time. Received: nothing")
            data = os.read(self._from, 1 << 20)
            if not data:
                raise RuntimeError("the browser must stay alive. Received: the end of its pipe")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(line)

    def run(self, expression: str, limit_s: float = 60) -> Any:
        """The value of a JavaScript expression, awaited."""
        result = self.send(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, limit_s=limit_s
        )
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description") or details["text"])
        return result["result"].get("value")

    def wait(self, condition: str, limit_s: float = 60) -> Any:
        """Until the expression is true; its value."""
        until = time.monotonic() + limit_s
        while True:
            value = self.run(f"(() => {{ try {{ return {condition} }} catch {{ return null }} }})()")
            if value:
                return value
            if time.monotonic() > until:
                said = self.run("document.body.innerText")[:400]
                raise TimeoutError(f"{condition} must come true in {limit_s} s. Received: {said!r} {self.said()}")
            time.sleep(0.1)

    def open(self, address: str, width: int = 1200, height: int = 800, ratio: float = 1, dark: bool = True) -> None:
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=ratio,
            mobile=width < 600,
        )
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[feature])
        self.send("Page.navigate", url=address)

    def screenshot(self, path: Path, whole: bool = False) -> None:
        data = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def requests(self) -> list[str]:
        """Addresses that the page asked for."""
        return [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]

    def said(self) -> list[str]:
        """Errors on the console, uncaught ones among them."""
        lines = []
        for event in self.events:
            params = event.get("params", {})
            if event.get("method") == "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                lines.append(details.get("exception", {}).get("description") or details["text"])
            elif event.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
                lines.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
            elif event.get("method") == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
                lines.append(" ".join(str(a.get("value", a.get("description"))) for a in params["args"]))
        return lines


@contextmanager
def browsing(*flags: str) -> Iterator[Browser]:
    browser = Browser(flags)
    try:
        yield browser
    finally:
        browser.close()
