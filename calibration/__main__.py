"""``python -m calibration build --set 300w --count 200 --out manifest.json``: a pose-balanced representative set."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import tyro

from edgeface.convert.calibration_set import Manifest, build, read_manifest
from edgeface.errors import InputError
from edgeface.files import write_json


def build_command(
    out: Path,
    set: Annotated[str, tyro.conf.arg(name="set")] = "synthetic",
    count: int = 200,
    split: str = "train",
    seed: int = 0,
) -> None:
    """Choose faces, spread over yaw and pitch, and write the manifest.

    Args:
        out: The manifest, a JSON file.
        set: 300w, aflw, mtfl, youtube_faces, facesynthetics or synthetic.
        count: How many faces.
        split: A training split; evaluation splits are refused.
        seed: Of the choice within a pose bin.
    """
    manifest, _ = build(set, count, split, seed)
    write_json(out, manifest.to_dict())
    print(coverage_table(manifest))
    print(f"wrote {out}")


def show(manifest: Annotated[Path, tyro.conf.Positional]) -> None:
    """Print a manifest's coverage of the poses."""
    print(coverage_table(read_manifest(manifest)))


def coverage_table(manifest: Manifest) -> str:
    """Chosen / available faces a pose bin, yaw across, pitch down."""
    columns = list(zip(manifest.bins.yaw_deg, manifest.bins.yaw_deg[1:], strict=False))
    rows = list(zip(manifest.bins.pitch_deg, manifest.bins.pitch_deg[1:], strict=False))
    lines = [
        f"{len(manifest.ids)} of {manifest.pool} faces of {manifest.set} {manifest.split}, seed {manifest.seed}; "
        f"pose of {manifest.estimated_pose} estimated from landmarks",
        " " * 14 + "".join(f"{f'{low:g}..{high:g}':>12}" for low, high in columns) + "  yaw",
    ]
    for r, (low, high) in reversed(list(enumerate(rows))):
        cells = (manifest.coverage[c * len(rows) + r] for c in range(len(columns)))
        figures = "".join(f"{'{chosen}/{available}'.format(**cell):>12}" for cell in cells)
        lines.append(f"pitch {f'{low:g}..{high:g}':>8}{figures}")
    unknown = manifest.coverage[-1]
    if unknown["available"]:
        lines.append("pose unknown  {chosen}/{available}".format(**unknown))
    return "\n".join(lines)


def main(args: list[str] | None = None) -> int:
    try:
        tyro.extras.subcommand_cli_from_dict(
            {"build": build_command, "show": show}, prog="python -m calibration", args=args, description=__doc__
        )
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
