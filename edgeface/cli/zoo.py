"""`edgeface zoo`: the packaged models and the card inside a file."""

from __future__ import annotations

import argparse
import json

from edgeface import zoo
from edgeface.card import Card, read_card
from edgeface.cli.command import Command, Group


def run_list(args: argparse.Namespace) -> int:
    models = zoo.list_models()
    for m in models:
        print(f"{m.name:24} {m.variant:12} {m.markup:10} {m.side:4} px {m.bytes:>10,} bytes")
    if not models:
        print("This version packages no models; --model takes the path of a .tflite file.")
    return 0


def run_info(args: argparse.Namespace) -> int:
    card = read_card(zoo.resolve(args.model))
    print(json.dumps(card.to_dict(), indent=2) if args.json else _card_text(card))
    return 0


def run_path(args: argparse.Namespace) -> int:
    print(zoo.path(args.name))
    return 0


def _card_text(card: Card) -> str:
    rows = {
        "name": card.name,
        "network": f"{card.network}, preset {card.preset}, variant {card.variant}, version {card.version}",
        "input": f"{card.input.name} {card.input.shape} {card.input.dtype}, {card.input.layout}",
        "crop": f"{card.crop.rule}, {card.crop.scale} x the longer side of the box",
        "markup": card.markup,
        "outputs": "; ".join(f"{role}: {spec.name} {spec.shape} {spec.dtype}" for role, spec in card.outputs.items()),
        "angles": card.angles,
        "size": f"{card.flatbuffer_bytes or '?'} bytes, {card.parameters or '?'} parameters, {card.macs or '?'} MACs",
    }
    return "\n".join(f"{key:8} {value}" for key, value in rows.items())


def run_fetch(args: argparse.Namespace) -> int:
    from edgeface.runtime.download import yunet_file

    print(yunet_file())
    return 0


def _fetch_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", metavar="WHAT", choices=("detector",), help="detector")


def _no_arguments(parser: argparse.ArgumentParser) -> None:
    """`list` takes none."""


def _info_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="NAME|PATH", help="a packaged model or a .tflite file")
    parser.add_argument("--json", action="store_true", help="print the whole card as JSON")


def _path_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a packaged model; without a variant its int8_qat file")


GROUP = Group(
    "the packaged models",
    {
        "list": Command(
            about="names, variants, markups and sizes of the packaged models",
            add_arguments=_no_arguments,
            run=run_list,
            examples=("edgeface zoo list",),
        ),
        "info": Command(
            about="the card inside a model: input, outputs, crop, training record",
            add_arguments=_info_arguments,
            run=run_info,
            examples=("edgeface zoo info acdc_s", "edgeface zoo info my_model.tflite --json"),
        ),
        "fetch": Command(
            about="download what the package does not bring, for machines that will be offline",
            add_arguments=_fetch_arguments,
            run=run_fetch,
            examples=("edgeface zoo fetch detector",),
            notes="The detector is OpenCV's YuNet (MIT licence, 230 KB), checked by its hash and kept in the user's\n"
            "cache (EDGEFACE_CACHE). Prints the file's path.",
        ),
        "path": Command(
            about="where a packaged model's file is",
            add_arguments=_path_arguments,
            run=run_path,
            examples=("edgeface zoo path acdc_s_float16", 'cp "$(edgeface zoo path acdc_s)" app/src/main/assets/'),
        ),
    },
)
