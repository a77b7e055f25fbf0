"""Parity on any number of sets of faces: real ones where they are on disk, rendered ones where they are not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeface.convert.parity import Parity, contest, parity
from edgeface.convert.parity_file import SetRows
from edgeface.datasets.load import SETS, evaluation_split, is_own, load_set, set_names
from edgeface.datasets.packs import faces_root
from edgeface.errors import InputError, must_be_one_of
from edgeface.evaluation.evaluate import protocol_for
from edgeface.evaluation.protocols import PROTOCOLS

REAL = ("300w", "aflw2000_3d", "aflw")
"""What `real` stands for: the sets with a test or a val split."""


@dataclass(frozen=True)
class Scored:
    """A set and its rows; no rows where ``skipped`` says why."""

    set: str
    split: str
    rows: tuple[Parity, ...] = ()
    skipped: str | None = None

    def plain(self) -> SetRows:
        return SetRows.of(self.set, self.split, self.rows, self.skipped)


def chosen_sets(
    names: str, say: Callable[[str], None] = lambda text: None, root: str | Path | None = None
) -> tuple[str, ...]:
    """Comma-separated sets; ``real``: those of `REAL` that are on disk, rendered faces where none is (and says so)."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    found: list[str] = []
    for name in wanted:
        if name != "real":
            if name not in SETS and not is_own(name, root):
                raise InputError(must_be_one_of("set", (*set_names(root), "real"), name))
            found.append(name)
            continue
        base = faces_root() if root is None else Path(root)
        here = [s for s in REAL if base is not None and (base / s / "annotations.json").is_file()]
        if missing := [s for s in REAL if s not in here]:
            say(f"not on disk (EDGEFACE_FACES): {', '.join(missing)}" + ("" if here else "; rendered faces instead"))
        found += here or ["synthetic"]
    if not found:
        raise InputError(must_be_one_of("set", (*set_names(root), "real"), names))
    return tuple(dict.fromkeys(found))


def score_sets(
    model: str | Path,
    files: Sequence[str | Path],
    sets: Sequence[str],
    *,
    split: str | None = None,
    limit: int | None = None,
    protocol: str | None = None,
    jitter_faces: int = 32,
    pictures: Path | None = None,
    root: str | Path | None = None,
    report: Callable[[str], None] = lambda text: None,
) -> list[Scored]:
    """Every file on every set, by the set's protocol that fits the files' markup (or the one that is named).

    split: None for each set's own, "all" for all. A set without that markup is skipped and says so; InputError where
    that leaves none.
    """
    if protocol is not None and protocol not in PROTOCOLS:
        raise InputError(must_be_one_of("protocol", PROTOCOLS, protocol))
    against = contest(model, files)
    scored = []
    for name in sets:
        taken = split or evaluation_split(name)
        samples = load_set(name, None if taken == "all" else taken, limit, root)
        try:
            rules = PROTOCOLS[protocol] if protocol else protocol_for(name, samples, (against.markup,))[0]
            if not any(rules.markup.name in sample.landmarks_px for sample in samples):
                raise InputError(f"{name} must label {rules.markup.name}. Received: none")
        except InputError as error:
            scored.append(Scored(name, taken, skipped=str(error)))
            continue
        report(f"{name} {taken}")
        rows = parity(against, (), samples, rules, jitter_faces=jitter_faces, pictures=pictures, report=report)
        scored.append(Scored(name, taken, tuple(rows)))
    if not any(s.rows for s in scored):
        raise InputError("; ".join(s.skipped for s in scored))
    return scored
