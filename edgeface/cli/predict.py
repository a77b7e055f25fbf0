"""`edgeface predict`: faces in images."""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from pathlib import Path

from edgeface.cli.command import Command
from edgeface.cli.options import add_box, add_drawings, add_packaged_model
from edgeface.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", metavar="IMAGE|DIR", nargs="+", help="image files, or folders of them")
    add_packaged_model(parser)
    where = parser.add_mutually_exclusive_group()
    add_box(where)
    where.add_argument(
        "--detect", action="store_true", help="find every face at any turn (YuNet, downloaded once: 230 KB)"
    )
    where.add_argument("--detector", metavar="ONNX", help="find every face with this YuNet file")
    parser.add_argument(
        "--passes",
        type=int,
        default=2,
        metavar="N",
        help="predictions per detected face (default: 2)",
    )
    add_drawings(parser, "image", "face", "PATH", "draw into this image; with several IMAGEs, into this folder")


def run(args: argparse.Namespace) -> int:
    from edgeface import zoo
    from edgeface.files import check_outputs, write_text
    from edgeface.images import read_image, write_image
    from edgeface.runtime.detector import FaceDetector
    from edgeface.runtime.find import FaceFinder
    from edgeface.runtime.predictor import Predictor
    from edgeface.runtime.show import csv_header, csv_row, draw_face, face_json, face_text

    images = _images(args.images)
    targets = _targets(images, args.out, any(Path(given).is_dir() for given in args.images))
    models = [zoo.resolve(args.model), *filter(None, (args.detector, args.delegate))]
    check_outputs({"--out": [t for t in targets if t is not None], "--csv": args.csv}, [*images, *models])
    predictor = Predictor.load(args.model, args.threads, args.delegate)
    finder = None
    if args.detect or args.detector:
        finder = FaceFinder(predictor, FaceDetector(args.detector), passes=args.passes)
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["image", "face", *csv_header(predictor.markup)])
    failed = 0
    for source, target in zip(images, targets, strict=True):
        try:
            image = read_image(source)
            faces = [predictor.predict(image, args.box)] if finder is None else finder.find(image)
        except InputError as error:
            if len(images) == 1:
                raise
            failed += 1
            print(f"edgeface: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
            continue
        if args.json:
            head = {"image": source, "model": predictor.model.card.name, "markup": predictor.markup}
            print(json.dumps({**head, "faces": [face_json(face) for face in faces]}, allow_nan=False), flush=True)
        else:
            lines = [face_text(face) for face in faces] or ["no face found"]
            print("\n".join(f"{source}: {line}" for line in lines), flush=True)
        rows.writerows([source, number, *csv_row(face, predictor.markup)] for number, face in enumerate(faces, 1))
        if target is not None:
            for face in faces:
                draw_face(image, face, predictor.markup, args.spread)
            write_image(target, image)
    if args.csv:
        write_text(args.csv, table.getvalue())
    return 2 if failed else 0


def _images(given: list[str]) -> list[str]:
    """The files, folders taken apart; a folder that is named as an image is an image that cannot be read."""
    from edgeface.runtime.cameras import IMAGE_SUFFIXES, images_of

    apart = [Path(name).is_dir() and Path(name).suffix.lower() not in IMAGE_SUFFIXES for name in given]
    return [str(f) for name, folder in zip(given, apart, strict=True) for f in (images_of(name) if folder else [name])]


def _targets(images: list[str], out: str | None, several: bool) -> list[Path | None]:
    """Where each drawing goes; InputError where two would go to one place."""
    if out is None:
        return [None] * len(images)
    folder = several or len(images) > 1 or Path(out).is_dir()
    if folder and Path(out).is_file():
        raise InputError(f"--out must be a folder when there are several images. Received: {out}")
    targets = [Path(out) / Path(image).name if folder else Path(out) for image in images]
    if len(set(targets)) < len(targets):
        raise InputError("images must have different names to be drawn into one folder. Received: one name twice")
    return targets


COMMAND = Command(
    about="landmarks and head pose of the faces in images",
    add_arguments=add_arguments,
    run=run,
    examples=(
        "edgeface predict face.jpg --out drawn.png",
        "edgeface predict photo.jpg --box 120 80 260 230",
        "edgeface predict photos/ --model acdc_n --csv faces.csv --out drawn/",
        "edgeface predict photo.jpg --detect --json",
        "edgeface predict *.jpg --detector yunet.onnx --json",
    ),
    notes="Without --box, --detect and --detector an image is taken as the crop of one face, with a margin around "
    "it.\n"
    "Prints one line per face: box, head pose in degrees, landmarks.\n"
    "Exit status 2: an image could not be read; the others were.",
)
