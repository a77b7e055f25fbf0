"""Runs the page's modules, as they are, in node."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

from demo_web.site import PAGE


def missing() -> str | None:
    """Why there is no node here; None where there is one."""
    return None if shutil.which("node") else "node is not installed"


def evaluate(module: str, body: str, given: Any = None, timeout_s: float = 60) -> Any:
    """The JSON value that ``body`` returns; it sees the module as ``m`` and ``given`` as ``given``."""
    program = (
        f'import * as m from "{(PAGE / "js" / module).as_uri()}";\n'
        'import { readFileSync } from "node:fs";\n'
        'const given = JSON.parse(readFileSync(0, "utf8"));\n'
        f"const result = await (async () => {{ {body} }})();\n"
        "process.stdout.write(JSON.stringify(result));"
    )
    done = subprocess.run(
        ["node", "--input-type=module", "--eval", program],
        input=json.dumps(given).encode(),
        capture_output=True,
        timeout=timeout_s,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{module} must run. Received: {done.stderr.decode()[-800:]}")
    return json.loads(done.stdout)
