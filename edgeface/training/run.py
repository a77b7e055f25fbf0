"""One training in its folder: what an earlier start left there, what this one takes up and what it writes."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from edgeface.errors import InputError
from edgeface.files import read_json, write_json
from edgeface.models.io import config_of, read_info
from edgeface.schema import as_dict, non_default_fields
from edgeface.training.checkpoint import checkpoint_step, load_checkpoint, read_rows, truncate_rows
from edgeface.training.config import TrainConfig, recorded_config, with_old_keys
from edgeface.training.distribution import Team
from edgeface.training.folder import CHECKPOINT, CONFIG, DAY_S, METRICS, MODEL, clear_run, remove_partial_files
from edgeface.training.pipeline import LoadedSource
from edgeface.training.records import environment, head_fit_facts, source_facts

log = logging.getLogger("edgeface")


@dataclass(frozen=True)
class Run:
    """A config's training in a folder. Of several processes only the first one writes."""

    config: TrainConfig
    out: Path
    members: Team = Team()
    model_name: str = MODEL
    """The finished model's file, which the caller saves."""

    @property
    def cache(self) -> Path:
        """The folder of cut-out faces, which the runs beside this one share."""
        return self.out.parent / "cache"

    @property
    def files(self) -> tuple[Path, Path] | None:
        """metrics.csv and checkpoint.npz; None on a process that writes none."""
        return (self.out / METRICS, self.out / CHECKPOINT) if self.members.first else None

    @property
    def fingerprint(self) -> str:
        """What a checkpoint's config is known by: its non-default fields, under their first names."""
        text = json.dumps(with_old_keys(non_default_fields(self.config)), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def open(self, resume: bool) -> None:
        """Removes what a kill left half written, and the earlier run where it is not to be resumed.

        InputError: the folder holds a run of another config.
        """
        if self.members.first:
            remove_partial_files(self.out)
            remove_partial_files(self.cache, older_than_s=DAY_S)  # others may be writing there
        if resume and (self.out / CONFIG).exists():
            check_same(self.config, self.out)
        elif not resume and self.members.first:
            clear_run(self.out, self.model_name)

    def saved_step(self) -> int:
        """The step of the folder's checkpoint; 0 where there is none."""
        return checkpoint_step(self.out / CHECKPOINT)

    def restore(
        self, network: keras.Model, optimizer: keras.optimizers.Optimizer, sources: Sequence[LoadedSource]
    ) -> None:
        """Puts the checkpoint's state back; warns where the run began with other faces.

        Args:
            network: whose weights are set.
            optimizer: whose state is set.
            sources: the faces to go on with.
        """
        step = load_checkpoint(self.out / CHECKPOINT, network, optimizer, self.fingerprint)
        log.info("going on from step %d of %d", step, self.config.steps)
        recorded = read_json(self.out / CONFIG).get("sources") if (self.out / CONFIG).exists() else None
        began = [(s["name"], s["faces"]) for s in recorded or ()]
        now = [(s.name, s.distinct) for s in sources]
        if recorded and began != now:
            then, today = (", ".join(f"{name} {faces}" for name, faces in pairs) for pairs in (began, now))
            line = "not the faces that this run began with: %s then, %s now; its batches differ from here on"
            log.warning(line, then, today)

    def begin(self, step: int, facts: dict[str, Any]) -> dict[str, str]:
        """Writes config.json, drops the rows of metrics.csv after ``step``; returns what the run's weights began from.

        Args:
            step: the step to go on from; 0: from the start.
            facts: what config.json says of config, network and sources.
        """
        origin = self._begun_from(step)
        if self.members.first:
            write_json(self.out / CONFIG, facts | head_fit_facts(self.config) | self._team() | environment() | origin)
            truncate_rows(self.out / METRICS, step)
        return origin

    def record(
        self, sources: Sequence[LoadedSource], untrained: Sequence[str], origin: dict[str, str]
    ) -> dict[str, Any]:
        """What goes into the model's file.

        Args:
            sources: what was trained on.
            untrained: heads that no source labels.
            origin: from `begin`.
        """
        # A curve that was removed by hand is no reason to lose the model.
        rows = read_rows(self.out / METRICS) if self.members.first else []
        last = (rows or [{"seconds": "0"}])[-1]
        return {
            "config": as_dict(self.config),
            "steps": self.config.steps,
            "seconds": round(float(last["seconds"]), 1),
            "sources": source_facts(sources),
            "untrained": list(untrained),
            "last": {k: float(v) for k, v in last.items() if v != "nan"},
        } | (origin | head_fit_facts(self.config) | environment())

    def _team(self) -> dict[str, int]:
        return {"devices": self.members.devices, "processes": self.members.processes}

    def _begun_from(self, step: int) -> dict[str, str]:
        """Network and SHA-256 of the weights that the run began with, "" where those were random: a run's own result
        may since have replaced their file."""
        if step and (self.out / CONFIG).exists():
            found = read_json(self.out / CONFIG)
            return {key: found.get(key, "") for key in ("begun_from", "begun_from_sha256")}
        init = self.config.init
        if not init:
            return {"begun_from": "", "begun_from_sha256": ""}
        digest = hashlib.sha256(Path(init).read_bytes()).hexdigest()
        return {"begun_from": config_of(read_info(init)).name, "begun_from_sha256": digest}


def already_trained(config: TrainConfig, out: Path, name: str) -> bool:
    """Whether the folder holds this config's finished run; InputError where it is another config's.

    Args:
        config: the run's.
        out: its folder.
        name: of the finished model's file.
    """
    if not ((out / name).exists() and (out / CONFIG).exists()):
        return False
    check_same(config, out)
    return True


def check_same(config: TrainConfig, out: Path) -> None:
    """InputError where the folder holds a run of another config, or with heads fitted by other constants.

    Args:
        config: the run's.
        out: its folder.
    """
    recorded = read_json(out / CONFIG)
    # Through JSON, so that both sides are lists, floats and strings.
    wanted, found = json.loads(json.dumps(non_default_fields(config))), recorded.get("config", {})
    with suppress(InputError):  # of a newer edgeface, with keys unknown here: other than any config
        found = json.loads(json.dumps(non_default_fields(recorded_config(found, str(out / CONFIG)))))
    changed = sorted(k for k in wanted.keys() | found.keys() if wanted.get(k) != found.get(k))
    if changed:
        raise InputError(f"{out} must be a new folder or this config's run. Received: a run with other {changed}")
    fitted, now = recorded.get("laid_heads"), head_fit_facts(config).get("laid_heads")
    # A record without the constants cannot be compared.
    if fitted not in (None, now):
        raise InputError(f"{out} must be a new folder or a run whose heads were fitted by {now}. Received: {fitted}")
