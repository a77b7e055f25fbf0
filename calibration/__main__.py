"""``python -m calibration build | show``: `edgeface calibrate` from a checkout."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from edgeface import cli


def main(argv: Sequence[str] | None = None) -> int:
    kind, *rest = sys.argv[1:] if argv is None else argv or [""]
    return cli.main(["calibrate", *{"build": rest, "show": ["--show", *rest]}.get(kind, [kind, *rest])])


if __name__ == "__main__":
    sys.exit(main())
