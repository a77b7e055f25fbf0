"""``python -m convert``: trained models -> checked `.tflite` files, their parity with float, and a report."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import tyro

from edgeface.convert.variants import VARIANTS, select
from edgeface.errors import InputError
from edgeface.training.backend import choose_backend

Positional = tyro.conf.Positional


def all_command(
    model: Positional[Path],
    out: Path,
    qat: Path | None = None,
    calibration: str = "synthetic",
    variants: str | None = None,
    markup: str | None = None,
    outputs: str = "landmarks,pose,spread",
    stages: int | None = None,
    name: str | None = None,
) -> int:
    """Convert a trained model to every variant; each file is checked, with its card beside it and inside it.

    Args:
        model: The float model, a .keras file.
        out: The folder for the .tflite and .json files.
        qat: Its fine-tuned quantisation-aware twin; without one, a twin is calibrated and not fine-tuned.
        calibration: A manifest of `python -m calibration build`, synthetic (rendered faces), or several with commas.
        variants: Comma-separated: float32, float16, dynamic, int8_ptq, int8_qat, int8_logits. All by default.
        markup: The landmarks to keep, such as ibug68; the model's first by default.
        outputs: Comma-separated, of landmarks, pose, spread: what nobody reads is not in the file.
        stages: Keep the first stages of the cascade alone; all by default.
        name: Files are called NAME_VARIANT.tflite; the preset's name by default.
    """
    from edgeface.convert.convert_all import Job, convert_all

    wanted = select(variants)
    kept = tuple(part.strip() for part in outputs.split(",") if part.strip())
    job = Job(model, out, qat, calibration, markup, kept, stages, name)
    with _status() as report:
        done = convert_all(job, wanted, report=report)
    for converted in done:
        card, checked = converted.card, converted.gate
        print(f"{converted.path}  {card.file_bytes:,} bytes  {checked.float_operators} float operators  gate passed")
        for note in card.notes:
            print(f"  note: {note}")
    return 0


def qat_command(
    model: Positional[Path],
    out: Path,
    steps: int = 300,
    learning_rate: float = 5e-5,
    distil: float = 1.0,
    ranges: str = "frozen",
    calibration: str = "mse",
    config: Path | None = None,
    fresh: bool = False,
) -> int:
    """Fine-tune a trained model's quantisation-aware twin; a run that was stopped goes on where it was.

    On the backend that KERAS_BACKEND names, else on TensorFlow where it is installed, else on JAX.

    Args:
        model: The float model, a .keras file.
        out: The run's folder; the twin becomes its qat.keras.
        steps: Training steps.
        learning_rate: At the start; it falls to 0.
        distil: Share of the loss that is the distance from the float model's own answers, not the labels: 0 to 1.
        ranges: Of activations, in training: ema (they follow the batches), frozen or learned.
        calibration: How the first ranges are set: minmax, percentile, mse or ema.
        config: A training config whose faces are used; the model's own by default.
        fresh: Forget what the folder holds and start again.
    """
    from edgeface.convert.fine_tune import FineTune, fine_tune
    from edgeface.training.config import load_config

    options = FineTune(steps=steps, learning_rate=learning_rate, distil=distil, ranges=ranges, calibration=calibration)
    fine_tune(model, out, options, load_config(config) if config else None, resume=not fresh)
    return 0


def gate_command(
    files: Positional[tuple[Path, ...]], variant: str | None = None, gpu: bool = False, faces: int | None = None
) -> int:
    """Open converted files and hold them against their variant's contract: operators, dtypes, shapes, names.

    Args:
        files: .tflite files.
        variant: What they must be; by default what their cards say.
        gpu: Also compile them for the GPU delegate's engine, on a software Vulkan driver.
        faces: Also run float16 files on so many rendered faces and look for what overflows float16.
    """
    from edgeface.convert.gate import gate
    from edgeface.convert.variants import variant as named

    if not files:
        raise InputError("at least one .tflite must be given. Received: none")
    failed = 0
    for file in files:
        report = gate(file, named(variant) if variant else None, gpu=gpu, faces=faces)
        failed += not report.passed
        print(f"{file}: {report.variant}, {report.bytes:,} bytes, {'passed' if report.passed else 'FAILED'}")
        for name, tensor in (*report.inputs.items(), *report.outputs.items()):
            scale = "" if tensor.scale is None else f", scale {tensor.scale:g}, zero point {tensor.zero_point}"
            print(f"  {name:<12} {tensor.dtype} {list(tensor.shape)}{scale}")
        for op in report.operators:
            print(f"  {op.count:>4} {op.type:<24} {op.dtype}")
        if gpu:
            print(f"  GPU engine: {report.gpu}")
        for failure in report.failures:
            print(f"  FAILED: {failure}")
    return 1 if failed else 0


def parity_command(
    model: Positional[Path],
    folder: Positional[Path],
    set: Annotated[str, tyro.conf.arg(name="set")] = "synthetic",
    split: str | None = None,
    limit: int | None = None,
    protocol: str | None = None,
    jitter_faces: int = 32,
    out: Path | None = None,
    pictures: Path | None = None,
) -> int:
    """Score every .tflite of a folder against its float model on the same faces; exit 1 where one is out of bounds.

    Args:
        model: The float .keras model.
        folder: Holds the converted files.
        set: Comma-separated, of 300w, aflw, mtfl, youtube_faces, facesynthetics, aflw2000_3d, synthetic; or real: 300w,
            aflw2000_3d and aflw, those that are on disk.
        split: Each set's own by default: test where it has one, else val.
        limit: At most so many faces of each set.
        protocol: How to score; by default the set's own that fits the landmarks.
        jitter_faces: How many faces are shaken to see how steady the landmarks are.
        out: Where the JSON goes; by default parity.json in the folder.
        pictures: A folder for pictures of each file's worst faces.
    """
    from edgeface.convert.parity import table
    from edgeface.convert.parity_file import save_parity
    from edgeface.convert.parity_sets import chosen_sets, score_sets

    files = tflite_files(folder)
    sets = chosen_sets(set, lambda text: print(f"note: {text}", file=sys.stderr))
    with _status() as report:
        scored = score_sets(
            model, files, sets, split=split, limit=limit, protocol=protocol, jitter_faces=jitter_faces,
            pictures=pictures, report=report,
        )  # fmt: skip
    for one in scored:
        print(f"{one.set} {one.split}: " + (f"skipped: {one.skipped}" if one.skipped else table(one.rows)))
    command = f"python -m convert parity {model} {folder} --set {','.join(sets)}"
    given = {"split": split, "limit": limit, "protocol": protocol, "jitter-faces": jitter_faces}
    usual = {"split": None, "limit": None, "protocol": None, "jitter-faces": 32}
    command += "".join(f" --{key} {value}" for key, value in given.items() if value != usual[key])
    where = save_parity(out or folder / "parity.json", [s.plain() for s in scored], command)
    print(f"wrote {where}")
    return 0 if all(row.passed for s in scored for row in s.rows) else 1


def report_command(
    folders: Positional[tuple[Path, ...]],
    out: Path = Path("runs/report"),
    rounds: int = 40,
    threads: tuple[int, ...] = (1, 2),
    peers: Path | None = None,
    memory_runs: int = 3,
    crops: int = 8,
    faces: bool = False,
) -> int:
    """Write report.json, report.md and report.html on folders of converted files and their parity.

    Args:
        folders: Each with .tflite files and, after `parity`, a parity.json.
        out: The folder of the report.
        rounds: Of timing: in each, every file runs five times in a row.
        threads: Of the interpreter; the first one is the one that is compared.
        peers: Others' models to draw in, results/peers.json by default; none: none.
        memory_runs: Fresh processes a file to measure peak memory in; 0: do not.
        crops: Rendered faces on which int8 tensors are compared with float32's; 0: do not.
        faces: Put parity's pictures of the worst faces into the report. They show persons: mind who gets it.
    """
    from edgeface.convert.report import (
        PEERS,
        build_report,
        embed_faces,
        read_entries,
        read_peers,
        terminal_table,
        write_report,
    )

    peers = peers or PEERS
    others = None if str(peers) == "none" or (peers == PEERS and not PEERS.exists()) else read_peers(peers)
    entries = read_entries(folders)
    if faces:
        entries = embed_faces(entries)
    command = "python -m convert report " + " ".join(map(str, folders))
    report = build_report(entries, rounds, threads, command, peers=others, memory_runs=memory_runs, crops=crops)
    print(terminal_table(report))
    for path in write_report(report, out):
        print(f"wrote {path}")
    return 0


def halve_command(model: Positional[Path], out: Path) -> int:
    """Write a model again with its kernels in float16, under half as large, as the repository keeps the released ones.

    Args:
        model: A .keras file, float or quantisation-aware.
        out: The new .keras file.
    """
    from edgeface.models.io import halve_model

    halve_model(model, out)
    print(f"{out}: {out.stat().st_size:,} bytes (before: {model.stat().st_size:,})")
    return 0


def list_command() -> int:
    """List the variants."""
    for variant in VARIANTS.values():
        needs = "a quantisation-aware twin" if variant.needs_qat else "calibration" if variant.needs_calibration else ""
        print(f"{variant.name:<12} {variant.purpose}{f' (needs {needs})' if needs else ''}")
    return 0


def tflite_files(folder: Path) -> list[Path]:
    """The folder's .tflite files, in the order of the variants. InputError where there are none."""
    from edgeface.card import read_card

    files = sorted(folder.glob("*.tflite"))
    if not files:
        got = "no such folder" if not folder.is_dir() else "none"
        raise InputError(f"{folder} must be a folder with .tflite files. Received: {got}")
    order = list(VARIANTS)
    cards = {file: read_card(file) for file in files}
    return sorted(files, key=lambda f: order.index(cards[f].variant) if cards[f].variant in order else len(order))


def _status():
    """Shows what is being done, on the terminal only."""
    from contextlib import contextmanager

    from rich.console import Console

    @contextmanager
    def show():
        console = Console(stderr=True)

        def report(text: str) -> None:
            console.print(f"[dim]{text} …[/dim]", highlight=False)

        yield report

    return show()


def _choose_backend(args: list[str]) -> None:
    """Before anything imports Keras: the converter reads what the TensorFlow backend exports; a twin trains on any."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if args[:1] == ["qat"]:
        choose_backend()
    else:
        os.environ["KERAS_BACKEND"] = "tensorflow"


def main(args: list[str] | None = None) -> int:
    commands = {
        "qat": qat_command,
        "all": all_command,
        "gate": gate_command,
        "parity": parity_command,
        "report": report_command,
        "halve": halve_command,
        "list": list_command,
    }
    _choose_backend(sys.argv[1:] if args is None else args)
    try:
        return tyro.extras.subcommand_cli_from_dict(
            commands,
            prog="python -m convert",
            args=args,
            description=__doc__,
            config=(tyro.conf.OmitSubcommandPrefixes,),
        )
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
