"""One runtime's answers against the reference's: differences, exactness, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convert.runtimes.golden import Answers, Case
from convert.runtimes.tolerances import Difference, Tolerance

PASS, FAIL, REFUSED, ABSENT = "pass", "fail", "refused", "not run"


@dataclass(frozen=True)
class Row:
    """A file in a runtime."""

    runtime: str
    file: str
    faces: int
    verdict: str
    """pass, fail (beyond the tolerance), refused (the runtime does not take the file), not run."""
    to_reference: Difference | None = None
    """To the same file in LiteRT on this machine."""
    to_float32: Difference | None = None
    """To the model's float32 file in LiteRT on this machine: what a user of this file in this runtime loses in all."""
    bit_exact: bool | None = None
    """Whether the integer outputs are equal; None where the file has none."""
    max_steps: int | None = None
    """The largest difference of an integer output, in its steps."""
    tolerance: Tolerance | None = None
    engine: str = ""
    """The runtime's version, processor or adapter, as it says itself."""
    note: str = ""


def difference(answers: Answers, reference: Answers) -> Difference:
    def ends(distances: np.ndarray | None) -> tuple[float | None, float | None]:
        return (None, None) if distances is None else (float(distances.max()), float(distances.mean()))

    points = pose = None
    if answers.landmarks is not None and reference.landmarks is not None:
        gap = answers.landmarks.astype(np.float64) - reference.landmarks
        points = 100 * np.linalg.norm(gap, axis=-1)
    if answers.pose_deg is not None and reference.pose_deg is not None:
        pose = np.abs(answers.pose_deg.astype(np.float64) - reference.pose_deg)
    return Difference(*ends(points), *ends(pose))


def compare(
    runtime: str, case: Case, outputs: dict[str, np.ndarray], tolerance: Tolerance, engine: str = "", note: str = ""
) -> Row:
    """outputs: by role, (N, ...), as stored or real."""
    missing = set(case.stored) - set(outputs)
    if missing:
        return Row(runtime, case.path.name, 0, FAIL, engine=engine, note=f"no output {', '.join(sorted(missing))}")
    outputs = {role: outputs[role] for role in case.stored}
    broken = [role for role, values in outputs.items() if not np.isfinite(values.astype(np.float64)).all()]
    if broken:
        return Row(runtime, case.path.name, len(case.crops), FAIL, engine=engine, note=f"NaN in {', '.join(broken)}")
    integers = [role for role, values in case.stored.items() if values.dtype.kind in "iu"]
    gaps = [np.abs(_stored(case, role, outputs[role]) - case.stored[role]).max() for role in integers]
    steps = int(max(gaps)) if gaps else None
    answers = case.decode(outputs)
    found = difference(answers, case.answers)
    return Row(
        runtime=runtime,
        file=case.path.name,
        faces=len(case.crops),
        verdict=PASS if tolerance.holds(found, steps) else FAIL,
        to_reference=found,
        to_float32=None if case.float_answers is None else difference(answers, case.float_answers),
        bit_exact=None if steps is None else steps == 0,
        max_steps=steps,
        tolerance=tolerance,
        engine=engine,
        note=note,
    )


def _stored(case: Case, role: str, values: np.ndarray) -> np.ndarray:
    """int32: an integer output as stored, also where the runtime gave it dequantised."""
    if values.dtype.kind in "iu":
        return values.astype(np.int32)
    spec = case.card.outputs[role]
    return (np.rint(values.astype(np.float64) / spec.scale) + spec.zero_point).astype(np.int32)
