"""Every annotation and every image of a set or a folder, read once: what is there, what is missing, what is broken."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from edgeface.datasets import packs
from edgeface.datasets.imagefile import image_size
from edgeface.datasets.load import SETS, is_own, is_pack, load_set, set_names
from edgeface.datasets.official import LAYOUTS, OFFICIAL, Entry, Layout, find, find_one, read_entry
from edgeface.datasets.official.layout import broken, images_under
from edgeface.datasets.sample import FaceSample
from edgeface.errors import InputError, must_be_one_of

FAR = 0.5
"""A point may lie this share of the image's longer side outside it: faces are cut by the border, annotations go on.
Of 21146 faces in six packs none goes further than 0.247."""
SHOWN = 20
"""Problems of a kind that are printed; `--json` lists them all."""
BATCH = 512
"""Faces that are handed to the threads at once, so that a set of 200000 is never queued whole."""

T = TypeVar("T")


@dataclass
class SetReport:
    """What was found of one set."""

    name: str
    title: str
    folder: str
    faces: int = 0
    usable: int = 0
    excluded: int = 0
    """Faces of a pack that no reader gives: near-duplicates of evaluation faces. Not among ``faces``."""
    images: int = 0
    """Different images that the annotations name and that are there."""
    splits: Counter[str] = field(default_factory=Counter)
    landmarks: Counter[str] = field(default_factory=Counter)
    pose: Counter[str] = field(default_factory=Counter)
    not_annotated: list[str] | None = None
    """Images that no annotation names; None where that is unknown."""
    without_image: list[str] = field(default_factory=list)
    """Annotations whose image is not there."""
    broken: list[tuple[str, str]] = field(default_factory=list)
    """(annotation, what is wrong with it or with its image)."""

    @property
    def ok(self) -> bool:
        """Every annotated face can be used."""
        return not self.broken and not self.without_image and self.faces > 0


def check(
    what: str, split: str | None = None, root: str | None = None, *, quick: bool = False, as_json: bool = False
) -> int:
    """Prints what a set or a folder of sets holds and what is wrong with it; returns 1 where a face is unusable, or 0.

    Args:
        what: a set's name or a folder.
        split: of the set; None for all.
        root: the folder that holds the set.
        quick: read only the first and last bytes of images.
        as_json: print JSON.
    """
    reports = [_report(listing, split, quick) for listing in _listings(what, split, root)]
    if as_json:
        sets = [vars(report) | {"ok": report.ok} for report in reports]
        print(json.dumps({"ok": all(r.ok for r in reports), "quick": quick, "sets": sets}, indent=2))
    else:
        for report in reports:
            _print(report)
        print(_summary(reports, quick))
    return 0 if all(report.ok for report in reports) else 1


@dataclass(frozen=True)
class Listing:
    """A set to check: its annotations, not yet read."""

    name: str
    title: str
    folder: str
    entries: Iterable[Entry]
    images: Iterator[Path] | None = None
    """Every image that should be annotated; None where that is unknown."""
    excluded: int = 0


def _listings(what: str, split: str | None, root: str | None) -> list[Listing]:
    if what == "synthetic":
        return [_of_rendered(split)]
    if is_own(what, root) or (what in SETS and is_pack(what, root)):
        return [_of_pack(packs.pack_folder(what, root), split)]
    if what in OFFICIAL:
        return [_of_layout(*find_one(what, root))]
    folder = Path(what)
    if not folder.is_dir():
        raise InputError(must_be_one_of("set", (*set_names(root), "a folder"), what))
    found = [p for p in (folder.resolve(), *sorted(folder.iterdir())) if (p / "annotations.json").is_file()]
    listings = [_of_found_pack(pack, split) for pack in found]
    listings += [_of_layout(layout, place) for layout, place in find(folder, LAYOUTS)]
    if not listings:
        titles = ", ".join(layout.title for layout in LAYOUTS)
        names = ", ".join(sorted(os.listdir(folder))[:5]) or "an empty folder"
        raise InputError(f"{folder} must hold a dataset as its authors ship it ({titles}). Received: {names}")
    return listings


def _of_layout(layout: Layout, folder: Path) -> Listing:
    images = images_under(layout, folder) if layout.image_folders(folder) else None
    return Listing(layout.name, layout.title, str(folder), layout.entries(folder), images)


def _of_pack(folder: Path, split: str | None) -> Listing:
    """One entry per record, so that every broken one is reported; InputError where the file is not annotations."""
    entries = []
    for where, record in packs.records(folder, split):
        file = record.get("file")
        image = folder / "images" / file if isinstance(file, str) and file else None
        read = partial(packs.sample_of, record, folder.name, folder, where)
        entries.append(Entry(where, (split or str(record["split"]),), where, image, read, oriented=True))
    excluded = len(packs.records(folder, split, include_excluded=True)) - len(entries)
    return Listing(folder.name, "pack", str(folder), entries, excluded=excluded)


def _of_found_pack(folder: Path, split: str | None) -> Listing:
    """One of several sets in a folder: what is wrong with its annotations must not hide the others."""
    try:
        return _of_pack(folder, split)
    except InputError as error:
        return Listing(folder.name, "pack", str(folder), [broken(folder, (split,) if split else (), str(error))])


def _of_rendered(split: str | None) -> Listing:
    samples = load_set("synthetic", split)
    entries = [Entry(s.id, (s.split,), s.id, None, lambda sample=s: sample) for s in samples]
    return Listing("synthetic", "rendered faces", "", entries)


def _report(listing: Listing, split: str | None, quick: bool) -> SetReport:
    report = SetReport(listing.name, listing.title, listing.folder, excluded=listing.excluded)
    try:
        entries = list(listing.entries)
    except InputError as error:
        report.broken.append((listing.folder, str(error)))
        return report
    named = {entry.image for entry in entries}
    if listing.images is not None:
        report.not_annotated = sorted(str(image) for image in listing.images if image not in named)
    if split is not None:
        splits = sorted({s for entry in entries for s in entry.splits})
        if split not in splits:
            raise InputError(must_be_one_of(f"split of {listing.name}", splits, split))
        entries = [entry for entry in entries if split in entry.splits]
    report.faces = len(entries)
    there = set()
    for entry, verdict in _judged(entries, quick, f"reading {listing.name}"):
        report.splits.update(entry.splits)
        if isinstance(verdict, FaceSample):
            report.usable += 1
            report.landmarks.update(list(verdict.landmarks_px))
            known = np.isfinite(verdict.pose_deg)
            report.pose["all angles" if known.all() else "some angles" if known.any() else "none"] += 1
            there.add(entry.image)
        elif verdict is None:
            report.without_image.append(f"{entry.where}: {entry.image}")
        else:
            report.broken.append((entry.where, verdict))
    report.images = len(there - {None})
    return report


def _judged(entries: list[Entry], quick: bool, label: str) -> Iterator[tuple[Entry, FaceSample | str | None]]:
    """(entry, its sample, or what is wrong with it, or None where its image is not there), in order."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with (
        Progress(console=console, transient=True, disable=not console.is_terminal) as progress,
        # OpenCV decodes outside Python's lock.
        ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool,
    ):
        task = progress.add_task(label, total=len(entries))
        for start in range(0, len(entries), BATCH):
            batch = entries[start : start + BATCH]
            for entry, verdict in zip(batch, pool.map(lambda entry: _judge(entry, quick), batch), strict=True):
                progress.advance(task)
                yield entry, verdict


def _judge(entry: Entry, quick: bool) -> FaceSample | str | None:
    try:
        sample = read_entry(entry)
        if entry.image is not None and not entry.image.is_file():
            return None
        size = image_size(entry.image, entry.oriented) if entry.image is not None else None
        if not quick:
            height, width = sample.load().shape[:2]
            size = width, height
        if size is not None:
            if entry.size is not None and size != entry.size:
                must, got = ("{} x {} px".format(*pair) for pair in (entry.size, size))
                raise InputError(f"{entry.image} must be {must} as its annotation says. Received: {got}")
            _check_points(sample, *size)
    except InputError as error:
        return str(error)
    return sample


def _check_points(sample: FaceSample, width: int, height: int) -> None:
    """InputError where a point lies far outside the image, or none of a face lies in it."""
    inside = False
    for name, points in sample.landmarks_px.items():
        beyond = np.maximum(-0.5 - points, points - (width - 0.5, height - 0.5)).max(axis=1)  # NaN stays NaN
        far = np.flatnonzero(beyond > FAR * max(width, height))
        if len(far):
            x, y = points[far[0]]
            got = f"({x:.1f}, {y:.1f}) at point {far[0]}"
            raise InputError(f"{name} must lie in or near the image of {width} x {height} px. Received: {got}")
        inside |= bool((beyond <= 0).any())
    if not inside:
        raise InputError(f"a landmark must lie in the image of {width} x {height} px. Received: none")


def _print(report: SetReport) -> None:
    print(f"{report.name}: {report.title}{', ' if report.folder else ''}{report.folder}")
    rows: list[tuple[str, int]] = [("faces", report.faces)]
    rows += [("excluded", report.excluded)] if report.excluded else []
    rows += [(f"split {split}", count) for split, count in sorted(report.splits.items())]
    rows += [(f"landmarks {name}", count) for name, count in sorted(report.landmarks.items())]
    rows += [(f"pose: {kind}", count) for kind, count in sorted(report.pose.items())]
    rows += [("images", report.images)]
    if report.not_annotated is not None:
        rows += [("images not annotated", len(report.not_annotated))]
    rows += [("annotations without image", len(report.without_image)), ("broken", len(report.broken))]
    for what, count in rows:
        print(f"  {what:26} {count:7}")
    sys.stdout.flush()
    _tell("not annotated", report.not_annotated or [])
    _tell("no such image", report.without_image)
    _tell("broken", [text if text.startswith(where) else f"{where}: {text}" for where, text in report.broken])


def _tell(kind: str, problems: list[str]) -> None:
    for problem in problems[:SHOWN]:
        print(f"edgeface: {kind}: {' '.join(problem.split())}", file=sys.stderr)
    if len(problems) > SHOWN:
        print(f"edgeface: {kind}: and {len(problems) - SHOWN} more (--json lists all)", file=sys.stderr)


def _summary(reports: list[SetReport], quick: bool) -> str:
    faces, usable = sum(r.faces for r in reports), sum(r.usable for r in reports)
    wrong = [(sum(len(r.broken) for r in reports), "broken")]
    wrong += [(sum(len(r.without_image) for r in reports), "without image")]
    text = ", ".join(f"{count} {kind}" for count, kind in wrong if count) or "nothing broken"
    names = ", ".join(report.name for report in reports)
    return f"{names}: {usable} of {faces} faces can be used, {text}{' (images not decoded)' if quick else ''}"
