"""`edgeface live`: faces followed through a camera's or a video's frames."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from edgeface.cli.command import Command
from edgeface.cli.options import add_box, add_drawings, add_packaged_model
from edgeface.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="SOURCE",
        nargs="?",
        default="0",
        help="a camera's number, picamera, a video file, or a folder of images (default: 0)",
    )
    add_packaged_model(parser)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--detector", metavar="ONNX", help="this YuNet file (default: downloaded once, 230 KB)")
    add_box(where)
    where.add_argument("--full-frame", action="store_true", help="a face fills the frame at first: no detector")
    parser.add_argument("--every", type=int, default=15, metavar="N", help="frames between two searches (default: 15)")
    parser.add_argument("--search", type=int, default=320, metavar="PX", help="longest side of a search (default: 320)")
    parser.add_argument("--upright", action="store_true", help="turn the crop with a leaning head")
    parser.add_argument(
        "--smooth",
        nargs="*",
        type=float,
        metavar="HZ BETA",
        help="one-euro smoothing, with its two parameters if you like (default: off)",
    )
    parser.add_argument("--size", nargs=2, type=int, metavar=("W", "H"), help="picture size to ask of a camera")
    parser.add_argument("--limit", type=int, metavar="N", help="stop after N frames")
    add_drawings(parser, "frame", "face and frame", "VIDEO", "write the drawn video: .mp4, .avi, .mov or .mkv")
    parser.add_argument("--no-window", action="store_true", help="show no window")


def run(args: argparse.Namespace) -> int:
    from edgeface import zoo
    from edgeface.files import check_outputs
    from edgeface.runtime import live, outputs
    from edgeface.runtime.cameras import open_source, source_files
    from edgeface.runtime.predictor import Predictor
    from edgeface.runtime.tracker import Tracker

    if args.limit is not None and args.limit < 1:
        raise InputError(f"--limit must be at least 1. Received: {args.limit}")
    models = [zoo.resolve(args.model), *filter(None, (args.detector, args.delegate))]
    check_outputs({"--out": args.out, "--csv": args.csv}, [*models, *source_files(args.source)])
    predictor = Predictor.load(args.model, args.threads, args.delegate)
    tracker = Tracker(predictor, _detector(args, predictor), _config(args))
    size = tuple(args.size) if args.size else None
    if size is not None and min(size) < 1:
        raise InputError(f"--size must be a width and a height. Received: {args.size}")
    source = open_source(args.source, size)
    drawn = outputs.Drawn(predictor.markup, args.spread)
    with ExitStack() as stack:
        wanted: list[outputs.Output] = []
        if args.csv:
            wanted.append(stack.enter_context(outputs.csv_file(args.csv, predictor.markup)))
        if args.out:
            wanted.append(stack.enter_context(outputs.video_file(args.out, source.fps, drawn)))
        if args.json:
            wanted.append(outputs.JsonLines())
        reason = "--no-window" if args.no_window else outputs.no_window_reason()
        if reason is None:
            wanted.append(outputs.Window(drawn))
        elif not args.no_window:
            print(f"edgeface: no window: {reason}", file=sys.stderr, flush=True)
        stack.enter_context(_term_interrupts())
        summary = live.run(source, tracker, wanted, args.limit)
    if summary.reason:
        print(f"edgeface: {summary.reason}", file=sys.stderr)
    print(f"edgeface: {summary.text()}", file=sys.stderr, flush=True)
    if summary.ended == "interrupted":
        return 0 if source.live else 130  # a camera has no other end
    return 1 if summary.ended == "lost" else 0


def _detector(args: argparse.Namespace, predictor):
    from edgeface.box import Box
    from edgeface.runtime.detector import FaceDetector
    from edgeface.runtime.tracker import FixedBox

    if args.box is None and not args.full_frame:
        return FaceDetector(args.detector, longest=args.search)
    try:
        box = None if args.box is None else Box(*args.box)
    except ValueError as error:
        raise InputError(str(error)) from None
    if box is not None and not (box.width > 0 and box.height > 0):
        raise InputError(f"box must have a width and a height. Received: {box.as_xyxy()}")
    return FixedBox(box, predictor.model.card.crop.scale)


def _config(args: argparse.Namespace):
    from edgeface.runtime.smoothing import OneEuro
    from edgeface.runtime.tracker import TrackerConfig

    if args.smooth is not None and len(args.smooth) not in (0, 2):
        raise InputError(f"--smooth must have no parameters or both, HZ and BETA. Received: {args.smooth}")
    fixed = args.box is not None or args.full_frame
    return TrackerConfig(
        detect_every=None if fixed else args.every,
        upright=args.upright,
        smoothing=None if args.smooth is None else OneEuro(*args.smooth),
    )


@contextmanager
def _term_interrupts() -> Iterator[None]:
    """What stops a service stops this as Ctrl-C does: with its files whole."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


COMMAND = Command(
    about="follow faces through a camera or a video",
    add_arguments=add_arguments,
    run=run,
    examples=(
        "edgeface live  # camera 0, a window where there is a display",
        "edgeface live picamera --model acdc_n  # the Raspberry Pi's own camera",
        "edgeface live talk.mp4 --out drawn.mp4 --csv faces.csv",
        "edgeface live talk.mp4 --full-frame --no-window --json --limit 3",
        "edgeface live 0 --no-window --json | your-program",
    ),
    notes="q, Escape or Ctrl-C end it; the summary goes to stderr. Exit status 1: the camera vanished, or the video "
    "ended before its last frame; what came before is written all the same. 130: a video was interrupted.",
)
