"""The report as data: everything that the pages show, JSON-ready."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from edgeface.convert.latency import BURST, Latency, measure, speedup
from edgeface.convert.layer_error import layer_errors
from edgeface.convert.memory import peak_memory
from edgeface.convert.report.entries import Entry, SetScore
from edgeface.convert.tolerances import BOUNDS
from edgeface.convert.variants import VARIANTS
from edgeface.errors import InputError
from edgeface.progress import track
from edgeface.runtime.machine import environment

FORMAT = 2
HEAD_OUTPUTS = ("landmarks", "pose", "spread")
MEMORY_NOTE = (
    "growth of resident memory, at its peak, over loading the file and running it three times in a fresh process "
    "whose libraries are imported already"
)


def build_report(
    entries: Sequence[Entry],
    *,
    rounds: int = 40,
    threads: Sequence[int] = (1, 2),
    command: str = "",
    title: str = "edgeface report",
    peers: dict[str, Any] | None = None,
    memory_runs: int = 3,
    crops: int = 8,
    burst: int = BURST,
) -> dict[str, Any]:
    """Measures milliseconds (all files in turns, for each number of threads), memory and error by tensor.

    Args:
        entries: from `read_entries`.
        rounds: of timing; in each, every file runs ``burst`` times in a row.
        threads: numbers of the interpreter's threads to time with; the first is the one that is compared.
        command: what to run to get the report again.
        title: of the page.
        peers: others' models, from `read_peers`; None: none are drawn.
        memory_runs: processes per file to measure peak memory in; 0: no memory.
        crops: rendered faces on which int8 and float32 tensors are compared; 0: no such comparison.
        burst: runs per file and round.
    """
    if not entries:
        raise InputError("a report needs at least one file. Received: none")
    counts = tuple(dict.fromkeys(threads))
    if not counts:
        raise InputError("threads must be at least one number. Received: none")
    files = [e.path for e in entries]
    times = [
        measure(files, rounds, threads=count, burst=burst, description=f"timing, {count} threads") for count in counts
    ]
    shown = track(files, "memory", at_least=1)
    memory = [peak_memory(file, times=memory_runs) if memory_runs else None for file in shown]
    bases = {_model(e): i for i, e in enumerate(entries) if e.card.variant == "float32"}
    rows = []
    for i, entry in enumerate(entries):
        base = bases.get(_model(entry))
        timed = [_timed(measured[i], None if base is None else measured[base]) for measured in times]
        base_bytes = None if base is None else files[base].stat().st_size
        rows.append(_row(entry, timed, memory[i], base_bytes))
    compared, not_compared = _layer_errors(entries, bases, crops) if crops else ([], [])
    report = {
        "format": FORMAT,
        "title": title,
        "created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": command,
        **environment("keras", "tensorflow", "ai-edge-litert", "numpy"),
        "threads": counts[0],
        "thread_counts": counts,
        "rounds": rounds,
        "burst": burst,
        "busy": _busy(times),
        "memory_note": MEMORY_NOTE if memory_runs else None,
        "test_sets": list(dict.fromkeys(s.test_set for e in entries for s in e.scores)),
        "bounds": {name: vars(bound) for name, bound in BOUNDS.items()},
        "float_models": _float_models(entries),
        "rows": rows,
        "layer_errors": compared,
        "not_compared": not_compared,
        "peers": peers,
    }
    # What is written is what is shown: tuples are lists in both.
    return json.loads(json.dumps(report, allow_nan=False))


def _model(entry: Entry) -> tuple:
    """What the files of one model share."""
    return entry.path.parent, entry.card.preset, entry.card.markup, entry.card.stages


def _busy(times: Sequence[Sequence[Latency]]) -> float | None:
    """The largest share of its time that a file on one thread spent waiting for a processor; None: no such run."""
    single = [one for measured in times for one in measured if one.threads == 1]
    waited = [1 - sum(one.round_cpu_ms) / sum(one.round_ms) for one in single]
    return max(0.0, *waited) if waited else None


def _timed(time: Latency, base: Latency | None) -> dict[str, Any]:
    return {
        "threads": time.threads,
        "p50_ms": time.p50_ms,
        "p90_ms": time.p90_ms,
        "runs": time.runs,
        "cpu_ms": time.cpu_ms,
        "times_faster": None if base is None else speedup(time, base),
        "times_faster_by_cpu": None if base is None else speedup(time, base, cpu=True),
    }


def _row(entry: Entry, timed: list[dict[str, Any]], peak: float | None, base_bytes: int | None) -> dict[str, Any]:
    """One file. Its first number of threads also stands in the row itself."""
    card, size = entry.card, entry.path.stat().st_size
    scores = [_score(s) for s in entry.scores]
    return {
        "name": entry.path.stem,
        "network": card.network,
        "preset": card.preset,
        "variant": card.variant,
        "purpose": VARIANTS[card.variant].purpose if card.variant in VARIANTS else "",
        "bytes": size,
        "ratio": size / base_bytes if base_bytes else None,
        "parameters": card.parameters,
        "macs": card.macs,
        "p50_ms": timed[0]["p50_ms"],
        "p90_ms": timed[0]["p90_ms"],
        "times_faster": timed[0]["times_faster"],
        "times": timed,
        "peak_bytes": peak,
        "float_operators": entry.gate.float_operators,
        "gate": "passed" if entry.gate.passed else "failed: " + "; ".join(entry.gate.failures),
        "result": _result(scores),
        "scores": scores,
        "notes": list(card.notes),
        "flatbuffer_sha256": card.flatbuffer_sha256,
    }


def _result(scores: list[dict[str, Any]]) -> str:
    if not scores:
        return "not scored"
    return "pass" if all(s["passed"] for s in scores) else "FAIL"


_NO_POSE = {"n": None, "yaw": None, "pitch": None, "roll": None, "mean": None, "geodesic": None}


def _score(scored: SetScore) -> dict[str, Any]:
    """One file on one set: figures, and how much worse than the float model (positive: worse)."""
    row, scores = scored.row, scored.row["scores"]
    pose = {key: scores.get("pose", {}).get(key) for key in _NO_POSE}
    bins = {(b["low_deg"], b["high_deg"]): b.get("pose", {}) for b in scores.get("by_yaw", [])}
    by_yaw = [
        {**b, "pose": {k: bins.get((b["low_deg"], b["high_deg"]), {}).get(k) for k in ("mean", "geodesic")}}
        for b in row.get("by_yaw", [])
    ]
    return {
        "test_set": scored.test_set,
        "protocol": scores.get("protocol"),
        "normalizer": scores.get("normalizer"),
        "n": scores["n"],
        "skipped": scores.get("skipped", {}),
        "nme": scores["nme"],
        "mean_of_bins": scores.get("mean_of_bins"),
        "threshold": scores.get("threshold"),
        "failure_rate": scores.get("failure_rate"),
        "auc": scores.get("auc"),
        "ced": scores.get("ced"),
        "nme_delta": row["nme_delta"],
        "nme_delta_sem": row.get("nme_delta_sem"),
        "pose": pose,
        "pose_delta": row["pose_delta"],
        "geodesic_delta": row.get("geodesic_delta"),
        "by_yaw": by_yaw,
        "jitter": row["jitter"],
        "jitter_change": row["jitter_change"],
        "landmark_shift": row.get("landmark_shift"),
        "pose_shift_deg": row.get("pose_shift_deg"),
        "worst": row.get("worst", []),
        "passed": row["passed"],
        "failures": row["failures"],
    }


def _float_models(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """The scores of the Keras models that the deltas are from, one a network and set."""
    found = {}
    for entry in entries:
        for scored in entry.scores:
            if scored.reference is not None:
                one = {"preset": entry.card.preset, "file": scored.reference["file"]}
                found[entry.card.preset, scored.test_set] = one | _score(SetScore(scored.test_set, scored.reference))
    return list(found.values())


def _layer_errors(entries: Sequence[Entry], bases: dict[tuple, int], crops: int) -> tuple[list, list[str]]:
    """Every int8 file that has a float32 one, on rendered faces; and which could not be compared, and why.

    Of two files of one trunk, with and without the head, the one with its head stands for both: what differs is the one
    value that conditions the next stage.
    """
    from edgeface.convert.calibration_set import synthetic_crops

    headed = {(_model(e), e.card.variant) for e in entries}
    found, failed = [], []
    for entry in entries:
        variant, base = VARIANTS.get(entry.card.variant), bases.get(_model(entry))
        if variant is None or not variant.integer or base is None:
            continue
        if variant.head_on_host and (_model(entry), "int8_qat") in headed:
            continue
        shape = (entry.card.input.side, entry.card.input.channels, entry.card.crop.scale)
        try:
            errors = layer_errors(entry.path, entries[base].path, synthetic_crops(crops, *shape))
        except InputError as error:
            failed.append(str(error))
            continue
        found.append({"preset": entry.card.preset, "variant": entry.card.variant, **_plain(errors)})
    return found, failed


def _plain(errors) -> dict[str, Any]:
    """Rounded, and without the inside of a float head: what a chart and a table show of it."""
    plain = asdict(errors)
    plain["compared"] = len(plain["tensors"])
    plain["tensors"] = [t for t in plain["tensors"] if t["own_db"] is not None or t["layer"] in HEAD_OUTPUTS]
    for tensor in plain["tensors"]:
        tensor.update({k: round(v, 4 if k == "clipped" else 2) for k, v in tensor.items() if isinstance(v, float)})
    return plain
