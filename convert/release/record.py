"""What every file of results/ and studies/ says of its own making."""

from __future__ import annotations

import sys
from typing import Any


def record(command: str, *packages: str) -> dict[str, Any]:
    """{"command", "commit", "machine", "versions"} of a measurement that is made now.

    Says so on stderr where the commit does not hold the code that runs: such figures are not reproducible by it.

    Args:
        command: what makes the file again.
        packages: whose versions count, beside edgeface's and Python's; none: those of the device half.
    """
    from edgeface.runtime.machine import environment

    about = environment(*packages)
    made_by = about["commit"]
    if made_by is None or made_by.endswith("+"):
        print(f"warning: measured on uncommitted code ({made_by or 'no git checkout'})", file=sys.stderr)
    return {"command": command, **about}
