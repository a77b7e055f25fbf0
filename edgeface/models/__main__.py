"""``python -m edgeface.models [PRESET …]``: parameters, MACs and the price of each stage; every preset by default."""

import sys

from edgeface.models.presets import PRESETS, build
from edgeface.models.summary import summary_table

try:
    for name in sys.argv[1:] or PRESETS:
        print(summary_table(build(name)), end="\n\n")
except ValueError as error:
    sys.exit(f"error: {error}")
