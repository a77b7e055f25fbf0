"""``python -m demo_web``: the packaged models in your browser. Pictures and camera stay on your machine."""

from __future__ import annotations

import argparse
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from demo_web import litert
from demo_web.server import Server
from demo_web.site import Site
from edgeface.errors import InputError


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m demo_web", description=__doc__)
    parser.add_argument("--port", type=int, default=8008, help="default %(default)s; 0: a free one")
    parser.add_argument("--host", default="127.0.0.1", help="default %(default)s, which only this machine can reach")
    parser.add_argument("--model", type=Path, action="append", default=[], metavar="FILE", help="one more .tflite")
    parser.add_argument("--litert", type=Path, metavar="DIR", help="the folder that holds node_modules/@litertjs")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument("--write", type=Path, metavar="DIR", help="write the page for a host of static files, and end")
    parser.add_argument("--install", action="store_true", help="fetch LiteRT.js by npm where it is missing, and end")
    args = parser.parse_args(argv)
    try:
        if args.install:
            print(litert.install())
            return 0
        site = Site(litert.find(args.litert), args.model)
        if args.write is not None:
            print(f"{site.write(args.write)} files in {args.write}")
            return 0
        server = Server(site, args.host, args.port)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{server.address} ({len(site.models)} models); Ctrl-C ends", flush=True)
    if args.open:
        webbrowser.open(server.address)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()
    finally:
        server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
