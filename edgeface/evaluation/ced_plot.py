"""Cumulative error curves as a picture."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from edgeface.evaluation.evaluate import Scores
from edgeface.files import atomic_write


def save_ced(scores: Scores | Iterable[Scores], path: str | Path) -> None:
    """The cumulative error curves as a PNG.

    Args:
        scores: of one network, or of several on one set.
        path: a `.png` file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    for s in [scores] if isinstance(scores, Scores) else scores:
        axes.plot(100 * s.ced_errors, 100 * s.ced_shares, label=f"{s.model}: NME {s.nme:.2f} %, AUC {s.auc:.1f} %")
        axes.set(
            xlabel=f"NME, % of {s.normalizer.replace('_', '-')}", ylabel="faces, %", title=s.dataset, ylim=(0, 100)
        )
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    with atomic_write(path) as aside:
        figure.savefig(aside, dpi=130)
