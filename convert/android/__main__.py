"""``python -m convert.android zoo | constants | golden FOLDER [FILE...] | install | check [FILE...]``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from convert.android import kotlin, resources
from convert.android.constants import write_constants
from convert.android.golden import write_golden
from convert.android.zoo import write_manifest
from edgeface.errors import InputError


def main(argv: Sequence[str] | None = None) -> int:
    """0: done; 1: Kotlin and Python differ, or something is missing; 2: wrong arguments."""
    parser = argparse.ArgumentParser("python -m convert.android", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("zoo", help="write android_demo/zoo.sha256 anew from edgeface/zoo")
    commands.add_parser("constants", help="write core's Tuned.kt and Markups.kt anew from edgeface")
    commands.add_parser("install", help="the Kotlin compiler under runs/android, aapt2 and its framework by apt")
    golden = commands.add_parser("golden", help="write golden vectors for the Kotlin code")
    golden.add_argument("folder", type=Path)
    check = commands.add_parser("check", help="compile core and hold it against golden vectors made on the spot")
    for command in (golden, check):
        command.add_argument("files", nargs="*", metavar="FILE", type=Path, help="converted files of edgeface")
    args = parser.parse_args(argv)
    try:
        if args.command == "zoo":
            print(write_manifest())
        elif args.command == "constants":
            print(*write_constants(), sep="\n")
        elif args.command == "install":
            kotlin.install()
            resources.install()
        elif args.command == "golden":
            print(write_golden(args.folder, args.files))
        else:
            kotlin.install()
            with tempfile.TemporaryDirectory(prefix="edgeface-golden-") as folder:
                write_golden(folder, args.files)
                print(kotlin.golden(kotlin.compile_core(), Path(folder)), end="")
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
