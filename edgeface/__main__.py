"""`python -m edgeface`, the same as the command `edgeface`."""

import sys

from edgeface.cli import main

if __name__ == "__main__":
    sys.exit(main())
