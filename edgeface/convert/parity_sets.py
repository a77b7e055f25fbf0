"""Parity on any number of sets of faces: real ones where they are on disk, rendered ones where they are not."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from edgeface.convert.parity import Parity, ParityRun
from edgeface.convert.parity_file import ScoredSet
from edgeface.datasets.load import SETS, evaluation_split, is_own, load_set, set_names
from edgeface.datasets.packs import faces_root
from edgeface.errors import InputError, must_be_one_of
from edgeface.evaluation.evaluate import protocol_for
from edgeface.evaluation.protocols import PROTOCOLS

REAL = ("300w", "aflw2000_3d", "aflw")
"""What `real` stands for: the sets with a test or a val split."""


log = logging.getLogger("edgeface")


def chosen_sets(names: str, root: str | Path | None = None) -> tuple[str, ...]:
    """The sets of a comma-separated list. InputError: one that is unknown, or none.

    Args:
        names: sets, or ``real`` for those of `REAL` that are on disk; rendered faces where none is, which is logged.
        root: the folder that holds the sets; None: EDGEFACE_FACES, EDGEFACE_DATA.
    """
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
            instead = "" if here else "; rendered faces instead"
            log.info("not on disk (EDGEFACE_FACES): %s%s", ", ".join(missing), instead)
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
) -> list[ScoredSet[Parity]]:
    """Every file on every set. A set without the files' markup is skipped and says why; InputError where none is left.

    Args:
        model: the float `.keras` file.
        files: `.tflite` files that were converted from it.
        sets: names of sets.
        split: "all" for every face; None: each set's own.
        limit: at most so many faces of each set.
        protocol: how to score; None: the set's own that fits the files' markup.
        jitter_faces: how many faces are shaken to see how steady the landmarks are.
        pictures: a folder for pictures of the worst faces; None: none are drawn.
        root: the folder that holds the sets; None: EDGEFACE_FACES, EDGEFACE_DATA.
    """
    if protocol is not None and protocol not in PROTOCOLS:
        raise InputError(must_be_one_of("protocol", PROTOCOLS, protocol))
    run = ParityRun.load(model, files)
    scored = []
    for name in sets:
        taken = split or evaluation_split(name)
        samples = load_set(name, None if taken == "all" else taken, limit, root)
        try:
            rules = PROTOCOLS[protocol] if protocol else protocol_for(name, samples, (run.markup,))[0]
            if not any(rules.markup.name in sample.landmarks_px for sample in samples):
                raise InputError(f"{name} must label {rules.markup.name}. Received: none")
        except InputError as error:
            scored.append(ScoredSet(name, taken, skipped=str(error)))
            continue
        log.info("%s %s", name, taken)
        rows = run.score(samples, rules, jitter_faces=jitter_faces, pictures=pictures)
        scored.append(ScoredSet(name, taken, tuple(rows)))
    if not any(s.rows for s in scored):
        raise InputError("; ".join(s.skipped for s in scored))
    return scored
